"""Which layout the names of a file are of, once what wrappers and tools have put into them is taken off."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from itertools import accumulate, islice, takewhile
from typing import NamedTuple, NoReturn

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


class Spelling(NamedTuple):
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
    spelling: Spelling
    names: dict[str, str]
    dropped: dict[str, str]
    unknown: int

    @property
    def has_classifier(self) -> bool:
        """Whether a tensor belongs to it."""
        return any(ours.startswith("cls_head.") for ours in self.names.values())


def recognized(names: list[str], source: str = "auto", axes: int = 0) -> Reading | None:
    """The reading by the first layout that knows all names, with as much of them as possible; None if none does.

    Args:
        names: Of a file.
        source: A key of LAYOUTS, or `auto`.
        axes: Most axes of a tensor there; 0 if it is not known. It decides between layouts with the same names.

    A file that holds a classifier is read as one with a classifier: `backbone.fc.weight` is of an image network in a
    wrapper, and not of a backbone with a layer `fc`.
    """
    first = None
    for spelling in _spellings(names):
        for layout, table in _tables(source):
            other = axes and source == "auto" and LAYOUTS[layout].axes not in (0, axes)
            if other or not _knows(layout, table, spelling):
                continue
            reading = _read_by(layout, table, spelling)
            if reading.has_classifier:
                return reading
            first = first or reading
    return first


def refuse(names: list[str], origin: str, source: str) -> NoReturn:
    """Raises CheckpointError with what the layout that comes nearest does not know."""
    spelling = min(  # by the first names, as all of them take long
        _spellings(names),
        key=lambda one: min(_read_by(*by, one._replace(names=one.names[:_FEW])).unknown for by in _tables(source)),
    )
    layout, _, found, _, unknown = min(
        (_read_by(*by, spelling) for by in _tables(source)), key=lambda reading: reading.unknown
    )
    first = next((name for name, ours in found.items() if not ours or unknown == len(found)), "")
    prefix = Counter(name.partition(".")[0] for name in names).most_common(1)[0][0] + "."
    outside = [name for name in names if not name.startswith(prefix)]
    inside = recognized([name for name in names if name.startswith(prefix)], source) if len(outside) < unknown else None
    if inside:
        raise CheckpointError(
            f"{origin}: {len(outside)} of {len(names)} names do not begin with {prefix!r}, first {outside[0]}; the "
            f"others are of the layout {inside.layout}: --weights with the keys to them and {prefix[:-1]!r} takes those"
        )
    nearest = f"{layout} comes nearest and does not know" if unknown < len(found) else "none of them knows"
    raise CheckpointError(
        f"{origin} has the names of no known layout ({', '.join(LAYOUTS) if source == 'auto' else source}); {nearest} "
        f"{unknown} of {len(found)}, first {first}{f' ({spelling.taken_off})' if spelling.taken_off else ''}"
    )


def _spellings(names: list[str]) -> Iterator[Spelling]:
    """The names as they are, without ever more of the prefix that they share, and all that without wrappers inside."""
    yield from _without_prefixes(names, "")
    inside = _WRAPPERS & {part for name in names for part in name.split(".")}
    unwrapped = [".".join(part for part in name.split(".") if part not in inside) for name in names]
    if inside and len(set(unwrapped)) == len(names):
        yield from _without_prefixes(unwrapped, f"without {', '.join(map(repr, sorted(inside)))} in names")


def _without_prefixes(names: list[str], taken_off: str) -> Iterator[Spelling]:
    left_out = _left_out(names)  # which may stand outside of the wrapper, or be its own
    columns = zip(*(name.split(".")[:-1] for name in names if name not in left_out), strict=False)
    shared = takewhile(lambda parts: len(set(parts)) == 1, islice(columns, _LONGEST_PREFIX))
    for prefix in accumulate((f"{parts[0]}." for parts in shared), initial=""):
        inner = [name.removeprefix(prefix) for name in names]
        words = [f"without the prefix {prefix!r}"] if prefix else []
        if len(set(inner)) == len(names):
            yield Spelling(inner, _left_out(inner), " and ".join([*words, *([taken_off] if taken_off else [])]))


def _left_out(names: list[str]) -> dict[str, str]:
    found = {name: why for name in names for pattern, why in LEFT_OUT.items() if re.fullmatch(pattern, name)}
    copies = {f"ema_{name.replace('.', '_')}" for name in names}
    return found | {name: "the second set of mmcv's EMAHook" for name in names if name in copies}


def _tables(source: str) -> list[tuple[str, Table]]:
    return [(name, table) for name in (LAYOUTS if source == "auto" else (source,)) for table in LAYOUTS[name].tables]


def _knows(layout: str, table: Table, spelling: Spelling) -> bool:
    """Whether a reading would leave no name unknown; it ends at the first that is."""
    form = LAYOUTS[layout]
    rest = [name for name in spelling.names if name not in spelling.left_out]
    if not _is_of_kind(form, rest):
        return False
    return all(
        _to_ours(name, form, table) or any(re.fullmatch(pattern, name) for pattern in form.left_out) for name in rest
    )


def _read_by(layout: str, table: Table, spelling: Spelling) -> Reading:
    form = LAYOUTS[layout]
    of_layout = {
        name: why for name in spelling.names for pattern, why in form.left_out.items() if re.fullmatch(pattern, name)
    }
    dropped = spelling.left_out | of_layout
    found = {name: _to_ours(name, form, table) for name in spelling.names if name not in dropped}
    unknown = sum(not ours for ours in found.values()) if _is_of_kind(form, found) else len(found)
    return Reading(layout, spelling, found, dropped, unknown)


def _is_of_kind(form: Layout, names: Collection[str]) -> bool:
    """Whether names are of a layout's framework; those of a network without statistics may be of any."""
    if any(form.kind.spelled(name).endswith(form.kind.mark) for name in names):
        return True
    marks = tuple(other.kind.mark for other in LAYOUTS.values())
    return not any(name.endswith(marks) for name in names)


def _to_ours(name: str, form: Layout, table: Table) -> str:
    """Our name; empty if the table does not know it."""
    return renamed(in_words(form.kind.spelled(name), form.kind.ours), form, table, True)


def renamed(name: str, layout: Layout, table: Table, to_ours: bool) -> str:
    """The name on the other side; empty if the table does not know it."""
    return name if layout.keeps(name) else rename(name, table, to_ours) or ""


def in_words(name: str, words: Mapping[str, str]) -> str:
    """The name with another word for its last part, where there is one."""
    stem, dot, last = name.rpartition(".")
    return f"{stem}{dot}{words.get(last, last)}"
