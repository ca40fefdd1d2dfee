"""The reference's side of a comparison."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from alignment.sides.parameters import NO_LAYERS, Layers
from alignment.sides.run import SLOTS, Run, single

# Constants that Paddle hands to its kernels in float32, whatever the type of the tensors.
SINGLE_PRECISION = ("eps", "alpha", "lambd", "threshold", "value")


class TorchRun(Run):
    """A PyTorch model. Its BatchNorms keep their running variance by Paddle's rule if `biased_variance`."""

    side = "reference"
    framework = torch
    dropouts = torch.nn.modules.dropout._DropoutNd
    hook_after = "register_forward_hook"
    skips_repeats = True

    def __init__(
        self,
        model: Any,
        precision: str,
        seed: int,
        opaque: Sequence[str] = (),
        biased: bool = True,
        layers: Layers = NO_LAYERS,
    ) -> None:
        super().__init__(model, precision, seed, {}, opaque, layers)
        for layer in self.model.modules():
            if isinstance(layer, _BatchNorm):
                layer.register_forward_hook(self._add_up_in_another_order)
                if biased and layer.track_running_stats and layer.momentum is not None:
                    layer.register_forward_hook(keep_biased_variance)
                    layer.register_forward_pre_hook(remember_variance)

    def _cast(self) -> None:
        self.model.to(getattr(torch, self.precision))
        for layer in self.model.modules():
            if hasattr(layer, "inplace"):
                layer.inplace = False  # the output that a hook saw would change afterwards
            for name in SINGLE_PRECISION if type(layer).__module__.startswith("torch.nn") else ():
                if type(getattr(layer, name, None)) is float:
                    setattr(layer, name, single(getattr(layer, name)))
            if isinstance(layer, _BatchNorm):
                layer.eps = single(layer.eps)
                if layer.momentum is not None:
                    layer.momentum = 1 - single(1 - layer.momentum)

    def _add_up_in_another_order(self, layer: Any, inputs: Any, _output: Any) -> Any:
        """Hook of a BatchNorm: takes part in `perturb` in float64.

        PyTorch's kernel adds up a channel's values in running sums: its mean of 8,192 values was off by 24 epsilons,
        and so, all in one direction, is each gradient that goes on. Where these cancel, as for a bias in front of the
        norm, nothing but that error is left, and perturbed weights do not move it. `Tensor.mean` adds up in a cascade.
        """
        if self._noise is None or self.precision != "float64" or not layer.training:
            return None
        x = inputs[0]
        axes = [0, *range(2, x.dim())]
        centred = x - x.mean(axes, keepdim=True)
        normed = centred * torch.rsqrt(centred.square().mean(axes, keepdim=True) + layer.eps)
        shape = [1, -1] + [1] * (x.dim() - 2)
        return normed if layer.weight is None else normed * layer.weight.view(shape) + layer.bias.view(shape)

    def tensor(self, array: np.ndarray, gradient: bool = False) -> Any:
        tensor = torch.from_numpy(np.array(array))
        if tensor.is_floating_point():
            tensor = tensor.to(getattr(torch, self.precision)).requires_grad_(gradient)
        return tensor

    def named_parameters(self) -> dict[str, Any]:
        named = self.model.named_parameters(remove_duplicate=False)
        return {name: parameter for name, parameter in named if parameter.requires_grad}

    def clear_gradients(self) -> None:
        self.model.zero_grad(set_to_none=True)

    def build_optimizer(self, factory: Callable) -> None:
        super().build_optimizer(factory)
        for group in self.optimization.optimizer.param_groups:
            for name in ("momentum", "weight_decay"):
                if name in group:
                    group[name] = single(group[name])

    def step(self, index: int) -> float:
        optimizer, rate = self.optimization.optimizer, self.optimization.rate
        self._changed |= self._initial.keys()
        if rate is not None:
            for group in optimizer.param_groups:
                group["lr"] = rate(index) * group.get("factor", 1.0)
        if self.optimization.clip_norm:
            self._clip(self.optimization.clip_norm)
        optimizer.step()
        # The rate before the groups' own factors, or where they have none the largest: Paddle's base rate.
        return max(group["lr"] / group.get("factor", 1.0) for group in optimizer.param_groups)

    def _clip(self, limit: float) -> None:
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(g) for g in gradients]))
        for gradient in gradients:
            gradient.mul_(limit / torch.clamp(norm, min=limit))

    def slots(self) -> dict[str, np.ndarray]:
        state = self.optimization.optimizer.state
        found = {}
        for name, part in self.parameter_parts():
            for theirs, ours in SLOTS.items():
                array = self._in_layout(part, state.get(part.tensor, {}).get(theirs))
                if array is not None:
                    found[f"{name} {ours}"] = array
        return found


def remember_variance(layer: Any, _inputs: Any) -> None:
    """Pre-hook of a BatchNorm of PyTorch: keeps the running variance from before the pass."""
    layer.variance_before = layer.running_var.clone() if layer.training else None


def keep_biased_variance(layer: Any, inputs: Any, _output: Any) -> None:
    """Hook of a BatchNorm of PyTorch: puts the batch's biased variance where PyTorch has put the unbiased one."""
    if layer.variance_before is not None:
        axes = [0, *range(2, inputs[0].dim())]
        with torch.no_grad():
            batch = torch.var(inputs[0].detach(), dim=axes, unbiased=False)
            # Through .data: the backward pass does not read it and must not count it as a change.
            layer.running_var.data.copy_((1 - layer.momentum) * layer.variance_before + layer.momentum * batch)
