"""Trains every descendant alone, to give what the original's block gives, all of them from one pass of the original.

The original does not change, and a descendant sees what the original's block sees: so each is trained by itself, needs
no labels, and neither the order nor the number of the others matters. The loss is the mean squared difference from the
block's output, relative to that output's variance. BatchNorms keep the statistics of the original (a test
does not use those of its batch); weights and biases of the norms learn. What is kept is the
best on samples that were held out, computed as in a test, and the descendant as it was cut counts among them.

Adam moves every weight by about its rate, however small the weight is, and a convolution that reads 4,608 values has
weights of a fiftieth, one that reads 24 of more than a quarter (He et al.'s initialization, sqrt(2 / values)). So the
rate is in units of the weights' own size, as in You et al., "Large Batch Optimization for Deep Learning", ICLR 2020.

Source: Han et al., MobiCom 2021, section 3.2 (Adam on the mean squared error, of all blocks side by side; at 3e-4 for
all weights).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import nn

from models.recognizer import batch_norms
from models.temporal_module import TemporalModule, find_layer
from runtime.errors import UserError
from scaling.derive import derive, fill
from scaling.extract import Block
from scaling.job import LR

NORM_RMS = 0.15  # in the place of the size of weights and biases of norms, which may be anything
LEAST_RMS = 1e-4  # so that a tensor of zeros learns, too

Clips = np.ndarray  # float32 [N, T, 3, H, W], or of images [N, 3, H, W]


class RetrainError(UserError):
    """A descendant cannot be trained."""


@dataclass
class Lesson:
    """A descendant in training.

    Attributes:
        block: Which it descends from.
        sparsity: How much it is narrower, see `derive`.
        layer: The descendant.
        total: Steps of its training.
        lr: How far the first step of Adam moves a weight, in units of the root mean square of its tensor's; from there
            it falls to zero by half a cosine.
        step: Steps taken.
        errors: Held-out error after each examination, relative to the variance of the original's output; the first is
            that of the descendant as it was cut.
        best: Its weights when that was lowest, by name.
    """

    block: Block
    sparsity: float
    layer: nn.Layer
    total: int
    lr: float = LR
    step: int = 0
    errors: list[float] = field(default_factory=list)
    best: dict[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        parameters = [p for p in self.layer.parameters() if not p.stop_gradient]
        for p in parameters:
            p.optimize_attr["learning_rate"] = max(rms(p), LEAST_RMS) if p.ndim > 1 else NORM_RMS
        self.optimizer = paddle.optimizer.Adam(self.lr, parameters=parameters)

    @property
    def name(self) -> str:
        """For messages and files."""
        return name_of(self.block.path, self.sparsity)

    def learn(self, given: paddle.Tensor, wanted: paddle.Tensor) -> None:
        """One step: the block's input and output in the original.

        Raises:
            RetrainError: The loss is not finite.
        """
        self.layer.train()
        for norm in batch_norms(self.layer):
            norm.eval()
        self.optimizer.set_lr(self.lr * (1 + math.cos(math.pi * self.step / self.total)) / 2)
        loss = relative_error(self.layer(given), wanted)
        if not math.isfinite(float(loss)):
            raise RetrainError(
                f"{self.name}: the loss is {float(loss)} at step {self.step + 1}: the block cannot be trained"
            )
        loss.backward()
        self.optimizer.step()
        self.optimizer.clear_grad()
        self.step += 1

    def examine(self, error: float) -> None:
        """Notes an examination, and keeps the weights if they are the best so far.

        Raises:
            RetrainError: The error is not finite, or a weight, which Paddle's ReLU would hide.
        """
        weights = {name: tensor.numpy() for name, tensor in self.layer.state_dict().items()}
        for name, array in weights.items():
            if not np.isfinite(array).all():
                raise RetrainError(f"{self.name}: {name} is not finite after {self.step} steps: it cannot be trained")
        if not math.isfinite(error):
            raise RetrainError(f"{self.name}: its error on held-out samples is {error}: the block cannot be trained")
        if not self.errors or error < min(self.errors):
            self.best = weights
        self.errors.append(error)


def rms(tensor: paddle.Tensor) -> float:
    """The root mean square of a tensor's values."""
    return float(tensor.square().mean().sqrt())


def name_of(path: str, sparsity: float) -> str:
    """The name of a descendant of the block at a path."""
    return f"{path}@{sparsity:g}"


def lessons_of(
    model: nn.Layer,
    blocks: Sequence[Block],
    sparsities: Sequence[float],
    total: int,
    multiple: int = 1,
    lr: float = LR,
) -> list[Lesson]:
    """What there is to train: for each block a descendant of each sparsity but 0."""
    return [
        Lesson(block, sparsity, derive(find_layer(model, block.path), block.groups, sparsity, multiple), total, lr)
        for block in blocks
        for sparsity in sparsities
        if sparsity
    ]


def relative_error(found: paddle.Tensor, wanted: paddle.Tensor) -> paddle.Tensor:
    """The mean squared difference, in units of the variance of what is wanted; a scalar."""
    variance = (wanted - wanted.mean()).square().mean()  # `Tensor.var` would change types and say so
    return F.mse_loss(found, wanted) / (variance + 1e-12)


def retrain(
    model: nn.Layer, lessons: Sequence[Lesson], batches: Callable[[int], Iterable[Clips]], held_out: Sequence[Clips],
    every: int, done: Callable[[int], None] = lambda step: None,
) -> None:  # fmt: skip
    """Trains descendants to their last step, from where each of them stands.

    Args:
        model: The original; it is in eval mode from here on.
        lessons: Of one `total`; those that have taken more steps than others wait for them.
        batches: From a step on, the batches of clips, as they come again in every run.
        held_out: Clips for the examinations, of which there is one before the first step, one after each `every` steps
            and one after the last.
        every: See held_out.
        done: Told the number of steps after each of them, when all lessons have taken it: the time to keep their state.

    Raises:
        RetrainError: A descendant cannot be trained, named with its block.
    """
    model.eval()
    begin, total = min(lesson.step for lesson in lessons), lessons[0].total
    new = [lesson for lesson in lessons if not lesson.errors]
    if new:
        _examine(model, new, held_out)
    step = begin
    for clips in batches(begin):
        if step == total:
            break
        taught = [lesson for lesson in lessons if lesson.step == step]
        for lesson, given, wanted in passed(model, taught, clips):
            lesson.learn(given, wanted)
        step += 1
        if step % every == 0 or step == total:
            _examine(model, taught, held_out)
        done(step)
    if step < total:
        raise RetrainError(f"the training clips ended after {step} of {total} steps")


def _examine(model: nn.Layer, lessons: Sequence[Lesson], held_out: Sequence[Clips]) -> None:
    """Lets descendants compute held-out clips as in a test."""
    sums: dict[str, list[float]] = {lesson.name: [] for lesson in lessons}
    for lesson in lessons:
        lesson.layer.eval()
    for clips in held_out:
        for lesson, given, wanted in passed(model, lessons, clips):
            with paddle.no_grad():
                sums[lesson.name].append(float(relative_error(lesson.layer(given), wanted)))
    for lesson in lessons:
        lesson.examine(float(np.mean(sums[lesson.name])))


def passed(
    model: nn.Layer, lessons: Sequence[Lesson], clips: Clips
) -> Iterator[tuple[Lesson, paddle.Tensor, paddle.Tensor]]:
    """One pass of the original: each lesson, with the input and the output of its block.

    The descendants learn from it how many frames a video has.
    """
    paths = list(dict.fromkeys(lesson.block.path for lesson in lessons))
    with watched(model, paths) as seen, paddle.no_grad():
        model(paddle.to_tensor(clips))
    for lesson in lessons:
        tell_frames(find_layer(model, lesson.block.path), lesson.layer)
        if lesson.block.path not in seen:
            raise RetrainError(f"{lesson.block.path} was not called by the network: it cannot be trained")
    yield from ((lesson, *seen[lesson.block.path]) for lesson in lessons)


def tell_frames(original: nn.Layer, descendant: nn.Layer) -> None:
    """Tells the temporal modules of a descendant what those of the original's block have been told."""
    modules = [[one for one in side.sublayers() if isinstance(one, TemporalModule)] for side in (original, descendant)]
    for theirs, ours in zip(*modules, strict=True):
        ours.num_frames = theirs.num_frames


@contextmanager
def watched(model: nn.Layer, paths: Sequence[str]) -> Iterator[dict[str, tuple[paddle.Tensor, paddle.Tensor]]]:
    """What layers take and give as the model is called, by path; each may be called once."""
    seen: dict[str, tuple[paddle.Tensor, paddle.Tensor]] = {}

    def hook_of(path: str) -> Callable[[nn.Layer, Any, Any], None]:
        def hook(_: nn.Layer, inputs: tuple[Any, ...], output: Any) -> None:
            if path in seen or len(inputs) != 1 or not isinstance(output, paddle.Tensor):
                raise RetrainError(f"{path} is called twice, or takes or gives several tensors: it is no block")
            seen[path] = (inputs[0], output)

        return hook

    hooks = [find_layer(model, path).register_forward_post_hook(hook_of(path)) for path in paths]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def state_of(lesson: Lesson) -> dict[str, np.ndarray]:
    """All that a lesson needs to go on to the same bits: weights, best weights, and the optimizer's state, by name."""
    arrays = {f"layer/{name}": tensor.numpy() for name, tensor in lesson.layer.state_dict().items()}
    arrays |= {f"best/{name}": array for name, array in lesson.best.items()}
    arrays["errors"], arrays["step"] = np.array(lesson.errors, np.float64), np.array(lesson.step)
    slots = lesson.optimizer.state_dict()
    for name, parameter in _trained(lesson):
        for slot, tensor in slots.items():
            if slot.startswith(f"{parameter.name}_") and isinstance(tensor, paddle.Tensor):
                arrays[f"optimizer/{name}/{slot.removeprefix(f'{parameter.name}_')}"] = tensor.numpy()
    return arrays


def restore(lesson: Lesson, arrays: Mapping[str, np.ndarray]) -> None:
    """Puts `state_of` into a new lesson of the same block and sparsity.

    Raises:
        RetrainError: It is of another one.
    """
    given = {name.removeprefix("layer/"): array for name, array in arrays.items() if name.startswith("layer/")}
    if not fill(lesson.layer, given):
        raise RetrainError(f"{lesson.name}: the state that was kept is of another descendant: begin anew")
    lesson.best = {name.removeprefix("best/"): array for name, array in arrays.items() if name.startswith("best/")}
    lesson.errors, lesson.step = arrays["errors"].tolist(), int(arrays["step"])
    names = {name: parameter.name for name, parameter in _trained(lesson)}
    slots = {}
    for key, array in arrays.items():
        kind, _, rest = key.partition("/")
        if kind == "optimizer":
            name, _, slot = rest.rpartition("/")
            slots[f"{names[name]}_{slot}"] = paddle.to_tensor(array)
    lesson.optimizer.set_state_dict(slots)


def _trained(lesson: Lesson) -> list[tuple[str, paddle.Tensor]]:
    return [(name, p) for name, p in lesson.layer.named_parameters() if not p.stop_gradient]
