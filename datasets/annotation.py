"""Which videos a dataset holds, with which labels: the list files and folder layouts that are in use.

`dataset_root` is looked at in this order:

1. a list file that the caller names;
2. `<name>_{train,val}_split_<k>_{rawframes,videos}.txt` in the root or in `annotations/`, with the media in
   `rawframes/` or `videos/` (PaddleMVF, mmaction2);
3. `train.txt` and `val.txt` in the root, with paths relative to the root;
4. one folder for each class: `train/<class>/*` and `val/<class>/*`.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import re
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs.suffixes import VIDEO_SUFFIXES
from datasets.media import Names, is_hidden, plain_form
from datasets.targets import DataError, Labels, Targets, is_number
from runtime.records import lines_of, read_record, read_text

DIGITS = "0123456789"
BLANKS = " \t"  # what may stand around the parts of a line; other white space is part of a name
CLASS_FILES = ("labels.json", "classes.txt", "classInd.txt", "label_map.txt")
LAYOUTS = (
    "*_{subset}_split_{split}_rawframes.txt or *_{subset}_split_{split}_videos.txt (here or in annotations/), "
    "{subset}.txt, {subset}/<class>/<video or folder of frames>"
)


@dataclass(frozen=True)
class Entry:
    """One video: its path, what states its target (a label; None: unlabeled), the frames that a list promises of it."""

    path: str
    target: Any
    num_frames: int | None = None


@dataclass(frozen=True)
class Annotation:
    """The videos of one subset.

    Attributes:
        entries: The videos.
        class_names: In the order of the labels; empty where the dataset names none.
        source: What was read.
        left_out: Files in class folders, or beside them, that are no videos by their suffix.
    """

    entries: tuple[Entry, ...]
    class_names: tuple[str, ...]
    source: str
    left_out: tuple[str, ...] = ()

    @property
    def remarks(self) -> list[str]:
        """One line for the files that were left out, if there are any."""
        if not self.left_out:
            return []
        count, names = len(self.left_out), _shortened(self.left_out)
        return [f"left out  {count} of the files in {self.source}, which are no videos of a class folder: {names}"]

    @property
    def fingerprint(self) -> str:
        """Digest of class names and of each entry's folder, name, target and frame count, in order; not of the root."""
        entries = [[*Path(e.path).parts[-2:], _without_root(e.target), e.num_frames] for e in self.entries]
        return hashlib.sha256(json.dumps([self.class_names, entries]).encode()).hexdigest()

    @property
    def num_classes(self) -> int:
        """Number of class names, else the largest label plus one; 0 if the targets are no labels."""
        labels = [entry.target for entry in self.entries if isinstance(entry.target, int)]
        return len(self.class_names) or max(labels, default=-1) + 1


def _without_root(target: Any) -> Any:
    """What states a target; of a path its folder and name."""
    if isinstance(target, tuple):
        return [_without_root(part) for part in target]
    return list(Path(target).parts[-2:]) if isinstance(target, str) else target


def unlabeled(paths: Sequence[str]) -> Annotation:
    """Videos without targets: files or folders of frames."""
    return Annotation(tuple(Entry(path, None) for path in paths), (), "the paths that were given")


def load_annotation(
    root: str,
    subset: str,
    split: int = 1,
    num_classes: int = 0,
    list_file: str = "",
    known_classes: Sequence[str] = (),
    targets: Targets | None = None,
) -> Annotation:
    """Finds the layout of a dataset and reads one subset of it; every path is looked up on disk once.

    Args:
        root: The dataset's folder.
        subset: "train" or "val".
        split: Which of the dataset's own splits. Layouts that have no splits accept 1 only.
        num_classes: Labels must lie in 0..num_classes-1; 0 takes the number of class names, if there are any.
        list_file: A list to read in place of the subset's own, absolute or relative to the root or to here.
        known_classes: The class names of weights in label order, if the videos are to be compared with their scores.
            Class folders get their labels from it, whatever else the root says; a class may have no folder.
        targets: Reads what the lists state; None for class labels.

    Raises:
        DataError: Root absent or empty, no known layout, no such split, a line that is no entry, a label out of
            range, a class folder without a video, or media that are not on disk.
    """
    if subset not in ("train", "val"):
        raise DataError(f"subset must be train or val, got {subset!r}")
    _check_root(root)
    targets = targets or Labels()
    names = class_names_of(root)
    if num_classes and names and len(names) != num_classes:
        raise DataError(
            f"the model has {num_classes} classes, but {root} names {len(names)}: to train, leave out --num_classes; "
            "to test, take the data set of the weights"
        )
    names = names or (targets.class_names if num_classes in (0, len(targets.class_names)) else ())
    source = _find_list(root, subset, split, list_file)
    left_out: tuple[str, ...] = ()
    if source:
        parse = functools.partial(targets.parse, folder=root, num_classes=num_classes or len(names))
        entries = _read_list(source, _media_folders(root, source), parse, targets.word)
    elif not targets.in_class_folders:
        source = os.path.join(root, subset)
        found = targets.in_folders(source, num_classes or len(names))
        entries = [Entry(path, target) for path, target in found]
    else:
        source = os.path.join(root, subset)
        entries, names, left_out = _read_tree(root, subset, split, names, num_classes, known_classes)
    if not entries:
        raise DataError(f"{source} holds no video")
    for name in names:
        if not _is_utf8(name):
            raise DataError(f"the class name {name!r} in {root} is not UTF-8: rename it")
        if len(lines_of(name)) > 1:  # no list of names could hold it
            raise DataError(f"the class name {name!r} in {root} holds the end of a line: rename it")
    return Annotation(tuple(entries), names, source, left_out)


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def class_names_of(root: str) -> tuple[str, ...]:
    """The class names in label order, from the first of CLASS_FILES that the root or its `annotations/` holds.

    Files: `labels.json` ({"0": name}, {name: "0"} or a list), `classInd.txt` (`1 name`, counted from 1),
    `classes.txt` and `label_map.txt` (one name a line).

    Returns:
        () when there is no such file.

    Raises:
        DataError: The file cannot be read, or its numbers leave gaps.
    """
    for folder in (root, os.path.join(root, "annotations")):
        for name in CLASS_FILES:
            path = os.path.join(folder, name)
            if os.path.isfile(path):
                return read_class_names(path)
    return ()


def read_class_names(path: str) -> tuple[str, ...]:
    """The class names that one file lists; see `class_names_of`.

    Raises:
        DataError: The file cannot be read, or its numbers leave gaps.
    """
    if path.lower().endswith(".json"):
        return _names_from_json(path)
    lines = [line.strip(BLANKS) for line in read_text(path, DataError) if line.strip(BLANKS)]
    if Path(path).name == "classInd.txt":
        return _in_order(path, [_numbered_name(path, line) for line in lines], first=1)
    return tuple(lines)


def _numbered_name(path: str, line: str) -> tuple[int, str]:
    number, _, name = line.partition(" ")
    if not is_number(number) or not name.strip(BLANKS):
        raise DataError(f"{path}: a line must be `number name`, got {line!r}")
    return int(number), name.strip(BLANKS)


def _names_from_json(path: str) -> tuple[str, ...]:
    data = read_record(path, Any, DataError)
    if isinstance(data, list) and all(isinstance(name, str) for name in data):
        return tuple(data)
    if isinstance(data, dict) and all(is_number(key) and isinstance(name, str) for key, name in data.items()):
        return _in_order(path, [(int(key), name) for key, name in data.items()], first=0)
    if isinstance(data, dict) and all(is_number(str(value)) for value in data.values()):
        return _in_order(path, [(int(value), name) for name, value in data.items()], first=0)
    raise DataError(f'{path} must map labels to names, as in {{"0": "archery"}}')


def _in_order(path: str, pairs: list[tuple[int, str]], first: int) -> tuple[str, ...]:
    pairs = sorted(pairs)
    if [number for number, _ in pairs] != list(range(first, first + len(pairs))):
        raise DataError(f"{path}: labels must count from {first} to {first + len(pairs) - 1} without gaps")
    return tuple(name for _, name in pairs)


def _check_root(root: str) -> None:
    if not os.path.isdir(root):
        raise DataError(f"dataset root {root!r} is no folder; give the one that holds the lists, or train/ and val/")
    if not os.listdir(root):
        raise DataError(f"dataset root {root!r} is empty")


def _find_list(root: str, subset: str, split: int, list_file: str) -> str:
    """Path of the list to read, or "" when the layout is one folder for each class."""
    if list_file:
        for folder in (root, ""):
            found = Names().find(folder, list_file)
            if found and stat.S_ISREG(found[1]):
                return found[0]
        raise DataError(f"list file {list_file!r} is neither in {root} nor in {Path.cwd()}")
    path = _find_split_list(root, subset, split)
    if path:
        return path
    has_lists = [name for name in ("train", "val") if os.path.isfile(os.path.join(root, f"{name}.txt"))]
    has_trees = [name for name in ("train", "val") if os.path.isdir(os.path.join(root, name))]
    if subset not in has_lists + has_trees:
        wanted = LAYOUTS.format(subset=subset, split=split)
        raise DataError(f"{root} has no known layout for subset {subset}; looked for {wanted}")
    if split != 1:
        raise DataError(f"split {split} does not exist: {root} has one split only, use split 1")
    return os.path.join(root, f"{subset}.txt") if subset in has_lists else ""


def _find_split_list(root: str, subset: str, split: int) -> str:
    """Path of `*_{subset}_split_{split}_*.txt`, frame folders before videos, or "" when no split has a list."""
    pattern = re.compile(rf"(.*)_{subset}_split_(\d+)_(rawframes|videos)\.txt")
    found: dict[int, list[str]] = {}
    for folder in (root, os.path.join(root, "annotations")):
        names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
        for match in filter(None, map(pattern.fullmatch, names)):
            found.setdefault(int(match[2]), []).append(os.path.join(folder, match[0]))
    if not found:
        return ""
    if split not in found:
        existing = ", ".join(map(str, sorted(found)))
        raise DataError(f"split {split} does not exist: {root} has {subset} lists for split {existing}")
    paths = found[split]
    with_media = [path for path in paths if os.path.isdir(os.path.join(root, _kind_of(path)))] or paths
    frames = [path for path in with_media if _kind_of(path) == "rawframes"] or with_media
    if len(frames) > 1:
        raise DataError(f"{root} has several lists for split {split}: {', '.join(frames)}; name one as list_file")
    return frames[0]


def _kind_of(list_path: str) -> str:
    """What the list's name says of its media: "rawframes", "videos" or "" for neither."""
    return next((kind for kind in ("rawframes", "videos") if kind in Path(list_path).name), "")


def _media_folders(root: str, list_path: str) -> tuple[str, ...]:
    """Folders that the list's paths may be relative to, the likeliest first."""
    kind = _kind_of(list_path)
    return (os.path.join(root, kind), root) if kind else (root,)


def _read_list(path: str, folders: Sequence[str], parse: Callable[[str, str], Any], word: str) -> list[Entry]:
    """Reads `path target` and `path num_frames target` lines; blank lines are skipped.

    Lines are read from the right, so a path may hold spaces. A whole number before the target is a frame count when
    the path without it exists, else it belongs to the path.
    """
    entries, absent = [], []
    folder, names = "", Names()
    for number, line in enumerate(read_text(path, DataError), start=1):
        if not line.strip(BLANKS):
            continue
        place = f"{path}:{number}"
        media, count, stated = _split_line(line.strip(BLANKS), place, word)
        target = parse(stated, place)
        folder = folder or _folder_of(names, media, count, folders)
        entry = _entry(names, folder, media, count, target)
        if entry is None:
            absent.append(media)
        else:
            entries.append(entry)
    _check_absent(path, folder, absent, len(entries) + len(absent))
    return entries


def _split_line(line: str, place: str, word: str) -> tuple[str, int | None, str]:
    """(path, number before the target or None, what states the target)."""
    media, _, last = line.rpartition(" ") if "\t" not in line else line.rpartition("\t")
    media = media.strip(BLANKS)
    if not media:
        raise DataError(f"{place}: a line must be `path {word}` or `path num_frames {word}`, got {line!r}")
    before, _, number = media.replace("\t", " ").rpartition(" ")
    return media, int(number) if before and is_number(number) else None, last


def _without_count(media: str) -> str:
    return media.rstrip(DIGITS).rstrip(BLANKS)


def _folder_of(names: Names, media: str, count: int | None, folders: Sequence[str]) -> str:
    """The first folder that holds the entry, else the first folder."""
    for folder in folders:
        if _entry(names, folder, media, count, 0) is not None:
            return folder
    return folders[0]


def _entry(names: Names, folder: str, media: str, count: int | None, target: Any) -> Entry | None:
    """The entry of one line, or None when neither reading of it is on disk."""
    if count is not None:
        found = names.find(folder, _without_count(media))
        if found:
            path, mode = found
            return Entry(path, target, count if stat.S_ISDIR(mode) else None)
    found = names.find(folder, media)
    return Entry(found[0], target) if found else None


def _check_absent(source: str, folder: str, absent: list[str], total: int) -> None:
    if absent:
        hint = ", also with \\ read as /" if any("\\" in media for media in absent) else ""
        raise DataError(f"{source}: {len(absent)} of {total} entries are not in {folder}{hint}: {_shortened(absent)}")


def _read_tree(
    root: str, subset: str, split: int, names: Sequence[str], num_classes: int, known: Sequence[str]
) -> tuple[list[Entry], tuple[str, ...], tuple[str, ...]]:
    """One folder for each class: entries, class names, files that are left out.

    Labels follow the known classes, else the class file, else the sorted names of the training folders.
    """
    source = os.path.join(root, subset)
    folders = _class_folders(root, subset)
    if not folders:
        raise DataError(f"{source} holds no class folder; looked for {LAYOUTS.format(subset=subset, split=split)}")
    names = tuple(known or names or _class_folders(root, "train") or folders)
    if num_classes and len(names) != num_classes:
        raise DataError(
            f"the model has {num_classes} classes, but {root} has {len(names)} class folders: to train, leave out "
            f"--num_classes; to test, name all classes in label order, one a line, in {root}/classes.txt"
        )
    labels = _labels_of(folders, names, lenient=bool(known))
    unknown = _shortened([name for name in folders if name not in labels])
    if unknown and known:
        raise DataError(f"{source} has class {unknown}, which the weights do not know: test on their own data set")
    if unknown:
        raise DataError(f"{source} has class {unknown}, which the training set has not")
    found = {name: _media_in(source, name) for name in sorted(folders, key=labels.__getitem__)}
    empty = _shortened([name for name, (media, _) in found.items() if not media])
    if empty:
        raise DataError(
            f"{source} has class folders without a video or a folder of frames: {empty}; fill or remove them "
            f"(a class without a folder stays a class if {root}/classes.txt, one name a line, names it)"
        )
    entries = [Entry(path, labels[name]) for name, (media, _) in found.items() for path in media]
    left_out = [path for name in folders for path in found[name][1]]
    return entries, names, (*_files_in(source), *left_out)


def _labels_of(folders: Sequence[str], names: Sequence[str], lenient: bool) -> dict[str, int]:
    """Class folder -> label, for the folders that are named; `lenient` as `plain_name`, if that is unambiguous."""
    formed = {plain_form(name): label for label, name in enumerate(names)}
    labels = {name: formed[plain_form(name)] for name in folders if plain_form(name) in formed}
    labels |= {name: label for label, name in enumerate(names)}
    plain = {plain_name(name): label for label, name in enumerate(names)} if lenient else {}
    if len(plain) == len(names):
        labels = {name: plain[plain_name(name)] for name in folders if plain_name(name) in plain} | labels
    return labels


def plain_name(name: str) -> str:
    """A class name without what lists and folders write in different ways: case, spaces, punctuation."""
    return re.sub(r"[\W_]+", "", plain_form(name)).lower()


def _shortened(names: Sequence[str]) -> str:
    """The first three names."""
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def _class_folders(root: str, subset: str) -> tuple[str, ...]:
    folder = os.path.join(root, subset)
    if not os.path.isdir(folder):
        return ()
    with os.scandir(folder) as items:
        return tuple(sorted(item.name for item in items if item.is_dir() and not item.name.startswith(".")))


def _media_in(source: str, name: str) -> tuple[list[str], list[str]]:
    """Paths of the videos and folders of frames in a class folder, and `name/file` of the files of other kinds."""
    with os.scandir(os.path.join(source, name)) as items:
        shown = sorted((item for item in items if not is_hidden(item.name)), key=lambda item: item.name)
    is_media = {item: item.is_dir() or item.name.lower().endswith(VIDEO_SUFFIXES) for item in shown}
    return (
        [item.path for item in shown if is_media[item]],
        [os.path.join(name, item.name) for item in shown if not is_media[item]],
    )


def _files_in(folder: str) -> list[str]:
    """Names of the files that are in no class folder."""
    with os.scandir(folder) as items:
        return sorted(item.name for item in items if not is_hidden(item.name) and not item.is_dir())
