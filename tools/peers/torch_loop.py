"""A plain PyTorch loop over our reading: `python -m tools.peers.torch_loop WORK --pretrained FILE.npz ...`.

What somebody writes who knows PyTorch: a DataLoader with workers, SGD, and the two settings that make it fast on CPU,
channels last and an allocator that keeps memory. It reads by our decoder and transforms, which are the fastest there
are for Python here, so that the difference to ours is the network's alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader

from alignment.certification.twins import create_twin
from configs import Recipe
from datasets import VideoDataset, load_annotation
from runtime import command, preparation
from tools import bench_data, measure
from tools.peers import add_flags


def main(argv: Sequence[str] | None = None) -> None:
    """Trains for one epoch, or tests."""
    parser = command.parser(__doc__)
    add_flags(parser, "train", "val", "test")
    parser.add_argument("--recipe", type=Path, required=True, help="recipe.json")
    args = parser.parse_args(argv)
    preparation.tune_malloc()
    torch.set_num_threads(args.threads)
    recipe = Recipe.from_json(args.recipe)
    is_training = args.mode == "train"
    annotation = load_annotation(
        args.dataset_root, "train" if is_training else "val", 1, recipe.network.num_classes, args.list
    )
    loader = DataLoader(
        bench_data.Samples(VideoDataset(annotation, recipe, args.mode)), args.batch_size, shuffle=is_training,
        num_workers=args.num_workers, drop_last=is_training,
    )  # fmt: skip
    (_train if is_training else _test)(_model(recipe, args), loader, recipe)


def _model(recipe: Recipe, args: argparse.Namespace) -> torch.nn.Module:
    frames = recipe.clip.num_segments * recipe.clip.frames_per_segment
    network = recipe.network
    model = create_twin(network.model, num_classes=network.num_classes, num_frames=frames, dropout=network.dropout)
    return measure.kernels_last(measure.with_weights(model, Path(args.pretrained)))


def _train(model: torch.nn.Module, loader: DataLoader, recipe: Recipe) -> None:
    training = recipe.training
    optimizer = torch.optim.SGD(
        model.parameters(), 1e-4, training.momentum, weight_decay=training.weight_decay, nesterov=training.nesterov
    )
    model.train()
    for clips, labels in loader:
        loss = F.cross_entropy(model(measure.images_last(clips.flatten(0, 1))), labels)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), training.clip_norm)
        optimizer.step()
        optimizer.zero_grad()


def _test(model: torch.nn.Module, loader: DataLoader, recipe: Recipe) -> None:
    model.eval()
    right = 0
    with torch.inference_mode():
        for clips, labels in loader:
            logits = model(measure.images_last(clips.flatten(0, 1)))
            scores = logits.softmax(-1).unflatten(0, clips.shape[:2]).mean(1)
            right += int((scores.argmax(-1) == labels).sum())
    command.say(f"top 1: {right / len(loader.dataset):.4f}")


if __name__ == "__main__":
    with command.clear_errors():
        main()
