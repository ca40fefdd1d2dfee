"""The candidate's side of a comparison."""

from __future__ import annotations

import contextlib
import types
from collections.abc import Iterator
from typing import Any

import numpy as np
import paddle

from alignment.sides.pair import explained
from alignment.sides.parameters import STATISTICS
from alignment.sides.run import SLOTS, Run
from alignment.sides.state import named_layers


class PaddleRun(Run):
    """A Paddle layer."""

    side = "candidate"
    framework = paddle
    dropouts = (paddle.nn.Dropout, paddle.nn.Dropout2D, paddle.nn.Dropout3D)
    hook_after = "register_forward_post_hook"
    skips_repeats = False  # a block that has lost its last operation returns what its last layer does

    def _cast(self) -> None:
        others = {name: t.clone() for name, t in self.model.state_dict().items() if not t.is_floating_point()}
        empty = [  # such as the state of the dropout in an LSTM, which Paddle 3.0 cannot convert
            (layer, name, buffer)
            for _, layer in named_layers(self.model)
            for name, buffer in layer._buffers.items()
            if buffer is not None and not buffer._is_initialized()
        ]
        for layer, name, _ in empty:
            layer._buffers[name] = None
        self.model.to(dtype=self.precision)  # which would make floats of integers and booleans
        for layer, name, buffer in empty:
            layer._buffers[name] = buffer
        for path, layer in named_layers(self.model):
            for name in layer._buffers:
                full = f"{path}.{name}".lstrip(".")
                layer._buffers[name] = others.get(full, layer._buffers[name])
            is_global = type(layer) is paddle.nn.AdaptiveAvgPool2D and _as_pair(layer._output_size) == (1, 1)
            if is_global and layer._data_format == "NCHW":
                # Deviation: the gradient of Paddle's average pooling divides by the window in float32 on CPU, up to
                # 7.5e-9 off in float64; the mean over the whole map is the same function without that.
                layer.forward = types.MethodType(_global_mean, layer)

    def tensor(self, array: np.ndarray, gradient: bool = False) -> Any:
        is_float = array.dtype.kind == "f"
        return paddle.to_tensor(
            array.astype(self.precision) if is_float else array, stop_gradient=not (is_float and gradient)
        )

    def named_parameters(self) -> dict[str, Any]:
        found = {}
        for path, layer in named_layers(self.model):
            for name, parameter in layer.named_parameters(include_sublayers=False):
                full = f"{path}.{name}".lstrip(".")
                # Paddle's BatchNorm counts its statistics among its parameters.
                if not parameter.stop_gradient and name not in STATISTICS.values():
                    found[full] = parameter
        return found

    def clear_gradients(self) -> None:
        self.model.clear_gradients(set_to_zero=False)

    def step(self, index: int) -> float:
        optimizer = self.optimization.optimizer
        self._changed |= self._initial.keys()
        with self.context():
            if self.optimization.rate is not None:
                optimizer.set_lr(self.optimization.rate(index))
            rate = float(optimizer.get_lr())
            with explained("the candidate's optimizer raises"):
                optimizer.step()
        return rate

    def slots(self) -> dict[str, np.ndarray]:
        accumulators = self.optimization.optimizer._accumulators
        found = {}
        for name, part in self.parameter_parts():
            for slot in SLOTS.values():
                for key, tensors in accumulators.items():
                    array = self._in_layout(part, tensors.get(part.tensor.name)) if key.startswith(slot) else None
                    if array is not None:
                        found[f"{name} {slot}"] = array
        return found

    @contextlib.contextmanager
    def context(self) -> Iterator[None]:
        default = paddle.get_default_dtype()
        paddle.set_default_dtype(self.precision)
        try:
            yield
        finally:
            paddle.set_default_dtype(default)


def paddle_variance_is_biased() -> bool:
    """Whether the running variance of this Paddle on this device divides by n (3.3 on CPU) or n - 1, by a trial."""
    norm = paddle.nn.BatchNorm2D(1, momentum=0.0)
    norm.train()
    norm(paddle.to_tensor(np.array([[[[1.0, 3.0]]]], np.float32)))
    return float(norm._variance[0]) < 1.5  # 1 or 2


def _as_pair(size: Any) -> tuple[Any, ...]:
    return tuple(size) if isinstance(size, (tuple, list)) else (size, size)


def _global_mean(_layer: Any, x: Any) -> Any:
    return x.mean(axis=[2, 3], keepdim=True)
