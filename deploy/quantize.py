"""Makes an int8 artifact: `python -m deploy.quantize --model_dir EXPORTED --output DIR --dataset_root DIR`.

Post-training quantization by ONNX Runtime: weights by output channel, activations by ranges that training clips show
(`minmax`, `percentile`, or `entropy`, the Kullback-Leibler rule of TIPC's KL chain). What it costs is measured on the
validation set. ONNX Runtime's `entropy` cuts too much of a range: on the motion set it moves MVF's logits by 0.3 of
their spread and probabilities by up to 0.45, `minmax` by 0.06 and 0.05. The classifier stays in float: it costs next to
nothing, and its 8 bits would move TSN's logits by 0.24 of their spread, without them it is 0.02.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from configs import cli
from configs.limits import Limits
from datasets import ClipLoader, Dataset, load_annotation
from datasets.sampling import evenly
from deploy.artifact import CLASSES, RECIPE, Artifact, ArtifactError, open_artifact, whole_artifact, write_record
from deploy.bias_correction import correct_biases
from deploy.engines import import_quietly, open_engine
from deploy.formats import FORMATS
from deploy.interface import QUANTIZED, Engine
from runtime import command
from runtime.errors import UserError
from runtime.owned import temporary_folder
from tasks import task_of

METHODS = {"minmax": "MinMax", "percentile": "Percentile", "entropy": "Entropy"}  # --method -> name of ONNX Runtime's
GRAPH = FORMATS["onnx"].files[0]
CLASSIFIER = ("Gemm", "MatMul")  # its operators; nothing else in our graphs is a product


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Flags of the command; the artifact decides what they leave open."""
    usage = "python -m deploy.quantize --model_dir EXPORTED --output DIR --dataset_root DIR [flags]"
    parser = command.parser(__doc__, usage)
    parser.add_argument("--model_dir", required=True, help="folder that deploy.export wrote with --formats onnx")
    parser.add_argument("--output", required=True, help="folder of the int8 artifact; one that is there is replaced")
    parser.add_argument("--dataset_root", required=True, help="data set: calibrated on train, measured on val")
    parser.add_argument("--train_list", default="", help="list file of the training videos, instead of the one found")
    parser.add_argument("--val_list", default="", help="list file of the validation videos, instead of the one found")
    parser.add_argument("--method", choices=tuple(METHODS), default="minmax", help="rule for the ranges")
    parser.add_argument("--clips", type=command.positive, default=64, help="training clips to calibrate on, at most")
    parser.add_argument("--threads", type=command.count, default=0, help="of one operation; 0: all cores")
    parser.add_argument("--num_workers", type=command.count, default=0, help="processes that read videos (0: this one)")
    cli.add_limit_flags(parser)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Quantizes beside the output's place, measures, and moves the artifact there."""
    args = parse_args(argv)
    artifact = open_artifact(args.model_dir)
    if artifact.precision != "fp32":
        raise ArtifactError(f"{args.model_dir} holds {artifact.precision} weights already: name the exported folder")
    if Path(args.output).resolve() == artifact.directory.resolve():
        raise ArtifactError(f"--output {args.output} is the artifact itself: name another folder")
    with whole_artifact(args.output) as unfinished:
        limits = cli.limits_of(args)
        train = _dataset(artifact, args.dataset_root, "train", args.train_list, limits)
        val = _dataset(artifact, args.dataset_root, "val", args.val_list, limits)
        clips = calibration_clips(train, args.clips)
        record = write_int8(artifact, unfinished, clips, args.method)
        metric = task_of(artifact.recipe).metrics[0]
        accuracy = {
            precision: measured(open_engine("onnxruntime", place, threads=args.threads), val, args.num_workers)
            for precision, place in (("fp32", artifact.directory), (QUANTIZED, unfinished))
        }
        made = {"method": args.method, "clips": len(clips), metric: accuracy}
        write_record(unfinished, {**record, "quantization": made})
        command.say(
            f"calibrated by {args.method} on {len(clips)} training clips",
            *(f"{metric} {precision}: {value:.4f}" for precision, value in accuracy.items()),
        )


def calibration_clips(dataset: Dataset, most: int) -> list[np.ndarray]:
    """Views of `most` samples at most, spread evenly over the list, each float32 [1, ...]; one of each sample.

    Raises:
        DataError: A video cannot be read.
    """
    views = (dataset.load(int(index))[0] for index in evenly(len(dataset), most))
    return [view[number % len(view)][None].copy() for number, view in enumerate(views)]


def write_int8(artifact: Artifact, folder: Path, clips: list[np.ndarray], method: str) -> dict[str, Any]:
    """Writes the int8 artifact of one in fp32 into an empty folder, and returns its record; see `quantize_graph`."""
    for name in (RECIPE, CLASSES):
        shutil.copy(artifact.directory / name, folder / name)
    quantize_graph(artifact.graph("onnx").files[0], folder / GRAPH, clips, method)
    kept = {name: value for name, value in artifact.record.items() if name not in ("files", "parity", "version")}
    record = {**kept, "precision": QUANTIZED}
    write_record(folder, record)
    return record


def quantize_graph(source: Path, target: Path, clips: list[np.ndarray], method: str) -> None:
    """Writes an int8 ONNX graph (QDQ) of a float one.

    Args:
        source: ONNX file in fp32, of one input.
        target: ONNX file.
        clips: What the ranges of activations are drawn from, each float32 [1, T, 3, H, W].
        method: A key of METHODS.

    Raises:
        ArtifactError: ONNX Runtime's quantization is not installed, or refuses the graph.
    """
    quantization = _quantization()
    onnx = import_quietly("onnx")
    with temporary_folder() as folder, _quiet():
        prepared = str(Path(folder) / "prepared.onnx")
        try:
            quantization.shape_inference.quant_pre_process(str(source), prepared, skip_symbolic_shape=True)
            graph = onnx.load(prepared).graph
            half = {"axis": 0, "quant_type": quantization.QuantType.QInt8, "reduce_range": True, "symmetric": True}
            quantization.quantize_static(
                prepared,
                str(target),
                _clip_reader(quantization, graph.input[0].name, clips),
                per_channel=True,
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
                nodes_to_exclude=[node.name for node in graph.node if node.op_type in CLASSIFIER],
                calibrate_method=getattr(quantization.CalibrationMethod, METHODS[method]),
                # All activations of a clip are kept until its ranges are drawn: so many clips at once as memory bears.
                extra_options={
                    "CalibStridedMinMax": 1,
                    "TensorQuantOverrides": {node.input[1]: [half] for node in graph.node if _is_dense(node)},
                },
            )
            correct_biases(prepared, str(target), clips)
        except (ValueError, RuntimeError, AssertionError, onnx.checker.ValidationError) as error:
            raise ArtifactError(f"ONNX Runtime cannot quantize {source}: {str(error).strip()}") from error


def _is_dense(node: Any) -> bool:
    """Whether an operator of ONNX is a convolution without groups."""
    groups = next((attribute.i for attribute in node.attribute if attribute.name == "group"), 1)
    return node.op_type == "Conv" and groups == 1


def measured(engine: Engine, dataset: Dataset, num_workers: int = 0) -> float:
    """The first of the task's metrics of what an engine computes; raises DataError if a sample cannot be read."""
    task = task_of(dataset.recipe)
    meter = task.meter(dataset.recipe)
    with ClipLoader(dataset, 1, num_workers=num_workers) as loader:
        for batch in loader.epoch(0):
            meter.update(task.scores(engine, batch.clips, dataset.recipe), batch.targets)
    return meter.summary()[task.metrics[0]]


def _dataset(artifact: Artifact, root: str, split: str, list_file: str, limits: Limits | None = None) -> Dataset:
    """A split of a data set with the views that the artifact was exported for; raises DataError if it is not there."""
    recipe, names, task = artifact.recipe, artifact.class_names, task_of(artifact.recipe)
    classes = recipe.network.num_classes
    annotation = load_annotation(root, split, recipe.clip.split, classes, list_file, names, task.targets)
    if annotation.class_names and annotation.class_names != names:
        raise UserError(f"the classes of {root} are not those of {artifact.directory}: take its own data")
    for remark in annotation.remarks:
        command.say(remark)
    return task.dataset(annotation, recipe, cli.VIEWS[artifact.record["views"]], limits)


def _clip_reader(quantization: Any, name: str, clips: list[np.ndarray]) -> Any:
    """The clips as ONNX Runtime asks for them, for the graph's input of that name."""

    class ClipReader(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            self.set_range(0, len(clips))

        def __len__(self) -> int:
            return len(clips)

        def set_range(self, start_index: int, end_index: int) -> None:
            self._rest = iter(clips[start_index:end_index])

        def get_next(self) -> dict[str, np.ndarray] | None:
            clip = next(self._rest, None)
            return None if clip is None else {name: clip}

    return ClipReader()


def _quantization() -> Any:
    try:
        import_quietly("onnxruntime.quantization.shape_inference")
        return import_quietly("onnxruntime.quantization")
    except ImportError as error:
        raise ArtifactError(
            f"deploy.quantize needs onnxruntime and onnx ({error}): pip install -r requirements-deploy.txt"
        ) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silences ONNX Runtime's hundreds of lines on each clip and constant, and its advice, which is followed."""
    runtime = import_quietly("onnxruntime")
    runtime.set_default_logger_severity(3)
    logging.disable(logging.ERROR)  # what matters of it is in the error that follows
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(logging.NOTSET)
        runtime.set_default_logger_severity(2)


if __name__ == "__main__":
    with command.clear_errors():
        main()
