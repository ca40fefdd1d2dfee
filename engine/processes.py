"""The processes of one run, started by `python -m paddle.distributed.launch`, and what they tell each other.

Each computes its part of every batch. What the parts add up to travels in one message for each step, by gloo between
processors and by NCCL between GPUs. After it parameters, running statistics and counts are the same bits everywhere,
so that whatever is decided from them needs no word between the processes.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import paddle
import paddle.distributed as dist
from paddle import nn
from paddle.base import core

from configs import Recipe
from engine.batch_norm import training_statistics
from runtime.errors import UserError

_GRACE = 20  # seconds in which the launcher ends a process that has lost another, and shows the log of the lost one

_PATIENCE = 24 * 3600 * 1000  # milliseconds that the others wait while the first one evaluates; Paddle's own: 30 min


class LostProcessError(UserError):
    """Another process of the run has ended."""


@dataclass
class Processes:
    """Which one this is, of how many; by default the only one, which tells nobody anything."""

    rank: int = 0
    size: int = 1
    _meetings: int = 0

    @classmethod
    def join(cls) -> Processes:
        """Meets the others where the launcher has started several; comes after the device is set."""
        if int(os.environ.get("PADDLE_TRAINERS_NUM", "1")) == 1:
            return cls()
        if paddle.get_device() == "cpu":
            os.environ["PADDLE_DISTRI_BACKEND"] = "gloo"
        dist.init_parallel_env()
        return cls(dist.get_rank(), dist.get_world_size())

    @property
    def is_first(self) -> bool:
        """Whether this one writes: checkpoints, logs and evaluations are its alone."""
        return self.rank == 0

    def rate_factor(self, recipe: Recipe) -> int:
        """What the recipe's learning rate is multiplied by, because its batch is the batch of one process."""
        return self.size if recipe.training.scale_lr else 1

    def sums(self, values: Sequence[float]) -> list[float]:
        """The sum over the processes of each value."""
        if self.size == 1:
            return list(values)
        total = paddle.to_tensor(np.array(values, np.float64))
        self._add(total)
        return total.tolist()

    def gather(self, messages: Sequence[str]) -> list[str]:
        """The messages of all processes."""
        if not self.sums([len(messages)])[0]:
            return []
        gathered: list[Sequence[str]] = [messages]
        if self.size > 1:
            gathered = []
            dist.all_gather_object(gathered, messages)
        return [message for part in gathered for message in part]

    def wait(self) -> None:
        """Returns when every process has come here, however long the others take.

        A message may not: gloo gives one up after 30 seconds, which no setting of Paddle 3.3.1 changes.
        """
        if self.size == 1:
            return
        store = core.create_or_get_global_tcp_store()
        self._meetings += 1
        store.add("meetings", 1)
        while store.add("meetings", 0) < self._meetings * self.size:
            time.sleep(0.05)

    def merge_step(self, model: nn.Layer) -> None:
        """Makes each gradient the sum over the processes, and the running statistics of BatchNorm the mean."""
        if self.size == 1:
            return
        gradients = [_gradient(parameter) for parameter in model.parameters() if not parameter.stop_gradient]
        self._merge(gradients, training_statistics(model))

    def merge_statistics(self, model: nn.Layer) -> None:
        """Makes the running statistics of BatchNorm the mean over the processes."""
        if self.size > 1:
            self.wait()
            self._merge([], training_statistics(model))

    def _merge(self, added: list[paddle.Tensor], averaged: list[paddle.Tensor]) -> None:
        tensors = added + averaged
        if not tensors:
            return
        message = paddle.concat([tensor.flatten() for tensor in tensors])  # [sum of sizes]
        self._add(message)
        pieces = message.split([int(tensor.size) for tensor in tensors])
        for index, (tensor, piece) in enumerate(zip(tensors, pieces, strict=True)):
            total = piece if index < len(added) else piece / self.size
            tensor.copy_(total.reshape(tensor.shape), True)

    def _add(self, message: paddle.Tensor) -> None:
        try:
            dist.all_reduce(message)
        except RuntimeError as error:
            time.sleep(_GRACE)
            raise LostProcessError(
                f"process {self.rank} of {self.size} has lost another, whose log names the cause unless it was half a "
                f"minute late ({error})"
            ) from error


def _gradient(parameter: paddle.Tensor) -> paddle.Tensor:
    """The gradient of a parameter; zeros where all the samples of this process have failed to decode."""
    if parameter.grad is None:
        parameter.grad = paddle.zeros_like(parameter)
    return parameter.grad
