"""Where Paddle and PyTorch differ although nobody made a mistake: `python -m` this module measures it.

Each difference says what the suite does about it. A row without a difference means that this Paddle has changed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import paddle
import torch
from paddle import nn as paddle_nn
from torch import nn as torch_nn

from alignment.certification.data.pipeline import ours, reference
from runtime.command import say


class Difference(NamedTuple):
    """One row of the table."""

    what: str  # the operation
    measured: str  # what this machine shows, with the number
    answer: str  # what the suite, or the code here, does about it


def running_variance() -> Difference:
    """BatchNorm's statistics after one batch of 2 x 4 x 4 values."""
    x = np.random.default_rng(0).normal(size=(2, 1, 4, 4)).astype("float64")
    ours, theirs = paddle_nn.BatchNorm2D(1, momentum=0.0), torch_nn.BatchNorm2d(1, momentum=1.0).double()
    ours.to(dtype="float64")
    ours(paddle.to_tensor(x)), theirs(torch.from_numpy(x))
    ratio = float(ours._variance[0]) / float(theirs.running_var[0])
    return Difference(
        "running variance of BatchNorm (CPU)",
        f"Paddle's is {ratio:.6f} of PyTorch's for n = 32: it divides by n, PyTorch by n - 1 (31/32 = {31 / 32:.6f})",
        "the reference keeps Paddle's rule in every stage that trains",
    )


def batch_norm_constants() -> Difference:
    """An epsilon that float32 does not hold."""
    x = np.random.default_rng(0).normal(size=(4, 3, 5, 5))
    ours, theirs = paddle_nn.BatchNorm2D(3), torch_nn.BatchNorm2d(3).double()
    ours.to(dtype="float64")
    error = _relative(ours(paddle.to_tensor(x)).numpy(), theirs(torch.from_numpy(x)).detach().numpy())
    theirs.eps = float(np.float32(theirs.eps))
    rounded = _relative(ours(paddle.to_tensor(x)).numpy(), theirs(torch.from_numpy(x)).detach().numpy())
    return Difference(
        "epsilon and momentum of BatchNorm in float64",
        f"output off by {error:.1e}; by {rounded:.1e} once PyTorch's epsilon is rounded to float32, as Paddle keeps it",
        "the constants of the reference's copy are rounded to float32",
    )


def momentum_constants() -> Difference:
    """Two steps of SGD in float64 with momentum 0.9 and decay 5e-4."""
    found = []
    for rounding in (float, lambda value: float(np.float32(value))):
        parameter = torch.nn.Parameter(torch.ones(1, dtype=torch.float64))
        theirs = torch.optim.SGD([parameter], lr=0.1, momentum=rounding(0.9), weight_decay=rounding(5e-4))
        ours = paddle.create_parameter([1], "float64", default_initializer=paddle_nn.initializer.Constant(1.0))
        optimizer = paddle.optimizer.Momentum(0.1, 0.9, parameters=[ours], weight_decay=5e-4)
        for _ in range(3):
            (parameter * 2).sum().backward(), (ours * 2).sum().backward()
            theirs.step(), optimizer.step()
            theirs.zero_grad(), optimizer.clear_grad()
        found.append(_relative(ours.numpy(), parameter.detach().numpy()))
    return Difference(
        "momentum and L2 decay of the optimizer in float64",
        f"parameters off by {found[0]:.1e} after 3 steps; by {found[1]:.1e} with constants rounded to float32",
        "rounded in the reference's optimizer, so that trajectories agree to 1e-12",
    )


def batch_norm_of_one_pixel() -> Difference:
    """PyTorch's BatchNorm3d on maps of one pixel, with a gradient in another layout of memory than the input."""
    rng = np.random.default_rng(0)
    x, gradient = (torch.from_numpy(rng.normal(size=(2, 16, 4, 1, 1))) for _ in range(2))
    found = []
    for laid_out in (gradient, gradient.transpose(1, 2).contiguous().transpose(1, 2)):
        leaf = x.clone().requires_grad_(True)
        torch_nn.BatchNorm3d(16).double()(leaf).backward(laid_out)
        found.append(leaf.grad.numpy())
    return Difference(
        "BatchNorm3d of PyTorch on maps of one pixel (CPU)",
        f"the same gradient values in another memory layout change the result by {_relative(*found):.1f} of its scale: "
        "PyTorch's own mistake, found by the stage `backward`, which asks finite differences who is right",
        "the reference makes input and gradient contiguous",
    )


def batch_norm_mean() -> Difference:
    """Means of BatchNorm over 16 channels of 8 x 128 x 128 values around 1, in float64."""
    x = 1 + np.random.default_rng(0).normal(size=(8, 16, 128, 128))
    exact = [math.fsum(channel.flat) / channel.size for channel in x.swapaxes(0, 1)]
    ours, theirs = paddle_nn.BatchNorm2D(16, momentum=0.0), torch_nn.BatchNorm2d(16, momentum=1.0).double()
    ours.to(dtype="float64")
    ours(paddle.to_tensor(x)), theirs(torch.from_numpy(x))
    means = ours._mean.numpy(), theirs.running_mean.numpy(), torch.from_numpy(x).mean((0, 2, 3)).numpy()
    errors = [np.abs(mean - exact).max() / np.finfo(np.float64).eps for mean in means]
    return Difference(
        "mean in BatchNorm in float64 (CPU)",
        f"of {x[:, 0].size:,} values around 1 PyTorch's is off by up to {errors[1]:.0f} epsilons, its own "
        f"`Tensor.mean` by {errors[2]:.0f}, Paddle's by {errors[0]:.0f}: of gradients that cancel, as a bias's in "
        "front of a norm, that error is all that is left",
        "where a gradient is in doubt, the reference is rerun with `Tensor.mean`: what that moves is its own rounding",
    )


def average_pooling_gradient() -> Difference:
    """Mean over a 3 x 3 window in float64."""
    x = np.random.default_rng(0).normal(size=(1, 1, 3, 3))
    ours, theirs = paddle.to_tensor(x, stop_gradient=False), torch.tensor(x, requires_grad=True)
    paddle_nn.functional.adaptive_avg_pool2d(ours, 1).sum().backward()
    torch_nn.functional.adaptive_avg_pool2d(theirs, 1).sum().backward()
    error = _relative(ours.grad.numpy(), theirs.grad.numpy())
    return Difference(
        "gradient of average pooling in float64 (CPU)",
        f"off by {error:.1e} for a window of 9: Paddle divides by it in float32; exact for windows of a power of two",
        "global pooling layers of the candidate's copy are computed as a mean; other windows show up in `backward`",
    )


def clipping_of_groups() -> Difference:
    """Two parameter groups with gradients of norm 3 and 4, clipped to a global norm of 1."""
    parameters = [paddle.create_parameter([1], "float32") for _ in range(2)]
    for parameter, value in zip(parameters, (3.0, 4.0), strict=True):
        parameter.set_value(np.zeros(1, np.float32))
        (parameter * value).sum().backward()
    groups = [{"params": [parameter]} for parameter in parameters]
    clip = paddle_nn.ClipGradByGlobalNorm(1.0)
    paddle.optimizer.SGD(1.0, parameters=groups, grad_clip=clip).step()
    moved = [-float(parameter[0]) for parameter in parameters]
    return Difference(
        "ClipGradByGlobalNorm with parameter groups",
        f"gradients (3, 4) clipped to norm 1 become ({moved[0]:.2g}, {moved[1]:.2g}) instead of (0.6, 0.8): by group",
        "our optimizer gets one flat list; the stage `config` reports the rule of a clip over groups",
    )


def clipping_epsilon() -> Difference:
    """PyTorch's own function on a gradient of norm 5."""
    parameter = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
    parameter.grad = torch.full((1,), 5.0, dtype=torch.float64)
    torch_nn.utils.clip_grad_norm_([parameter], 1.0)
    return Difference(
        "clip_grad_norm_",
        f"PyTorch adds 1e-6 to the norm: a gradient of 5 clipped to 1 becomes 1 - {1 - float(parameter.grad):.1e}",
        "`Optimization(clip_norm=...)` clips the reference by Paddle's rule, clip / max(norm, clip)",
    )


def temporal_shift_direction() -> Difference:
    """Two frames of four channels through Paddle's own temporal shift."""
    x = paddle.arange(1, 9, dtype="float32").reshape([2, 4, 1, 1])
    first = paddle_nn.functional.temporal_shift(x, 2, 0.25)[0].flatten().tolist()
    return Difference(
        "F.temporal_shift",
        f"frame 1 of channels (1 2 3 4), (5 6 7 8) becomes ({' '.join(f'{v:g}' for v in first)}); "
        "the TSM authors' is (5 0 3 4)",
        "our own shift, with the direction as an option",
    )


def nan_disappears() -> Difference:
    """ReLU of NaN."""
    relu = float(paddle_nn.functional.relu(paddle.full([1], float("nan")))[0])
    theirs = float(torch.relu(torch.tensor([float("nan")]))[0])
    return Difference(
        "relu of NaN (CPU)",
        f"Paddle gives {relu:g}, PyTorch {theirs:g}: the NaN disappears",
        "every layer's output is looked at, so that the layer before is named",
    )


def ceil_mode_windows() -> Difference:
    """Maximum pooling of 9 pixels, window 2, stride 2, padding 1, in ceil mode."""
    x = np.zeros((1, 1, 9, 9), np.float32)
    ours = paddle_nn.functional.max_pool2d(paddle.to_tensor(x), 2, 2, 1, ceil_mode=True).shape[-1]
    theirs = torch_nn.functional.max_pool2d(torch.from_numpy(x), 2, 2, 1, ceil_mode=True).shape[-1]
    return Difference(
        "pooling in ceil mode with padding",
        f"9 pixels, window 2, stride 2, padding 1: {ours} from Paddle, {theirs} from PyTorch"
        + (", which drops a window that begins in the padding" if ours != theirs else ""),
        "shapes are compared",
    )


def resize() -> Difference:
    """Our resize by OpenCV and the reference's by PyTorch, on noise in 40 pairs of sizes."""
    rng = np.random.default_rng(0)
    largest, fraction = 0, 0.0
    for _ in range(40):
        height, width, new_height, new_width = rng.integers(24, 160, size=4).tolist()
        frames = rng.integers(0, 256, size=(2, height, width, 3), dtype=np.uint8)
        sides = [side.resize(frames, new_height, new_width).astype(int) for side in (ours(), reference())]
        error = np.abs(sides[0] - sides[1])
        largest, fraction = max(largest, int(error.max())), max(fraction, float((error > 0).mean()))
    return Difference(
        "bilinear resize, OpenCV and PyTorch",
        f"{largest} level of 255 at most, in up to {fraction:.1%} of the values: fixed point against floating point",
        "the stage `data` allows one level in 20 % of the values",
    )


DIFFERENCES: tuple[Callable[[], Difference], ...] = (
    running_variance, batch_norm_constants, momentum_constants, batch_norm_of_one_pixel, batch_norm_mean,
    average_pooling_gradient, clipping_of_groups, clipping_epsilon, temporal_shift_direction, nan_disappears,
    ceil_mode_windows, resize,
)  # fmt: skip


def _relative(ours: np.ndarray, theirs: np.ndarray) -> float:
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def main() -> None:
    """Measures and prints all of them as a Markdown table."""
    say(f"paddle {paddle.__version__} on {paddle.get_device()}, torch {torch.__version__}", "")
    say("| difference | measured | what is done about it |", "|---|---|---|")
    for measure in DIFFERENCES:
        say(f"| {' | '.join(measure())} |")


if __name__ == "__main__":
    main()
