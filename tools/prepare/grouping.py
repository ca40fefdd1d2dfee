"""Divides a person's own class folders into training and validation, so that no source of videos is on both sides."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING

from runtime.errors import UserError
from tools.prepare.archives import is_listable
from tools.prepare.media import stem_of
from tools.prepare.release import Annotations, Entry, Subset
from tools.prepare.settings import Lists

if TYPE_CHECKING:
    import numpy as np


def divide(
    paths: Sequence[str], settings: Lists, hashes_of: Callable[[Sequence[str]], Sequence[np.ndarray]]
) -> Annotations:
    """What annotation files of the folders would say.

    Args:
        paths: `<class>/<name>.<suffix>` of each video, sorted.
        settings: How sources are told apart, the part for validation, the seed.
        hashes_of: Gives perceptual hashes of videos, if names do not tell sources apart; see `fingerprints`.

    Raises:
        UserError: Names do not fit the pattern, or no class has two sources.
    """
    if not paths:
        raise UserError("--source holds no video in a folder of its class: <class>/<video>")
    names = tuple(sorted({path.split("/")[0] for path in paths}))
    for name in names:
        if not is_listable(name):
            raise UserError(f"no list can name the class {name!r}: rename it in --source, and remove it from --root")
    labels = [names.index(path.split("/")[0]) for path in paths]
    if settings.source_pattern:
        groups = _grouped([_source_of(path, settings.source_pattern) for path in paths])
    else:
        groups = near_groups(hashes_of(paths))
    validation = choose(groups, labels, settings.val_fraction, settings.split_seed)
    if not validation:
        how = "--source_pattern" if settings.source_pattern else "their frames; --source_pattern tells them by names"
        raise UserError(f"no class has two sources, by {how}: nothing of {len(paths)} videos is left for validation")
    entries = [Entry((stem_of(path),), label) for path, label in zip(paths, labels, strict=True)]
    train = tuple(entry for index, entry in enumerate(entries) if index not in validation)
    val = tuple(entry for index, entry in enumerate(entries) if index in validation)
    return Annotations(names, (Subset("train", 1, train), Subset("val", 1, val)))


def _source_of(path: str, pattern: str) -> str:
    match = re.search(pattern, path.split("/")[-1])
    source = (match[1] if match.re.groups else match[0]) if match else None
    if not source:
        raise UserError(f"source_pattern {pattern!r} is not found in the name of {path}: every name must tell a source")
    return source


def _grouped(keys: Sequence[Hashable]) -> list[list[int]]:
    groups: dict[Hashable, list[int]] = {}
    for index, key in enumerate(keys):
        groups.setdefault(key, []).append(index)
    return list(groups.values())


def near_groups(hashes: Sequence[np.ndarray]) -> list[list[int]]:
    """Indices of videos in groups: of one group are near duplicates, and near duplicates of those."""
    from tools.prepare.fingerprints import near_duplicates

    parents = list(range(len(hashes)))

    def root_of(index: int) -> int:
        while parents[index] != index:
            parents[index] = index = parents[parents[index]]
        return index

    for left, right in near_duplicates(hashes, hashes):
        parents[max(root_of(left), root_of(right))] = min(root_of(left), root_of(right))
    return _grouped([root_of(index) for index in range(len(hashes))])


def choose(groups: Sequence[list[int]], labels: Sequence[int], fraction: float, seed: int) -> set[int]:
    """Videos of the groups that go to validation: whole groups, of each class about a fraction.

    A class of several groups is on both sides, if that can be.

    Args:
        groups: Indices of videos.
        labels: Of each video.
        fraction: Of the videos of each class.
        seed: Of the order in which groups of the same size are looked at.
    """
    total = Counter(labels)
    have: Counter[int] = Counter()  # in validation
    counts = [Counter(labels[index] for index in group) for group in groups]
    order = list(range(len(groups)))
    random.Random(seed).shuffle(order)
    order.sort(key=lambda one: len(groups[one]), reverse=True)
    chosen: set[int] = set()

    def miss(label: int, number: int) -> float:
        return (fraction * total[label] - number) ** 2

    def move(one: int, must: bool = False) -> bool:
        """Lets a group change sides if each class stays in training and all come nearer to their shares."""
        sign = -1 if one in chosen else 1
        after = {label: have[label] + sign * count for label, count in counts[one].items()}
        gain = sum(miss(label, have[label]) - miss(label, number) for label, number in after.items())
        if any(number == total[label] for label, number in after.items()) or (gain <= 0 and not must):
            return False
        have.update({label: sign * count for label, count in counts[one].items()})
        chosen.symmetric_difference_update({one})
        return True

    while sum(map(move, order)):
        pass
    for label in sorted(total):  # a class of two sources, whose share is less than one of them
        any(counts[one][label] and not have[label] and move(one, must=True) for one in reversed(order))
    return {index for one in chosen for index in groups[one]}
