"""Figures of masks, in PyTorch.

Source: Everingham et al., IJCV 2010, section 4.2 (intersection over union); Perazzi et al., CVPR 2016, section 4.1 (F
of boundaries that are dilated by a disc of 0.008 of the diagonal); the strip along a filled border is ours.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

UNKNOWN = 255


def classes_of(scores: torch.Tensor) -> torch.Tensor:
    """The class of each pixel, int64 [H, W], of scores [K, H, W]: the first of those with the largest score."""
    best = scores[0]
    found = torch.zeros(best.shape, dtype=torch.int64)
    for k in range(1, len(scores)):
        found[scores[k] > best] = k
        best = torch.maximum(best, scores[k])
    return found


def iou_of(predicted: torch.Tensor, labels: torch.Tensor, classes: int) -> list[float]:
    """Intersection over union of each class that one of both has, of the pixels with a label."""
    known, found = labels != UNKNOWN, []
    for k in range(classes):
        ours, theirs = (predicted == k) & known, (labels == k) & known
        if (ours | theirs).any():
            found.append(float((ours & theirs).sum()) / float((ours | theirs).sum()))
    return found


def edge_of(region: torch.Tensor) -> torch.Tensor:
    """The pixels of bool [H, W] that differ from the one right, below, or right below; outside is as the last one."""
    padded = F.pad(region[None].float(), (0, 1, 0, 1), mode="replicate")[0] > 0
    height, width = region.shape
    others = [padded[y : y + height, x : x + width] for y, x in ((0, 1), (1, 0), (1, 1))]
    return torch.stack([region != other for other in others]).any(dim=0)


def near(edge: torch.Tensor, reach: int) -> torch.Tensor:
    """The pixels that have one of an edge within `reach`."""
    ys, xs = torch.nonzero(edge, as_tuple=True)
    found = torch.zeros_like(edge)
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            if dy * dy + dx * dx <= reach * reach:
                y, x = ys + dy, xs + dx
                kept = (y >= 0) & (y < edge.shape[0]) & (x >= 0) & (x < edge.shape[1])
                found[y[kept], x[kept]] = True
    return found


def boundary_f(predicted: torch.Tensor, labels: torch.Tensor, k: int) -> float:
    """F of the boundary of a class: 1 if neither side has one, 0 if one has."""
    reach = math.ceil(0.008 * math.sqrt(labels.shape[0] ** 2 + labels.shape[1] ** 2))
    ours, theirs = edge_of((predicted == k) & (labels != UNKNOWN)), edge_of(labels == k)
    if not ours.any() or not theirs.any():
        return float(bool(ours.any()) == bool(theirs.any()))
    precision = float((ours & near(theirs, reach)).sum()) / float(ours.sum())
    recall = float((theirs & near(ours, reach)).sum()) / float(theirs.sum())
    return 0.0 if precision + recall == 0 else 2 * precision * recall / (precision + recall)


def strip_of(labels: torch.Tensor) -> torch.Tensor:
    """The labeled pixels within a sixteenth of the side of a filled border, bool [H, W]."""
    known = labels != UNKNOWN
    strip = torch.zeros_like(known)
    for turned in (False, True):
        rows = (known.T if turned else known).any(dim=1)
        part = strip.T if turned else strip
        reach, filled = math.ceil(len(rows) / 16), torch.nonzero(rows).flatten()
        if not len(filled):
            return strip
        first, last = int(filled[0]), int(filled[-1])
        if first > 0:
            part[first : first + reach] = True
        if last < len(rows) - 1:
            part[max(0, last + 1 - reach) : last + 1] = True
    return strip & known


def summarize(scores: torch.Tensor, labels: torch.Tensor) -> dict[str, float]:
    """The figures of scores [N, K, H, W] and labels [N, H, W], tensors or NumPy arrays."""
    scores, labels = torch.as_tensor(scores), torch.as_tensor(labels).long()
    classes = scores.shape[1]
    predicted = torch.stack([classes_of(image) for image in scores])
    known = labels != UNKNOWN
    whole = iou_of(predicted, labels, classes)
    ious, boundaries = [], []
    for ours, theirs, here in zip(predicted, labels, known, strict=True):
        image = iou_of(ours, theirs, classes)
        ious.append(sum(image) / len(image))
        shown = [k for k in range(1, classes) if ((ours == k) & here).any() or (theirs == k).any()]
        if shown:
            boundaries.append(sum(boundary_f(ours, theirs, k) for k in shown) / len(shown))
    values = torch.tensor(ious, dtype=torch.float64)
    strips = torch.stack([strip_of(image) for image in labels])
    found = {
        "miou": sum(whole) / len(whole),
        "pixel_acc": float((predicted == labels)[known].double().mean()),
        "boundary_f": sum(boundaries) / len(boundaries) if boundaries else 1.0,
        "image_miou": float(values.mean()),
        "image_miou_se": float(values.std() / len(ious) ** 0.5) if len(ious) > 1 else 0.0,
    }
    if strips.any():
        found["strip_error"] = float((predicted != labels)[strips].double().mean())
    return found
