"""A checkpoint, ready to compute: by the flags of a command, or as an object for notebooks and programs.

This file imports no framework before the process is set up for it.
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from configs import cli
from configs.cli import Asked
from configs.limits import Limits
from runtime.errors import UserError
from runtime.owned import digest_of

if TYPE_CHECKING:
    import numpy as np
    from paddle import nn

    from configs import Recipe
    from deploy.timeline.labeler import Labeler, Pool
    from deploy.timeline.labels import Prediction
    from engine.pretrained import Loaded


class Computing(NamedTuple):
    """A checkpoint, ready to compute.

    Attributes:
        run: Maps views float32 [N, ...] to the network's output.
        recipe: Of the network.
        names: Of the classes.
        model: The network itself, in eval mode; None of a graph.
        engine: The name of what computes.
    """

    run: Callable[[np.ndarray], np.ndarray]
    recipe: Recipe
    names: list[str]
    model: nn.Layer | None
    engine: str


def in_engine(args: argparse.Namespace, loaded: Loaded, view_shape: Sequence[int], views: int) -> tuple[nn.Layer, str]:
    """A checkpoint in the engine that `cli.add_engine_flags` ask for, and its name, see `compiled.compiled`."""
    from deploy.compiled import compiled
    from deploy.interface import Settings

    recipe = loaded.recipe
    settings, before = Settings(args.precision, args.threads, tune=not args.no_tune), recipe.network.family.engines
    kept = "" if args.no_cache else recipe.to_json()
    return compiled(loaded.model, view_shape, views, args.engine, settings, kept, before)


def compute(args: argparse.Namespace, videos: Sequence[str] = ()) -> Computing:
    """What computes, by the flags of a command that uses a checkpoint and an engine.

    Args:
        args: Of `cli.add_checkpoint_flags`, `cli.add_engine_flags` and `cli.add_beside_flags`, with `classes`.
        videos: What is to be computed; nothing where nobody knows how many views that will be.

    Raises:
        UserError: Weights cannot be read, or what is asked for cannot compute here.
    """
    from runtime import preparation

    preparation.prepare(args.device, args.threads, tune=not args.no_tune)

    from datasets import unlabeled
    from deploy.compiled import MANY_VIEWS
    from engine.evaluation import run_of
    from engine.pretrained import load_pretrained
    from tasks import task_of
    from tasks.class_names import class_names_beside

    loaded = load_pretrained(args.pretrained, cli.asked(args), which=args.weights)
    recipe = loaded.recipe
    names = class_names_beside(args.pretrained, recipe.network.num_classes, names=args.classes)
    task = task_of(recipe)
    num_views, *shape = task.dataset(unlabeled([]), recipe, cli.VIEWS[args.views], cli.limits_of(args)).sample_shape
    model, engine = in_engine(args, loaded, shape, num_views * len(task.find(videos)) or MANY_VIEWS)
    return Computing(run_of(model), recipe, names, loaded.model, engine)


def labeler_of(found: Computing, args: argparse.Namespace) -> Labeler:
    """What labels videos; raises UserError for a network of another task."""
    from deploy.timeline.labeler import Labeler

    mode = cli.VIEWS[args.views]
    limits = cli.limits_of(args)
    return Labeler(found.run, found.recipe, found.names, mode, args.views_per_pass, limits, pool_of(found, args))


def pool_of(found: Computing, args: argparse.Namespace) -> Pool | None:
    """What gives features beside logits, where --features asks for them: the network itself, whatever the engine."""
    from models.recognizer import Recognizer

    if not args.features:
        return None
    if not isinstance(found.model, Recognizer):
        raise UserError(f"--features: {found.recipe.network.model} has no features of a clip")
    from engine.grad_cam import pooled

    return functools.partial(pooled, found.model)


def labeler(args: argparse.Namespace) -> Labeler:
    """What labels videos, by the flags of `compute`."""
    return labeler_of(compute(args), args)


def facts(args: argparse.Namespace) -> dict[str, Any]:
    """What decides the labels of a video, by the same flags, for the record."""
    asked = cli.asked(args)
    return {
        "weights": digest_of(Path(args.pretrained)), "which": args.weights, "classes": args.classes,
        "preset": asked.preset, "options": {name: str(value) for name, value in asked.options.items()},
    }  # fmt: skip


class Predictor:
    """Labels videos by a checkpoint, as test.py does.

        Predictor("best.pdparams")("my.mp4").top(5)

    Args:
        pretrained: Weights of any layout; `recipe.json` and `classes.txt` are read beside them.
        views: "full" for the recipe's test views, "quick" for one center view.
        classes: File of class names, or the name of a known list.
        engine: A key of `deploy.engines.ENGINES`, "dygraph" for the model itself, or "auto".
        precision: Of the engine.
        device: "cpu", "gpu", "gpu:N" or "auto".
        threads: Of one operation; 0 takes OMP_NUM_THREADS, or all cores.
        tune: Whether the process is set up for speed, see `runtime.preparation.prepare`.
        weights: Which of several sets of weights in the file, see `weights.read`.
        views_per_pass: Views in one forward pass; 0 takes as many as hold 64 frames.
        asked: What is asked of the recipe beside the weights.
        limits: What a video may cost.
        cache: Whether graphs of engines are kept in ~/.cache/actionalign.

    Raises:
        UserError: Weights cannot be read, the network gives masks, or what is asked for cannot compute here.
    """

    def __init__(
        self, pretrained: str, *, views: str = "full", classes: str | None = None, engine: str = "auto",
        precision: str = "fp32", device: str = "auto", threads: int = 0, tune: bool = True, weights: str = "auto",
        views_per_pass: int = 0, asked: Asked | None = None, limits: Limits | None = None, cache: bool = True,
    ) -> None:  # fmt: skip
        asked, self._limits = asked or Asked(), limits or Limits()
        flags = argparse.Namespace(
            pretrained=pretrained, views=views, classes=classes, engine=engine, precision=precision, device=device,
            threads=threads, no_tune=not tune, weights=weights, views_per_pass=views_per_pass, no_cache=not cache,
            preset=asked.preset, limits=self._limits, features="", **asked.options,
        )  # fmt: skip
        self._labeler = labeler(flags)
        self.recipe, self.names = self._labeler.recipe, self._labeler.names

    def __call__(self, video: str, window: float = 0.0, stride: float = 0.0, source_fps: float = 0.0) -> Prediction:
        """The labels of a video.

        Args:
            video: File or folder of frames.
            window: Seconds of a window that slides over it; 0 for the video as a whole.
            stride: Seconds from one window to the next; 0 is as long as the window.
            source_fps: Frames a second, where the video does not say.

        Raises:
            UserError: It cannot be read.
        """
        from deploy.timeline.labeler import Source
        from deploy.timeline.labels import Prediction
        from deploy.timeline.windows import Plan

        if not window:
            return self._labeler.whole(video, source_fps)
        source = Source(video, source_fps, self._limits)
        plan = Plan.of(window, stride, source.fps, source.num_frames)
        return Prediction(video, self.names, list(self._labeler.windows(source, plan)))
