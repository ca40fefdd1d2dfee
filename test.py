"""Tests a checkpoint on a data set: `python test.py --dataset_root DIR --pretrained FILE`."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs import cli
from deploy.engines import COMPUTED, ENGINES
from runtime import command
from runtime.owned import Owned

if TYPE_CHECKING:
    from datasets import Dataset
    from engine.pretrained import Loaded
    from engine.processes import Processes
    from tasks import Meter


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Flags of the command; the recipe beside the checkpoint decides what they leave open."""
    parser = command.parser(__doc__, "python test.py --dataset_root DIR --pretrained FILE [flags]")
    run = parser.add_argument_group("run")
    run.add_argument("--dataset_root", required=True, help="folder of a data set")
    run.add_argument("--val_list", default="", help="list file of the videos, instead of the one found")
    run.add_argument("--compare", default="", help="test.json of another run on the same samples, to compare with")
    run.add_argument(
        "--thumbnails", type=command.count, default=12, help="worst samples that report.html shows pictures of"
    )
    run.add_argument("--output_dir", help="where the report goes (default: test_<views> beside the weights)")
    run.add_argument(
        "--num_workers", type=command.count, default=2, help="processes that read videos; 0 reads in this one"
    )
    cli.add_checkpoint_flags(parser)
    cli.add_engine_flags(parser, ENGINES, COMPUTED)
    cli.add_beside_flags(parser)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Wires a checkpoint and a data set into a report."""
    args = parse_args(argv)
    from runtime import preparation

    preparation.prepare(args.device, args.threads, tune=not args.no_tune)

    from datasets import load_annotation
    from engine import checkpoint, runs
    from engine.pretrained import load_pretrained
    from engine.processes import Processes
    from tasks import task_of
    from tasks.class_names import class_names_beside, names_of_weights
    from tasks.past_test import names_of, read_test
    from tasks.report_page import Beside

    processes = Processes.join()
    loaded = load_pretrained(args.pretrained, cli.asked(args), which=args.weights)
    recipe = loaded.recipe
    task = task_of(recipe)
    known = names_of_weights(args.pretrained, recipe.network.num_classes)
    annotation = load_annotation(
        args.dataset_root, "val", recipe.clip.split, recipe.network.num_classes, args.val_list, known, task.targets
    )
    dataset = task.dataset(annotation, recipe, cli.VIEWS[args.views], cli.limits_of(args))
    names = class_names_beside(args.pretrained, recipe.network.num_classes, annotation.class_names)
    other = read_test(args.compare, [task]).of(names_of(annotation), names) if args.compare else None
    beside = Beside(runs.history(Path(args.pretrained).parent), args.compare, other, args.thumbnails)
    directory = Path(args.output_dir or Path(args.pretrained).parent / f"test_{args.views}")
    if processes.is_rank_zero:
        checkpoint.prepare_directory(directory)
    owned = Owned(directory)
    for name in task.report_files:  # now, not when everything is computed
        owned.check(name)
    view = "x".join(map(str, dataset.sample_shape))
    model_name = recipe.network.model
    command.say(
        f"{model_name} on {len(dataset)} {dataset.what} from {annotation.source}, {view} ({dataset.axes} x H x W)",
        *annotation.remarks,
    )
    meter, facts = tested(args, loaded, dataset, processes)
    if not processes.is_rank_zero:
        return
    metrics = meter.summary()
    summary = {"model": model_name, **metrics, "view": view, **facts}
    command.say(*task.metric_lines(metrics), *task.result_lines(metrics))
    files = meter.write(directory, names, summary, dataset, beside)
    command.say(f"report in {directory}: {', '.join(files)}")


def tested(
    args: argparse.Namespace, loaded: Loaded, dataset: Dataset, processes: Processes
) -> tuple[Meter, dict[str, Any]]:
    """The meter of a test, in each of the processes, and how it was computed."""
    from datasets import ClipLoader
    from deploy.predictor import in_engine
    from engine import evaluation
    from tasks import task_of

    started = time.perf_counter()
    num_views, *clip_shape = dataset.sample_shape
    model, engine = in_engine(args, loaded, clip_shape, num_views * len(dataset))
    part = (processes.rank, processes.size)
    with ClipLoader(dataset, 1, num_workers=args.num_workers, part=part) as loader:
        task = task_of(loaded.recipe)
        meter = evaluation.evaluate(model, loader, task, args.views_per_pass, processes=processes)
    return meter, {
        "seconds": round(time.perf_counter() - started, 1), "weights": Path(args.pretrained).name,
        "precision": args.precision, "engine": "dygraph" if getattr(model, "failed", False) else engine,
    }  # fmt: skip


if __name__ == "__main__":
    with command.clear_errors():
        main()
