"""What block scaling is held against: one network, pruned by one sparsity everywhere and fine-tuned as a whole.

It has the same architecture as the composed network of that sparsity, begins with the same channels, and learns from
labels as the original did, by the original's recipe. The best of its epochs on the validation samples counts.

Source: Li et al., "Pruning Filters for Efficient ConvNets", ICLR 2017 (prune once, then retrain).
"""

from __future__ import annotations

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
from scaling.compose import composed, size_bytes
from scaling.derive import derive
from scaling.job import Job
from scaling.original import Original
from scaling.store import read_part, write_part
from weights.files import read_file

FILE = "uniform.json"


class Uniform(TypedDict):
    """A network that was pruned by one sparsity and fine-tuned.

    Attributes:
        sparsity: Of all blocks.
        epochs: Of fine-tuning.
        metrics: On the validation samples, as those of composed networks.
        size_bytes: Of the weights.
    """

    sparsity: float
    epochs: int
    metrics: dict[str, float]
    size_bytes: int


def fine_tune(job: Job, folder: Path, sparsity: float, epochs: int) -> Uniform:
    """Prunes and fine-tunes one network in this process, and adds it to `uniform.json`.

    Args:
        job: Of the folder.
        folder: Of the job; the run goes to `uniform/<sparsity>` in it, and one that was ended there goes on.
        sparsity: Above 0, see `derive`.
        epochs: Passes over all training samples.

    Raises:
        UserError: The sparsity is out of its range, or training fails.
    """
    if not sparsity:
        raise UserError("a sparsity of 0 is the original: there is nothing to fine-tune")
    with Owned(folder).locked(f"another process scales in {folder}"):
        original = Original(job)
        recipe = original.recipe.with_(max_epochs=epochs)
        model = pruned(original, sparsity)
        directory = folder / "uniform" / f"{sparsity:g}"
        is_begun = (directory / STATE).exists()
        with checkpoint.run_directory(directory, is_begun), loaders(original, recipe) as (train, val):
            if not is_begun:
                checkpoint.write_run_files(directory, recipe, original.train.class_names)
            elif Recipe.from_json(directory / "recipe.json") != recipe:
                raise UserError(f"{directory} holds a run of another recipe: remove it, or ask for that one's epochs")
            Trainer(recipe, model, train, val, directory).fit(resume=is_begun)
        load(model, directory)
        metrics = evaluate(model, original.validation, original.task, title="clips").summary()
        found: Uniform = {
            "sparsity": sparsity, "epochs": epochs, "metrics": metrics, "size_bytes": size_bytes(model),
        }  # fmt: skip
        others = [one for one in read_uniform(folder) if one["sparsity"] != sparsity]
        content = sorted([*others, found], key=lambda one: one["sparsity"])
        write_part(Owned(folder), FILE, content)
        return found


def pruned(original: Original, sparsity: float) -> nn.Layer:
    """A copy of the original whose blocks are all cut by a sparsity, and have learned nothing."""
    cut = {
        block.path: derive(find_layer(original.model, block.path), block.groups, sparsity, original.job.multiple)
        for block in original.blocks
    }
    return composed(original.model, cut)


def tuned(original: Original, folder: Path, sparsity: float) -> nn.Layer:
    """The network that `fine_tune` has left; raises UserError if its weights are missing or damaged."""
    model = pruned(original, sparsity)
    load(model, folder / "uniform" / f"{sparsity:g}")
    return model


def load(model: nn.Layer, directory: Path) -> None:
    """Puts the best weights of a run into a network that has their shapes; raises UserError otherwise."""
    arrays, own = read_file(directory / "best.pdparams"), model.state_dict()
    if {name: tuple(tensor.shape) for name, tensor in own.items()} != {n: a.shape for n, a in arrays.items()}:
        raise UserError(f"{directory / 'best.pdparams'} is of another network: remove {directory}")
    for name, tensor in own.items():
        tensor.set_value(arrays[name])
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


def read_uniform(folder: Path) -> list[Uniform]:
    """The networks that were fine-tuned; none where there is no file."""
    if not (folder / FILE).exists():
        return []
    found: list[Uniform] = read_part(folder, FILE, list[Uniform], "uniform")
    return found
