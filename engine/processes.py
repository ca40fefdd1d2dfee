"""The processes of one run, started by `python -m paddle.distributed.launch`, and how they communicate.

Each process computes its share of every batch. The sums travel in one message per step, by gloo between CPUs and by
NCCL between GPUs. After it parameters, running statistics and counts are the same bits in every process, so whatever
is decided from them needs no further message.
"""

from __future__ import annotations

import contextlib
import os
import select
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
import paddle
import paddle.distributed as dist
from paddle import nn
from paddle.base import core

from configs import Recipe
from engine.batch_norm import training_statistics
from runtime.errors import UserError

_GRACE_S = 20  # in this time the launcher ends a process that has lost another, and shows the log of the lost one
_POLL_S = 0.05

Value = TypeVar("Value")


class LostProcessError(UserError):
    """Another process of the run has ended, or does not answer."""


@dataclass
class Processes:
    """The rank of this process and the number of processes; by default the only one.

    Attributes:
        rank: From 0.
        size: Number of processes.
        begun_with: Processes that the run began with: its batch is as many times the recipe's, whoever goes on with
            it; 0 for as many as there are.
        barrier_timeout_s: How long `barrier` waits for processes that neither come nor end; one that reads from a
            slower disk may be hours behind at the end of a large data set.
    """

    rank: int = 0
    size: int = 1
    begun_with: int = 0
    barrier_timeout_s: float = 12 * 3600
    _barriers: int = 0
    _peers: dict[int, int] = field(default_factory=dict)  # file descriptor of a process on this machine -> its rank

    @classmethod
    def join(cls) -> Processes:
        """Meets the others where the launcher has started several; comes after the device is set."""
        if int(os.environ.get("PADDLE_TRAINERS_NUM", "1")) == 1:
            return cls()
        if paddle.get_device() == "cpu":
            os.environ["PADDLE_DISTRI_BACKEND"] = "gloo"
        dist.init_parallel_env()
        processes = cls(dist.get_rank(), dist.get_world_size())
        processes._watch_peers()
        return processes

    @property
    def is_rank_zero(self) -> bool:
        """Whether this process writes: checkpoints, logs and reports are rank zero's."""
        return self.rank == 0

    @property
    def batches(self) -> int:
        """Batches of the recipe that make one of the run."""
        return self.begun_with or self.size

    def batch_size(self, recipe: Recipe) -> int:
        """Samples of a batch that this process takes.

        Raises:
            UserError: The batch of the run does not divide among the processes.
        """
        whole = recipe.training.batch_size * self.batches
        if whole % self.size:
            raise UserError(
                f"a batch of this run has {whole} samples, which {self.size} processes cannot share evenly: resume it "
                f"with {self.batches}, or another number that divides {whole}"
            )
        return whole // self.size

    def rate_factor(self, recipe: Recipe) -> int:
        """What the recipe's learning rate is multiplied by, because its batch is the batch of one process."""
        return self.batches if recipe.training.scale_lr else 1

    def all_reduce(self, values: Sequence[float]) -> list[float]:
        """The sum over the processes of each value."""
        if self.size == 1:
            return list(values)
        total = paddle.to_tensor(np.array(values, np.float64))
        self.add(total)
        return total.tolist()

    def all_gather(self, messages: Sequence[str]) -> list[str]:
        """The messages of all processes, in the order of their ranks."""
        if not self.all_reduce([len(messages)])[0]:
            return []
        return [message for part in self._gathered(messages) for message in part]

    def interleave(self, values: Sequence[Value]) -> list[Value]:
        """What the processes have of batches that they took in turn, in the order of the batches, in each of them."""
        if self.size == 1:
            return list(values)
        self.barrier()  # one may have had more to do
        parts = self._gathered(values)
        return [part[number] for number in range(max(map(len, parts))) for part in parts if number < len(part)]

    def _gathered(self, values: Sequence[Value]) -> list[Sequence[Value]]:
        if self.size == 1:
            return [values]
        gathered: list[Sequence[Value]] = []
        with self._errors_named():
            dist.all_gather_object(gathered, values)
        return gathered

    def barrier(self) -> None:
        """Returns when every process has called it as often as this one.

        It counts in the launcher's store: a collective operation of gloo fails if a process comes 30 seconds late,
        which no setting of Paddle 3.3.1 changes.

        Raises:
            LostProcessError: A process has ended before it came, or none has come for `barrier_timeout_s`.
        """
        if self.size == 1:
            return
        self._barriers += 1
        self._count_arrivals(1)
        deadline = time.monotonic() + self.barrier_timeout_s
        while True:
            ended = self._ended_peers()  # asked first: a process may come and end before the count is read
            if self._count_arrivals(0) >= self._barriers * self.size:
                return
            if ended:
                raise self._loss(f"process {ended[0]}, which has ended too early: its log names the cause")
            if time.monotonic() > deadline:
                raise LostProcessError(
                    f"process {self.rank} of {self.size} has waited {self.barrier_timeout_s / 60:g} minutes for the "
                    "others: look for the one that hangs, end it, and go on with --resume"
                )
            time.sleep(_POLL_S)

    def all_reduce_gradients(self, model: nn.Layer) -> None:
        """Makes each gradient the sum over the processes, and the running statistics of BatchNorm the mean."""
        if self.size == 1:
            return
        gradients = [_gradient(parameter) for parameter in model.parameters() if not parameter.stop_gradient]
        self._merge(gradients, training_statistics(model))

    def all_reduce_statistics(self, model: nn.Layer) -> None:
        """Makes the running statistics of BatchNorm the mean over the processes."""
        if self.size > 1:
            self.barrier()
            self._merge([], training_statistics(model))

    def _merge(self, added: list[paddle.Tensor], averaged: list[paddle.Tensor]) -> None:
        tensors = added + averaged
        if not tensors:
            return
        message = paddle.concat([tensor.flatten() for tensor in tensors])  # [sum of sizes]
        self.add(message)
        pieces = message.split([int(tensor.size) for tensor in tensors])
        for index, (tensor, piece) in enumerate(zip(tensors, pieces, strict=True)):
            total = piece if index < len(added) else piece / self.size
            tensor.copy_(total.reshape(tensor.shape), True)

    def add(self, message: paddle.Tensor) -> None:
        """Makes a tensor the sum over the processes."""
        with self._errors_named():
            dist.all_reduce(message)

    def _count_arrivals(self, more: int) -> int:
        """Adds to the number of barriers that all processes together have come to, and returns it."""
        with self._errors_named():  # the store ends with rank zero
            return core.create_or_get_global_tcp_store().add("barriers", more)

    @contextlib.contextmanager
    def _errors_named(self) -> Iterator[None]:
        try:
            yield
        except (RuntimeError, ValueError) as error:
            raise self._loss(
                f"another, whose log names the cause unless it was half a minute late ({error})"
            ) from error

    def _loss(self, what: str) -> LostProcessError:
        time.sleep(_GRACE_S)
        return LostProcessError(f"process {self.rank} of {self.size} has lost {what}")

    def _watch_peers(self) -> None:
        """Opens a file descriptor for each other process of this machine, which tells when the process ends."""
        store, here = core.create_or_get_global_tcp_store(), _process_namespace()
        store.set(f"process{self.rank}", f"{os.getpid()} {here}")
        for rank in range(self.size):
            pid, _, place = store.get(f"process{rank}").decode().partition(" ")
            if rank != self.rank and here and place == here:
                with contextlib.suppress(OSError):  # an old kernel, or the process has ended already
                    self._peers[os.pidfd_open(int(pid))] = rank

    def _ended_peers(self) -> list[int]:
        """Ranks of the processes of this machine that have ended."""
        poll = select.poll()
        for descriptor in self._peers:
            poll.register(descriptor, select.POLLIN)
        return [self._peers[descriptor] for descriptor, _ in poll.poll(0)]


def _process_namespace() -> str:
    """What two processes have in common that see each other by process id; empty outside of Linux."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}" if hasattr(os, "pidfd_open") else ""
    except OSError:
        return ""


def _gradient(parameter: paddle.Tensor) -> paddle.Tensor:
    """The gradient of a parameter; zeros where all the samples of this process have failed to decode."""
    if parameter.grad is None:
        parameter.grad = paddle.zeros_like(parameter)
    return parameter.grad
