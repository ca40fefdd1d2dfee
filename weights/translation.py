"""From the names and arrays of a public layout to ours, and back; what is not understood is refused by name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from weights.files import Arrays, CheckpointError, read_file
from weights.layouts import KINDS, LAYOUTS, Kind, Layout, Table, rename

SOURCES = ("auto", *LAYOUTS)
COUNTER = "num_batches_tracked"
# What a file may hold that no model of ours has, by the file's names, and why.
LEFT_OUT = {
    rf".*\.{COUNTER}": "PyTorch's counter of batches, which Paddle does not keep",
    r"cls_head\.new_cls\.\w+": "MVFNet's copy of new_fc for fully convolutional tests",
}


# Networks whose tensors have a ResNet's names and shapes, by what file names call them.
LOOK_ALIKES = re.compile(r"(?:^|[_-])(?:c2d|resnetaa|resnetblur|resnet\d+d)(?:[_.-]|\d|$)", re.IGNORECASE)


@dataclass(frozen=True)
class Translation:
    """The weights of a file in our names and arrangement, and what it tells of its model.

    Attributes:
        origin: The file, for messages.
        layout: A key of LAYOUTS.
        arrays: By our names, in Paddle's arrangement; without `net.` if the layout does not show what is wrapped.
        names: Our name -> the file's.
        reshaped: Our names whose axes were exchanged -> how.
        dropped: The file's names that have no place in ours -> the reason.
        models: Names of the models that the tensors look like, for messages.
    """

    origin: str
    layout: str
    arrays: Arrays
    names: Mapping[str, str]
    reshaped: Mapping[str, str]
    dropped: Mapping[str, str]
    models: tuple[str, ...] = ()

    @property
    def wraps(self) -> bool:
        """Whether the names show which layers a temporal module wraps."""
        return LAYOUTS[self.layout].wraps

    @property
    def classifier(self) -> str:
        """Our name of the classifier's bias; empty without one."""
        return next((name for name in self.arrays if re.fullmatch(r"cls_head\.(?:.+\.)?bias", name)), "")

    @property
    def num_classes(self) -> int:
        """Classes of the classifier, 0 without one."""
        return self.arrays[self.classifier].size if self.classifier else 0

    def options_of(self, shown: Mapping[str, Any]) -> dict[str, Any]:
        """Options without which the weights are not the network that they were.

        Args:
            shown: Those that the tensors show.
        """
        options = {**LAYOUTS[self.layout].network, **shown}
        if self.layout == "mvfnet" and options.get("mvf_use_hs"):
            del options["mvf_use_hs"]  # it has the norm even where it does not use it
        named = self._named_fields
        return options | ({"shift_div": named["shift_div"]} if "shift_div" in named else {})

    @property
    def protocol(self) -> dict[str, Any]:
        """Recipe fields of how the authors sample and test, by the layout and by the name of the file."""
        fields = {**LAYOUTS[self.layout].protocol, **self._named_fields}
        fields.pop("shift_div", None)
        if self.layout in ("mit-tsm", "mmaction2") and re.search(r"[_-]dense[_.-]", self.origin):
            fields |= {"sampling": "dense", "test_clips": 10}
        return fields

    @property
    def _named_fields(self) -> dict[str, int]:
        """Recipe fields in the name of the file, or of its folder, as its authors write them there."""
        found: dict[str, int] = {}
        for place in (Path(self.origin).parent.name, Path(self.origin).name):
            for pattern in LAYOUTS[self.layout].file_name:
                for match in re.finditer(pattern, place):
                    found |= {name: int(value) for name, value in match.groupdict().items()}
        return found


def read(path: str | Path, source: str = "auto") -> Translation:
    """Reads a weight file of any known layout: `read_file`, then `translate`."""
    return translate(read_file(path), str(path), source)


def translate(arrays: Mapping[str, np.ndarray], origin: str, source: str = "auto") -> Translation:
    """Finds out which layout arrays have, and brings them to ours.

    Args:
        arrays: Of one file, as they are.
        origin: The file, for messages.
        source: A key of LAYOUTS, or `auto`: the one that knows all names.

    Raises:
        CheckpointError: No layout knows all names, two tensors have one name, or a value is not finite.
    """
    if source not in SOURCES:
        raise CheckpointError(f"--source must be one of {', '.join(SOURCES)}, got {source!r}")
    arrays = _without_prefix(arrays)
    dropped = {name: reason for name in arrays for pattern, reason in LEFT_OUT.items() if re.fullmatch(pattern, name)}
    wanted = [name for name in arrays if name not in dropped]
    layout, names = _recognize(wanted, origin, source)
    _refuse_look_alikes(origin, layout)
    kind = KINDS[LAYOUTS[layout].kind]
    found: dict[str, np.ndarray] = {}
    reshaped: dict[str, str] = {}
    for theirs, ours in names.items():
        if ours in found:
            raise CheckpointError(f"{origin} holds {ours} twice, once as {theirs}")
        if arrays[theirs].dtype.kind != "f":
            raise CheckpointError(f"{origin}: {theirs} is of type {arrays[theirs].dtype}, and weights are of floats")
        if not np.isfinite(arrays[theirs]).all():
            raise CheckpointError(f"{origin}: {theirs} holds values that are not finite; take an earlier checkpoint")
        found[ours] = kind.to_ours(theirs, arrays[theirs])
        if found[ours] is not arrays[theirs]:
            reshaped[ours] = kind.moved
    return Translation(origin, layout, found, {ours: theirs for theirs, ours in names.items()}, reshaped, dropped)


def to_layout(arrays: Arrays, layout: str) -> Arrays:
    """Our arrays under the names and in the arrangement of another layout.

    Raises:
        CheckpointError: The layout is unknown, or has no name for one of the tensors.
    """
    if layout not in LAYOUTS:
        raise CheckpointError(f"--target must be one of {', '.join(LAYOUTS)}, got {layout!r}")
    form = LAYOUTS[layout]
    kind = KINDS[form.kind]
    ours = [name if form.wraps else folded(name) for name in arrays]
    names = min((_renamed(ours, table, False) for table in form.tables), key=_unknown)
    for name, theirs in names.items():
        if theirs is None:
            raise CheckpointError(f"the layout {layout} has no name for {name}: choose another --target")
    found = {}
    for name, array in zip(ours, arrays.values(), strict=True):
        theirs = form.prefix + _in_words(str(names[name]), kind)
        found[theirs] = np.ascontiguousarray(kind.to_theirs(theirs, array))
        if form.kind == "torch" and name.endswith("._variance"):
            found[f"{theirs.rpartition('.')[0]}.{COUNTER}"] = np.array(0, np.int64)
    return found


def folded(name: str) -> str:
    """One of our names without the mark of a wrapped layer."""
    return name.replace(".net.", ".")


def _without_prefix(arrays: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    """Without DataParallel's `module.`; Keras's paths as one of its two ways to write them."""
    if all(name.startswith("module.") for name in arrays):
        return {name.removeprefix("module."): array for name, array in arrays.items()}
    return {name.replace("/", "|"): array for name, array in arrays.items()}


def _recognize(names: list[str], origin: str, source: str) -> tuple[str, dict[str, str]]:
    """The layout that knows all names, and our name for each of them."""
    best: tuple[int, str, dict[str, str | None]] | None = None
    for layout, table in _tables(source):
        plain = {name: _in_our_words(name, KINDS[LAYOUTS[layout].kind]) for name in names}
        renamed = _renamed(list(plain.values()), table, True)
        found = {name: renamed[plain[name]] for name in names}
        unknown = _unknown(found) if _speaks(names, LAYOUTS[layout]) else len(names)
        if best is None or unknown < best[0]:
            best = unknown, layout, found
        if unknown == 0:
            return layout, {name: str(ours) for name, ours in found.items()}
    assert best is not None
    unknown, layout, found = best
    first = next(name for name in names if found[name] is None or unknown == len(names))
    nearest = f"{layout} comes nearest and does not know" if unknown < len(names) else "none of them knows"
    raise CheckpointError(
        f"{origin} has the names of no known layout ({', '.join(LAYOUTS) if source == 'auto' else source}); {nearest} "
        f"{unknown} of {len(names)}, first {first}"
    )


def _refuse_look_alikes(origin: str, layout: str) -> None:
    look_alike = LOOK_ALIKES.search(Path(origin).name)
    if look_alike and layout != "ours":
        raise CheckpointError(
            f"{origin} has the names of a ResNet, but a {look_alike[0].strip('_-.')} computes something else with them "
            "(other pooling): none of ours does; rename the file if it is a plain ResNet all the same"
        )


def _tables(source: str) -> Iterator[tuple[str, Table]]:
    for name, layout in LAYOUTS.items():
        if source in ("auto", name):
            for table in layout.tables:
                yield name, table


def _speaks(names: list[str], layout: Layout) -> bool:
    """Whether the names of the statistics are those of the layout's framework."""
    return any(re.split(r"[.|]", name)[-1] == KINDS[layout.kind].mark for name in names)


def _renamed(names: list[str], table: Table, to_ours: bool) -> dict[str, str | None]:
    return {name: rename(name, table, to_ours) for name in names}


def _unknown(names: Mapping[str, str | None]) -> int:
    return sum(name is None for name in names.values())


def _in_our_words(name: str, kind: Kind) -> str:
    words = {theirs: ours for ours, theirs in kind.words.items()}
    stem, dot, last = name.rpartition(".")
    return f"{stem}{dot}{words.get(last, last)}"


def _in_words(name: str, kind: Kind) -> str:
    stem, dot, last = name.rpartition(".")
    return f"{stem}{dot}{kind.words.get(last, last)}"
