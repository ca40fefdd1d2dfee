"""Networks that are fine-tuned as wholes: from labels, as the original learned, by its recipe.

Either of chosen descendants, which goes on where blocks alone have come to; or pruned by one sparsity everywhere and
otherwise as it was, which block scaling is held against. The best of its epochs on the validation samples counts.

Source: Li et al., "Pruning Filters for Efficient ConvNets", ICLR 2017 (prune once, then retrain the whole).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypedDict

from paddle import nn

from configs import Recipe
from datasets import ClipLoader
from engine import checkpoint
from engine.evaluation import evaluate
from engine.runs import STATE
from engine.trainer import Trainer
from models.temporal_module import find_layer
from runtime.errors import UserError
from runtime.owned import Owned
from scaling.compose import Choice, Descendants, composed, size_bytes
from scaling.derive import derive, fill
from scaling.evaluate import key_of
from scaling.job import Job
from scaling.original import Original
from scaling.store import read_part, write_part
from weights.files import read_file

FILE = "tuned.json"


class Tuned(TypedDict):
    """A network that was fine-tuned.

    Attributes:
        choice: Sparsity of each block.
        trained: Whether it began with trained descendants, or with blocks as they were cut.
        epochs: Of fine-tuning.
        metrics: On the validation samples, as those of composed networks.
        size_bytes: Of the weights.
        folder: Of its run, in the job's.
    """

    choice: list[float]
    trained: bool
    epochs: int
    metrics: dict[str, float]
    size_bytes: int
    folder: str


def fine_tune(job: Job, folder: Path, choice: Choice, epochs: int, trained: bool = True) -> Tuned:
    """Fine-tunes one network in this process, and adds it to `tuned.json`; what was done before is not done again.

    Args:
        job: Of the folder.
        folder: Of the job; the run goes to `tuned/` in it, and one that was ended there goes on.
        choice: Sparsity of each block; one alone stands for all blocks.
        epochs: Passes over all training samples.
        trained: Whether to begin with trained descendants.

    Raises:
        UserError: A sparsity is out of its range, there is no such descendant, or training fails.
    """
    with Owned(folder).locked(f"another process scales in {folder}"):
        original = Original(job)
        if len(choice) == 1:
            choice *= len(original.blocks)
        descendants = Descendants(original.model, original.blocks, folder)
        descendants.check(choice)
        before = read_tuned(folder)
        for one in before:
            if (tuple(one["choice"]), one["epochs"], one["trained"]) == (choice, epochs, trained):
                return one
        place = f"tuned/{run_name(choice, epochs, trained)}"
        model = start_of(descendants, choice, trained)
        recipe = original.recipe.with_(max_epochs=epochs)
        directory = folder / place
        is_begun = (directory / STATE).exists()
        with checkpoint.run_directory(directory, is_begun), loaders(original, recipe) as (train, val):
            if not is_begun:
                checkpoint.write_run_files(directory, recipe, original.train.class_names)
            Trainer(recipe, model, train, val, directory).fit(resume=is_begun)
        load(model, directory)
        metrics = evaluate(model, original.validation, original.task, title="clips").summary()
        found: Tuned = {
            "choice": list(choice), "trained": trained, "epochs": epochs, "metrics": metrics,
            "size_bytes": size_bytes(model), "folder": place,
        }  # fmt: skip
        write_part(Owned(folder), FILE, [*before, found])
        return found


def run_name(choice: Choice, epochs: int, trained: bool) -> str:
    """The folder of a run; of many blocks a digest of their sparsities, which `tuned.json` names."""
    key = f"{choice[0]:g}" if len(set(choice)) == 1 else hashlib.sha256(key_of(choice).encode()).hexdigest()[:12]
    return f"{key}-{'trained' if trained else 'cut'}-{epochs}"


def start_of(descendants: Descendants, choice: Choice, trained: bool = True) -> nn.Layer:
    """A network of chosen descendants of a job, or of blocks that were cut and have learned nothing."""
    model = descendants.model
    if trained:
        return composed(model, descendants.of(choice))
    cut = {
        block.path: derive(find_layer(model, block.path), block.groups, sparsity, descendants.multiple)
        for block, sparsity in zip(descendants.blocks, choice, strict=True)
        if sparsity
    }
    return composed(model, cut)


def load(model: nn.Layer, directory: Path) -> None:
    """Puts the best weights of a run into a network that has their shapes; raises UserError otherwise."""
    weights = directory / "best.pdparams"
    if not fill(model, read_file(weights)):
        raise UserError(f"{weights} is of another network: remove {directory}")
    model.eval()


@contextmanager
def loaders(original: Original, recipe: Recipe) -> Iterator[tuple[ClipLoader, ClipLoader]]:
    """All training samples, and the validation samples, as a recipe reads them."""
    batch, seed = recipe.training.batch_size, recipe.training.seed
    seen, held = original.dataset(original.train, "train"), original.dataset(original.val, "val")
    with (
        ClipLoader(seen, batch, on_error="drop", shuffle=True, drop_last=True, num_workers=1, seed=seed) as train,
        ClipLoader(held, batch, num_workers=1, seed=seed) as val,
    ):
        yield train, val


def read_tuned(folder: Path) -> list[Tuned]:
    """The networks that were fine-tuned; none where there is no file."""
    if not (folder / FILE).exists():
        return []
    Owned(folder).check(FILE)
    found: list[Tuned] = read_part(folder, FILE, list[Tuned], "front")
    return found
