"""What a network of masks minimizes: cross entropy of each pixel, Dice of each region, distance from each boundary.

A target has K maps of labels, one-hot or smoothed, whose sum is 1, and 0 where a pixel has no label; where the boundary
loss is asked for, K maps of signed distances follow.
"""

from __future__ import annotations

import cv2
import numpy as np
import paddle
import paddle.nn.functional as F

from datasets.letterbox import UNKNOWN

DICE_SMOOTHING = 1.0  # pixels, so that a class that neither side has counts as met


def label_maps(
    labels: paddle.Tensor, num_classes: int, smoothing: float = 0.0, dtype: str = "float32"
) -> paddle.Tensor:
    """Labels uint8 [N, H, W] as maps [N, K, H, W]: (1 - smoothing) * one-hot + smoothing / K; 0 for UNKNOWN."""
    labels = labels.astype("int64")
    known = labels != UNKNOWN
    maps = F.one_hot(labels * known.astype("int64"), num_classes).transpose([0, 3, 1, 2]).astype(dtype)  # [N, K, H, W]
    known = known.astype(dtype).unsqueeze(1)
    return (maps * (1 - smoothing) + smoothing / num_classes) * known


def signed_distances(labels: np.ndarray, num_classes: int, dtype: str = "float32") -> np.ndarray:
    """How far each pixel is from each class, [N, K, H, W], in sides of the image: below 0 inside of it.

    A class that an image does not have, or that is all of it, has no boundary: 0.

    Args:
        labels: int [N, H, W].
        num_classes: K.
        dtype: Of the result, float32 or float64; both are as exact as they can be.

    Source: Kervadec et al., "Boundary loss for highly unbalanced segmentation", MIDL 2019, equation 5.
    # Deviation: in sides of the image instead of pixels, so that a weight means the same at every size.
    """
    count, height, width = labels.shape
    maps = np.zeros((count, num_classes, height, width))
    for image in range(count):
        for k in range(num_classes):
            inside = (labels[image] == k).astype(np.uint8)
            if inside.any() and not inside.all():
                outer, inner = _distances(1 - inside), _distances(inside)
                maps[image, k] = outer - np.maximum(inner - 1, 0)
    distances: np.ndarray = (maps / max(height, width)).astype(dtype)
    return distances


def _distances(region: np.ndarray) -> np.ndarray:
    """From each pixel of a region, uint8 [H, W], to the nearest one outside, float64; their squares are whole."""
    found = cv2.distanceTransform(region, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    distances: np.ndarray = np.sqrt(np.rint(np.square(found.astype(np.float64))))
    return distances


def pixel_cross_entropy(logits: paddle.Tensor, maps: paddle.Tensor) -> paddle.Tensor:
    """Mean cross entropy of logits [N, K, H, W] against maps of labels [N, K, H, W], over the pixels with a label."""
    entropies = (maps * F.log_softmax(logits, axis=1)).sum(axis=1)  # [N, H, W]
    return -_sum(entropies) / _sum(maps.sum(axis=1)).clip(min=1.0)


def dice_loss(logits: paddle.Tensor, maps: paddle.Tensor) -> paddle.Tensor:
    """1 - Dice of the regions, the mean over images and over all classes but the first.

    The sums run over the pixels of an image. The portrait project that this follows sums over its axis of classes,
    which gives each pixel a score of its own and no region any.

    Source: Milletari et al., "V-Net", 3DV 2016, section 3, without squares in the denominator (Sorensen-Dice).
    """
    known = maps.sum(axis=1, keepdim=True)
    shares = F.softmax(logits, axis=1) * known
    common, sizes = (part.sum(axis=3).sum(axis=2) for part in (shares * maps, shares + maps))  # [N, K] each
    dice = (2 * common + DICE_SMOOTHING) / (sizes + DICE_SMOOTHING)
    return 1 - dice[:, 1:].mean()


def boundary_loss(logits: paddle.Tensor, maps: paddle.Tensor, distances: paddle.Tensor) -> paddle.Tensor:
    """Mean over the pixels with a label of what each class but the first gets, times its signed distance.

    Source: Kervadec et al., MIDL 2019, equation 6.
    """
    known = maps.sum(axis=1)
    shares = (F.softmax(logits, axis=1) * known.unsqueeze(1))[:, 1:]
    return _sum((shares * distances[:, 1:]).sum(axis=1)) / _sum(known).clip(min=1.0)


def _sum(maps: paddle.Tensor) -> paddle.Tensor:
    """The sum of [N, H, W], axis by axis: Paddle adds many numbers one after the other, and rounds as often."""
    return maps.sum(axis=2).sum(axis=1).sum()
