"""The training loop: epochs, evaluation, checkpoints; a resumed run equals the run that was not interrupted."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddle import nn

from configs import Recipe
from datasets import ClipLoader
from datasets.loader import Batch
from engine import checkpoint, evaluation
from engine.average import Average
from engine.batch_norm import fold_views, recompute_statistics
from engine.log import EpochMeter, RunLog, SilentLog, Speed
from engine.objective import DivergenceError, TrainingStep, as_graph
from engine.optim import build_optimizer, learning_rate, train_mode
from engine.processes import Processes
from engine.progress import progress
from engine.sync_batch_norm import synchronized
from engine.watch import Watch
from runtime.command import signals_deferred
from runtime.errors import UserError
from tasks import task_of

RESTORED = ("epoch", "batch", "best", "bad_samples", "meter", "scaler", "metrics_size")  # of state.json


@dataclass
class Trainer:
    """One run. Everything random in it is a function of the seed, the epoch and the batch, never of what ran before.

    Attributes:
        recipe: The numbers of the run.
        model: Recognizer, initialized or loaded.
        train_loader: Drops samples that do not decode and reports them.
        val_loader: Raises on them.
        directory: Where checkpoints and logs go; exists.
        log_iters: Batches between two lines of the log.
        checkpoint_iters: Batches between two checkpoints inside an epoch; 0 only writes at the end of each.
        provenance: What else goes into `state.json`: where data and weights came from.
        processes: Of the run, which share each batch and each evaluation; see `Processes.batch_size`.
        to_static: Run the step as a static graph: the same numbers, but for rounding.
        max_iters: Stop after so many batches and only say how fast they were; 0 trains to the end.
        compiled: Gives for the network, the shape (T, 3, H, W) of a clip and the number of views what evaluates them,
            and its name; None: the network itself.
        watch: Of the run.
        rate: Gives the learning rate for the number of a batch, counted over all epochs; None: the recipe's schedule.
    """

    recipe: Recipe
    model: nn.Layer
    train_loader: ClipLoader
    val_loader: ClipLoader
    directory: Path
    log_iters: int = 10
    checkpoint_iters: int = 0
    provenance: dict[str, Any] = field(default_factory=dict)
    processes: Processes = field(default_factory=Processes)
    to_static: bool = False
    max_iters: int = 0
    compiled: Callable[[nn.Layer, Sequence[int], int], tuple[nn.Layer, str]] | None = None
    watch: Watch = field(default_factory=Watch)
    rate: Callable[[int], float] | None = None

    def __post_init__(self) -> None:
        if not len(self.train_loader):
            many = f" in each of {self.processes.size} processes" if self.processes.size > 1 else ""
            videos = len(self.train_loader.dataset)
            raise UserError(
                f"batch_size {self.recipe.training.batch_size}{many} is more than the {videos} training videos: "
                "lower --batch_size"
            )
        # A checkpoint holds no gradients, so it waits for the step that ends a group of accumulation.
        self.checkpoint_iters = (
            math.ceil(self.checkpoint_iters / self.recipe.training.accumulate) * self.recipe.training.accumulate
        )
        if self.to_static and self._is_synchronized:
            raise UserError("--sync_bn computes in dygraph: leave out --to_static")
        self.task = task_of(self.recipe)
        train_mode(self.model, self.recipe)
        step = TrainingStep(self.model, self.task, self.recipe)
        self.step = as_graph(step, self.recipe) if self.to_static else step
        self.optimizer = build_optimizer(self.model, self.recipe)
        decay = self.recipe.training.ema_decay
        self.average = Average(self.model, decay) if decay else None
        self.scaler = paddle.amp.GradScaler(enable=self.recipe.training.amp == "float16")
        self.epoch = self.batch = 0
        self.best, self.best_epoch = -1.0, 0  # the figure, and the epoch that had it
        self.meter = EpochMeter()
        self.bad_samples = 0

    # -----------------------------------------------------------------------------------------------------------------
    # The run

    def fit(self, plan: Sequence[str] = (), resume: bool = False) -> str:
        """Trains to the last epoch, or for `max_iters` batches, which leave neither evaluation nor checkpoint.

        Args:
            plan: Lines that the log begins with.
            resume: Continue from the checkpoint in the run directory.

        Returns:
            The last line of the run: its best evaluation, or its speed.

        Raises:
            DivergenceError: The loss is not finite.
            UserError: More samples fail to decode than the recipe allows.
            CheckpointError: A checkpoint cannot be read or written.
            LostProcessError: Another process of the run has ended.
        """
        metrics_size = self._restore() if resume else None
        self.log = RunLog(self.directory, metrics_size) if self.processes.is_rank_zero else SilentLog()
        for line in plan:
            self.log.line(line)
        self.speed = Speed(self.max_iters)
        while self.epoch < self.recipe.training.max_epochs:
            self.processes.barrier()  # for the checkpoint of rank zero
            if self._is_patience_over:
                self.log.line(f"stopped: no epoch was better than epoch {self.best_epoch} (patience)")
                break
            self._train_epoch()
            if self._is_benchmark_over:
                break
            self._finish_epoch()
        if self.max_iters:
            return self.speed.line()
        return (
            f"done: best {self.recipe.training.best_metric} {self.best:.4f}; weights in {self.directory}/best.pdparams"
        )

    def _train_epoch(self) -> None:
        train_mode(self.model, self.recipe)
        total = len(self.train_loader)
        if self.batch == 0:
            self.meter, self.bad_samples = EpochMeter(), 0
        batches = self.train_loader.epoch(self.epoch, start=self.batch)
        self.watch.begin_epoch()
        with (
            self._statistics(),
            progress(total, f"epoch {self.epoch + 1}/{self.recipe.training.max_epochs}", self.batch) as bar,
        ):
            for batch in batches:
                self.meter.data_arrived()
                self.watch.mark("reading")
                if self.batch == 0:
                    self.watch.clips(batch, self.train_loader.dataset, self._global_batch)
                self._count_failures(batch)
                self._train_batch(batch)
                self.batch += 1
                bar.update()
                bar.set_postfix(loss=f"{self.meter.loss:.4f}", acc=f"{self.meter.accuracy:.3f}")
                has_line = self._global_batch % self.log_iters == 0
                if has_line or self.batch == total:  # an epoch may be shorter than the lines are apart
                    self.watch.line(self._global_batch, self._figures())
                if has_line:
                    self.log.line(self._train_line())
                if self._is_benchmark_over:
                    break
                if self.checkpoint_iters and self.batch % self.checkpoint_iters == 0 and self.batch < total:
                    self._save()
                self.watch.mark("other")
        for line in self.watch.end_epoch():
            self.log.line(line)

    def _train_batch(self, batch: Batch) -> None:
        """Forward, backward, and a step at the end of each group of `accumulate` batches."""
        if self.batch % self.recipe.training.accumulate == 0:
            self.optimizer.set_lr(self._rate())
        paddle.seed(self._seed())
        samples = len(batch.targets)
        if not samples and self._is_synchronized:
            raise UserError(
                f"no sample of a batch of process {self.processes.rank} decodes, and --sync_bn needs one of each "
                "process: mend the videos that are named above, or leave it out"
            )
        loss, value, hits = self._forward(batch) if samples else (None, 0.0, 0.0)
        value, hits, total = self.processes.all_reduce([value * samples, hits, samples])
        self.watch.mark("forward")
        if not math.isfinite(value):
            raise DivergenceError(self._divergence(value, batch))
        if loss is not None:
            # The mean over the samples of all processes, as if one had seen them all.
            self.scaler.scale(loss / (self._group_size() * (total / samples))).backward()
        self.watch.mark("backward")
        if total:
            self.meter.batch_done(value / total, hits, int(total))
            self.watch.batch(value / total)
        self.speed.batch_done(total)
        last_of_epoch = self.batch + 1 == len(self.train_loader)
        if (self.batch + 1) % self.recipe.training.accumulate == 0 or last_of_epoch:
            self.processes.all_reduce_gradients(self.model)
            self.watch.gradients(self.model, float(np.asarray(self.scaler.state_dict().get("scale", 1.0)).item()))
            self.scaler.step(self.optimizer)
            self.scaler.update()
            self.optimizer.clear_grad()
            if self.average:
                self.average.update()
        self.watch.mark("step")

    def _forward(self, batch: Batch) -> tuple[paddle.Tensor, float, float]:
        """The mean loss of the batch, also as a number, and its number of correct predictions."""
        training = self.recipe.training
        clips, targets = fold_views(batch.clips), paddle.to_tensor(batch.targets)
        rng = np.random.default_rng([training.seed, self.epoch, self.batch, 1])
        with paddle.amp.auto_cast(enable=training.amp != "none", dtype=_amp_type(self.recipe), level="O1"):
            clips, wanted = self.task.training_batch(clips, targets, self.recipe, rng)
            with signals_deferred() if self.to_static else contextlib.nullcontext():  # the first one traces
                loss, output = self.step(clips, wanted)
        return loss, float(loss), self.task.correct(output, targets)

    def _finish_epoch(self) -> None:
        """Statistics, evaluation, best and last checkpoint; nothing but batches count in a benchmark."""
        if self.max_iters:
            self.epoch, self.batch = self.epoch + 1, 0
            return
        recipe = self.recipe
        if recipe.training.precise_bn_epochs and (self.epoch + 1) % recipe.training.precise_bn_epochs == 0:
            count = min(recipe.training.precise_bn_batches, len(self.train_loader))
            batches = (batch for _, batch in zip(range(count), self.train_loader.epoch(self.epoch), strict=False))
            with self._statistics():
                used = recompute_statistics(self.model, batches)
            self.log.line(f"Precise BatchNorm over {used} batches")
            self.processes.all_reduce_statistics(self.model)
        with self.average.applied() if self.average else contextlib.nullcontext():
            self._evaluate()
        self.epoch, self.batch = self.epoch + 1, 0
        self._save()

    def _evaluate(self) -> None:
        recipe, done = self.recipe, self.epoch + 1
        model, engine = self.model, "dygraph"
        if self.compiled:
            num_views, *clip_shape = self.val_loader.dataset.sample_shape
            self.model.eval()
            model, engine = self.compiled(model, clip_shape, num_views * len(self.val_loader.dataset))
        meter = evaluation.evaluate(model, self.val_loader, self.task, title="eval", processes=self.processes)
        metrics = meter.summary()
        if self.watch.board:
            pictures = meter.pictures(self.val_loader.dataset.annotation.class_names)
            self.watch.evaluated(done * len(self.train_loader), metrics, pictures)
        self.log.line(f"[EVAL] epoch={done}" + f" engine={engine}" * (model is not self.model))
        for line in self.task.metric_lines(metrics):
            self.log.line(line)
        self.log.event(
            epoch=done, loss=self.meter.loss, train_acc=self.meter.accuracy, lr=self.optimizer.get_lr(),
            bad_samples=self.bad_samples, **metrics,
        )  # fmt: skip
        if metrics[recipe.training.best_metric] > self.best:
            self.best, self.best_epoch = metrics[recipe.training.best_metric], done
            if self.processes.is_rank_zero:
                checkpoint.save_weights(self.directory / "best.pdparams", self.model)
            self.log.line("Save best model.")

    # -----------------------------------------------------------------------------------------------------------------
    # Where the run stands

    @property
    def _global_batch(self) -> int:
        return self.epoch * len(self.train_loader) + self.batch

    @property
    def _is_benchmark_over(self) -> bool:
        return 0 < self.max_iters <= self.speed.done

    @property
    def _is_patience_over(self) -> bool:
        """Whether the run has waited long enough for a better epoch."""
        patience = self.recipe.training.patience
        return bool(patience) and self.batch == 0 and self.epoch - self.best_epoch >= patience

    @property
    def _is_synchronized(self) -> bool:
        return self.recipe.training.sync_bn and self.processes.size > 1

    def _statistics(self) -> contextlib.AbstractContextManager[None]:
        """While it is open, BatchNorm normalizes as the recipe says: by process, or over all of them."""
        return synchronized(self.model, self.processes) if self._is_synchronized else contextlib.nullcontext()

    def _rate(self) -> float:
        if self.rate:
            return self.rate(self._global_batch)
        rate = learning_rate(self.recipe, self._global_batch / len(self.train_loader))
        return rate * self.processes.rate_factor(self.recipe)

    def _group_size(self) -> int:
        """Batches in this group of accumulation; the last group of an epoch may be smaller."""
        first = self.batch - self.batch % self.recipe.training.accumulate
        return min(self.recipe.training.accumulate, len(self.train_loader) - first)

    def _seed(self) -> int:
        """Seed of this batch's dropout in this process; that of the first is the one of a run without others."""
        entropy = [
            self.recipe.training.seed,
            self.epoch,
            self.batch,
            *([self.processes.rank] if self.processes.rank else []),
        ]
        return int(np.random.SeedSequence(entropy).generate_state(1)[0])

    def _figures(self) -> dict[str, float]:
        return {"loss": self.meter.loss, "accuracy": self.meter.accuracy, "lr": self.optimizer.get_lr(),
                "clips_per_second": self.meter.clips_per_second}  # fmt: skip

    def _train_line(self) -> str:
        epochs, step = self.recipe.training.max_epochs, self._global_batch
        left = epochs * len(self.train_loader) - step
        return self.meter.train_line(self.epoch + 1, epochs, self.batch, step, self.optimizer.get_lr(), left)

    def _divergence(self, value: float, batch: Batch) -> str:
        names = ", ".join(self.train_loader.dataset.annotation.entries[index].path for index in batch.indices[:4])
        return (
            f"the loss is {value} in epoch {self.epoch + 1}, batch {self.batch + 1} (lr {self.optimizer.get_lr():.6f}, "
            f"samples {names}, ...); the last checkpoint is kept: lower --lr or set --clip_norm"
        )

    def _count_failures(self, batch: Batch) -> None:
        failures = self.processes.all_gather(batch.failures)
        for message in failures:
            self.bad_samples += 1
            self.log.line(f"[SKIPPED] {message}")
        allowed_fraction = self.recipe.training.max_bad_samples
        allowed = allowed_fraction * len(self.train_loader.dataset)
        if self.bad_samples > allowed:
            raise UserError(
                f"{self.bad_samples} of {len(self.train_loader.dataset)} training samples do not decode, "
                f"--max_bad_samples {allowed_fraction:g} allows {allowed:g}; the last: {failures[-1]}"
            )

    # -----------------------------------------------------------------------------------------------------------------
    # Checkpoints

    def _save(self) -> None:
        if not self.processes.is_rank_zero:
            return
        meter = self.meter
        state = {
            "epoch": self.epoch,
            "batch": self.batch,
            "best": self.best,
            "best_epoch": self.best_epoch,
            "bad_samples": self.bad_samples,
            "meter": [meter.loss_sum, meter.hits, meter.samples],
            "scaler": {key: float(np.asarray(value).item()) for key, value in self.scaler.state_dict().items()},
            "metrics_size": self.log.metrics_size,
            "boards": self.watch.sizes(),
            "provenance": self.provenance,
            "processes": self.processes.batches,
        }
        checkpoint.save_last(self.directory, self.model, self.optimizer, state, self.average)

    def _restore(self) -> int:
        """Puts the last checkpoint back; returns the size of `metrics.jsonl` at that moment."""
        if not self.processes.is_rank_zero:
            self.processes.barrier()  # rank zero may have to finish the renames of a checkpoint
        state = checkpoint.load_last(self.directory, self.model, self.optimizer, self.average)
        missing = [name for name in RESTORED if name not in state]
        if missing or len(state["meter"]) != 3:
            raise checkpoint.CheckpointError(
                f"{self.directory}/state.json is damaged ($ lacks {(missing or ['meter'])[0]})"
            )
        if self.processes.is_rank_zero:
            self.processes.barrier()
        self.epoch, self.batch = state["epoch"], state["batch"]
        self.best, self.bad_samples = state["best"], state["bad_samples"]
        self.best_epoch = state.get("best_epoch", self.epoch)  # which older runs do not know
        self.meter = EpochMeter()
        self.meter.loss_sum, self.meter.hits, samples = state["meter"]
        self.meter.samples = int(samples)
        if state["scaler"]:
            self.scaler.load_state_dict(state["scaler"])
        return state["metrics_size"]


def _amp_type(recipe: Recipe) -> str:
    return "float16" if recipe.training.amp == "none" else recipe.training.amp
