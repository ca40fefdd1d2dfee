"""What training minimizes, in PyTorch: its own cross entropy, and mixup as the weighted sum of two losses.

Source: Szegedy et al., "Rethinking the Inception Architecture", CVPR 2016, section 7 (label smoothing); Zhang et al.,
"mixup: Beyond Empirical Risk Minimization", ICLR 2018, and its authors' `mixup_criterion`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F


def cross_entropy(logits: torch.Tensor, labels: torch.Tensor, smoothing: float = 0.0) -> torch.Tensor:
    """Mean cross entropy of logits [N, K] against labels int64 [N] of which `smoothing` is spread over all classes."""
    return F.cross_entropy(logits, labels, label_smoothing=smoothing)


def mix(values: torch.Tensor, weight: float, order: torch.Tensor) -> torch.Tensor:
    """Sample i of `values` [N, ...] becomes `weight` times itself plus (1 - weight) times sample order[i]."""
    mixed = [weight * value + (1 - weight) * values[int(other)] for value, other in zip(values, order, strict=True)]
    return torch.stack(mixed)


def mixed_cross_entropy(
    logits: torch.Tensor, labels: torch.Tensor, weight: float, order: torch.Tensor, smoothing: float = 0.0
) -> torch.Tensor:
    """The loss of logits [N, K] of inputs that `mix` made; labels int64 [N] are those before it."""
    own = cross_entropy(logits, labels, smoothing)
    other = cross_entropy(logits, labels[torch.as_tensor(order)], smoothing)
    return weight * own + (1 - weight) * other
