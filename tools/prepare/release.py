"""What describes a data set: what its site gives, how its annotations are read, and what must come out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from configs.suffixes import VIDEO_SUFFIXES, any_of
from runtime.errors import UserError
from tools.prepare.settings import Lists

TAR = r"(tar(\.(bz2|gz|xz))?|tgz)"  # endings of names; not .tar.md5
VIDEO_FILE = f".+{any_of(VIDEO_SUFFIXES)}"


@dataclass(frozen=True)
class Part:
    """One thing that a site gives.

    Attributes:
        what: For messages.
        official: How the site names it, for messages.
        archives: Regular expression of the names of its archives, whatever their case.
        files: Regular expression of the names of its files, in archives or in a folder that was unpacked.
        in_pieces: Whether the archives are pieces of one, in the order of their names, each of them perhaps in a zip.
        nested: Regular expression of archives in its archives.
        is_optional: Whether it can be absent.
        is_mixed: Whether files that lie beside the archives are not what was unpacked from them.
    """

    what: str
    official: str
    archives: str
    files: str
    in_pieces: bool = False
    nested: str = ""
    is_optional: bool = False
    is_mixed: bool = False


@dataclass(frozen=True)
class Entry:
    """One line of a list: paths without suffix that the video may have, the first of them counts; its label, if any."""

    names: tuple[str, ...]
    label: int | None


@dataclass(frozen=True)
class Subset:
    """One list: "train", "val" or "test" of a split, as the annotations state it."""

    subset: str
    split: int
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class Annotations:
    """What the annotation files say.

    Attributes:
        class_names: In the order of the labels.
        subsets: Lists.
        folders: File name without suffix -> folder of the video, where the archives do not say it.
    """

    class_names: tuple[str, ...]
    subsets: tuple[Subset, ...]
    folders: Mapping[str, str] = field(default_factory=dict)


Texts = Mapping[str, str]


@dataclass(frozen=True)
class Release:
    """A data set.

    Attributes:
        list_name: Beginning of the names of its lists.
        videos, texts: What its site gives; `videos` holds frames if `has_frames`.
        annotate: From the annotation files, name -> content, to what they say; None if there are none, so that
            `tools.prepare.grouping` divides the class folders.
        place: From the name of the archive or of the folder in --source that a file comes from, the folders below that
            and its name, and the annotations, to its place below `videos/` or `rawframes/`; None if it is not wanted.
        preset: To train with.
        flags: More flags for that, by the order of the labels.
        official: (subset, split) -> number of videos that the site speaks of.
        has_splits: Whether the site divides the same videos several times.
        has_frames: Whether the site gives folders of frames, not videos.
        ignores_case: Whether its annotation files write names in another case than its videos have.
    """

    list_name: str
    videos: tuple[Part, ...]
    texts: tuple[Part, ...]
    annotate: Callable[[Texts, Lists], Annotations] | None
    place: Callable[[str, Sequence[str], Annotations | None], str | None]
    preset: str
    flags: Mapping[str, str] = field(default_factory=dict)
    official: Mapping[tuple[str, int], int] = field(default_factory=dict)
    has_splits: bool = False
    has_frames: bool = False
    ignores_case: bool = False


def text_named(texts: Texts, *names: str) -> tuple[str, str]:
    """(name, content) of the first annotation file of these names; raises UserError if there is none."""
    for name in names:
        if name in texts:
            return name, texts[name]
    raise UserError(f"--source has no {' or '.join(names)} among its annotation files ({', '.join(sorted(texts))})")


def labels_by_name(known: str) -> tuple[tuple[str, ...], dict[str, int]]:
    """(class names of a public data set, `plain_name` of each -> label); see `datasets.known_class_names`."""
    from datasets import known_class_names, plain_name

    names = known_class_names(known)
    return names, {plain_name(name): label for label, name in enumerate(names)}


def label_of(name: str, labels: Mapping[str, int], place: str) -> int:
    """The label of a class that an annotation file names; raises UserError if it is none of the data set's."""
    from datasets import plain_name

    if plain_name(name) not in labels:
        raise UserError(f"{place} names the class {name!r}, which is none of the {len(labels)} of this data set")
    return labels[plain_name(name)]


def in_class_folder(origin: str, parts: Sequence[str], annotations: Annotations | None) -> str | None:
    """The place of a file that lies in the folder of its class."""
    return "/".join(parts[-2:]) if len(parts) > 1 else None


def alone(origin: str, parts: Sequence[str], annotations: Annotations | None) -> str | None:
    """The place of a file that lies in no folder."""
    return parts[-1]
