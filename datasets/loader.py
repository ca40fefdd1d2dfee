"""Batches, loaded in this process or by worker processes that live as long as the loader.

A worker gets (slot, index, epoch) through its own pipe, writes the sample into a slot of memory that it shares with
the parent, and answers with the target or the reason of the failure. There is no lock and no queue that a killed worker
could leave behind: a pipe that ends tells the parent that a worker died, and a worker that its parent did.
"""

from __future__ import annotations

import contextlib
import math
import multiprocessing
import signal
import traceback
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnContext, SpawnProcess
from types import TracebackType

import cv2
import numpy as np

from datasets.dataset import Dataset
from datasets.shared_memory import SharedArray
from datasets.targets import DataError
from runtime.command import signals_deferred
from runtime.errors import UserError
from runtime.fresh_process import start_undisturbed


class LoaderError(UserError):
    """A worker process ended by itself."""


@dataclass(frozen=True)
class Failure:
    """A sample that did not decode: it has a reason instead of a target."""

    reason: str


@dataclass(frozen=True)
class Crash:
    """A worker failed for another reason than its data."""

    trace: str


Answer = np.ndarray | Failure  # target of a sample, or why there is none


@dataclass(frozen=True)
class Batch:
    """Samples that go through a model together.

    `clips` float32 [N, V, T, 3, H, W], of images [N, V, 3, H, W], `targets` [N, ...], `indices` int64 [N] into the
    dataset. `failures` says which samples of the batch are left out because they did not decode, and why; N may be 0
    when none did.
    """

    clips: np.ndarray
    targets: np.ndarray
    indices: np.ndarray
    failures: tuple[str, ...] = ()


class ClipLoader:
    """Batches of a dataset, epoch by epoch. They do not depend on `num_workers`.

    Args:
        dataset: Where the samples come from.
        batch_size: Samples in a batch.
        shuffle: Draw the order anew in each epoch, from (seed, epoch) alone.
        drop_last: Leave out a last batch that is not full.
        num_workers: Processes that load; 0 loads in this one.
        seed: Seed of the order.
        on_error: What a sample that does not decode does: "raise" its DataError, or "drop" out of its batch into
            `Batch.failures`.
        part: (rank, size) of processes that share each batch of size * batch_size samples: this one gets the rank-th
            run of batch_size of them.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int,
        *,
        shuffle: bool = False,
        drop_last: bool = False,
        num_workers: int = 0,
        seed: int = 0,
        on_error: str = "raise",
        part: tuple[int, int] = (0, 1),
    ) -> None:
        if on_error not in ("raise", "drop"):
            raise DataError(f"on_error must be raise or drop, got {on_error!r}")
        if batch_size < 1 or num_workers < 0:
            raise DataError(f"batch_size must be 1 or more, num_workers 0 or more, got {batch_size} and {num_workers}")
        self.dataset = dataset
        self.batch_size = batch_size
        self.num_workers = num_workers
        self._shuffle = shuffle
        self._drop_last = drop_last
        self._seed = seed
        self._on_error = on_error
        self.part = self._rank, self._size = part
        self._workers: _Workers | None = None

    def __len__(self) -> int:
        """Batches in an epoch."""
        count = len(self.dataset) / (self.batch_size * self._size)
        return math.floor(count) if self._drop_last else math.ceil(count)

    @property
    def left_out(self) -> int:
        """Samples that each epoch leaves out, of all processes."""
        return max(0, len(self.dataset) - len(self) * self.batch_size * self._size)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of one epoch, from batch `start` on. A new epoch ends the iteration of the one before.

        Raises:
            DataError: A sample does not decode and `on_error` is "raise".
            LoaderError: A worker died.
            RuntimeError: A worker failed for another reason than its data.
        """
        order = np.arange(len(self.dataset))
        if self._shuffle:
            order = np.random.default_rng([self._seed, epoch]).permutation(len(self.dataset))
        size = self.batch_size
        firsts = [(i * self._size + self._rank) * size for i in range(start, len(self))]
        batches = [order[first : first + size] for first in firsts]
        if not self.num_workers:
            return (self._load(batch, epoch) for batch in batches)
        if self._workers is None:
            self._workers = _Workers(self.dataset, self.num_workers, num_slots=size + self.num_workers)
        return self._receive(self._workers, batches, epoch)

    def close(self) -> None:
        """Ends the workers. A later `epoch` starts new ones."""
        if self._workers is not None:
            self._workers.close()
            self._workers = None

    def __enter__(self) -> ClipLoader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _load(self, indices: np.ndarray, epoch: int) -> Batch:
        clips = np.empty((len(indices), *self.dataset.sample_shape), np.float32)
        answers: list[Answer] = []
        for row, index in enumerate(indices.tolist()):
            try:
                answers.append(self.dataset.load_into(clips[row], index, epoch))
            except DataError as error:
                answers.append(self._failed(error))
        return _batch(clips, indices, answers)

    def _receive(self, workers: _Workers, batches: list[np.ndarray], epoch: int) -> Iterator[Batch]:
        ticket = workers.begin([(index, epoch) for batch in batches for index in batch.tolist()])
        for indices in batches:
            clips = np.empty((len(indices), *self.dataset.sample_shape), np.float32)
            answers: list[Answer] = []
            for row in range(len(indices)):
                answer = workers.next_sample(ticket, clips[row])
                answers.append(self._failed(DataError(answer.reason)) if isinstance(answer, Failure) else answer)
            yield _batch(clips, indices, answers)

    def _failed(self, error: DataError) -> Failure:
        if self._on_error == "raise":
            raise error
        return Failure(str(error))


def _batch(clips: np.ndarray, indices: np.ndarray, answers: list[Answer]) -> Batch:
    """A batch of the samples that have a target; the others are its failures."""
    found = [(row, answer) for row, answer in enumerate(answers) if not isinstance(answer, Failure)]
    good = [row for row, _ in found]
    targets = np.stack([target for _, target in found]) if found else np.empty(0, np.int64)
    if len(good) == len(answers):
        return Batch(clips, targets, indices.astype(np.int64))
    failures = tuple(answer.reason for answer in answers if isinstance(answer, Failure))
    return Batch(clips[good], targets, indices[good].astype(np.int64), failures)


class _Workers:
    """Worker processes and the memory that they fill; samples come back in the order in which they were asked for."""

    def __init__(self, dataset: Dataset, num_workers: int, num_slots: int) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would inherit the threads and locks of the parent
        memory = SharedArray((num_slots, *dataset.sample_shape))
        self._slots = memory.array  # [slots, V, T, 3, H, W]
        self._free = deque(range(num_slots))
        self._waiting: deque[tuple[int, int]] = deque()  # (index, epoch) not given to a worker yet
        self._pending: deque[int] = deque()  # slots that workers fill, in the order of the samples
        self._answers: dict[int, Answer | Crash] = {}  # by slot
        self._ticket = 0
        self._processes: list[SpawnProcess] = []
        self._pipes: list[Connection] = []
        self._load: list[int] = []  # samples that each worker has in hand
        try:
            for _ in range(num_workers):
                self._start(context, dataset, memory)
        except BaseException:
            self.close()
            raise
        finally:
            memory.close()

    def _start(self, context: SpawnContext, dataset: Dataset, memory: SharedArray) -> None:
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(theirs, dataset, memory), daemon=True)
        with signals_deferred():  # what is started is ended, too
            start_undisturbed(process)
            theirs.close()  # so that the pipe ends with the worker
            self._processes.append(process)
            self._pipes.append(ours)
            self._load.append(0)

    def begin(self, tasks: list[tuple[int, int]]) -> int:
        """Takes on new samples and forgets those of an epoch that was not read to its end; returns its ticket."""
        self._waiting.clear()
        while self._pending:
            self._take(self._pending.popleft())
        self._waiting.extend(tasks)
        self._feed()
        self._ticket += 1
        return self._ticket

    def next_sample(self, ticket: int, out: np.ndarray) -> Answer:
        """Copies the next sample into `out` and returns its target, or its failure."""
        if ticket != self._ticket:
            raise RuntimeError("this epoch was ended by a newer one of the same loader")
        slot = self._pending.popleft()
        answer = self._wait_for(slot)
        if isinstance(answer, Crash):
            raise RuntimeError(f"a loader worker failed:\n{answer.trace}")
        if not isinstance(answer, Failure):
            out[...] = self._slots[slot]
        self._free.append(slot)
        self._feed()
        return answer

    def _take(self, slot: int) -> None:
        self._wait_for(slot)
        self._free.append(slot)

    def _feed(self) -> None:
        """Gives samples to the least loaded workers while there are free slots."""
        while self._free and self._waiting:
            worker = min(range(len(self._load)), key=self._load.__getitem__)
            slot = self._free.popleft()
            index, epoch = self._waiting.popleft()
            is_there = False
            with contextlib.suppress(OSError):
                self._pipes[worker].send((slot, index, epoch))
                is_there = True
            if not is_there:  # not within: the frames of a broken `send` are what Python 3.13 complains of at its end
                raise self._died(worker)
            self._load[worker] += 1
            self._pending.append(slot)

    def _wait_for(self, slot: int) -> Answer | Crash:
        while slot not in self._answers:
            for pipe in wait(self._pipes):
                worker = self._pipes.index(pipe)  # type: ignore[arg-type]  # `wait` returns what it was given
                try:
                    done, answer = self._pipes[worker].recv()
                except (EOFError, OSError) as error:
                    raise self._died(worker) from error
                self._load[worker] -= 1
                self._answers[done] = answer
        return self._answers.pop(slot)

    def _died(self, worker: int) -> LoaderError:
        process = self._processes[worker]
        process.join(timeout=5)
        code = process.exitcode
        how = f"by signal {signal.Signals(-code).name}" if code is not None and code < 0 else f"with exit code {code}"
        self.close()
        return LoaderError(f"loader worker {worker} (pid {process.pid}) ended {how}; is there enough memory?")

    def close(self) -> None:
        """Ends the workers: their pipes close, which they take as the sign to leave."""
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            process.join(timeout=1)
            if process.is_alive():
                process.terminate()
                process.join()


def _work(pipe: Connection, dataset: Dataset, slots: np.ndarray) -> None:
    """A worker's life: load what the pipe asks for, until the pipe ends because the parent closed it or died.

    Its `slots` [slots, V, T, 3, H, W] are the parent's SharedArray.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's; it ends the workers
    cv2.setNumThreads(0)
    try:
        while True:
            slot, index, epoch = pipe.recv()
            pipe.send((slot, _answer(dataset, slots[slot], index, epoch)))
    except (EOFError, OSError):
        return


def _answer(dataset: Dataset, out: np.ndarray, index: int, epoch: int) -> Answer | Crash:
    try:
        return dataset.load_into(out, index, epoch)
    except DataError as error:
        return Failure(str(error))
    except Exception:  # whatever it is, the parent raises it
        return Crash(traceback.format_exc())
