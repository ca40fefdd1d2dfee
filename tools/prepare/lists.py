"""The list files of a data set, under the names that PaddleMVF, PaddleVideo and mmaction2 give them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from runtime import command
from runtime.errors import UserError
from runtime.records import read_text
from tools.prepare.archives import is_listable
from tools.prepare.media import Index, stem_of
from tools.prepare.record import ListRecord
from tools.prepare.release import Annotations, Entry, Release, Subset

FOLDER = "annotations"
CLASSES = f"{FOLDER}/classes.txt"


@dataclass(frozen=True)
class Written:
    """Files to write, name -> content, and what became of the entries of each subset."""

    files: Mapping[str, bytes]
    records: tuple[ListRecord, ...]


def lists_of(
    release: Release, annotations: Annotations, kinds: Mapping[str, Index], splits: Collection[int], left_out: set[str]
) -> Written:
    """What is annotated and there, as lists.

    Args:
        release: Names the lists.
        annotations: What should be there.
        kinds: "videos" or "rawframes", or both -> what is there, that which training reads first.
        splits: To list; all if there are none.
        left_out: Paths that are not to be listed.

    Raises:
        UserError: A split does not exist, or a path cannot stand in a list.
    """
    check_splits(annotations, splits)
    if left_out:
        _say_unknown(annotations, kinds, left_out)
    files = {CLASSES: "".join(f"{name}\n" for name in annotations.class_names).encode()}
    records = []
    for subset in annotations.subsets:
        if splits and subset.split not in splits:
            continue
        for kind, index in kinds.items():
            entries = [entry for entry in subset.entries if not left_out & _paths_of(entry, kinds)]
            lines = list(_lines(entries, index))
            content = "".join(f"{line}\n" for line in lines).encode()
            files |= {f"{FOLDER}/{name}": content for name in _names(release, subset, kind)}
            if kind == next(iter(kinds)):
                official = release.official.get((subset.subset, subset.split), 0)
                records.append(ListRecord(
                    subset=subset.subset, split=subset.split, kind=kind, official=official,
                    annotated=len(subset.entries), listed=len(lines),
                ))  # fmt: skip
    return Written(files, tuple(records))


def check_splits(annotations: Annotations, splits: Collection[int]) -> None:
    """Raises UserError for a split that does not exist."""
    existing = sorted({subset.split for subset in annotations.subsets})
    for split in splits:
        if split not in existing:
            raise UserError(f"split {split} does not exist: there are {', '.join(map(str, existing))}")


def _names(release: Release, subset: Subset, kind: str) -> Iterator[str]:
    """Names of a list; without labels it has none of those that training looks for."""
    if subset.subset != "test":
        yield f"{release.list_name}_{subset.subset}_split_{subset.split}_{kind}.txt"
    if not release.has_splits:
        yield f"{release.list_name}_{subset.subset}_list_{kind}.txt"


def _say_unknown(annotations: Annotations, kinds: Mapping[str, Index], left_out: set[str]) -> None:
    """Says how many lines of --leave_out are no paths; one of what is annotated and has been taken away is."""
    paths = {path for index in kinds.values() for path in index.paths()}
    entries = [entry for subset in annotations.subsets for entry in subset.entries]
    absent = {name for entry in entries if _paths_of(entry, kinds) == {None} for name in entry.names}
    unknown = {path for path in left_out if path not in paths and not absent & {path, stem_of(path)}}
    if unknown:
        command.say(
            f"{len(unknown)} of {len(left_out)} lines of --leave_out name nothing that is there, such as "
            f"{min(unknown)}: a line must be a path as the lists have it, without the numbers after it"
        )


def _paths_of(entry: Entry, kinds: Mapping[str, Index]) -> set[str | None]:
    """What lists of the kinds name an entry, of which --leave_out may hold any."""
    return {index.path_of(entry.names) for index in kinds.values()}


def _lines(entries: Sequence[Entry], index: Index) -> Iterator[str]:
    for entry in entries:
        path = index.path_of(entry.names)
        if path is None:
            continue
        if path != path.strip() or not is_listable(path):
            raise UserError(
                f"no list can name {path!r}, for a space at its end or what is no text: rename it in --source, and "
                "remove it from --root"
            )
        yield " ".join([path, *map(str, _numbers(index.counts.get(path), entry.label))])


def _numbers(*numbers: int | None) -> Iterator[int]:
    return (number for number in numbers if number is not None)


def left_out_by(path: str) -> set[str]:
    """The paths that a file names, one a line, as editors write it; raises UserError if it cannot be read."""
    if not path:
        return set()
    return {line.strip(" \t") for line in read_text(path) if line.strip(" \t")}
