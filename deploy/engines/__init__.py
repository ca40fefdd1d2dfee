"""Inference engines behind one interface: named arrays in, named arrays out, and clips in, logits out on top.

A new engine is one file here and one entry of ENGINES. Its package is imported when it is asked for, so that nothing
but the engine that is used needs to be installed.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import io
import os
import re
import warnings
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from deploy.artifact import Artifact, ArtifactError, open_artifact
from deploy.engines import mnn, ncnn, onnxruntime, openvino, paddle
from deploy.formats import FORMATS, Graph, formats_in
from deploy.interface import QUANTIZED, Engine, EngineError, EngineKind, Settings
from runtime import command, telemetry
from runtime.errors import UserError, last_line

# --engine -> what it can do. Where none is asked for, the first one that is installed and can is taken: the one whose
# first prediction comes first, loading included, and whose later ones are within a tenth of the fastest; for families
# where it is another one, `configs.networks` says so.
ENGINES: dict[str, EngineKind] = {
    "onnxruntime": onnxruntime.ENGINE,
    "openvino": openvino.ENGINE,
    "paddle": paddle.ENGINE,
    "mnn": mnn.ENGINE,
    "ncnn": ncnn.ENGINE,
}
PRECISIONS = tuple(dict.fromkeys(precision for kind in ENGINES.values() for precision in kind.precisions))
# EngineKind.reads -> (the version that exported a graph, the one that is here) -> whether that reads it
VERSIONS: dict[str, Callable[[tuple[int, ...], tuple[int, ...]], bool]] = {
    "any": lambda made_by, here: True,
    "older": lambda made_by, here: made_by <= here,
    "its own": lambda made_by, here: made_by[:2] == here[:2],  # of the same minor version
}
COMPUTED = tuple(precision for precision in PRECISIONS if precision != QUANTIZED)  # from weights in fp32


def readers(form: str) -> list[str]:
    """The engines that read a graph format."""
    return [name for name, kind in ENGINES.items() if form in kind.formats]


def default_engine(settings: Settings, formats: Collection[str] = (), before: Sequence[str] = ()) -> str | None:
    """The first of the engines that are installed and can do what is asked.

    Args:
        settings: What is asked.
        formats: Those that there is a graph in; without any, those that can be written here.
        before: Engines to try before the others.
    """
    there = set(formats) or {name for name, form in FORMATS.items() if not form.lack}
    for name in dict.fromkeys((*before, *ENGINES)):
        kind = ENGINES[name]
        if kind.is_installed and there & set(kind.formats[: None if formats else 1]) and not _refusal(name, settings):
            return name
    return None


def versions(*others: str) -> dict[str, str]:
    """Distribution -> its version, of all engines and of others, as far as they are installed."""
    found = {}
    for name in (*others, *(kind.distribution for kind in ENGINES.values())):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def with_precision(precision: str) -> str:
    """The engines that compute in a precision, as the end of a message."""
    return "take --engine " + " or ".join(name for name, kind in ENGINES.items() if precision in kind.precisions)


def open_engine(name: str | None, model_dir: str | Path, precision: str | None = None, **settings: Any) -> Engine:
    """Loads the graph of an artifact folder into an engine.

    Args:
        name: A key of ENGINES; None takes the first one that reads a format that is there.
        model_dir: Folder that `deploy.export` or `deploy.quantize` wrote.
        precision: See Settings; None takes the artifact's.
        settings: The other fields of Settings.

    Raises:
        ArtifactError: The folder does not hold the engine's graph whole.
        EngineError: The engine is not installed, or the graph belongs to another version of it, or neither the engine
            nor this machine can do what is asked.
    """
    artifact = open_artifact(model_dir)
    asked = Settings(precision or artifact.precision, **settings)
    there = formats_in(artifact.directory)
    if name is None:
        readable = (kind for kind in ENGINES if set(there) & set(ENGINES[kind].formats))
        before = artifact.recipe.network.family.engines
        name = default_engine(asked, there, before) or next(readable, next(iter(ENGINES)))
    check_settings(name, asked)
    _check_precision(artifact, asked.precision)
    kind, graph = ENGINES[name], graph_for(name, artifact)
    package = import_package(name, asked)
    version = getattr(package, "__version__", None) or importlib.metadata.version(kind.distribution)
    _check_version(artifact, kind, version)
    return open_graph(name, graph, asked)


def graph_for(name: str, artifact: Artifact) -> Graph:
    """The graph that an engine is given of those of an artifact; raises ArtifactError if it reads none of them."""
    there, formats = formats_in(artifact.directory), ENGINES[name].formats
    return artifact.graph(next((form for form in formats if form in there), formats[0]))


def open_graph(name: str, graph: Graph, settings: Settings) -> Engine:
    """Loads a graph into an engine.

    Args:
        name: A key of ENGINES.
        graph: In a format that the engine reads.
        settings: How to run it, as `check_settings` lets pass.

    Raises:
        EngineError: The engine is not installed, or cannot read the graph.
    """
    try:
        run, facts = ENGINES[name].load(import_package(name, settings), graph, settings)
    except UserError:
        raise
    except Exception as error:  # each engine has errors of its own
        raise EngineError(f"{graph.files[0]} does not load in {name}: {last_line(error)}") from error
    facts = {
        "runtime_device": settings.device, "ir_optim": True, "enable_tensorrt": False, "precision": settings.precision,
        "enable_mkldnn": False, "cpu_math_library_num_threads": settings.num_threads, "engine": name, **facts,
    }  # fmt: skip
    return Engine(run, graph.signature, facts)


def check_settings(name: str, settings: Settings) -> None:
    """Raises EngineError for what an engine, or this machine, cannot do."""
    if name not in ENGINES:
        raise EngineError(f"engine must be one of {', '.join(ENGINES)}, got {name!r}")
    if settings.precision not in PRECISIONS:
        raise EngineError(f"precision must be one of {', '.join(PRECISIONS)}, got {settings.precision!r}")
    if refusal := _refusal(name, settings):
        raise EngineError(refusal)


def _refusal(name: str, settings: Settings) -> str:
    """What an engine, or this machine, cannot do of what is asked; empty if nothing."""
    kind = ENGINES[name]
    if settings.device not in kind.devices:
        others = " or ".join(other for other, found in ENGINES.items() if settings.device in found.devices)
        return f"--engine {name} computes on CPU: take --engine {others} for a GPU"
    if settings.precision not in kind.precisions:
        return f"--engine {name} has no {settings.precision}: {with_precision(settings.precision)}"
    return kind.refuse(settings)


def _check_precision(artifact: Artifact, precision: str) -> None:
    if (precision == QUANTIZED) == (artifact.precision == QUANTIZED):
        return
    way = "make int8 with deploy.quantize" if precision == QUANTIZED else "name the folder it was made from"
    raise ArtifactError(f"{artifact.directory} holds {artifact.precision} weights, asked for {precision}: {way}")


def _check_version(artifact: Artifact, kind: EngineKind, version: str) -> None:
    """Refuses a graph of another version than the engine reads."""
    made_by = artifact.record["versions"].get(kind.distribution)
    if made_by and not VERSIONS[kind.reads](_numbers(made_by), _numbers(version)):
        raise EngineError(
            f"{artifact.directory} was exported by {kind.title.split()[0]} {made_by}, this is {version}: export again, "
            f"or pip install {kind.distribution}=={made_by}"
        )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version)))


def import_quietly(module: str) -> ModuleType:
    """Imports a module of an engine without its remarks, its telemetry, and its hold on signals."""
    telemetry.switch_off()
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        with command.signals_kept(), command.silenced(1):  # MNN says what the CPU has
            return importlib.import_module(module)


def import_package(name: str, settings: Settings) -> ModuleType:
    """Imports an engine's package without its remarks; raises EngineError with the command that installs it."""
    kind = ENGINES[name]
    if kind.threads_variable:
        os.environ.setdefault(kind.threads_variable, str(settings.num_threads))
    try:
        return import_quietly(kind.package)
    except ImportError as error:
        raise EngineError(f"--engine {name} is not installed here ({error}): pip install {kind.install}") from error
