"""Mistakes in what measures and trains a network: losses, metrics, optimizer and schedule."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import nn
from paddle.nn.layer.norm import _BatchNormBase
from paddle.regularizer import L1Decay, L2Decay

from alignment.certification.objectives import MIX, SMOOTHING
from alignment.mutation.mutant import Mutant, layers_of
from alignment.sides.pair import Optimization, Pair, Sides, optimization_of
from tasks import cross_entropy

# ---------------------------------------------------------------------------------------------------------------------
# Losses


def with_losses(change: Callable[[Callable], Callable], *names: str) -> Callable[[Pair], None]:
    """A mutation of the candidate's losses of these names, or of all: loss function -> loss function."""

    def apply(pair: Pair) -> None:
        pair.losses = {
            name: Sides(sides.reference, change(sides.candidate) if name in names or not names else sides.candidate)
            for name, sides in pair.losses.items()
        }

    return apply


def smoothed_by(target: Callable[[Any, int], Any]) -> Callable[[Callable], Callable]:
    """A change to a cross entropy against what `target` makes of one-hot labels and the number of classes."""

    def loss(logits: paddle.Tensor, labels: paddle.Tensor) -> paddle.Tensor:
        classes = logits.shape[1]
        one_hot = F.one_hot(labels, classes).astype(logits.dtype)
        return -(target(one_hot, classes) * F.log_softmax(logits, axis=1)).sum(axis=1).mean()

    return lambda _: loss


def mixed_by_the_partner(_: Callable) -> Callable:
    """In mixup the first sample's label gets the second one's weight."""

    def loss(logits: paddle.Tensor, labels: paddle.Tensor) -> paddle.Tensor:
        dtype = str(logits.dtype).rpartition(".")[2]
        target = cross_entropy.distributions(labels, logits.shape[1], SMOOTHING, dtype)
        mix = cross_entropy.Mix(1 - MIX, np.roll(np.arange(len(labels)), 1))
        return cross_entropy.cross_entropy(logits, mix(target))

    return loss


# ---------------------------------------------------------------------------------------------------------------------
# Metrics


def with_metric(change: Callable[[Callable], Callable]) -> Callable[[Pair], None]:
    """A mutation of the candidate's metric: function (scores, labels) -> function."""

    def apply(pair: Pair) -> None:
        assert pair.metric is not None
        pair.metric = Sides(pair.metric.reference, change(pair.metric.candidate))

    return apply


def first_of_equals(metric: Callable) -> Callable:
    """Of equal scores the lower class counts as better, as in `argmax`."""

    def figures(scores: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        rank = np.argsort(np.argsort(-scores, axis=1, kind="stable"), axis=1, kind="stable")
        return metric(-rank.astype(np.float64), labels)

    return figures


def absent_classes_as_zeros(metric: Callable) -> Callable:
    """The mean over classes counts one without samples as a zero."""

    def figures(scores: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        present = len(np.unique(labels)) / scores.shape[1]
        found = metric(scores, labels)
        return {**found, "mean_acc": found["mean_acc"] * present}

    return figures


def replaced_figure(name: str, other: str) -> Callable[[Callable], Callable]:
    """A change that reports one figure in the place of another."""

    def change(metric: Callable) -> Callable:
        def figures(scores: np.ndarray, labels: np.ndarray) -> dict[str, float]:
            found = metric(scores, labels)
            return {**found, name: found[other]}

        return figures

    return change


# ---------------------------------------------------------------------------------------------------------------------
# Optimizers


def with_optimizer(change: Callable[[Optimization, nn.Layer], None]) -> Callable[[Pair], None]:
    """A mutation of the candidate's optimizer, given it as it has been built and its model."""

    def apply(pair: Pair) -> None:
        assert pair.optimizer is not None
        build = pair.optimizer.candidate

        def changed(model: nn.Layer) -> Optimization:
            optimization = optimization_of(build, model, "candidate")
            change(optimization, model)
            return optimization

        pair.optimizer = Sides(pair.optimizer.reference, changed)

    return apply


def attribute(name: str, value: Callable[[Any], Any]) -> Callable[[Optimization, nn.Layer], None]:
    """A change of an attribute of the optimizer to what a function makes of the optimizer as it is."""
    return lambda optimization, _: setattr(optimization.optimizer, name, value(optimization.optimizer))


def decay(select: Callable[[nn.Layer], Iterable[Any]], rule: Callable[[float], Any]) -> Callable:
    """A change of the decay of some parameters: from its coefficient before to a regularizer."""

    def change(_: Optimization, model: nn.Layer) -> None:
        for parameter in select(model):
            parameter.regularizer = rule(parameter.regularizer._coeff)

    return change


def norms(model: nn.Layer) -> list[Any]:
    """Weights and biases of the BatchNorms."""
    return [parameter for layer in layers_of(model, _BatchNormBase) for parameter in (layer.weight, layer.bias)]


def everything(model: nn.Layer) -> list[Any]:
    """All parameters that train."""
    return [parameter for parameter in model.parameters() if not parameter.stop_gradient]


def norms_the_other_way(optimization: Optimization, model: nn.Layer) -> None:
    """Lets norms decay if they are spared, and spares them if they decay."""
    largest = max(parameter.regularizer._coeff for parameter in everything(model))
    decay(norms, lambda before: L2Decay(0.0 if before else largest))(optimization, model)


class ClipEach(nn.ClipGradByNorm):
    """Paddle's clipping of each gradient by itself, whose kernel on CPU is for float32 only."""

    def _dygraph_clip(self, params_grads: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
        limit = paddle.to_tensor(self.clip_norm, params_grads[0][1].dtype)
        return [(p, g * (limit / paddle.maximum((g * g).sum().sqrt(), limit))) for p, g in params_grads]


def _limit(optimizer: Any) -> float:
    return optimizer._grad_clip.clip_norm if optimizer._grad_clip else 1.0


def classifier_bias_slower(_: Optimization, model: nn.Layer) -> None:
    """Halves the rate of the classifier's bias."""
    bias = layers_of(model, nn.Linear)[-1].bias
    bias.optimize_attr["learning_rate"] = bias.optimize_attr["learning_rate"] / 2


def head_left_out(optimization: Optimization, model: nn.Layer) -> None:
    """The optimizer was made before the head was exchanged."""
    head = {id(parameter) for parameter in layers_of(model, nn.Linear)[-1].parameters()}
    optimizer = optimization.optimizer
    optimizer._parameter_list = [p for p in optimizer._parameter_list if id(p) not in head]
    optimizer._param_groups = optimizer._parameter_list


def with_rate(change: Callable[[Callable[[int], float]], Callable[[int], float]]) -> Callable[[Pair], None]:
    """A mutation of the learning rate as a function of the step."""

    def apply(optimization: Optimization, _: nn.Layer) -> None:
        rate = optimization.rate
        assert rate is not None
        optimization.rate = change(rate)

    return with_optimizer(apply)


def before_each_step(act: Callable[[Any, list[Any], dict[str, Any]], None]) -> Callable[[Pair], None]:
    """A mutation that acts before each step of the optimizer, given it, its parameters and a dict of its own."""

    def change(optimization: Optimization, model: nn.Layer) -> None:
        optimizer, step, notes = optimization.optimizer, optimization.optimizer.step, dict[str, Any]()

        def changed() -> None:
            act(optimizer, [p for p in everything(model) if p.grad is not None], notes)
            step()

        optimizer.step = changed

    return with_optimizer(change)


def velocities(optimizer: Any) -> list[Any]:
    """The tensors of momentum."""
    slots = optimizer._accumulators
    return [tensor for name in slots if name.startswith("velocity") for tensor in slots[name].values()]


def gradients_kept(_: Any, parameters: list[Any], kept: dict[str, Any]) -> None:
    """`clear_grad` is forgotten: each gradient contains those before it."""
    for parameter in parameters:
        total = parameter.grad + kept[parameter.name] if parameter.name in kept else parameter.grad.clone()
        parameter._grad_ivar().set_value(total)
        kept[parameter.name] = total


def momentum_lost(optimizer: Any, _: list[Any], __: dict[str, Any]) -> None:
    """The momentum starts anew at each step, as with an optimizer built inside of the loop."""
    for tensor in velocities(optimizer):
        tensor.set_value(paddle.zeros_like(tensor))


def rate_in_the_momentum(optimizer: Any, _: list[Any], before: dict[str, Any]) -> None:
    """v = m v + lr g, w -= v: the same as PyTorch's rule until the rate changes."""
    rate = float(optimizer.get_lr())
    if before.get("rate") and rate:
        for tensor in velocities(optimizer):
            tensor.set_value(tensor * (before["rate"] / rate))
    before["rate"] = rate


def decay_into_the_weights(optimizer: Any, parameters: list[Any], __: dict[str, Any]) -> None:
    """The decay is applied once more by itself, as AdamW does."""
    rate = float(optimizer.get_lr())
    for parameter in parameters:
        coefficient = parameter.regularizer._coeff if parameter.regularizer is not None else 0.0
        parameter.set_value(parameter * (1 - rate * coefficient))


MUTANTS: tuple[Mutant, ...] = (
    *(
        Mutant(name, description, "tsn_tiny", ("smoothed",), with_losses(change, *names))
        for name, description, change, *names in (
            ("labels off by one", "Labels counted from 1, or a background class before them.",
             lambda loss: lambda x, y: loss(x, (y + 1) % x.shape[1])),
            ("no label smoothing", "Hard labels.", smoothed_by(lambda one_hot, _: one_hot), "smoothed"),
            ("smoothing over the other classes", "eps / (K - 1) for the wrong classes instead of eps / K for all.",
             smoothed_by(lambda one_hot, k: one_hot * (1 - SMOOTHING) + (1 - one_hot) * SMOOTHING / (k - 1)),
             "smoothed"),
            ("smoothing added to the labels", "The true class keeps all of its 1.",
             smoothed_by(lambda one_hot, k: one_hot + SMOOTHING / k), "smoothed"),
            ("sum for mean in the loss", "`reduction='sum'`.", lambda loss: lambda x, y: loss(x, y) * len(y)),
            ("softmax twice", "A loss that takes logits is given probabilities.",
             lambda loss: lambda x, y: loss(F.softmax(x, axis=1), y)),
            ("loss in half precision", "Logits pass through float16 on their way to the loss.",
             lambda loss: lambda x, y: loss(x.astype("float16").astype(x.dtype), y)),
        )
    ),
    Mutant(
        "weights of mixup exchanged", str(mixed_by_the_partner.__doc__),
        "tsn_tiny", ("mixup",), with_losses(mixed_by_the_partner, "mixup"),
    ),
    *(
        Mutant(name, description, "tsn_tiny", (place,), with_metric(change))
        for name, place, description, change in (
            ("first of equal scores", "ties", str(first_of_equals.__doc__), first_of_equals),
            ("absent classes as zeros", "mean_acc", str(absent_classes_as_zeros.__doc__), absent_classes_as_zeros),
            ("top 1 as top 5", "top5_acc", "k is not passed on.", replaced_figure("top5_acc", "top1_acc")),
            ("accuracy over samples as the mean over classes", "mean_acc", "The two agree where classes are balanced.",
             replaced_figure("mean_acc", "top1_acc")),
            ("metric of shifted labels", "acc", "Labels counted from 1 in the metric only.",
             lambda metric: lambda s, y: metric(s, (y + 1) % s.shape[1])),
        )
    ),
    *(
        Mutant(name, description, pair, (place,), with_optimizer(change))
        for name, pair, place, description, change in (
            ("momentum", "tsn_tiny", "optimizer.momentum", "0.8 for the recipe's.",
             attribute("_momentum", lambda _: 0.8)),
            ("no decay", "tsn_tiny", "weight_decay", "`weight_decay` is not passed on.",
             decay(everything, lambda _: L2Decay(0.0))),
            ("coefficient of the decay", "tsn_tiny", "weight_decay",
             "Halved, as where the loss has 1/2 |w|^2 and the other has |w|^2.",
             decay(everything, lambda before: L2Decay(before / 2))),
            ("L1 for L2", "tsn_tiny", "weight_decay", "The sign of a weight decays instead of the weight.",
             decay(everything, L1Decay)),
            ("no clipping", "tsn_tiny", "optimizer.clip", "The option is not passed on.",
             attribute("_grad_clip", lambda _: None)),
            ("Nesterov", "tsn_tiny", "optimizer.nesterov", "Switches Nesterov's rule.",
             attribute("_use_nesterov", lambda optimizer: not optimizer._use_nesterov)),
            ("decay of norms", "tsm_tiny", "bn1.weight.weight_decay", str(norms_the_other_way.__doc__),
             norms_the_other_way),
            ("each gradient clipped by itself", "tsn_tiny", "optimizer.clip", "Clips each gradient by its own norm.",
             attribute("_grad_clip", lambda optimizer: ClipEach(_limit(optimizer)))),
            ("values clipped", "tsn_tiny", "optimizer.clip", "Clips each value.",
             attribute("_grad_clip", lambda optimizer: nn.ClipGradByValue(_limit(optimizer)))),
            ("norm of the clipping", "tsn_tiny", "optimizer.clip_norm", "Clips at half the norm.",
             attribute("_grad_clip", lambda optimizer: nn.ClipGradByGlobalNorm(_limit(optimizer) / 2))),
            ("rate of the classifier's bias", "tsm_tiny", "new_fc.bias.lr", str(classifier_bias_slower.__doc__),
             classifier_bias_slower),
            ("the head is not optimized", "tsn_tiny", "new_fc", str(head_left_out.__doc__), head_left_out),
        )
    ),
    *(
        Mutant(name, description, "tsn_tiny", ("lr", "step"), with_rate(change))
        for name, description, change in (
            ("schedule one step ahead", "Steps counted from 1: warm-up starts at its second value.",
             lambda rate: lambda step: rate(step + 1)),
            ("rate of whole epochs", "The scheduler steps once in an epoch, the reference's in every iteration.",
             lambda rate: lambda step: rate(step - step % 2)),
            ("another schedule behind the warm-up", "Constant where it should fall.",
             lambda rate: lambda step: max(rate(i) for i in range(step + 1))),
            ("rate for another batch", "Linear scaling to the batch is forgotten: all rates are too high by a factor.",
             lambda rate: lambda step: rate(step) * math.sqrt(2)),
        )
    ),
    *(
        Mutant(name, str(act.__doc__), "tsn_tiny", (place,), before_each_step(act))
        for name, place, act in (
            ("gradients not cleared", "velocity", gradients_kept),
            ("momentum not kept", "velocity", momentum_lost),
            ("rate inside of the momentum", "velocity", rate_in_the_momentum),
            ("decay applied twice", "weight", decay_into_the_weights),
        )
    ),
)  # fmt: skip
