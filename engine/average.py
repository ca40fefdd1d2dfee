"""A moving average of all that a network keeps, which is often better than what the last step left.

Source: Polyak and Juditsky, "Acceleration of stochastic approximation by averaging", 1992; timm's ModelEmaV2, which
averages the statistics of BatchNorm as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import paddle
from paddle import nn


class Average:
    """The average of a network that is in training.

    Args:
        model: The network; the average begins as it is.
        decay: How much of the average stays at each step, above 0 and below 1.
    """

    def __init__(self, model: nn.Layer, decay: float) -> None:
        self._model, self._decay = model, decay
        self._kept = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}

    def update(self) -> None:
        """Takes in what a step has left."""
        with paddle.no_grad():
            for name, tensor in self._model.state_dict().items():
                self._kept[name] = self._kept[name] * self._decay + tensor.detach() * (1 - self._decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The network has the average, while this is open."""
        state = self._model.state_dict()
        before = {name: tensor.detach().clone() for name, tensor in state.items()}
        try:
            for name, tensor in state.items():
                tensor.set_value(self._kept[name])
            yield
        finally:
            for name, tensor in state.items():
                tensor.set_value(before[name])

    def arrays(self) -> dict[str, np.ndarray]:
        """The average by the names of the network's tensors."""
        return {name: tensor.numpy() for name, tensor in self._kept.items()}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Puts `arrays` back."""
        self._kept = {name: paddle.to_tensor(arrays[name]) for name in self._kept}
