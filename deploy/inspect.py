"""Names the first layer that an engine computes otherwise: `python -m deploy.inspect --model_dir DIR --engine ncnn`.

Every tensor that the engine makes of one clip lies beside what Paddle's dygraph makes of it, layer by layer in the
order of the network. What an engine calls a tensor, and what it fuses, is its own affair: a layer is found by its
values.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from configs import cli
from deploy.artifact import Artifact, ArtifactError, open_artifact
from deploy.engines import ENGINES, PRECISIONS, check_settings, graph_for, import_package
from deploy.formats import Graph
from deploy.interface import Activation, EngineError, Settings
from deploy.signature import Signature
from runtime import command
from runtime.errors import UserError
from runtime.owned import digest_of, temporary_folder
from tasks import task_of

if TYPE_CHECKING:
    from paddle import nn

# How far a layer may be from dygraph, relative to its largest value.
ALLOWED = {"fp32": 1e-3, "bf16": 0.05, "int8": 0.5}
SAMPLE = 2**18  # elements of a tensor that are compared, evenly spread
GLANCE = 2**10  # those by which the tensor of a layer is found
AROUND = 4  # lines before the first difference, that one among them
OUTPUT = "output"


def _relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(x, -60, 60)))


# What engines compute together with the layer before it.
ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "": lambda x: x,
    "relu": _relu,
    "relu6": lambda x: np.clip(x, 0, 6),
    "hardswish": lambda x: x * np.clip(x + 3, 0, 6) / 6,
    "swish": lambda x: x * _sigmoid(x),
    "sigmoid": _sigmoid,
}


@dataclass(frozen=True)
class Finding:
    """A layer beside the tensor of the engine that is nearest to it.

    Attributes:
        layer: Its path in the network.
        tensor: What the engine calls the tensor; empty where none has this size.
        activation: That the engine computes together with the layer.
        relative: Largest difference, in units of the layer's largest value.
        cosine: Between the two.
    """

    layer: str
    tensor: str = ""
    activation: str = ""
    relative: float = math.inf
    cosine: float = math.nan


@dataclass(frozen=True)
class Inspection:
    """All layers of a network in an engine.

    Attributes:
        findings: In the order in which the network computes them; the output is the last.
        hidden: Layers that the engine shows no tensor of, as it computes them together with others.
        allowed: How far a layer may be from dygraph.
    """

    findings: Sequence[Finding]
    hidden: Collection[str]
    allowed: float

    @property
    def visible(self) -> list[Finding]:
        """The layers that the engine shows."""
        return [finding for finding in self.findings if finding.layer not in self.hidden]

    @property
    def first(self) -> Finding | None:
        """The first layer that differs."""
        return next((finding for finding in self.visible if not finding.relative <= self.allowed), None)

    @property
    def suspects(self) -> list[str]:
        """Hidden layers since the last one that agrees: the difference may begin in one of them."""
        since: list[str] = []
        for finding in self.findings:
            if self.first is not None and finding.layer == self.first.layer:
                return since
            since = [*since, finding.layer] if finding.layer in self.hidden else []
        return []


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Flags of the command."""
    parser = command.parser(__doc__, "python -m deploy.inspect --model_dir DIR --engine NAME --video FILE [flags]")
    parser.add_argument("--model_dir", required=True, help="folder that deploy.export or deploy.quantize wrote")
    parser.add_argument("--engine", required=True, choices=tuple(ENGINES), help="whose tensors are compared")
    parser.add_argument("--video", required=True, help="file or folder of frames; its first view is taken")
    parser.add_argument("--pretrained", default="", help="the checkpoint, where it is not where it was exported from")
    parser.add_argument("--precision", choices=PRECISIONS, help="of the computation (default: the artifact's)")
    parser.add_argument("--threads", type=command.count, default=0, help="of one operation; 0: all cores")
    parser.add_argument("--all", action="store_true", help="print a line for every layer")
    parser.add_argument("--save_json", default="", metavar="FILE", help="write all of them there, too")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Prints how the layers agree; ends with 1 if one does not."""
    args = parse_args(argv)
    artifact = open_artifact(args.model_dir)
    settings = Settings(args.precision or artifact.precision, threads=args.threads)
    check_settings(args.engine, settings)
    model = _trained(artifact, args.pretrained)
    clip = task_of(artifact.recipe).views(args.video, artifact.recipe, cli.VIEWS[artifact.record["views"]])[0][None]
    found = inspect(artifact, model, args.engine, settings, clip)
    if args.save_json:
        record = {"engine": args.engine, "precision": settings.precision, "hidden": sorted(found.hidden)}
        text = json.dumps({**record, "layers": [asdict(finding) for finding in found.findings]}, indent=2)
        Path(args.save_json).write_text(text + "\n", encoding="utf-8")
    visible, first = found.visible, found.first
    at = len(visible) if first is None else visible.index(first) + 1
    command.say(*_table(visible if args.all else visible[max(0, at - AROUND) : at]))
    head = f"{args.engine} in {settings.precision}: {len(visible)} layers of {len(found.findings)} are seen"
    if first is None:
        command.say(f"{head}, and each is within {found.allowed:g} of its largest value")
        return
    together = f" (or {', '.join(found.suspects)}, which it computes together with it)" if found.suspects else ""
    raise UserError(
        f"{head}; the first that differs is {first.layer}{together}: by {first.relative:.2g} of its largest value, "
        f"cosine {first.cosine:.4f}, where {found.allowed:g} is allowed"
    )


def inspect(artifact: Artifact, model: nn.Layer, engine: str, settings: Settings, clip: np.ndarray) -> Inspection:
    """Lays each tensor that an engine makes beside dygraph's.

    Args:
        artifact: Holds the graph.
        model: What it was exported from, in eval mode.
        engine: A key of ENGINES.
        settings: As `check_settings` lets pass.
        clip: float32 [1, T, 3, H, W].

    Raises:
        EngineError: The engine shows no tensors.
    """
    from deploy.folding import fused
    from deploy.fusions import FUSIONS
    from deploy.writers import write_graph

    graph = graph_for(engine, artifact)
    if graph.signature.states:
        from models.streaming import StreamingRecognizer

        model = StreamingRecognizer(model)
    arrays = _inputs(model, graph.signature, clip)
    network = fused(model, graph.signature, FUSIONS[graph.form])
    allowed = ALLOWED[settings.precision]
    layers = list(network_activations(network, graph.signature, arrays))
    findings = match(layers, engine_activations(engine, graph, settings, arrays))
    beyond = {finding.layer for finding in findings if not finding.relative <= allowed}
    if findings[-1].layer in beyond:  # which layers does a graph that was not changed hide?
        with temporary_folder() as folder:
            fresh = write_graph(graph.form, model, graph.signature, Path(folder))
            computed = Settings(threads=settings.threads)
            plain = match(layers, engine_activations(engine, fresh, computed, arrays))
        unseen = {finding.layer for finding in plain if not finding.relative <= ALLOWED[computed.precision]}
        beyond = set() if plain[-1].layer in unseen else unseen
    return Inspection(findings, beyond, allowed)


def network_activations(
    network: nn.Layer, signature: Signature, arrays: Mapping[str, np.ndarray]
) -> Iterator[Activation]:
    """The path and the output of each layer that gives one tensor, in the order in which they are computed."""
    import paddle

    found: list[Activation] = []

    def hook(path: str) -> Callable[..., None]:
        return lambda _layer, _inputs, output: (
            found.append((path, output.numpy())) if isinstance(output, paddle.Tensor) else None
        )

    hooks = [
        layer.register_forward_post_hook(hook(path))
        for path, layer in network.named_sublayers()
        if not isinstance(layer, paddle.nn.Identity | paddle.nn.Dropout)
    ]
    with paddle.no_grad():
        outputs = network(*signature.arguments([paddle.to_tensor(arrays[spec.name]) for spec in signature.inputs]))
    for handle in hooks:
        handle.remove()
    yield from found
    yield OUTPUT, (outputs[0] if isinstance(outputs, list | tuple) else outputs).numpy()


def engine_activations(
    engine: str, graph: Graph, settings: Settings, arrays: dict[str, np.ndarray]
) -> Iterator[Activation]:
    """Every tensor that an engine makes of some inputs; raises EngineError where it shows none."""
    kind = ENGINES[engine]
    if kind.activations is None:
        raise EngineError(f"--engine {engine} does not show the tensors that it makes")
    return kind.activations(import_package(engine, settings), graph, settings, arrays)


def match(layers: Sequence[Activation], tensors: Iterable[Activation]) -> list[Finding]:
    """For each layer the tensor of its size that is nearest, and how near.

    Args:
        layers: Path and output of each.
        tensors: What an engine calls each tensor, and its values.
    """
    wanted: dict[int, list[_Wanted]] = {}
    in_order = []
    for path, array in layers:
        in_order.append(_Wanted(path, _sampled(array, SAMPLE)))
        wanted.setdefault(array.size, []).append(in_order[-1])
    for name, array in tensors:
        if array.size in wanted:
            sample = _sampled(array, SAMPLE)
            for layer in wanted[array.size]:
                layer.look_at(name, sample)
    return [layer.finding() for layer in in_order]


class _Wanted:
    """A layer, and the tensor that was nearest so far."""

    def __init__(self, path: str, sample: np.ndarray) -> None:
        self._path = path
        self._forms = {name: function(sample) for name, function in ACTIVATIONS.items()}
        self._glances = {name: _sampled(form, GLANCE) for name, form in self._forms.items()}
        self._best = (math.inf, "", "", sample)

    def look_at(self, name: str, sample: np.ndarray) -> None:
        glance = _sampled(sample, GLANCE)
        for activation, expected in self._glances.items():
            error = _relative(expected, glance)
            if error < self._best[0]:
                self._best = (error, name, activation, sample)

    def finding(self) -> Finding:
        error, name, activation, sample = self._best
        if math.isinf(error):
            return Finding(self._path)
        expected = self._forms[activation].astype(np.float64)
        norms = float(np.linalg.norm(expected) * np.linalg.norm(sample))
        cosine = float(expected @ sample) / norms if norms else float(not (expected.any() or sample.any()))
        return Finding(self._path, name, activation, _relative(expected, sample), cosine)


def _sampled(array: np.ndarray, most: int) -> np.ndarray:
    """Evenly spread elements, in an odd distance, so that no axis of an even length is seen at one place alone."""
    flat = array.reshape(-1)
    step = -(-flat.size // most)
    return flat[:: step + 1 - step % 2].astype(np.float32)


def _relative(expected: np.ndarray, found: np.ndarray) -> float:
    """The largest difference in units of the largest value expected; infinite where that is 0 or something is NaN."""
    difference, scale = float(np.abs(expected - found).max()), float(np.abs(expected).max())
    if difference == 0:
        return 0.0
    return difference / scale if scale and math.isfinite(difference) else math.inf


def _inputs(model: nn.Layer, signature: Signature, clip: np.ndarray) -> dict[str, np.ndarray]:
    """The clip; of a stream its second frame, and what the network keeps of the first."""
    import paddle

    first = signature.inputs[0].name
    if not signature.states:
        return {first: clip}
    arrays = {spec.name: spec.zeros() for spec in signature.inputs} | {first: clip[:, 0]}
    with paddle.no_grad():
        _, *kept = model(*signature.arguments([paddle.to_tensor(arrays[spec.name]) for spec in signature.inputs]))
    states = [target for _, target in signature.states]
    return {first: clip[:, -1], **{name: state.numpy() for name, state in zip(states, kept, strict=True)}}


def _trained(artifact: Artifact, weights: str) -> nn.Layer:
    """The network that an artifact was exported from; raises ArtifactError if its checkpoint is not there."""
    if "sparsities" in artifact.record:
        raise ArtifactError(
            f"{artifact.directory} was composed by python -m scaling: its layers are not those of a checkpoint; what "
            "its engine gives was held against them when it was written"
        )
    source = artifact.record["weights"]
    path = Path(weights or artifact.directory / source.get("path", source["file"]))
    if not path.is_file() or digest_of(path) != source["sha256"]:
        raise ArtifactError(
            f"{path} is not the checkpoint that {artifact.directory} was exported from: name it by --pretrained "
            f"({source['file']}, sha256 {source['sha256'][:16]}...)"
        )
    from runtime import preparation

    preparation.prepare("cpu", 0)
    from engine.pretrained import load_pretrained

    asked = cli.Asked(options=artifact.recipe.options())
    return load_pretrained(str(path), asked, which=source.get("which", "auto")).model


def _table(findings: Sequence[Finding]) -> list[str]:
    """A line for each layer."""
    width = max(len(finding.layer) for finding in findings)
    head = f"{'layer':{width}}  relative  cosine    tensor of the engine"
    return [head, *(
        f"{finding.layer:{width}}  {finding.relative:8.1e}  {finding.cosine:8.5f}  "
        f"{finding.tensor}{' + ' * bool(finding.activation)}{finding.activation}"
        for finding in findings
    )]  # fmt: skip


if __name__ == "__main__":
    with command.clear_errors():
        main()
