"""Times operators of ours against Paddle's and PyTorch's, forward and both gradients: `python -m tools.bench_kernels`.

The maps are those of 16 frames in MobileNetV2 and in the first stage of ResNet-50, at 224 pixels.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from runtime import command
from tools import measure
from tools.measure import Engine, Work

IMAGES = 16


@dataclass(frozen=True)
class Case:
    """An operator on maps [16, C, H, H].

    Attributes:
        operator: `depthwise`, a 3 x 3 convolution; `conv`, a dense one; `norm`, a BatchNorm in training; `norm_relu`,
            with the ReLU behind; `norm_add_relu`, with the input added before it.
        channels: C.
        size: H.
        stride: Of the convolution.
        kernel: Of the convolution.
        out_channels: Of the dense convolution.
    """

    operator: str
    channels: int
    size: int
    stride: int = 1
    kernel: int = 3
    out_channels: int = 0

    @property
    def title(self) -> str:
        """The first column."""
        dense = f" -> {self.out_channels}, {self.kernel} x {self.kernel}," if self.out_channels else ""
        stride = f", stride {self.stride}" * (self.stride > 1)
        return f"{self.operator} {self.channels}{dense} on {self.size}²{stride}"

    def noise(self, *shape: int) -> np.ndarray:
        """float32, always the same."""
        return np.random.default_rng(7).standard_normal(shape or self.shape, dtype=np.float32)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of the input."""
        return IMAGES, self.channels, self.size, self.size


CASES = (
    Case("depthwise", 32, 112), Case("depthwise", 96, 112, 2), Case("depthwise", 144, 56),
    Case("depthwise", 144, 56, 2), Case("depthwise", 192, 28), Case("depthwise", 384, 14), Case("depthwise", 576, 14),
    Case("depthwise", 960, 7), Case("conv", 3, 224, 2, 7, 64), Case("conv", 64, 56, 1, 3, 64),
    Case("conv", 64, 56, 1, 1, 256), Case("conv", 256, 56, 1, 1, 64), Case("conv", 128, 56, 2, 3, 128),
    Case("conv", 128, 28, 1, 3, 128), Case("conv", 256, 14, 1, 3, 256), Case("conv", 1024, 14, 1, 1, 256),
    Case("conv", 512, 7, 1, 3, 512), Case("conv", 512, 7, 1, 1, 2048), Case("norm", 64, 56), Case("norm_relu", 64, 112),
    Case("norm_relu", 256, 56), Case("norm_relu", 960, 7), Case("norm_add_relu", 256, 56),
    Case("norm_add_relu", 2048, 7),
)  # fmt: skip


def ours(case: Case) -> Work:
    """By the operator that ships."""
    return _in_paddle(case, tune=True)


def paddles(case: Case) -> Work:
    """By Paddle's, with the same settings of the process."""
    return _in_paddle(case, tune=False)


def _in_paddle(case: Case, tune: bool) -> Work:
    from runtime import native, preparation

    preparation.prepare("cpu", threads=1)
    native.refuse("" if tune else "measured without")
    import paddle

    from models import kernels
    from models.kernels.batch_norm import BatchNorm2D, norm_add_relu, norm_relu
    from models.kernels.conv import Conv2D
    from models.kernels.depthwise_conv import DepthwiseConv2D

    if tune and not kernels.serve(paddle.ones([1])):
        command.say(f"note: {kernels.plan_line()}", error=True)
    run: Callable[[Any], Any]
    if case.operator == "depthwise":
        run = layer = DepthwiseConv2D(case.channels, 3, case.stride)
        layer.weight.set_value(case.noise(case.channels, 1, 3, 3))
    elif case.operator == "conv":
        run = layer = Conv2D(
            case.channels, case.out_channels, case.kernel, case.stride, case.kernel // 2, bias_attr=False
        )
        layer.weight.set_value(case.noise(*layer.weight.shape))
    else:
        norm = layer = BatchNorm2D(case.channels)
        runs: dict[str, Callable[[Any], Any]] = {
            "norm": norm, "norm_relu": functools.partial(norm_relu, norm),
            "norm_add_relu": lambda x: norm_add_relu(norm, x, x),
        }  # fmt: skip
        run = runs[case.operator]
    x = paddle.to_tensor(case.noise(), stop_gradient=False)
    grad = paddle.to_tensor(case.noise(*run(x).shape))

    def step() -> np.ndarray:
        x.clear_gradient(set_to_zero=False)
        layer.clear_gradients(set_to_zero=False)
        run(x).backward(grad)
        return np.concatenate([x.grad[0, 0].numpy().reshape([-1]), layer.weight.grad.numpy().reshape([-1])])

    return step


def torch(case: Case) -> Work:
    """PyTorch as it comes, but for the allocator."""
    return _in_torch(case, channels_last=False)


def torch_channels_last(case: Case) -> Work:
    """With channels last besides."""
    return _in_torch(case, channels_last=True)


def _in_torch(case: Case, channels_last: bool) -> Work:
    from runtime import preparation

    preparation.tune_malloc()
    import torch

    torch.set_num_threads(1)
    order = torch.channels_last if channels_last else torch.contiguous_format
    layer: torch.nn.Module
    if case.operator == "depthwise":
        channels = case.channels
        layer = torch.nn.Conv2d(channels, channels, 3, case.stride, padding=1, groups=channels, bias=False)
        layer.weight.data = torch.from_numpy(case.noise(channels, 1, 3, 3)).to(memory_format=order)
    elif case.operator == "conv":
        layer = torch.nn.Conv2d(
            case.channels, case.out_channels, case.kernel, case.stride, case.kernel // 2, bias=False
        )
        layer.weight.data = torch.from_numpy(case.noise(*layer.weight.shape)).to(memory_format=order)
    else:
        layer = torch.nn.BatchNorm2d(case.channels)
    run: Callable[[Any], Any] = layer
    if case.operator == "norm_relu":
        run = torch.nn.Sequential(layer, torch.nn.ReLU())
    elif case.operator == "norm_add_relu":
        run = lambda x: torch.relu(layer(x) + x)  # noqa: E731
    x = torch.from_numpy(case.noise()).to(memory_format=order).requires_grad_()
    grad = torch.from_numpy(case.noise(*run(x).shape)).to(memory_format=order)

    def step() -> np.ndarray:
        x.grad = layer.weight.grad = None
        run(x).backward(grad)
        assert x.grad is not None
        return np.concatenate([x.grad[0, 0].numpy().reshape([-1]), layer.weight.grad.numpy().reshape([-1])])

    return step


ENGINES = {
    "ours": Engine("ActionAlign", ours),
    "paddle": Engine("Paddle", paddles),
    "torch": Engine("PyTorch", torch),
    "torch_channels_last": Engine("PyTorch, channels last", torch_channels_last),
}


def main(argv: Sequence[str] | None = None) -> None:
    """Prints the table."""
    parser = command.parser(__doc__)
    parser.add_argument("--rounds", type=command.positive, default=5, help="turns of each engine")
    parser.add_argument("--json", type=Path, help="write every measured number to this file")
    args = parser.parse_args(argv)
    measure.start_alike()
    report: dict[str, Any] = {"title": "Operators, forward and gradients", "machine": measure.machine()}
    report |= {"rounds": args.rounds, "cases": []}
    labels = [engine.label for engine in ENGINES.values()]
    command.say(*measure.header(report), "", f"| CPU ms of 16 maps | {' | '.join(labels)} | largest difference |")
    command.say("|---" * (len(labels) + 2) + "|")
    for case in CASES:
        rows = measure.measure(case, ENGINES, args.rounds)
        report["cases"].append({"case": vars(case), **{name: row.seconds for name, row in rows.items()}})
        values = [row.values[0] for name, row in rows.items() if name != "torch_channels_last"]
        worst = max(np.abs(value - values[0]).max() / np.abs(values[0]).max() for value in values)
        times = " | ".join(f"{1000 * min(row.seconds):.1f}" for row in rows.values())
        command.say(f"| {case.title} | {times} | {worst:.0e} |")
    if args.json:
        args.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    with command.clear_errors():
        main()
