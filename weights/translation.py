"""From the names and arrays of a public layout to ours, and back; what is not understood is refused by name."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np

from weights.files import Arrays
from weights.layout import COUNTER, Layout
from weights.layouts import LAYOUTS
from weights.pickles import CheckpointError
from weights.tables import Table, rename

# What a file of any layout may hold that no model of ours has, by the file's names, and why.
LEFT_OUT = {
    rf"(?:.*\.)?{COUNTER}": "PyTorch's counter of batches, which Paddle does not keep",
    r"(?:.*\.)?total_(?:ops|params)": "a count of the tool thop",
    r"(?:.*\.)?(?:input_shape|output_shape|parameter_quantity|inference_memory|MAdd|duration|Flops|Memory)":
        "a measurement of the tool torchstat",
    r"(?:.*\.)?n_averaged": "the counter of PyTorch's AveragedModel",
    r"steps": "the counter of mmengine's averaged models",
    r"(?:.*\.)?_extra_state": "state that is no tensor",
}  # fmt: skip
# Parts of names that wrappers put anywhere among the others.
_WRAPPERS = {"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
_LONGEST_PREFIX, _FEW = 6, 40  # parts of a name; names that show which prefix to complain about


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
        return {**layout.network, **layout.options(shown), **self._named_fields(layout.network_in_name)}

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
    reading = recognized(list(arrays), source) or _refuse(list(arrays), origin, source)
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
    return Translation(origin, reading.layout, found, names, reshaped, reading.dropped, taken=reading.spelling.taken_off)


def to_layout(arrays: Arrays, layout: str) -> Arrays:
    """Our arrays in another layout; raises CheckpointError if it is unknown, or has no name for one of the tensors."""
    if layout not in LAYOUTS:
        raise CheckpointError(f"--target must be one of {', '.join(LAYOUTS)}, got {layout!r}")
    form, kind = LAYOUTS[layout], LAYOUTS[layout].kind
    ours = [name if form.wraps else folded(name) for name in arrays]
    tables = ({name: _renamed(name, form, table, False) for name in ours} for table in form.tables)
    names = min(tables, key=lambda names: sum(not theirs for theirs in names.values()))
    found = {}
    for name, array in zip(ours, arrays.values(), strict=True):
        if not names[name]:
            raise CheckpointError(f"the layout {layout} has no name for {name}: choose another --target")
        theirs = form.prefix + _in_words(names[name], kind.words)
        found[theirs] = np.ascontiguousarray(kind.to_theirs(theirs, array))
        if kind.counter and name.endswith("._variance"):
            found[f"{theirs.rpartition('.')[0]}.{kind.counter}"] = np.array(0, np.int64)
    return found


def folded(name: str) -> str:
    """One of our names without the mark of a wrapped layer."""
    return name.replace(".net.", ".")


class _Spelling(NamedTuple):
    """The names of a file, perhaps without what wrappers have put into them.

    Attributes:
        names: All of them, in order.
        left_out: Those that have no place in any model of ours -> the reason.
        taken_off: In words, what they lack; empty if nothing.
    """

    names: list[str]
    left_out: dict[str, str]
    taken_off: str


class Reading(NamedTuple):
    """A spelling of the names of a file, read by one table of a layout.

    Attributes:
        layout: A key of LAYOUTS.
        spelling: What is read.
        names: Those of the spelling -> ours, empty where the table does not know them.
        dropped: Those that have no place in ours -> the reason.
        unknown: How many of `names` are not known: all if the file is of another framework.
    """

    layout: str
    spelling: _Spelling
    names: dict[str, str]
    dropped: dict[str, str]
    unknown: int

    @property
    def has_classifier(self) -> bool:
        """Whether a tensor belongs to it."""
        return any(ours.startswith("cls_head.") for ours in self.names.values())


def recognized(names: list[str], source: str = "auto") -> Reading | None:
    """The reading by the first layout that knows all names, with as much of them as possible; None if none does.

    A file that holds a classifier is read as one with a classifier: `backbone.fc.weight` is of an image network in a
    wrapper, and not of a backbone with a layer `fc`.
    """
    first = None
    for spelling in _spellings(names):
        for layout, table in _tables(source):
            if not _knows(layout, table, spelling):
                continue
            reading = _read_by(layout, table, spelling)
            if reading.has_classifier:
                return reading
            first = first or reading
    return first


def _refuse(names: list[str], origin: str, source: str) -> NoReturn:
    """Raises CheckpointError with what the layout that comes nearest does not know."""
    spelling = min(  # by the first names, as all of them take long
        _spellings(names),
        key=lambda one: min(_read_by(*by, one._replace(names=one.names[:_FEW])).unknown for by in _tables(source)),
    )
    layout, _, found, _, unknown = min(
        (_read_by(*by, spelling) for by in _tables(source)), key=lambda reading: reading.unknown
    )
    first = next((name for name, ours in found.items() if not ours or unknown == len(found)), "")
    nearest = f"{layout} comes nearest and does not know" if unknown < len(found) else "none of them knows"
    raise CheckpointError(
        f"{origin} has the names of no known layout ({', '.join(LAYOUTS) if source == 'auto' else source}); {nearest} "
        f"{unknown} of {len(found)}, first {first}{f' ({spelling.taken_off})' if spelling.taken_off else ''}"
    )


def _spellings(names: list[str]) -> Iterator[_Spelling]:
    """The names as they are, without ever more of the prefix that they share, and all that without wrappers inside."""
    yield from _without_prefixes(names, "")
    inside = _WRAPPERS & {part for name in names for part in name.split(".")}
    unwrapped = [".".join(part for part in name.split(".") if part not in inside) for name in names]
    if inside and len(set(unwrapped)) == len(names):
        yield from _without_prefixes(unwrapped, f"without {', '.join(map(repr, sorted(inside)))} in names")


def _without_prefixes(names: list[str], taken_off: str) -> Iterator[_Spelling]:
    left_out = _left_out(names)  # which may stand outside of the wrapper, or be its own
    shared = os.path.commonprefix([name.split(".")[:-1] for name in names if name not in left_out])
    for prefix in accumulate((f"{part}." for part in shared[:_LONGEST_PREFIX]), initial=""):
        inner = [name.removeprefix(prefix) for name in names]
        words = [f"without the prefix {prefix!r}"] if prefix else []
        if len(set(inner)) == len(names):
            yield _Spelling(inner, _left_out(inner), " and ".join([*words, *([taken_off] if taken_off else [])]))


def _left_out(names: list[str]) -> dict[str, str]:
    found = {name: why for name in names for pattern, why in LEFT_OUT.items() if re.fullmatch(pattern, name)}
    copies = {f"ema_{name.replace('.', '_')}" for name in names}
    return found | {name: "the second set of mmcv's EMAHook" for name in names if name in copies}


def _tables(source: str) -> list[tuple[str, Table]]:
    return [(name, table) for name in (LAYOUTS if source == "auto" else (source,)) for table in LAYOUTS[name].tables]


def _knows(layout: str, table: Table, spelling: _Spelling) -> bool:
    """Whether a reading would leave no name unknown; it ends at the first that is."""
    form = LAYOUTS[layout]
    rest = [name for name in spelling.names if name not in spelling.left_out]
    if not any(form.kind.spelled(name).endswith(form.kind.mark) for name in rest):
        return False
    return all(
        _to_ours(name, form, table) or any(re.fullmatch(pattern, name) for pattern in form.left_out) for name in rest
    )


def _read_by(layout: str, table: Table, spelling: _Spelling) -> Reading:
    form = LAYOUTS[layout]
    of_layout = {
        name: why for name in spelling.names for pattern, why in form.left_out.items() if re.fullmatch(pattern, name)
    }
    dropped = spelling.left_out | of_layout
    found = {name: _to_ours(name, form, table) for name in spelling.names if name not in dropped}
    is_of_kind = any(form.kind.spelled(name).endswith(form.kind.mark) for name in found)
    return Reading(
        layout, spelling, found, dropped, sum(not ours for ours in found.values()) if is_of_kind else len(found)
    )


def _to_ours(name: str, form: Layout, table: Table) -> str:
    """Our name; empty if the table does not know it."""
    return _renamed(_in_words(form.kind.spelled(name), form.kind.ours), form, table, True)


def _renamed(name: str, layout: Layout, table: Table, to_ours: bool) -> str:
    """The name on the other side; empty if the table does not know it."""
    return name if layout.keeps(name) else rename(name, table, to_ours) or ""


def _in_words(name: str, words: Mapping[str, str]) -> str:
    """The name with another word for its last part, where there is one."""
    stem, dot, last = name.rpartition(".")
    return f"{stem}{dot}{words.get(last, last)}"
