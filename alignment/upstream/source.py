"""What every source of foreign models has in common: what it is asked for, and how it is imported."""

from __future__ import annotations

import contextlib
import importlib
import io
import sys
import types
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from alignment.sides.pair import IncomparableError
from alignment.sides.parameters import Layers, Rule

INSTALL = "pip install --no-deps -r requirements-third-party.txt"
MOBILENET_STAGES = (1, 2, 3, 4, 3, 3, 1)  # blocks of each stage of a MobileNetV2
Names = tuple[tuple[str, str], ...]
# A MobileNetV2 whose blocks are one flat Sequential: convolution, norm, activation one after the other.
FLAT_MOBILENET: Names = (
    (r"(features\.\d+\.conv)$", r"\1 flat"),
    *((rf"(features\.1\.conv)\.{i}\b", rf"\1 .{place}") for i, place in enumerate(("0.0", "0.1", "0.2", "1", "2"))),
    *(
        (rf"(features\.\d+\.conv)\.{i}\b", rf"\1 .{place}")
        for i, place in enumerate(("0.0", "0.1", "0.2", "1.0", "1.1", "1.2", "2", "3"))
    ),
    (r"conv \.", "conv."),
)


class Settings(NamedTuple):
    """What a foreign model is built with.

    Attributes:
        num_classes: Classes K.
        num_frames: Frames T.
        network: The options of our model.
        size: Side of the frames; some heads average over windows of the size of training.
    """

    num_classes: int
    num_frames: int
    network: Any
    size: int = 224


class Pointwise(nn.Linear):
    """The class given to a foreign convolution of 1x1x1 that is a Linear in ours."""

    def forward(self, x: Tensor) -> Tensor:
        """Maps [N, C, T, H, W] to [N, K, T, H, W]."""
        return F.conv3d(x, self.weight, self.bias)


def as_linear(layer: nn.Conv3d) -> None:
    """Makes a convolution of 1x1x1 a Pointwise, which keeps its weight."""
    layer.in_features, layer.out_features = layer.in_channels, layer.out_channels
    layer.__class__ = Pointwise


LAYERS: Layers = {Pointwise: {"weight": Rule(("weight",), transposed=True, matrix=True)}}


@dataclass(frozen=True)
class Source:
    """A package or repository with models that nobody here wrote.

    Attributes:
        models: Our names of the models that it has too.
        build: (our name, settings, path of the checkout) -> its model, called with clips [N, T, 3, H, W], returning
            logits [N, K], with its own initial weights.
        names: Our name of a model -> rules from its paths to ours, as `Pair.names`.
        options: Our name of a model -> further arguments of `create_model` that make ours the same model.
        same_initialization: Our names of models whose initial weights come from the same distributions.
        url: What to clone, for a source that is a checkout; empty for an installed package.
        marker: A file that tells a checkout.
    """

    models: Sequence[str]
    build: Callable[[str, Settings, str], nn.Module]
    names: Callable[[str], Names] = lambda name: ()
    options: Callable[[str], dict[str, Any]] = lambda name: {}
    same_initialization: Sequence[str] = ()
    url: str = ""
    marker: str = ""


def installed(module: str) -> types.ModuleType:
    """An installed module.

    Raises:
        IncomparableError: It is absent or does not import.
    """
    try:
        with quiet():
            return importlib.import_module(module)
    except ImportError as error:
        raise IncomparableError(f"{module} cannot be imported ({error}): {INSTALL}") from error


@contextlib.contextmanager
def checked_out(path: str, packages: Sequence[str], stand_ins: Mapping[str, types.ModuleType]) -> Iterator[None]:
    """Makes the packages of a checkout importable inside the block, and forgets them after it.

    Such repositories are run from their root, import themselves by names like `ops`, and cannot be installed: their
    folder has to be on `sys.path` for as long as they import.

    Args:
        path: The root.
        packages: Top-level names; those of other modules give way for the time being.
        stand_ins: Modules to be found in place of real ones, by full name.

    Raises:
        IncomparableError: Something that the checkout imports is absent.
    """

    def claimed() -> list[str]:
        return [name for name in sys.modules if name.partition(".")[0] in packages]

    before = {name: sys.modules.pop(name) for name in claimed()}
    sys.modules.update(stand_ins)
    sys.path.insert(0, str(Path(path).resolve()))
    try:
        with quiet():
            yield
    except ImportError as error:
        raise IncomparableError(f"the code in {path} cannot be imported ({error}): {INSTALL}") from error
    finally:
        sys.path.remove(str(Path(path).resolve()))
        for name in claimed():
            del sys.modules[name]
        sys.modules.update(before)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps what foreign code prints and warns of off the terminal."""
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def called_by(model: nn.Module, forward: Callable[[Any, Tensor], Tensor]) -> nn.Module:
    """The model with another `forward`, so that no layer is wrapped around it and its paths stay its own."""
    model.forward = types.MethodType(forward, model)
    return model


def block_names(prefix: str, first: int) -> Names:
    """Rules from the blocks of a MobileNetV2, counted in each stage, to ours, which are counted through.

    Args:
        prefix: Pattern of a stage's path without its number.
        first: Number of the first stage.
    """
    blocks = [(stage, block) for stage, count in enumerate(MOBILENET_STAGES, first) for block in range(count)]
    return tuple(
        (rf"{prefix}{stage}\.{block}\b", rf"backbone.features.{i}") for i, (stage, block) in enumerate(blocks, 1)
    )


def of_clips(model: nn.Module, clips: Tensor) -> Tensor:
    """What a network over clips [N, 3, T, H, W] says of clips [N, T, 3, H, W]."""
    return type(model).forward(model, clips.transpose(1, 2))


def averaged_over_frames(model: nn.Module, clips: Tensor) -> Tensor:
    """What an image network says of the frames of clips [N, T, 3, H, W], on average: logits [N, K]."""
    scores = type(model).forward(model, clips.flatten(0, 1))  # [N*T, K]
    return scores.unflatten(0, clips.shape[:2]).mean(1)  # [N, K]
