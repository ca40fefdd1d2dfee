"""Makes a certified artefact of a checkpoint: `python -m deploy.export --pretrained FILE --output DIR`."""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import os
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from configs import Recipe, cli
from deploy.artefact import CLASSES, GRAPHS, LEGACY_FOLDER, RECIPE, ArtefactError, sha256, whole_artefact, write_record
from runtime import command
from runtime.errors import UserError
from runtime.fresh_process import in_fresh_process

if TYPE_CHECKING:
    from engine.pretrained import Loaded
    from models import Recognizer2D

PACKAGES = ("paddlepaddle", "numpy", "onnx", "paddle2onnx", "onnxruntime", "openvino")
OPSET = 17
# format -> engines that must agree with the model; of several, those that are installed, one at least
CHECKED_BY = {"paddle": ("paddle",), "legacy": ("paddle",), "onnx": ("onnxruntime", "openvino")}


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Flags of the command; the recipe beside the checkpoint decides what they leave open."""
    parser = argparse.ArgumentParser(
        description=__doc__, usage="python -m deploy.export --pretrained FILE --output DIR [flags]"
    )
    run = parser.add_argument_group("run")
    run.add_argument("--output", required=True, help="folder of the artefact; an artefact that is there is replaced")
    run.add_argument(
        "--formats", nargs="+", choices=tuple(GRAPHS), default=["paddle"],
        help="paddle: Paddle 3; legacy: .pdmodel, beside paddle in a folder of its own; onnx (default: paddle)",
    )  # fmt: skip
    run.add_argument("--video", nargs="+", default=[], help="videos to check with (default: two that are drawn)")
    cli.add_checkpoint_flags(parser)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Writes the artefact beside its place, checks every graph in it, and moves it there."""
    args = parse_args(argv)
    _prepare(args)
    with whole_artefact(args.output) as unchecked:
        export(args, unchecked)


def export(args: argparse.Namespace, folder: Path) -> None:
    """Writes and checks an artefact in a new folder, and prints how well it agrees with the model.

    Raises:
        UserError: The checkpoint does not load, a format cannot be written, or its graph gives other logits.
    """
    from deploy.parity import check_spread, compare, parity_clips
    from engine.pretrained import load_pretrained

    loaded = load_pretrained(args.pretrained, cli.asked(args))
    clips = parity_clips(args.video, loaded.recipe, cli.VIEWS[args.views])
    expected = dygraph_logits(loaded.model, clips)
    check_spread(expected, args.pretrained)
    for place, formats in _places(folder, args.formats).items():
        record = write_artefact(place, formats, args, loaded, clips.shape[1:])
        parity = {}
        for engine in [engine for form in formats for engine in _checkers(form)]:
            parity[engine] = compare(engine, place, clips, expected)
            print(_parity_line(f"{place.name}, " * (place != folder) + engine, parity[engine]), flush=True)
        write_record(place, {**record, "parity": parity})


def write_artefact(
    place: Path, formats: Sequence[str], args: argparse.Namespace, loaded: Loaded, shape: Sequence[int]
) -> dict[str, Any]:
    """Writes an artefact that nothing has checked yet.

    Args:
        place: Folder that is not there yet.
        formats: Keys of GRAPHS.
        args: Where the model came from: `cli.add_checkpoint_flags`.
        loaded: The model, in eval mode.
        shape: (T, 3, H, W) of the clips.

    Returns:
        The record of it.
    """
    from engine.pretrained import class_names_beside

    names = class_names_beside(args.pretrained, loaded.recipe.network.num_classes)
    place.mkdir(parents=True)
    (place / RECIPE).write_text(loaded.recipe.to_json(), encoding="utf-8")
    (place / CLASSES).write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    for form in formats:
        write_graph(form, args, loaded.model, shape, place)
    record = _record(args, loaded.recipe, shape)
    write_record(place, record)
    return record


def write_graph(form: str, args: argparse.Namespace, model: Recognizer2D, shape: Sequence[int], place: Path) -> None:
    """Writes the graph of a model in one format.

    Args:
        form: A key of GRAPHS.
        args: Where the model came from, for a format that is written by a process of its own.
        model: In eval mode; left as it is.
        shape: (T, 3, H, W) of the clips.
        place: Folder.
    """
    stem = str(place / Path(GRAPHS[form][0]).stem)
    if form == "paddle":
        save_graph(model, shape, stem)
    elif form == "legacy":
        in_fresh_process(_save_legacy, args, shape, stem)
    else:
        with tempfile.TemporaryDirectory() as folder:
            graph = str(Path(folder) / "graph")
            save_graph(model, shape, graph)
            _convert(graph, f"{stem}.onnx")


def save_graph(model: Recognizer2D, shape: Sequence[int], stem: str) -> None:
    """Writes the static graph of a model with any batch N: clips [N, *shape] -> logits [N, K]."""
    import paddle

    from deploy.arrangement import arranged

    spec = paddle.static.InputSpec([None, *shape], "float32", "clips")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        paddle.jit.save(arranged(model), stem, input_spec=[spec])


def dygraph_logits(model: Recognizer2D, clips: np.ndarray) -> np.ndarray:
    """Logits float32 [n, K] of clips [n, T, 3, H, W], one clip after the other."""
    import paddle

    with paddle.no_grad():
        return np.concatenate([model(paddle.to_tensor(clip[None])).numpy() for clip in clips])


def _prepare(args: argparse.Namespace) -> None:
    os.environ.setdefault("GLOG_minloglevel", "2")
    from runtime import preparation

    preparation.prepare(args.device, args.threads, tune=not args.no_tune)
    command.end_on_sigterm()  # after Paddle's import, which takes the signal for itself


def _save_legacy(args: argparse.Namespace, shape: Sequence[int], stem: str) -> None:
    """`save_graph` in the format of Paddle 2, for a process of its own: the new IR is off in it."""
    os.environ["FLAGS_enable_pir_api"] = "0"  # noqa: SIM112  Paddle's own spelling, which it reads when it is imported
    _prepare(args)
    from engine.pretrained import load_pretrained

    save_graph(load_pretrained(args.pretrained, cli.asked(args)).model, shape, stem)
    Path(f"{stem}.pdiparams.info").unlink(missing_ok=True)


def _convert(stem: str, target: str) -> None:
    """Turns a graph of Paddle 3 into ONNX in a process of its own, which the converter may end."""
    if importlib.util.find_spec("paddle2onnx") is None:
        raise ArtefactError("--formats onnx needs paddle2onnx: pip install -r requirements-deploy.txt")
    log = Path(f"{stem}.log")
    log.touch()
    try:
        in_fresh_process(_call_paddle2onnx, stem, target)
        if not Path(target).is_file():
            raise UserError("it ended without a word")
    except Exception as error:
        remarks = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        raise UserError(f"paddle2onnx does not convert the graph: {(remarks or [str(error)])[-1]}") from error


def _call_paddle2onnx(stem: str, target: str) -> None:
    """Keeps the converter's many lines in a file, for the error that there may be."""
    remarks = os.open(f"{stem}.log", os.O_WRONLY)
    os.dup2(remarks, 1)
    os.dup2(remarks, 2)
    import paddle2onnx

    paddle2onnx.export(f"{stem}.json", f"{stem}.pdiparams", target, opset_version=OPSET, optimize_tool="None")


def _places(folder: Path, formats: Sequence[str]) -> dict[Path, list[str]]:
    """Folder -> the formats in it: all in one, but Paddle's two apart, whose weights are named alike."""
    apart = {"paddle", "legacy"} <= set(formats)
    inner = [form for form in GRAPHS if form in formats and not (apart and form == "legacy")]
    return {folder: inner} | ({folder / LEGACY_FOLDER: ["legacy"]} if apart else {})


def _checkers(form: str) -> list[str]:
    """Engines that check a format: those that are installed."""
    engines = [name for name in CHECKED_BY[form] if importlib.util.find_spec(name)]
    if not engines:
        names = " or ".join(CHECKED_BY[form])
        raise ArtefactError(f"--formats {form} needs {names} to check it: pip install -r requirements-deploy.txt")
    return engines


def _record(args: argparse.Namespace, recipe: Recipe, shape: Sequence[int]) -> dict[str, Any]:
    weights = Path(args.pretrained)
    return {
        "model": recipe.network.model,
        "weights": {"file": weights.name, "sha256": sha256(weights)},
        "input": {"name": "clips", "shape": [None, *shape], "dtype": "float32"},
        "views": args.views,
        "num_classes": recipe.network.num_classes,
        "precision": "fp32",
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES if _is_installed(name)},
    }


def _is_installed(distribution: str) -> bool:
    try:
        return bool(importlib.metadata.version(distribution))
    except importlib.metadata.PackageNotFoundError:
        return False


def _parity_line(name: str, figures: dict[str, Any]) -> str:
    return (
        f"{name}: logits differ by {figures['max_difference']:.1e} at most ({figures['relative']:.1e} of the largest), "
        f"{figures['top1']:.0%} of {figures['clips']} clips named alike, batches of 1, 2 and 5"
    )


if __name__ == "__main__":
    with command.clear_errors():
        main()
