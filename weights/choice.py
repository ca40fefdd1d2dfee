"""Which of several sets of weights in a file is taken: the average of a training run, its last weights, a model of two.

An average (`ema`) is taken where a file holds one beside the weights that it averages, as timm (`load_checkpoint`,
`use_ema=True`) and mmengine (`EMAHook.before_save_checkpoint`, which stores it as `state_dict`) do.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path

import numpy as np

from weights.files import Stored, read_sets
from weights.pickles import CheckpointError, shown
from weights.translation import Translation, recognized, translate

AUTO, AVERAGE, RAW = "auto", "ema", "raw"
_MOST = 50  # sets of a file, the largest; an optimizer may keep one for each tensor


def read(path: str | Path, source: str = AUTO, which: str = AUTO) -> Translation:
    """Reads a weight file of any known layout, and says in `taken` which part of it that is.

    Args:
        path: The file.
        source: See `translate`.
        which: `raw`, `ema` for a moving average, or the keys, joined by dots, that lead to the set; `auto`: the only
            one whose names a layout knows, or the average of two.

    Raises:
        CheckpointError: As `read_sets` and `translate` do, or there is no such set, or more than one.
    """
    sets = sorted(read_sets(path), key=lambda stored: -len(stored.names))[:_MOST]
    chosen, others = _chosen(sets, source, which, path)
    found = translate(chosen.arrays(), str(path), source)
    taken = [f"took {shown(chosen.key)!r}"] if chosen.key else ["took the file's own"] if others else []
    if others:
        taken[0] += f"{', the average,' if chosen.averaged else ''} and not {_listed(others)} (--weights takes another)"
    if found.taken and not taken:
        taken = ["took it"]
    return dataclasses.replace(found, taken=", ".join([*taken, *([found.taken] if found.taken else [])]))


def _chosen(sets: list[Stored], source: str, which: str, path: str | Path) -> tuple[Stored, list[Stored]]:
    """The set to take, and those of the same kind that are not taken."""
    fits = [one for stored in sets for one in _parts(stored, source) if recognized(one.names, source)]
    if which == AUTO:
        averages = [stored for stored in fits if stored.averaged]
        asked = averages or fits or sets[:1]  # the largest is what is complained about if none fits
    elif which in (AVERAGE, RAW):
        asked = [stored for stored in fits or sets if stored.averaged == (which == AVERAGE)]
    else:
        asked = [stored for stored in (*fits, *sets) if stored.key == which][:1]
    if not asked:
        raise CheckpointError(f"{path} holds no weights {which!r} (--weights): it has {_listed(fits or sets)}")
    asked = _different(asked)
    if len(asked) > 1 and fits:
        raise CheckpointError(
            f"{path} holds {len(asked)} sets of weights: {_listed(asked)}; choose one by --weights KEY"
        )
    return asked[0], [stored for stored in fits if stored is not asked[0] and stored.key != asked[0].key]


def _parts(stored: Stored, source: str) -> list[Stored]:
    """The set, or several that stand in it side by side, as `model.` and `ema_model.`: if each is whole by itself."""
    names = sorted((name for name in stored.names if "." in name), key=_first_part)
    groups = {first: list(group) for first, group in groupby(names, _first_part)}
    if len(groups) < 2 or recognized(stored.names, source) or not all(recognized(g, source) for g in groups.values()):
        return [stored]
    return [stored.of(group, ".".join(filter(None, (stored.key, first)))) for first, group in groups.items()]


def _first_part(name: str) -> str:
    return name.partition(".")[0]


def _different(sets: list[Stored]) -> list[Stored]:
    """Without those that hold the same numbers under the same names as one before."""
    kept: list[Stored] = []
    for stored in sets:
        if not any(_is_same(stored, other) for other in kept):
            kept.append(stored)
    return kept


def _is_same(one: Stored, other: Stored) -> bool:
    if one.names != other.names:
        return False
    first, second = one.arrays(), other.arrays()
    return all(np.array_equal(first[name], second[name]) for name in first)


def _listed(sets: Iterable[Stored]) -> str:
    return ", ".join(repr(shown(stored.key)) if stored.key else "its own arrays" for stored in sets)
