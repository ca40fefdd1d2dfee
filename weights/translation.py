"""From the names and arrays of a public layout to ours, and back; what is not understood is refused by name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from weights.files import Arrays
from weights.layouts import LAYOUTS
from weights.pickles import CheckpointError
from weights.recognition import in_words, recognized, refuse, renamed


@dataclass(frozen=True)
class Translation:
    """The weights of a file in our names and order of axes, and what it tells of its model.

    Attributes:
        origin: The file, for messages.
        layout: A key of LAYOUTS.
        arrays: By our names, in Paddle's order of axes; without `net.` if the layout does not show what is wrapped.
        names: Our name -> the file's.
        reshaped: Our names whose axes were exchanged -> how.
        dropped: The file's names that have no place in ours -> the reason.
        models: Names of the models that the tensors look like, for messages.
        taken: Which part of the file these are, and what was taken off their names; empty if it is all as it stands.
    """

    origin: str
    layout: str
    arrays: Arrays
    names: Mapping[str, str]
    reshaped: Mapping[str, str]
    dropped: Mapping[str, str]
    models: tuple[str, ...] = ()
    taken: str = ""

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
        """Options without which the weights are not the network that they were; the tensors show those of `shown`."""
        layout = LAYOUTS[self.layout]
        named = {**self._named_fields(layout.network_in_name), **layout.network_of(self.origin)}
        return {**layout.network, **layout.options(shown), **named}

    @property
    def protocol(self) -> dict[str, Any]:
        """Recipe fields of how the authors sample and test, by the layout and by the name of the file."""
        layout = LAYOUTS[self.layout]
        return {**layout.protocol, **self._named_fields(layout.protocol_in_name), **layout.protocol_of(self.origin)}

    def _named_fields(self, patterns: Iterable[str]) -> dict[str, int]:
        """Recipe fields in the name of the file, or of its folder, as its authors write them there."""
        found: dict[str, int] = {}
        for place in (Path(self.origin).parent.name, Path(self.origin).name):
            for pattern in patterns:
                for match in re.finditer(pattern, place):
                    found |= {name: int(value) for name, value in match.groupdict().items()}
        return found


def translate(arrays: Mapping[str, np.ndarray], origin: str, source: str = "auto") -> Translation:
    """Finds out which layout arrays have, and brings them to ours.

    Args:
        arrays: Of one file, as they are. A prefix that all names share is taken off where a layout knows the rest.
        origin: The file, for messages.
        source: A key of LAYOUTS, or `auto`: the one that knows all names.

    Raises:
        CheckpointError: No layout knows all names, two tensors have one name, or a value is not finite.
    """
    if source not in ("auto", *LAYOUTS):
        raise CheckpointError(f"--source must be one of {', '.join(('auto', *LAYOUTS))}, got {source!r}")
    axes = max((array.ndim for array in arrays.values()), default=0)
    reading = recognized(list(arrays), source, axes) or refuse(list(arrays), origin, source)
    if why := LAYOUTS[reading.layout].refuses_file(Path(origin).name):
        raise CheckpointError(f"{origin} {why}")
    kind = LAYOUTS[reading.layout].kind
    arrays = dict(zip(reading.spelling.names, arrays.values(), strict=True))
    found: dict[str, np.ndarray] = {}
    reshaped: dict[str, str] = {}
    for theirs, ours in reading.names.items():
        if ours in found:
            raise CheckpointError(f"{origin} holds {ours} twice, once as {theirs}")
        if arrays[theirs].dtype.kind != "f":
            raise CheckpointError(f"{origin}: {theirs} is of type {arrays[theirs].dtype}, and weights are of floats")
        if not np.isfinite(arrays[theirs]).all():
            raise CheckpointError(f"{origin}: {theirs} holds values that are not finite; take an earlier checkpoint")
        found[ours] = kind.to_ours(theirs, arrays[theirs])
        if found[ours] is not arrays[theirs]:
            reshaped[ours] = kind.moved
    names = {ours: theirs for theirs, ours in reading.names.items()}
    for ours, array in LAYOUTS[reading.layout].implied(found).items():
        found[ours], names[ours], reshaped[ours] = array, "none", "a constant of the source's network"
    return Translation(
        origin, reading.layout, found, names, reshaped, reading.dropped, taken=reading.spelling.taken_off
    )


def to_layout(arrays: Arrays, layout: str) -> Arrays:
    """Our arrays in another layout; raises CheckpointError if it is unknown, or has no name for one of the tensors."""
    if layout not in LAYOUTS:
        raise CheckpointError(f"--target must be one of {', '.join(LAYOUTS)}, got {layout!r}")
    form, kind = LAYOUTS[layout], LAYOUTS[layout].kind
    ours = [name if form.wraps else folded(name) for name in arrays]
    chosen = form.table_of(arrays)
    tables = form.tables if chosen is None else form.tables[chosen : chosen + 1]
    candidates = ({name: renamed(name, form, table, False) for name in ours} for table in tables)
    names = min(candidates, key=lambda names: sum(not theirs for theirs in names.values()))
    found = {}
    implied = form.implied(arrays)
    for name, array in zip(ours, arrays.values(), strict=True):
        if not names[name] and name in implied and np.array_equal(array, implied[name]):
            continue
        if not names[name]:
            raise CheckpointError(f"the layout {layout} has no name for {name}: choose another --target")
        theirs = form.prefix + kind.written(in_words(names[name], kind.words))
        found[theirs] = np.ascontiguousarray(kind.to_theirs(theirs, array))
        if kind.counter and name.endswith("._variance"):
            found[f"{theirs.rpartition('.')[0]}.{kind.counter}"] = np.array(0, np.int64)
    return found


def folded(name: str) -> str:
    """One of our names without the mark of a wrapped layer."""
    return name.replace(".net.", ".")
