"""Trains a video recognizer: `python train.py --dataset_root DIR --pretrained FILE`."""

from __future__ import annotations

import argparse
import contextlib
import functools
from pathlib import Path
from typing import TYPE_CHECKING

from configs import Recipe, RecipeError, cli
from configs.recipe import network_options
from engine import runs
from engine.boards import BOARDS
from runtime import command

if TYPE_CHECKING:
    from collections.abc import Callable

    from paddle import nn

    from engine.processes import Processes
    from engine.watch import Watch


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Flags of the command; recipe flags that are not given leave no attribute behind."""
    parser = command.parser(__doc__, "python train.py --dataset_root DIR [flags]")
    run = parser.add_argument_group("run")
    run.add_argument(
        "--dataset_root", help="folder of a data set: list files, or train/ and val/ with a folder per class"
    )
    run.add_argument("--train_list", default="", help="list file of the training videos, instead of the one found")
    run.add_argument("--val_list", default="", help="list file of the validation videos, instead of the one found")
    run.add_argument("--pretrained", help="weights to start from; a classifier of another size is left out and named")
    cli.add_weights_flag(run)
    run.add_argument("--output_dir", help="run directory (default: output/<preset or model>_split<split>)")
    run.add_argument(
        "--resume", nargs="?", const="yes", default="", choices=("yes", "auto"),
        help="continue the run in --output_dir, with its recipe and data; auto: if there is one, so that the same "
        "command may be given again and again",
    )  # fmt: skip
    run.add_argument(
        "--num_workers", type=command.count, default=2, help="processes that read videos; 0 reads in this one"
    )
    run.add_argument("--log_iters", type=command.positive, default=10, help="batches between two lines of the log")
    run.add_argument(
        "--checkpoint_iters", type=command.count, default=0, help="batches between checkpoints; 0: each epoch"
    )
    run.add_argument("--max_iters", type=command.count, default=0, help="only time so many batches; saves no weights")
    run.add_argument("--log", choices=tuple(BOARDS), help="also show the run on a board in the run directory")
    run.add_argument("--profile", action="store_true", help="end each epoch with where its time went, what to change")
    run.add_argument(
        "--relative_paths", action="store_true", help="let state.json name data and weights relative to the run"
    )
    run.add_argument("--to_static", action="store_true", help="train through a static graph: same numbers")
    cli.add_limit_flags(parser)
    cli.add_recipe_flags(parser)
    cli.add_device_flags(parser)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Prepares the process and the run directory, and trains in it."""
    args = parse_args(argv)
    directory, recipe = run_directory_and_recipe(args)
    runs.check_start(directory, bool(args.resume))
    from runtime import preparation  # before Paddle, which decides about threads when it is imported

    notes = [f"process   {', '.join(preparation.prepare(args.device, args.threads, tune=not args.no_tune))}"]

    from engine import checkpoint
    from engine.processes import Processes

    preparation.check_precision(recipe.training.amp, args.to_static)
    processes = Processes.join()
    with checkpoint.run_directory(directory, bool(args.resume)) if processes.is_rank_zero else contextlib.nullcontext():
        last_line = train(args, directory, recipe, notes, processes)
    if processes.is_rank_zero:
        command.say(last_line)


def train(args: argparse.Namespace, directory: Path, recipe: Recipe, notes: list[str], processes: Processes) -> str:
    """Wires a recipe, a data set and a model into a run; returns its last line."""
    from engine import checkpoint
    from engine.plan import training_plan
    from engine.start import start_of
    from engine.trainer import Trainer
    from models import kernels

    sources = checkpoint.Sources(args.dataset_root or "", args.train_list, args.val_list, args.pretrained or "")
    if args.resume:
        sources = sources.resumed(directory)
        processes.begun_with = checkpoint.read_state(directory).get("processes", 1)
    begin = start_of(sources, recipe, cli.asked(args).options, args.weights, is_resumed=bool(args.resume))
    recipe = begin.recipe
    provenance = checkpoint.provenance(sources, begin.seen, begin.held_out, directory if args.relative_paths else None)
    if args.resume:
        checkpoint.check_provenance(directory, provenance)
    with begin.loaders(cli.limits_of(args), args.num_workers, processes) as (train_loader, val_loader):
        model = begin.network()
        notes += begin.notes
        if processes.is_rank_zero and not args.resume:
            checkpoint.write_run_files(directory, recipe, begin.seen.class_names)
        operators = "Paddle's alone: the step is a static graph" if args.to_static else kernels.plan_line()
        notes += [f"operators {operators}", *begin.seen.remarks, *begin.held_out.remarks, f"output    {directory}"]
        trainer = Trainer(
            recipe, model, train_loader, val_loader, directory, args.log_iters, args.checkpoint_iters,
            provenance, processes, args.to_static, args.max_iters,
            evaluator(args, recipe), watch_of(args, directory, recipe, len(train_loader), processes, notes),
        )  # fmt: skip
        plan = training_plan(recipe, model, train_loader, val_loader, notes, processes)
        with contextlib.closing(trainer.watch):
            return trainer.fit(plan, resume=bool(args.resume))


def watch_of(
    args: argparse.Namespace, directory: Path, recipe: Recipe, batches: int, processes: Processes, notes: list[str]
) -> Watch:
    """What watches the run, `batches` of which are an epoch; notes get a line where a board draws no graph."""
    from engine import checkpoint
    from engine.boards import open_board
    from engine.watch import Watch

    if not processes.is_rank_zero:
        return Watch()
    if not args.log:
        return Watch(None, args.profile, args.num_workers)
    if args.resume:
        state = checkpoint.read_state(directory)
        known = state.get("boards", {}).get(args.log)
        board = open_board(args.log, directory, known, state["epoch"] * batches + state["batch"])
    else:
        board = open_board(args.log, directory)
        if why_not := board.graph(recipe):
            notes.append(f"board     no graph: {why_not}")
    return Watch(board, args.profile, args.num_workers)


def evaluator(args: argparse.Namespace, recipe: Recipe) -> Callable[..., tuple[nn.Layer, str]]:
    """What evaluates the network after each epoch: an engine, where that pays."""
    from deploy.compiled import compiled
    from deploy.interface import Settings

    settings = Settings(threads=args.threads, tune=not args.no_tune)
    return functools.partial(compiled, settings=settings, before=recipe.network.family.engines)


def run_directory_and_recipe(args: argparse.Namespace) -> tuple[Path, Recipe]:
    """Where the run writes, and its recipe: from the flags, or the one of the run that is resumed."""
    if args.resume == "auto":
        return new_or_begun(args)
    if args.resume:
        if args.weights != "auto":
            raise RecipeError("--resume goes on with the run's own weights: leave out --weights")
        if not args.output_dir:
            raise RecipeError("--resume needs --output_dir: the directory of the run to continue")
        recipe = Recipe.from_json(Path(args.output_dir) / "recipe.json")
        if args.preset or cli.asked(args).recipe(recipe) != recipe:
            raise RecipeError("--resume keeps the recipe of the run: leave out --preset and every flag that differs")
        return Path(args.output_dir), recipe
    if args.weights != "auto" and not args.pretrained:
        raise RecipeError("--weights chooses among the sets of weights of a file, and there is no --pretrained FILE")
    recipe = cli.asked(args).recipe()
    directory = Path(args.output_dir or f"output/{args.preset or recipe.network.model}_split{recipe.clip.split}")
    if not args.dataset_root:
        raise RecipeError(
            "--dataset_root is missing: the folder of the data set (python -m datasets.demo DIR makes one)"
        )
    return directory, recipe


def new_or_begun(args: argparse.Namespace) -> tuple[Path, Recipe]:
    """As `run_directory_and_recipe`, of a run that goes on if it has a checkpoint, and begins otherwise."""
    args.resume = ""
    directory, recipe = run_directory_and_recipe(args)
    if not (directory / runs.STATE).exists():
        return directory, recipe
    begun = Recipe.from_json(directory / "recipe.json")
    given, before = recipe.options(), begun.options()
    of_weights = set() if not args.pretrained else set(network_options())  # which the run may have taken from them
    names = [name for name in before if name not in of_weights - set(cli.asked(args).options) and name != "num_classes"]
    other = next((name for name in names if given.get(name) != before[name]), None)
    if other:
        raise RecipeError(
            f"the run in {directory} has {other} {before[other]}, now it is {given.get(other)}: name another "
            "--output_dir"
        )
    args.resume, args.output_dir, args.pretrained, args.weights = "yes", str(directory), None, "auto"
    return directory, begun


if __name__ == "__main__":
    with command.clear_errors():
        main()
