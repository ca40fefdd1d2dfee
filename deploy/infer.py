"""Names the actions in videos by an artifact: `python -m deploy.infer --model_dir DIR --video FILE_OR_FOLDER...`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from configs import cli
from datasets import Batch, ClipLoader, DataError, Dataset, read_class_names, unlabeled
from deploy import stream
from deploy.artifact import ArtifactError, open_artifact
from deploy.autolog import Benchmark
from deploy.engines import ENGINES, PRECISIONS, open_engine
from deploy.interface import Engine
from runtime import command
from runtime.owned import create
from tasks import task_of


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Flags of the command; the artifact decides what they leave open."""
    parser = command.parser(__doc__, "python -m deploy.infer --model_dir DIR --video FILE_OR_FOLDER... [flags]")
    run = parser.add_argument_group("run")
    run.add_argument("--model_dir", required=True, help="folder that deploy.export or deploy.quantize wrote")
    run.add_argument("--video", required=True, nargs="+", help="video files, folders of frames, or of videos")
    run.add_argument("--classes", help='file of class names: one a line, or JSON {"0": name}')
    run.add_argument("--top", type=command.positive, default=5, help="classes to print")
    run.add_argument("--views", choices=tuple(cli.VIEWS), help="test views, or one center view (default: as exported)")
    run.add_argument("--batch_size", type=command.positive, default=1, help="videos in a pass")
    run.add_argument("--num_workers", type=command.count, default=1, help="processes that decode ahead; 0: none")
    run.add_argument("--save_json", type=Path, help="file for the probabilities of every video")
    add_graph_flags(parser)
    stream.add_flags(parser)
    cli.add_limit_flags(parser)
    bench = parser.add_argument_group("benchmark")
    bench.add_argument(
        "--enable_benchmark", type=boolean, nargs="?", const=True, default=False, help="report times as AutoLog does"
    )
    bench.add_argument("--benchmark", dest="enable_benchmark", action="store_true", help="the same")
    bench.add_argument("--warmup", type=command.count, default=1, help="passes before the clock starts")
    bench.add_argument("--repeats", type=command.positive, default=3, help="passes over all videos that are timed")
    return parser.parse_args(argv)


def add_graph_flags(parser: argparse.ArgumentParser) -> None:
    """Adds what chooses an engine and how it computes."""
    section = parser.add_argument_group("engine")
    section.add_argument(
        "--engine",
        choices=tuple(ENGINES),
        help="what computes (default: the fastest that is installed and reads what is there)",
    )
    section.add_argument("--precision", choices=PRECISIONS, help="of the computation (default: the artifact's)")
    section.add_argument(
        "--threads", "--cpu_threads", type=command.count, default=0, help="of one operation; 0: OMP_NUM_THREADS, or all"
    )
    section.add_argument("--enable_mkldnn", type=boolean, default=True, help="oneDNN of --engine paddle")
    section.add_argument("--use_gpu", type=boolean, default=False, help="first GPU; --engine paddle only")


def boolean(text: str) -> bool:
    """Parses True or False, as TIPC writes them."""
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"must be True or False, got {text}")
    return text.lower() == "true"


def main(argv: Sequence[str] | None = None) -> None:
    """Wires an artifact and videos into names and probabilities."""
    args = parse_args(argv)
    artifact = open_artifact(args.model_dir)
    names = tuple(read_class_names(args.classes)) if args.classes else artifact.class_names
    if len(names) != len(artifact.class_names):
        raise ArtifactError(f"{args.classes} names {len(names)} classes, the graph has {len(artifact.class_names)}")
    if args.stream:
        return stream.run(args, artifact, open_engine_of(args), names)
    task = task_of(artifact.recipe)
    paths = task.find(args.video)
    engine = open_engine_of(args)
    # Decoded, placed and transformed by the artifact's recipe, as test.py does it.
    mode = cli.VIEWS[args.views or artifact.record["views"]]
    dataset = task.dataset(unlabeled(paths), artifact.recipe, mode, cli.limits_of(args))
    failures: list[str] = []
    scores: dict[str, list[float]] = {}
    workers = 0 if args.enable_benchmark or len(dataset) <= args.batch_size else args.num_workers
    with ClipLoader(dataset, args.batch_size, num_workers=workers, on_error="drop") as loader:
        if args.enable_benchmark:
            run_benchmark(engine, loader, args.warmup, args.repeats)
        for path, probabilities in predict(engine, loader, failures):
            if len(paths) > 1:
                command.say(path)
            numbers = task.record(probabilities)
            command.say(
                *task.prediction_lines(probabilities, names, args.top),
                f"top-1 class: {np.argmax(numbers)}",
                f"top-1 score: {max(numbers):.8f}",
            )
            scores[path] = numbers
    if args.save_json:
        content = {"classes": names, "scores": scores, "failures": failures}
        create(args.save_json, (json.dumps(content, indent=2) + "\n").encode(), overwrite=True)
    if failures:
        raise DataError(f"{len(failures)} of {len(paths)} videos could not be read: they are named above")


def open_engine_of(args: argparse.Namespace) -> Engine:
    """The engine that the flags of `add_graph_flags` ask for."""
    gpu = 0 if args.use_gpu else None
    return open_engine(
        args.engine, args.model_dir, args.precision, threads=args.threads, onednn=args.enable_mkldnn, gpu=gpu
    )


def predict(engine: Engine, loader: ClipLoader, failures: list[str]) -> Iterator[tuple[str, np.ndarray]]:
    """Yields the path and the probabilities [K] of each video while the loader decodes the next ones.

    Videos that do not decode are printed to standard error and added to `failures`.
    """
    for batch in loader.epoch(0):
        failures += batch.failures
        for failure in batch.failures:
            command.say(f"error: {failure}", error=True)
        for index, probabilities in zip(batch.indices, score_batch(engine, batch, loader.dataset), strict=True):
            yield loader.dataset.annotation.entries[index].path, probabilities


def score_batch(engine: Engine, batch: Batch, dataset: Dataset) -> np.ndarray:
    """Probabilities [N, K] of the videos of a batch, views averaged as the recipe says; no rows for no videos."""
    if not len(batch.clips):
        return np.empty((0, 0), np.float32)
    return task_of(dataset.recipe).scores(engine, batch.clips, dataset.recipe)


def run_benchmark(engine: Engine, loader: ClipLoader, warmup: int, repeats: int) -> None:
    """Times `repeats` passes over all videos after `warmup` ones, without decoding ahead; prints AutoLog's report."""
    dataset = loader.dataset
    name, precision = dataset.recipe.network.model, engine.facts["precision"]
    shape = (loader.batch_size, *dataset.sample_shape)
    for _ in range(warmup):
        for batch in loader.epoch(0):
            score_batch(engine, batch, dataset)
    with Benchmark(name, precision, loader.batch_size, shape, engine.facts) as benchmark:
        for _ in range(repeats):
            batches = loader.epoch(0)
            for _ in range(len(loader)):
                benchmark.start()
                batch = next(batches)
                benchmark.stamp()
                probabilities = score_batch(engine, batch, dataset)
                benchmark.stamp()
                probabilities.argsort(axis=1)
                benchmark.stamp()
        benchmark.report()


if __name__ == "__main__":
    with command.clear_errors():
        main()
