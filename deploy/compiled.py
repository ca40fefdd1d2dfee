"""A recognizer whose logits an engine computes: what test.py and predict.py run where there is much to compute."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import paddle
from paddle import nn

from deploy.artifact import ArtifactError
from deploy.engines import ENGINES, check_settings, open_graph, with_precision
from deploy.interface import Engine, EngineError, Settings
from deploy.parity import TOLERANCE
from deploy.signature import Signature
from deploy.writers import write_graph
from runtime.command import say
from runtime.owned import temporary_folder

# Making and checking a graph takes 1 to 4 s, and saves 0.1 s (TSM) to 0.4 s (MVF) of a view of ResNet-50 at 224 pixels
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
        """Logits; raises EngineError if those of the very first clip are not the model's."""
        logits = self.engine(clips.numpy())
        if not self.checked:
            self._check(logits[:1], self.model(clips[:1]).numpy())
            self.checked = True
        return paddle.to_tensor(logits)

    def _check(self, found: np.ndarray, expected: np.ndarray) -> None:
        name, precision = self.engine.facts["engine"], self.engine.facts["precision"]
        difference, scale = float(np.abs(found - expected).max()), float(np.abs(expected).max())
        if precision == "fp32" and not difference <= TOLERANCE * max(scale, 1.0):
            raise EngineError(
                f"--engine {name} gives logits of the first clip that differ by {difference:.1e} from the model's: "
                "take --engine dygraph"
            )
        top1 = "the same class" if found.argmax() == expected.argmax() else "another class"
        say(
            f"note: computed by {name} in {precision}; logits of the first clip differ by {difference:.1e} "
            f"({difference / max(scale, 1e-30):.1e} of the largest) from the model's own, {top1} comes first",
            error=True,
        )


def compiled(
    model: nn.Layer, clip_shape: Sequence[int], num_views: int, engine: str = "auto", settings: Settings | None = None
) -> tuple[nn.Layer, str]:
    """The model as it is, or in an engine, and the name of what computes.

    Args:
        model: Recognizer in eval mode.
        clip_shape: (T, 3, H, W) of the views.
        num_views: Views that are to be computed.
        engine: A key of ENGINES, `dygraph`, or `auto` to choose by the views and the device.
        settings: How an engine computes; the GPU is the one that Paddle uses here.

    Raises:
        EngineError: The engine is asked for by name and is not installed, or cannot run this model here.
    """
    settings = settings or Settings()
    pays = paddle.get_device() == "cpu" and settings.tune and num_views >= MANY_VIEWS
    chosen = "paddle" if pays or settings.precision != "fp32" else "dygraph"
    name = chosen if engine == "auto" else engine
    if name == "dygraph":
        if (precision := settings.precision) != "fp32":
            raise EngineError(f"--precision {precision} is an engine's: {with_precision(precision)}")
        return model, name
    try:
        return CompiledRecognizer(model, _engine_of(model, Signature.of_clips(clip_shape), name, settings)), name
    except (ArtifactError, EngineError) as error:
        if engine != "auto" or settings.precision != "fp32":
            raise
        say(f"note: computed in dygraph, as the engine {name} does not run here: {error}", error=True)
        return model, "dygraph"


def _engine_of(model: nn.Layer, signature: Signature, name: str, settings: Settings) -> Engine:
    """An engine that has loaded the graph of a model; nothing is left on the disk."""
    device, _, number = paddle.get_device().partition(":")
    if device == "gpu" and name in ENGINES and device in ENGINES[name].devices:
        settings = dataclasses.replace(settings, gpu=int(number or 0))
    check_settings(name, settings)
    with temporary_folder() as folder:
        return open_graph(name, write_graph(ENGINES[name].formats[0], model, signature, Path(folder)), settings)
