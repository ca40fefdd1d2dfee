"""Makes a certified artifact of a checkpoint: `python -m deploy.export --pretrained FILE --output DIR`."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from configs import Recipe, cli
from deploy.artifact import CLASSES, LEGACY_FOLDER, RECIPE, ArtifactError, whole_artifact, write_record
from deploy.engines import ENGINES, readers, versions
from deploy.formats import FORMATS
from deploy.signature import Signature
from runtime import command
from runtime.owned import digest_of
from tasks import task_of

if TYPE_CHECKING:
    from paddle import nn


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Flags of the command; the recipe beside the checkpoint decides what they leave open."""
    parser = command.parser(__doc__, "python -m deploy.export --pretrained FILE --output DIR [flags]")
    run = parser.add_argument_group("run")
    run.add_argument("--output", required=True, help="folder of the artifact; an artifact that is there is replaced")
    run.add_argument(
        "--formats", nargs="+", choices=tuple(FORMATS), default=["paddle"],
        help="; ".join(f"{name}: {form.title}" for name, form in FORMATS.items()) + " (default: paddle)",
    )  # fmt: skip
    run.add_argument(
        "--stream", action="store_true",
        help="a graph of one frame and of what it keeps from those before; of a TSM that looks back alone",
    )  # fmt: skip
    run.add_argument("--video", nargs="+", default=[], help="videos to check with (default: two that are drawn)")
    cli.add_checkpoint_flags(parser)
    cli.add_beside_flags(parser)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Writes the artifact beside its place, checks every graph in it, and moves it there."""
    args = parse_args(argv)
    os.environ.setdefault("GLOG_minloglevel", "2")
    from runtime import preparation

    preparation.prepare(args.device, args.threads, tune=not args.no_tune)
    from engine.pretrained import load_pretrained

    with whole_artifact(args.output) as unchecked:
        loaded = load_pretrained(args.pretrained, cli.asked(args), which=args.weights)
        export(
            loaded.model, loaded.recipe, args.pretrained, unchecked, args.formats, args.views, args.video, args.stream,
            args.weights,
        )  # fmt: skip


def export(
    model: nn.Layer,
    recipe: Recipe,
    weights: str,
    folder: Path,
    formats: Sequence[str] = ("paddle",),
    views: str = "full",
    videos: Sequence[str] = (),
    stream: bool = False,
    which: str = "auto",
) -> None:
    """Writes and checks an artifact, and prints how well it agrees with the model.

    Args:
        model: In eval mode.
        recipe: What it was trained and is tested by.
        weights: The file that they were read from; its class names lie beside.
        folder: Of the artifact; empty, or not there yet.
        formats: Keys of FORMATS.
        views: A key of `cli.VIEWS`.
        videos: To check with; two are drawn where there are none.
        stream: Of one frame, see `models.streaming`.
        which: Of the weights in the file, see `weights.read`.

    Raises:
        UserError: A format cannot be written, or its graph gives other logits.
    """
    from deploy.parity import check_spread, compare, parity_clips
    from deploy.writers import write_graph
    from tasks.class_names import class_names_beside

    clips = parity_clips(videos, recipe, cli.VIEWS[views])
    expected = dygraph_logits(model, clips)
    check_spread(expected, weights)
    names = class_names_beside(weights, recipe.network.num_classes)
    if stream:
        from models.streaming import StreamingRecognizer

        model = StreamingRecognizer(model)
        states = model.state_shapes(*clips.shape[3:])
        signature = Signature.of_stream(clips.shape[2:], states, recipe.network.num_classes)
    else:
        signature = Signature.of_views(clips.shape[1:], task_of(recipe).output_shape(recipe, clips.shape[1:]))
    record = {
        "model": recipe.network.model,
        "weights": {
            "file": Path(weights).name,
            "sha256": digest_of(Path(weights)),
            "path": os.path.relpath(Path(weights).resolve(), folder.resolve()),
            "which": which,
        },
        "signature": signature.to_dict(),
        "views": views,
        "num_classes": recipe.network.num_classes,
        "precision": "fp32",
        "versions": versions("numpy", "onnx", "paddle2onnx"),
    }
    copies: dict[Any, nn.Layer] = {}
    for place, inner in _places(folder, formats).items():
        place.mkdir(parents=True, exist_ok=True)
        (place / RECIPE).write_text(recipe.to_json(), encoding="utf-8")
        (place / CLASSES).write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
        for form in inner:
            write_graph(form, model, signature, place, copies)
        write_record(place, record)  # without which no engine opens what is to be checked
        parity = {}
        for engine in [engine for form in inner for engine in _checkers(form)]:
            parity[engine] = compare(engine, place, clips, expected)
            command.say(_parity_line(f"{place.name}, " * (place != folder) + engine, parity[engine]))
        write_record(place, {**record, "parity": parity})


def dygraph_logits(model: nn.Layer, clips: np.ndarray) -> np.ndarray:
    """Logits float32 [n, K] of clips [n, T, 3, H, W], or [n, K, H, W] of images, one after the other."""
    import paddle

    with paddle.no_grad():
        return np.concatenate([model(paddle.to_tensor(clip[None])).numpy() for clip in clips])


def _places(folder: Path, formats: Sequence[str]) -> dict[Path, list[str]]:
    """Folder -> the formats in it: all in one, but Paddle's two apart, whose weights have one file name."""
    apart = {"paddle", "legacy"} <= set(formats)
    inner = [form for form in FORMATS if form in formats and not (apart and form == "legacy")]
    return {folder: inner} | ({folder / LEGACY_FOLDER: ["legacy"]} if apart else {})


def _checkers(form: str) -> list[str]:
    """Engines that check a format: those that read it and are installed, one at least."""
    engines = [name for name in readers(form) if ENGINES[name].is_installed]
    if not engines:
        names = " or ".join(readers(form))
        raise ArtifactError(f"--formats {form} needs {names} to check it: pip install -r {FORMATS[form].requirements}")
    return engines


def _parity_line(name: str, figures: dict[str, Any]) -> str:
    if "other_pixels" in figures:
        agreement = f"{figures['other_pixels']:.4%} of the pixels of {figures['clips']} images in another class"
    else:
        agreement = f"{figures['top1']:.0%} of {figures['clips']} clips with the same top-1 class"
    return (
        f"{name}: logits differ by {figures['max_difference']:.1e} at most ({figures['relative']:.1e} of the largest), "
        f"{agreement}, batches of 1, 2 and 5"
    )


if __name__ == "__main__":
    with command.clear_errors():
        main()
