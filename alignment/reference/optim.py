"""Parameter groups, optimizer and learning rate in PyTorch.

Source: MIT temporal-shift-module `get_optim_policies` and mmaction2's TSMOptimWrapperConstructor with fc_lr5 (groups);
Loshchilov and Hutter, "SGDR", ICLR 2017, equation 5 (cosine); Goyal et al., 2017, section 2.2 (warm-up).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd


def parameter_groups(
    model: nn.Module, *, weight_decay: float, decay_norm_bias: bool = True, lr_groups: str = "uniform"
) -> list[dict[str, Any]]:
    """Trainable parameters by what the optimizer does to them.

    Args:
        model: Made of convolutions, Linears and BatchNorms.
        weight_decay: L2 decay of the weights.
        decay_norm_bias: It is the decay of BatchNorms and biases too. TSM's groups never decay them.
        lr_groups: `uniform`, or `tsm`: the last Linear learns five times as fast, its bias ten times, the biases of
            the other layers twice.

    Returns:
        Groups with `params`, `factor` (of the learning rate) and `weight_decay`; none is empty.

    Raises:
        ValueError: A layer of another kind has parameters.
    """
    kinds = _by_kind(model)
    if lr_groups == "tsm":
        factors = {"weight": 1.0, "bias": 2.0, "norm": 1.0, "last weight": 5.0, "last bias": 10.0}
        decayed = ["weight", "last weight"]
    else:
        factors = dict.fromkeys(kinds, 1.0)
        decayed = list(kinds) if decay_norm_bias else ["weight", "last weight"]
    return [
        {"params": parameters, "factor": factors[kind], "weight_decay": weight_decay if kind in decayed else 0.0}
        for kind, parameters in kinds.items()
        if parameters
    ]


def _by_kind(model: nn.Module) -> dict[str, list[nn.Parameter]]:
    kinds: dict[str, list[nn.Parameter]] = {"weight": [], "bias": [], "norm": [], "last weight": [], "last bias": []}
    last = [module for module in model.modules() if isinstance(module, nn.Linear)][-1:]
    for module in model.modules():
        if isinstance(module, _ConvNd | nn.Linear):
            prefix = "last " if module in last else ""
            kinds[prefix + "weight"].append(module.weight)
            if module.bias is not None:
                kinds[prefix + "bias"].append(module.bias)
        elif isinstance(module, _BatchNorm):
            kinds["norm"] += module.parameters()
        elif list(module.parameters(recurse=False)):
            raise ValueError(f"{type(module).__name__} has parameters that no group is known for")
    return {kind: [p for p in parameters if p.requires_grad] for kind, parameters in kinds.items()}


def build_optimizer(
    model: nn.Module, *, lr: float, momentum: float, nesterov: bool, **grouping: Any
) -> torch.optim.SGD:
    """SGD over `parameter_groups`; each group has the rate lr * factor and keeps its `factor` for later rates."""
    groups = parameter_groups(model, **grouping)
    for group in groups:
        group["lr"] = lr * group["factor"]
    return torch.optim.SGD(groups, lr=lr, momentum=momentum, nesterov=nesterov)


def learning_rate(
    epoch: float,
    *,
    lr: float,
    schedule: str,
    max_epochs: float,
    milestones: Sequence[float] = (),
    gamma: float = 0.1,
    warmup_epochs: float = 0.0,
    warmup_ratio: float = 0.0,
) -> float:
    """The learning rate after `epoch` epochs, which may be a fraction.

    Args:
        lr: The rate that the schedule starts from.
        schedule: `cosine` falls to 0 at max_epochs; `step` multiplies by gamma from each milestone on.
        max_epochs, milestones, gamma: See `schedule`.
        warmup_epochs: For so long the rate rises along a line to what the schedule says at the line's end.
        warmup_ratio: The line begins at this fraction of its end.
    """

    def scheduled(moment: float) -> float:
        if schedule == "cosine":
            return 0.5 * lr * (1.0 + math.cos(math.pi * moment / max_epochs))
        return math.prod((gamma for milestone in milestones if moment >= milestone), start=lr)

    if epoch >= warmup_epochs:
        return scheduled(epoch)
    end = scheduled(warmup_epochs)
    begin = warmup_ratio * end
    return begin + (end - begin) * epoch / warmup_epochs
