"""The network that a job scales, and the samples that its descendants see: the same in every process of the job."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from paddle import nn

from configs import Recipe
from datasets import Annotation, ClipLoader, Dataset, load_annotation, unlabeled
from datasets.loader import Batch
from engine.evaluation import evaluate
from engine.pretrained import load_pretrained
from runtime.errors import UserError
from runtime.owned import digest_of
from scaling.discover import blocks_of
from scaling.extract import Block
from scaling.job import Job
from scaling.retrain import Clips, Lesson, lessons_of
from tasks import task_of
from tasks.class_names import class_names_beside

EVERY = 10  # one of so many training samples is held out, of each class alike where their list is in order
MOST_HELD_OUT = 64
MOST_KEPT = 1 << 31  # bytes of decoded validation samples


class KeptLoader(ClipLoader):
    """Batches that are the same in each epoch, and are read in the first one alone."""

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches from `start` on."""
        return iter(self._batches[start:])

    @functools.cached_property
    def _batches(self) -> list[Batch]:
        return list(super().epoch(0))


def network_of(job: Job) -> tuple[nn.Layer, Recipe, list[Block]]:
    """The original in eval mode, its recipe with the job's seed, and its blocks; reads no data."""
    model, recipe, _ = load_pretrained(job.pretrained, job.asked)
    model.eval()
    shape = task_of(recipe).dataset(unlabeled([]), recipe, "val").sample_shape[1:]
    return model, recipe.with_(seed=job.seed), blocks_of(model, shape)


class Original:
    """The network that a job scales, with its samples.

    Args:
        job: The numbers.

    Attributes:
        model: The network, in eval mode.
        recipe: Its recipe, with the job's seed.
        blocks: See `extract`.
        total: Steps of each descendant's training.
        every: Steps of an epoch, after each of which held-out samples are examined.

    Raises:
        UserError: Weights or data cannot be read, or there are too few samples.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        self.model, self.recipe, self.blocks = network_of(job)
        self.task = task_of(self.recipe)
        self.train, self.val = self._annotation("train", job.train_list), self._annotation("val", job.val_list)
        entries = self.train.entries
        held_out = tuple(entries[EVERY - 1 :: EVERY])[:MOST_HELD_OUT]
        if not held_out or len(entries) - len(held_out) < job.batch_size:
            raise UserError(
                f"{self.train.source} names {len(entries)} training samples: a step takes {job.batch_size}, and one of "
                f"{EVERY} is held out; lower --batch_size, or name another data set"
            )
        taught = tuple(entry for entry in entries if entry not in set(held_out))
        self._taught, self._held_out = (
            self._loader(dataclasses.replace(self.train, entries=part), mode, **options)
            for part, mode, options in (
                (taught, "train", {"shuffle": True, "drop_last": True}),
                (held_out, "val", {}),
            )
        )
        self.every = len(self._taught)
        self.total = job.epochs * self.every

    def lessons(self) -> list[Lesson]:
        """New descendants of all blocks, see `retrain`."""
        return lessons_of(self.model, self.blocks, self.job.sparsities, self.total, self.job.multiple, self.job.lr)

    def batches(self, begin: int) -> Iterator[Clips]:
        """The batches of training from a step on, without an end."""
        epoch, start = divmod(begin, self.every)
        while True:
            for batch in self._taught.epoch(epoch, start):
                yield batch.clips.reshape(-1, *batch.clips.shape[2:])
            epoch, start = epoch + 1, 0

    def held_out(self) -> list[Clips]:
        """The batches of what is held out of the training samples."""
        return [batch.clips.reshape(-1, *batch.clips.shape[2:]) for batch in self._held_out.epoch(0)]

    @functools.cached_property
    def validation(self) -> ClipLoader:
        """The validation samples, one view of each; where they fit into MOST_KEPT they are decoded once."""
        dataset = self.dataset(self.val, "val")
        fits = 4 * len(dataset) * math.prod(dataset.sample_shape) <= MOST_KEPT
        return (KeptLoader if fits else ClipLoader)(dataset, self.job.batch_size)

    def examine(self, model: nn.Layer) -> tuple[dict[str, float], np.ndarray]:
        """The metrics of a network on the validation samples, and its output for each, float32 [N, ...]."""
        outputs: list[np.ndarray] = []
        hook = model.register_forward_post_hook(lambda _, given, output: outputs.append(output.numpy()))
        try:
            metrics = evaluate(model, self.validation, self.task, title="clips").summary()
        finally:
            hook.remove()
        return metrics, np.concatenate(outputs)

    @functools.cached_property
    def outputs(self) -> np.ndarray:
        """What the network itself gives for each validation sample, float32 [N, ...]."""
        return self.examine(self.model)[1]

    def facts(self) -> dict[str, Any]:
        """All that decides what comes out, for the record."""
        return {
            "weights": {"file": Path(self.job.pretrained).name, "sha256": digest_of(Path(self.job.pretrained))},
            "model": self.recipe.network.model,
            "train": self.train.fingerprint,
            "sparsities": list(self.job.sparsities),
            "multiple": self.job.multiple,
            "epochs": self.job.epochs,
            "batch_size": self.job.batch_size,
            "lr": self.job.lr,
            "seed": self.job.seed,
            "recipe": self.recipe.options(),
        }

    def _annotation(self, subset: str, list_file: str) -> Annotation:
        classes = self.recipe.network.num_classes
        names = class_names_beside(self.job.pretrained, classes)
        split = self.recipe.clip.split
        return load_annotation(self.job.dataset_root, subset, split, classes, list_file, names, self.task.targets)

    def _loader(self, annotation: Annotation, mode: str, **options: Any) -> ClipLoader:
        return ClipLoader(self.dataset(annotation, mode), self.job.batch_size, seed=self.job.seed, **options)

    def dataset(self, annotation: Annotation, mode: str) -> Dataset:
        """The samples of an annotation as the recipe reads them."""
        return self.task.dataset(annotation, self.recipe, mode, self.job.limits)
