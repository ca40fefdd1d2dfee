"""Losses of masks, in PyTorch.

Source: Milletari et al., "V-Net", 3DV 2016, section 3 (Dice); Kervadec et al., "Boundary loss for highly unbalanced
segmentation", MIDL 2019, equations 5 and 6.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

UNKNOWN = 255


def pixel_cross_entropy(logits: torch.Tensor, labels: torch.Tensor, smoothing: float = 0.0) -> torch.Tensor:
    """Mean over the labeled pixels; logits [N, K, H, W], labels int64 [N, H, W]."""
    return F.cross_entropy(logits, labels, ignore_index=UNKNOWN, label_smoothing=smoothing)


def dice_loss(logits: torch.Tensor, labels: torch.Tensor, smoothing: float = 0.0) -> torch.Tensor:
    """1 - Dice, with one pixel added above and below; labels are spread by `smoothing` over all K classes."""
    classes, losses = logits.shape[1], []
    for image, mask in zip(logits.softmax(dim=1), labels, strict=True):
        known = mask != UNKNOWN
        for k in range(1, classes):
            share = image[k][known]
            wanted = (mask[known] == k).to(share) * (1 - smoothing) + smoothing / classes
            losses.append(1 - (2 * (share * wanted).sum() + 1) / (share.sum() + wanted.sum() + 1))
    return torch.stack(losses).mean()


def signed_distance(region: torch.Tensor) -> torch.Tensor:
    """To a region, bool [H, W], from each pixel, float64 [H, W]; inside it is negative, 0 at the edge."""
    if not region.any() or region.all():
        return torch.zeros(region.shape, dtype=torch.float64)
    places = torch.cartesian_prod(*(torch.arange(side) for side in region.shape)).double()
    inside = region.flatten()
    between = torch.cdist(places, places, compute_mode="donot_use_mm_for_euclid_dist")
    outer = between[:, inside].min(dim=1).values
    inner = between[:, ~inside].min(dim=1).values
    return torch.where(inside, 1 - inner, outer).reshape(region.shape)


def boundary_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean over the labeled pixels of what each class but the first gets there, times its distance in sides."""
    total, known = logits.new_zeros(()), labels != UNKNOWN
    for image, mask in zip(logits.softmax(dim=1), labels, strict=True):
        for k in range(1, logits.shape[1]):
            distance = signed_distance(mask == k).to(logits) / max(mask.shape)
            total = total + (image[k] * distance)[mask != UNKNOWN].sum()
    return total / known.sum()
