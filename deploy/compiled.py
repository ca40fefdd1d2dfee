"""A recognizer whose logits an engine computes: what test.py and predict.py run where there is much to compute."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import paddle
from paddle import nn

from datasets import VideoDataset
from deploy.artefact import GRAPHS, ArtefactError
from deploy.engines import Engine, Settings, check_settings, open_graph
from deploy.export import write_graph
from deploy.parity import TOLERANCE
from engine.pretrained import Loaded

# Making and checking a graph takes 1 to 3 s, and saves 0.1 s (TSM) to 0.4 s (MVF) of a view of ResNet-50 at 224 pixels
# on one core of an AMD EPYC (Zen 4).
MANY_VIEWS = 16


class CompiledRecognizer(nn.Layer):
    """Maps clips [N, T, 3, H, W] to logits [N, K] by an engine; its first clip is computed by the model as well.

    Args:
        model: In eval mode.
        engine: Runs the graph of it.
    """

    def __init__(self, model: nn.Layer, engine: Engine) -> None:
        super().__init__()
        self.model = model
        self.engine = engine
        self.checked = False

    def forward(self, clips: paddle.Tensor) -> paddle.Tensor:
        """Logits; raises ArtefactError if those of the very first clip are not the model's."""
        logits = self.engine(clips.numpy())
        if not self.checked:
            self._check(logits[:1], self.model(clips[:1]).numpy())
            self.checked = True
        return paddle.to_tensor(logits)

    def _check(self, found: np.ndarray, expected: np.ndarray) -> None:
        name, precision = self.engine.facts["engine"], self.engine.facts["precision"]
        difference, scale = float(np.abs(found - expected).max()), float(np.abs(expected).max())
        if precision == "fp32" and not difference <= TOLERANCE * max(scale, 1.0):
            raise ArtefactError(
                f"--engine {name} gives logits of the first clip that differ by {difference:.1e} from the model's: "
                "take --engine dygraph"
            )
        alike = "the same class" if found.argmax() == expected.argmax() else "another class"
        print(
            f"note: computed by {name} in {precision}; logits of the first clip differ by {difference:.1e} "
            f"({difference / max(scale, 1e-30):.1e} of the largest) from the model's own, {alike} comes first",
            file=sys.stderr,
        )


def compiled(args: argparse.Namespace, loaded: Loaded, dataset: VideoDataset) -> tuple[nn.Layer, str]:
    """The model as it is, or in the engine that the flags ask for, and the name of what computes.

    Args:
        args: Of a parser with `cli.add_checkpoint_flags` and `cli.add_engine_flags`.
        loaded: What the checkpoint holds.
        dataset: What is to be computed.

    Raises:
        ArtefactError: The engine is asked for by name and is not installed, or cannot run this model here.
    """
    name = _choose(args, len(dataset) * dataset.sample_shape[0])
    if name == "dygraph":
        if args.precision != "fp32":
            raise ArtefactError(f"--precision {args.precision} is an engine's: take --engine paddle or openvino")
        return loaded.model, name
    try:
        return CompiledRecognizer(loaded.model, _engine_of(args, loaded, dataset.sample_shape[1:], name)), name
    except ArtefactError as error:
        if args.engine != "auto" or args.precision != "fp32":
            raise
        print(f"note: computed in dygraph, as the engine {name} does not run here: {error}", file=sys.stderr)
        return loaded.model, "dygraph"


def _choose(args: argparse.Namespace, num_views: int) -> str:
    if args.engine != "auto":
        return args.engine
    here = paddle.get_device() == "cpu" and not args.no_tune
    return "paddle" if args.precision != "fp32" or (here and num_views >= MANY_VIEWS) else "dygraph"


def _engine_of(args: argparse.Namespace, loaded: Loaded, shape: tuple[int, ...], name: str) -> Engine:
    """An engine that has loaded the graph of a model; nothing is left on the disk."""
    device, _, number = paddle.get_device().partition(":")
    gpu = int(number or 0) if device == "gpu" and name == "paddle" else None
    settings = Settings(args.precision, args.threads, gpu=gpu, tune=not args.no_tune)
    check_settings(name, settings)
    form = "paddle" if name == "paddle" else "onnx"
    with tempfile.TemporaryDirectory() as folder:
        write_graph(form, args, loaded.model, shape, Path(folder))
        return open_graph(name, [Path(folder) / file for file in GRAPHS[form]], shape, settings)
