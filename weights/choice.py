"""Which of several sets of weights in a file is taken: the average of a training run, its last weights, a model of two.

An average (`ema`) is taken where a file holds one beside the weights that it averages, as timm (`load_checkpoint`,
`use_ema=True`) and mmengine (`EMAHook.before_save_checkpoint`, which stores it as `state_dict`) do.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path

import numpy as np

from weights.files import Stored, read_sets
from weights.pickles import CheckpointError, shown
from weights.recognition import recognized
from weights.translation import Translation, translate

AUTO, AVERAGE, RAW = "auto", "ema", "raw"
_MOST_SETS = 50  # of a file, the largest; an optimizer may keep one for each tensor
_MOST_ARRAYS = 10_000  # of a set; the largest network here has 600, and tools add some for each layer


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
    sets = [stored for stored in read_sets(path) if len(stored.names) <= _MOST_ARRAYS]
    if not sets:
        raise CheckpointError(f"{path} holds more than {_MOST_ARRAYS} arrays, which no network here has")
    sets = sorted(sets, key=lambda stored: -len(stored.names))[:_MOST_SETS]
    fits = [one for stored in sets for one in _fitting(stored, source)]
    chosen = _chosen(sets, fits, which, path)
    found = translate(chosen.arrays(), str(path), source)
    others = [stored for stored in fits if stored is not chosen]
    return dataclasses.replace(found, taken=_in_words(chosen, others, found.taken))


def _in_words(chosen: Stored, others: list[Stored], taken_off: str) -> str:
    """What was taken; empty if the file is nothing else."""
    if not (chosen.key or others or taken_off):
        return ""
    words = f"took {_listed([chosen])}{', the average' if chosen.averaged else ''}"
    words += f", {taken_off}" if taken_off else ""
    if others:
        flag = RAW if chosen.averaged else AVERAGE if any(stored.averaged for stored in others) else "KEY"
        words += f" (--weights {flag} takes {_listed(others)})"
    return words


def _chosen(sets: list[Stored], fits: list[Stored], which: str, path: str | Path) -> Stored:
    """The set to take of all, of which a layout knows those that fit."""
    if which == AUTO:
        averages = [stored for stored in fits if stored.averaged]
        asked = averages or fits or sets[:1]  # the largest is what is complained about if none fits
    elif which in (AVERAGE, RAW):
        asked = [stored for stored in fits or sets if stored.averaged == (which == AVERAGE)]
    else:
        asked = [stored for stored in (*fits, *sets, *_named(sets, which)) if stored.key == which][:1]
    if not asked:
        raise CheckpointError(f"{path} holds no weights {which!r} (--weights): it has {_listed(fits or sets)}")
    asked = _different(asked) if fits else asked[:1]
    if len(asked) > 1:
        raise CheckpointError(
            f"{path} holds {len(asked)} sets of weights: {_listed(asked)}; choose one by --weights KEY"
        )
    return asked[0]


def _fitting(stored: Stored, source: str) -> list[Stored]:
    """The set, if a layout knows it, or those that stand in it side by side, as `model.` and `ema_model.`.

    The latter only if each is whole by itself: else one would be a part of the other's network.
    """
    if recognized(stored.names, source):
        return [stored]
    names = sorted((name for name in stored.names if "." in name), key=_first_part)
    groups = {first: list(group) for first, group in groupby(names, _first_part)}
    if not all(recognized(group, source) for group in groups.values()):
        return []
    return [stored.of(group, _joined(stored.key, first)) for first, group in groups.items()]


def _named(sets: list[Stored], which: str) -> Iterator[Stored]:
    """What begins with the last of the keys in a set: whoever asks for it leaves out the rest of the set."""
    prefix = which.rpartition(".")[2] + "."
    for stored in sets:
        if names := [name for name in stored.names if name.startswith(prefix)]:
            yield stored.of(names, _joined(stored.key, prefix[:-1]))


def _joined(key: str, part: str) -> str:
    return f"{key}.{part}" if key else part


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
    return ", ".join(repr(shown(stored.key)) + " (the file itself)" * (not stored.key) for stored in sets)
