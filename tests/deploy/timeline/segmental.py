"""The segmental F1 of temporal segmentation: a part counts once, if it overlaps one of its label by enough.

Source: Lea et al., "Temporal convolutional networks for action segmentation and detection", CVPR 2017, section 4.
"""

from __future__ import annotations

from collections.abc import Sequence

Part = tuple[float, float, str]  # start, end, label


def merged(parts: Sequence[Part]) -> list[Part]:
    """Parts of one label that follow each other as one."""
    found: list[Part] = []
    for start, end, label in parts:
        if found and found[-1][2] == label and abs(found[-1][1] - start) < 1e-6:
            found[-1] = (found[-1][0], end, label)
        else:
            found.append((start, end, label))
    return found


def segmental_f1(found: Sequence[Part], truth: Sequence[Part], overlap: float) -> float:
    """F1 over parts, of which each of the truth is met once, by an intersection over union of `overlap` at least."""
    met: set[int] = set()
    for start, end, label in found:
        shares = [
            (min(end, right) - max(start, left)) / (max(end, right) - min(start, left)) if other == label else -1.0
            for left, right, other in truth
        ]
        best = max(range(len(shares)), key=shares.__getitem__)
        if shares[best] >= overlap:
            met.add(best)  # a second one that meets it is a false alarm
    return 2 * len(met) / (len(found) + len(truth))
