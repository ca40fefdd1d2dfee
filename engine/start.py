"""Where a training begins: a data set and a network that fit each other."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import paddle
from paddle import nn

from configs import Recipe
from configs.limits import Limits
from datasets import Annotation, ClipLoader, load_annotation
from engine.checkpoint import Sources
from engine.pretrained import adopt_network, read_pretrained
from engine.processes import Processes
from models import from_recipe
from tasks import task_of
from weights import PARTS, Translation, assign


@dataclass
class Start:
    """Where a training begins.

    Attributes:
        recipe: Of the run; its classes are those of the data set.
        seen, held_out: The samples of training and of validation.
        weights: To start from, if any.
        notes: Lines of the plan.
    """

    recipe: Recipe
    seen: Annotation
    held_out: Annotation
    weights: Translation | None = None
    notes: list[str] = field(default_factory=list)

    @contextmanager
    def loaders(
        self, limits: Limits, num_workers: int, processes: Processes | None = None
    ) -> Iterator[tuple[ClipLoader, ClipLoader]]:
        """The loaders of training and of validation, of which each process reads its part."""
        processes, recipe = processes or Processes(), self.recipe
        train_set, val_set = (
            task_of(recipe).dataset(annotation, recipe, mode, limits)
            for annotation, mode in ((self.seen, "train"), (self.held_out, "val"))
        )
        seed, part = recipe.training.seed, (processes.rank, processes.size)
        with (
            ClipLoader(
                train_set, processes.batch_size(recipe), shuffle=True, drop_last=True, on_error="drop", part=part,
                num_workers=num_workers, seed=seed,
            ) as train_loader,
            ClipLoader(
                val_set, recipe.training.batch_size, part=part, num_workers=num_workers, seed=seed
            ) as val_loader,
        ):  # fmt: skip
            yield train_loader, val_loader

    def network(self) -> nn.Layer:
        """The network, initialized from the recipe's seed, with the weights.

        Raises:
            CheckpointError: They do not fit.
        """
        paddle.seed(self.recipe.training.seed)
        model = from_recipe(self.recipe)
        if self.weights:
            self.notes.append(f"weights   {self.weights.origin}: {assign(model, self.weights, partial=PARTS)}")
        return model


def start_of(
    sources: Sources, recipe: Recipe, given: Collection[str] = (), which: str = "auto", is_resumed: bool = False
) -> Start:
    """Reads the lists of a data set, and the weights to start from.

    Args:
        sources: Of the run.
        recipe: Of the run; classes that it leaves open are the data set's.
        given: Options that the user has set, which weights do not change.
        which: See `weights.read`.
        is_resumed: Whether a checkpoint takes the place of the weights, which are not read then.

    Raises:
        UserError: One of them cannot be read.
    """
    root, split, targets = sources.dataset_root, recipe.clip.split, task_of(recipe).targets
    classes = recipe.network.num_classes
    seen = load_annotation(root, "train", split, classes, sources.train_list, targets=targets)
    classes = classes or seen.num_classes
    held_out = load_annotation(root, "val", split, classes, sources.val_list, targets=targets)
    start = Start(recipe.with_(num_classes=classes), seen, held_out)
    if sources.pretrained and not is_resumed:
        start.weights = read_pretrained(sources.pretrained, which=which)
        start.recipe, adopted = adopt_network(start.recipe, start.weights, given)
        start.notes += [f"recipe    taken from the weights: {adopted}"] if adopted else []
    return start
