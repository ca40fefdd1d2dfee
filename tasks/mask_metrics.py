"""How well maps of scores meet masks, in NumPy: intersection over union, boundaries, pixels, strips at filled borders.

Sources: Everingham et al., "The PASCAL Visual Object Classes Challenge", IJCV 2010, section 4.2 (intersection over
union, of all pixels of a set); Perazzi et al., "A Benchmark Dataset and Evaluation Methodology for Video Object
Segmentation", CVPR 2016, section 4.1 (the F measure of boundaries, which are dilated by 0.008 of the diagonal).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from datasets.letterbox import UNKNOWN

REACH = 0.008  # how far boundaries may lie apart, of the diagonal
STRIP = 1 / 16  # width of the strip along a filled border, of the side


@dataclass(frozen=True)
class Figures:
    """What one mask gives.

    Attributes:
        confusion: Counts int64 [K, K] of pixels with a label: row is the label, column the class.
        iou: Mean intersection over union of the classes that the mask or the prediction has.
        boundary: F measure of the boundaries of all classes but the first, their mean where one of both has the class;
            NaN where none has.
        strip: Pixels of the strip along a filled border, and how many of them are wrong; 0 and 0 without such a border.
    """

    confusion: np.ndarray
    iou: float
    boundary: float
    strip: tuple[int, int]


def figures(scores: np.ndarray, labels: np.ndarray) -> Figures:
    """Holds the scores of one image against its mask.

    Args:
        scores: float [K, H, W]; of equal scores the lower class counts.
        labels: uint8 [H, W], UNKNOWN where there is none.
    """
    classes, predicted, known = len(scores), scores.argmax(axis=0), labels != UNKNOWN
    pairs = labels[known].astype(np.int64) * classes + predicted[known]
    confusion = np.bincount(pairs, minlength=classes**2).reshape(classes, classes)  # [K, K]
    boundaries = [
        boundary_f((predicted == k) & known, labels == k)
        for k in range(1, classes)
        if confusion[k].any() or confusion[:, k].any()
    ]
    wrong = strip_along_border(labels) & known
    return Figures(
        confusion,
        mean_iou(confusion),
        float(np.mean(boundaries)) if boundaries else math.nan,
        (int(wrong.sum()), int((wrong & (predicted != labels)).sum())),
    )


def iou(confusion: np.ndarray) -> np.ndarray:
    """Intersection over union of each class, float [K]; NaN for a class that neither side has."""
    hits = np.diag(confusion)
    union = confusion.sum(axis=0) + confusion.sum(axis=1) - hits
    return hits / np.where(union == 0, np.nan, union)


def mean_iou(confusion: np.ndarray) -> float:
    """Mean over the classes that one side has."""
    return float(np.nanmean(iou(confusion)))


def boundary_f(predicted: np.ndarray, wanted: np.ndarray) -> float:
    """F measure of the boundaries of two regions, bool [H, W]; 1 where neither has one, 0 where one alone has."""
    reach = math.ceil(REACH * math.hypot(*wanted.shape))
    steps = np.arange(-reach, reach + 1)
    disc = (steps[:, None] ** 2 + steps**2 <= reach**2).astype(np.uint8)
    edges = [_edge(region) for region in (predicted, wanted)]
    if not all(edge.any() for edge in edges):
        return float(not any(edge.any() for edge in edges))
    precision, recall = (
        float(edge[cv2.dilate(other.astype(np.uint8), disc) > 0].sum()) / float(edge.sum())
        for edge, other in (edges, edges[::-1])
    )
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _edge(region: np.ndarray) -> np.ndarray:
    """The pixels that differ from the one to the right, the one below, or the one right below: bool [H, W]."""
    values = np.pad(region, ((0, 1), (0, 1)), mode="edge")
    here = values[:-1, :-1]
    edge: np.ndarray = (here != values[:-1, 1:]) | (here != values[1:, :-1]) | (here != values[1:, 1:])
    return edge


def strip_along_border(labels: np.ndarray) -> np.ndarray:
    """The pixels next to a filled border, bool [H, W]: as far as STRIP of the side goes into the picture."""
    known = labels != UNKNOWN
    inside = np.ones_like(known)
    for axis in (0, 1):
        rows = np.flatnonzero(known.any(axis=1 - axis))
        if not len(rows):
            return np.zeros_like(known)
        size, reach = labels.shape[axis], math.ceil(STRIP * labels.shape[axis])
        places = np.arange(size)
        first, last = (rows[0] + reach if rows[0] else 0), (rows[-1] - reach if rows[-1] < size - 1 else size)
        kept = (places >= first) & (places <= last)
        inside &= kept[:, None] if axis == 0 else kept[None]
    strip: np.ndarray = ~inside & known
    return strip


def summarize(found: list[Figures]) -> dict[str, float]:
    """The figures of a set: `miou` and `pixel_acc` of all its pixels, means over its images, errors at filled borders.

    Returns:
        `miou`, `pixel_acc`, `boundary_f`, `image_miou` and its standard error `image_miou_se`; `strip_error`, the
        fraction of wrong pixels in all strips along filled borders, where there is one.
    """
    confusion = np.sum([figure.confusion for figure in found], axis=0)
    ious = np.array([figure.iou for figure in found])
    boundaries = np.array([figure.boundary for figure in found])
    pixels, wrong = np.sum([figure.strip for figure in found], axis=0)
    summary = {
        "miou": mean_iou(confusion),
        "pixel_acc": float(np.diag(confusion).sum() / confusion.sum()),
        "boundary_f": float(np.nanmean(boundaries)) if np.isfinite(boundaries).any() else 1.0,
        "image_miou": float(ious.mean()),
        "image_miou_se": float(ious.std(ddof=1) / math.sqrt(len(ious))) if len(ious) > 1 else 0.0,
    }
    return summary | ({"strip_error": float(wrong / pixels)} if pixels else {})
