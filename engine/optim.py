"""Learning rate, parameter groups and the optimizer of a recipe."""

from __future__ import annotations

import math
from typing import Any

import paddle
from paddle import nn

from configs import Recipe


def train_mode(model: nn.Layer, recipe: Recipe) -> None:
    """Switches a network to training, but for what the recipe freezes.

    A frozen backbone is everything but `cls_head`: its parameters get no gradient and its layers stay in eval mode, so
    that it gives the classifier the features that it has in testing.
    """
    model.train()
    if recipe.training.frozen == "backbone":
        for name, part in model.named_children():
            if name != "cls_head":
                part.eval()
                for parameter in part.parameters():
                    parameter.stop_gradient = True


def learning_rate(recipe: Recipe, epoch: float) -> float:
    """The learning rate at a moment of training.

    Linear warm-up goes from `warmup_ratio` times to all of the rate that the schedule has at the end of warm-up.

    Args:
        recipe: Its rate, scaled to the batch, and its schedule.
        epoch: Epochs done, with fraction, from 0 to max_epochs.

    Source: PaddleMVF custom_lr.py (cosine), mm's step policy with linear warm-up.
    """
    if epoch < recipe.training.warmup_epochs:
        progress = epoch / recipe.training.warmup_epochs
        factor = recipe.training.warmup_ratio + (1 - recipe.training.warmup_ratio) * progress
        return factor * _scheduled_rate(recipe, recipe.training.warmup_epochs)
    return _scheduled_rate(recipe, epoch)


def _scheduled_rate(recipe: Recipe, epoch: float) -> float:
    if recipe.training.schedule == "cosine":
        return recipe.training.scaled_lr * (math.cos(math.pi * epoch / recipe.training.max_epochs) + 1) / 2
    passed = sum(epoch >= milestone for milestone in recipe.training.milestones)
    return recipe.training.scaled_lr * recipe.training.gamma**passed


def build_optimizer(model: nn.Layer, recipe: Recipe) -> paddle.optimizer.Momentum:
    """SGD with momentum over `parameter_groups`, gradients clipped by the norm of all of them together.

    The groups are written into the parameters and the optimizer gets one flat list: Paddle 3.3.1 computes the
    "global" norm of each group by itself when it is given groups.
    """
    groups = parameter_groups(model, recipe)
    for group in groups:
        for parameter in group["params"]:
            parameter.optimize_attr["learning_rate"] = group["learning_rate"]
            parameter.regularizer = paddle.regularizer.L2Decay(group["weight_decay"])
    return paddle.optimizer.Momentum(
        learning_rate=learning_rate(recipe, 0.0),
        momentum=recipe.training.momentum,
        use_nesterov=recipe.training.nesterov,
        parameters=[parameter for group in groups for parameter in group["params"]],
        grad_clip=nn.ClipGradByGlobalNorm(recipe.training.clip_norm) if recipe.training.clip_norm else None,
    )


def parameter_groups(model: nn.Layer, recipe: Recipe) -> list[dict[str, Any]]:
    """Trainable parameters by what the recipe does to them.

    Returns:
        Groups with `params`, `learning_rate` (a factor) and `weight_decay`. In TSM's grouping the last Linear learns
        5 times as fast and its bias 10 times, every other bias of a convolution or Linear twice, and neither biases
        nor norms decay, whatever `decay_norm_bias` says.

    Source: mm TSMOptimWrapperConstructor with fc_lr5 (its docstring's ten-fold decay of the last layer is not in its
    code); MIT `get_optim_policies`.
    """
    is_tsm = recipe.training.lr_groups == "tsm"
    linears = [layer for layer in model.sublayers() if isinstance(layer, nn.Linear)]
    groups: dict[tuple[float, float], list[paddle.Tensor]] = {}
    for layer in model.sublayers(include_self=True):
        for name, parameter in layer.named_parameters(include_sublayers=False):
            if parameter.stop_gradient:
                continue
            is_norm, is_bias = isinstance(layer, nn.layer.norm._BatchNormBase), name == "bias"
            factor = _tsm_factor(is_norm, is_bias, layer is linears[-1]) if is_tsm else 1.0
            spared = (is_norm or is_bias) and (is_tsm or not recipe.training.decay_norm_bias)
            decay = 0.0 if spared else recipe.training.weight_decay
            groups.setdefault((factor, decay), []).append(parameter)
    return [
        {"params": params, "learning_rate": factor, "weight_decay": decay}
        for (factor, decay), params in groups.items()
    ]  # fmt: skip


def _tsm_factor(is_norm: bool, is_bias: bool, is_last_linear: bool) -> float:
    if is_norm:
        return 1.0
    return (5.0 if is_last_linear else 1.0) * (2.0 if is_bias else 1.0)
