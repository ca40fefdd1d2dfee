"""A recognizer whose logits an engine computes: what test.py and predict.py run on CPU.

Making a graph takes 1 to 3 s, so graphs are kept in the user's cache, by a digest of all that decides them, and for
each engine that has loaded one the certificate that its logits are the model's.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import paddle
from paddle import nn

from deploy.artifact import ArtifactError
from deploy.engines import ENGINES, check_settings, default_engine, open_graph, versions, with_precision
from deploy.formats import Graph
from deploy.interface import Engine, EngineError, Settings
from deploy.parity import TOLERANCE
from deploy.signature import Signature
from deploy.writers import write_graph
from runtime import cpu
from runtime.cache import cached
from runtime.command import say
from runtime.owned import temporary_folder

# Where no graph is kept, making and checking one pays for so many views.
MANY_VIEWS = 64
GRAPHS, CERTIFICATES = "graphs", "certificates"  # kinds in the cache
LIMIT = 2 * 2**30  # bytes of each
NOTE = "note.txt"  # of a certificate

Parts = tuple[str, ...]  # what decides an entry of the cache


class CompiledRecognizer(nn.Layer):
    """Maps clips or images [N, ...] to logits by an engine; of the first one the model computes them as well.

    Args:
        model: In eval mode.
        engine: Runs the graph of it.
        parts: What decides whether the engine computes this graph right here; with them it is asked once, for the first
            clip that ever comes, and without them once in each process.
        may_refuse: Whether an engine that computes something else ends the run; else the model goes on by itself.
    """

    def __init__(self, model: nn.Layer, engine: Engine, parts: Parts = (), may_refuse: bool = True) -> None:
        super().__init__()
        self.model = model
        self.engine = engine
        self.parts = parts
        self.may_refuse = may_refuse
        self.checked = self.failed = False

    def forward(self, clips: paddle.Tensor) -> paddle.Tensor:
        """Logits; raises EngineError if those of the very first clip are not the model's, and it may."""
        if not self.checked:
            self._check(clips[:1])
        return self.model(clips) if self.failed else paddle.to_tensor(self.engine(clips.numpy()))

    def _check(self, clip: paddle.Tensor) -> None:
        try:
            note = self._certified(lambda: self._note(self.engine(clip.numpy()), self.model(clip).numpy()))
        except EngineError as error:
            if self.may_refuse:
                raise
            note, self.failed = f"computed in dygraph, as {error}", True
        say(f"note: {note}", error=True)
        self.checked = True

    def _certified(self, note: Callable[[], str]) -> str:
        """The note on how the logits of a clip agree, from the cache if it is there."""
        if not self.parts:
            return note()
        kept = []

        def make(folder: Path) -> None:
            kept.append(note())
            (folder / NOTE).write_text(kept[0], encoding="utf-8")

        try:
            return (cached(CERTIFICATES, self.parts, make, LIMIT) / NOTE).read_text(encoding="utf-8")
        except OSError:  # the cache cannot be written, or was removed meanwhile
            return kept[0] if kept else note()

    def _note(self, found: np.ndarray, expected: np.ndarray) -> str:
        name, precision = self.engine.facts["engine"], self.engine.facts["precision"]
        difference, scale = float(np.abs(found - expected).max()), float(np.abs(expected).max())
        if precision == "fp32" and not difference <= TOLERANCE * max(scale, 1.0):
            raise EngineError(
                f"--engine {name} gives logits of the first clip that differ by {difference:.1e} from the model's: "
                "take --engine dygraph"
            )
        if found.ndim > 2:  # maps
            wrong = float((found.argmax(axis=1) != expected.argmax(axis=1)).mean())
            what, classes = "image", f"the class of {wrong:.3%} of its pixels"
        else:
            same = "the same class" if found.argmax() == expected.argmax() else "another class"
            what, classes = "clip", f"{same} comes first"
        return (
            f"computed by {name} in {precision}; logits of the first {what} differ by {difference:.1e} "
            f"({difference / max(scale, 1e-30):.1e} of the largest) from the model's own, {classes}"
        )


def compiled(
    model: nn.Layer,
    view_shape: Sequence[int],
    num_views: int,
    engine: str = "auto",
    settings: Settings | None = None,
    recipe: str = "",
    before: Sequence[str] = (),
) -> tuple[nn.Layer, str]:
    """The model as it is, or in an engine, and the name of what computes.

    Args:
        model: Recognizer in eval mode.
        view_shape: (T, 3, H, W) of the views, or (3, H, W) of images.
        num_views: Views that are to be computed.
        engine: A key of ENGINES, `dygraph`, or `auto`: on CPU the first engine that is installed, unless its graph
            would be made for a few views only and not be kept.
        settings: How an engine computes; the GPU is the one that Paddle uses here.
        recipe: Of the model, as JSON; with it the graph is kept in the user's cache, or found there.
        before: Engines to try before the others, for `auto`.

    Raises:
        EngineError: The engine is asked for by name and is not installed, or cannot run this model here.
    """
    settings = settings or Settings()
    is_cpu = paddle.get_device() == "cpu"
    pays = is_cpu and settings.tune and (bool(recipe) or num_views >= MANY_VIEWS)
    chosen = default_engine(settings, before=before) if pays else "paddle" if settings.precision != "fp32" else None
    name = (chosen or "dygraph") if engine == "auto" else engine
    if name == "dygraph":
        if (precision := settings.precision) != "fp32":
            raise EngineError(f"--precision {precision} is an engine's: {with_precision(precision)}")
        return model, name
    try:
        may_refuse = engine != "auto" or settings.precision != "fp32"
        return _recognizer(model, Signature.of_views(view_shape), name, settings, recipe, may_refuse), name
    except (ArtifactError, EngineError) as error:
        if engine != "auto" or settings.precision != "fp32":
            raise
        say(f"note: computed in dygraph, as the engine {name} does not run here: {error}", error=True)
        return model, "dygraph"


def _recognizer(
    model: nn.Layer, signature: Signature, name: str, settings: Settings, recipe: str, may_refuse: bool
) -> CompiledRecognizer:
    """A model in an engine that has loaded its graph."""
    device, _, number = paddle.get_device().partition(":")
    if device == "gpu" and name in ENGINES and device in ENGINES[name].devices:
        settings = dataclasses.replace(settings, gpu=int(number or 0))
    check_settings(name, settings)
    form = ENGINES[name].formats[0]
    if recipe:
        made_by = [f"{package} {version}" for package, version in versions("numpy", "onnx", "paddle2onnx").items()]
        parts = (form, recipe, str(signature.to_dict()), _weights_digest(model), _sources_digest(), *made_by)
        try:
            folder = cached(GRAPHS, parts, functools.partial(write_graph, form, model, signature), LIMIT)
            engine = open_graph(name, Graph(form, folder, signature), settings)
            certified_by = (name, str(settings), str(settings.num_threads), cpu.identity())
            return CompiledRecognizer(model, engine, (*parts, *certified_by), may_refuse)
        except OSError as error:
            say(f"note: the graph is not kept: {error.strerror or error}", error=True)
    with temporary_folder() as place:
        engine = open_graph(name, write_graph(form, model, signature, Path(place)), settings)
        return CompiledRecognizer(model, engine, may_refuse=may_refuse)


def _weights_digest(model: nn.Layer) -> str:
    """SHA-256 of names, shapes, types and values of all that a model keeps."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        array = np.ascontiguousarray(tensor.numpy())
        digest.update(f"{name} {array.shape} {array.dtype} ".encode())
        digest.update(array.data)
    return digest.hexdigest()


@functools.cache
def _sources_digest() -> str:
    """SHA-256 of the code that builds a network and writes its graph."""
    root, digest = Path(__file__).parents[1], hashlib.sha256()
    for path in sorted([*(root / "models").rglob("*.py"), *(root / "deploy").rglob("*.py")]):
        digest.update(path.read_bytes())
    return digest.hexdigest()
