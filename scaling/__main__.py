"""One trained network in every size: `python -m scaling --pretrained FILE --dataset_root DIR --output DIR`.

    python -m scaling STEP ...       retrain, profile, front or uniform: up to that step; without one all of them
    python -m scaling select --output DIR --latency_ms 40 --size_mb 12 --artifact OUT

A run that was ended goes on when the same command is given again. What it has measured is in `report.html`.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs import cli
from deploy.engines import ENGINES
from deploy.formats import FORMATS
from runtime import command
from runtime.errors import UserError
from runtime.fresh_process import in_fresh_process
from scaling.job import SPARSITIES, Job
from scaling.teacher import fine_tuned

if TYPE_CHECKING:
    from scaling.compose import Choice

STEPS = ("retrain", "profile", "front", "uniform")
MEGABYTE = 2**20


def main(argv: list[str] | None = None) -> None:
    """Runs the steps, or selects a network."""
    argv = sys.argv[1:] if argv is None else argv
    os.environ.setdefault("GLOG_minloglevel", "2")
    if argv[:1] == ["select"]:
        choose(selection(argv[1:]))
    else:
        last = argv[0] if argv[:1] and argv[0] in STEPS else STEPS[-1]
        run(parse_args(argv[argv[:1] == [last] :]), last)


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Flags of the steps."""
    usage = f"python -m scaling [{'|'.join(STEPS)}] --pretrained FILE --dataset_root DIR --output DIR [flags]"
    parser = command.parser(__doc__, usage)
    # Names that an option of recipes has too are kept apart from it: what is asked of the recipe is looked for by name.
    parser.add_argument("--pretrained", required=True, help="weights; recipe.json and classes.txt are read beside")
    parser.add_argument("--output", required=True, help="folder of the job; one that was ended goes on")
    parser.add_argument(
        "--dataset_root", required=True, help="data set: descendants learn on train, are measured on val"
    )
    parser.add_argument("--train_list", default="", help="list file of the training videos, instead of the one found")
    parser.add_argument("--val_list", default="", help="list file of the validation videos, instead of the one found")
    parser.add_argument(
        "--sparsities", type=float, nargs="+", default=SPARSITIES[1:], metavar="S",
        help=f"fractions of the channels inside a block that go (default: {' '.join(map(str, SPARSITIES[1:]))})",
    )  # fmt: skip
    parser.add_argument(
        "--multiple", type=command.positive, default=Job.multiple,
        help="channels that stay are a multiple of this, as engines like them (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--epochs", type=command.positive, default=Job.epochs,
        help="passes over the training samples (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--batch_size", dest="own_batch_size", type=command.positive, default=Job.batch_size,
        help="samples of a step (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--lr", dest="own_lr", type=float, default=Job.lr,
        help="of Adam at the first step, in units of the size of a tensor's weights (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--seed", dest="own_seed", type=command.count, default=0, help="of order and augmentation")
    parser.add_argument("--processes", type=command.positive, default=1, help="that share blocks and networks")
    parser.add_argument("--checkpoint_iters", type=command.positive, default=25, help="steps between two checkpoints")
    parser.add_argument(
        "--engine", choices=tuple(ENGINES), default="onnxruntime", help="that the network is to run in, which is timed"
    )
    parser.add_argument("--points", type=command.positive, default=10, help="networks of the front to measure whole")
    parser.add_argument(
        "--unseen", type=command.count, default=0,
        help="networks drawn at random to measure besides, which show what estimates are worth (default: 0)",
    )  # fmt: skip
    beside = parser.add_argument_group("comparison")
    beside.add_argument(
        "--uniform", type=float, nargs="+", default=[], metavar="S",
        help="sparsities to prune all blocks by, for networks that are fine-tuned as a whole (default: none)",
    )  # fmt: skip
    beside.add_argument(
        "--uniform_epochs", type=command.positive, default=Job.epochs,
        help="passes of that fine-tuning, by the recipe of the original (default: %(default)s)",
    )  # fmt: skip
    cli.add_beside_flags(parser)
    return parser.parse_args(argv)


def selection(argv: list[str]) -> argparse.Namespace:
    """Flags of `select`."""
    parser = command.parser(__doc__, "python -m scaling select --output DIR --latency_ms MS --artifact OUT [flags]")
    parser.add_argument("--output", required=True, help="folder of the job")
    parser.add_argument("--latency_ms", type=float, default=math.inf, help="most milliseconds for a clip")
    parser.add_argument("--size_mb", type=float, default=math.inf, help="most megabytes (2^20 bytes) of weights")
    parser.add_argument("--artifact", default="", help="folder to write the network to; without it, it is only named")
    parser.add_argument(
        "--finetune_epochs", type=command.count, default=0,
        help="passes over the training samples in which the chosen network learns as a whole, from labels (default: 0)",
    )  # fmt: skip
    parser.add_argument("--threads", type=command.count, default=0, help="of that; 0: OMP_NUM_THREADS, or all cores")
    parser.add_argument("--formats", nargs="+", choices=tuple(FORMATS), default=["onnx"], help="of the artifact")
    return parser.parse_args(argv)


def job_of(args: argparse.Namespace) -> Job:
    """The numbers that the flags of the steps say."""
    if not (math.isfinite(args.own_lr) and args.own_lr > 0):
        raise UserError(f"--lr must be above 0, got {args.own_lr:g}")
    levels = tuple(sorted({0.0, *args.sparsities}))
    return Job(
        args.pretrained, args.dataset_root, args.train_list, args.val_list, levels, args.epochs, args.own_batch_size,
        args.own_lr, args.own_seed, args.multiple, cli.asked(args), cli.limits_of(args),
    )  # fmt: skip


def run(args: argparse.Namespace, last: str) -> None:
    """All steps up to the last one."""
    from runtime import preparation

    if args.device not in ("auto", "cpu"):
        raise UserError(f"--device {args.device}: blocks are trained and timed on CPU; leave it out")
    preparation.prepare("cpu", args.threads, tune=not args.no_tune)
    from scaling import front, profile, report
    from scaling.parallel import train_all

    job = job_of(args)
    folder, threads = Path(args.output), args.threads or 1
    store = train_all(job, folder, args.processes, threads, args.checkpoint_iters)
    command.say(*(descendant_line(one) for one in store.manifest["descendants"]))
    if last == "retrain":
        return
    found = profile.profile(job, folder, args.engine, args.processes, threads)
    command.say(
        f"{found['metric']} {found['accuracy']:.4f}, {found['latency_ms']:.2f} ms in {found['engine']}, "
        f"{found['size_bytes'] / MEGABYTE:.2f} MiB: the original",
        *(row_line(block["path"], row) for block in found["blocks"] for row in block["rows"][1:]),
    )
    if last == "profile":
        return
    measured = front.measure(job, folder, args.points, args.processes, threads, args.unseen)
    command.say(*point_lines(measured), *report.unseen_lines(front.Selector(folder), measured))
    if last == "uniform":
        for sparsity in args.uniform:
            together = threads * args.processes  # as many as the descendants had
            tuned = in_fresh_process(fine_tuned, job, folder, (sparsity,), args.uniform_epochs, False, together)
            figure = f"{found['metric']} {tuned['metrics'][found['metric']]:.4f}"
            command.say(f"all blocks at {sparsity:g}, fine-tuned {tuned['epochs']} epochs: {figure}")
    command.say(f"report   {report.write(folder)}")


def choose(args: argparse.Namespace) -> None:
    """Names the network for budgets, and writes it."""
    from scaling.front import Selector

    found = Selector(Path(args.output))(args.latency_ms, args.size_mb * MEGABYTE)
    command.say(
        f"choice   {' '.join(f'{level:g}' for level in found.choice)}",
        f"expected accuracy drop {found.expected.accuracy_drop:.4f}, {found.expected.latency_ms:.2f} ms, "
        f"{found.expected.size_bytes / MEGABYTE:.2f} MiB",
    )
    run = ""
    if args.finetune_epochs:
        run = tuned_run(Path(args.output), found.choice, args.finetune_epochs, args.threads)
    if args.artifact:
        from scaling.artifact import write

        write(Path(args.output), found.choice, args.artifact, args.formats, run)


def tuned_run(folder: Path, choice: Choice, epochs: int, threads: int) -> str:
    """Fine-tunes a network, says what it gets, and returns the folder of its run, in the job's."""
    from scaling import report
    from scaling.profile import read_profile
    from scaling.store import read_manifest

    job = Job.from_record(folder, read_manifest(folder)["job"])
    tuned = in_fresh_process(fine_tuned, job, folder, choice, epochs, True, threads)
    metric = read_profile(folder)["metric"]
    command.say(f"fine-tuned {epochs} epochs: {metric} {tuned['metrics'][metric]:.4f}")
    report.write(folder)
    return tuned["folder"]


def descendant_line(one: Mapping[str, Any]) -> str:
    """A line about the training of a descendant."""
    errors = one["errors"]
    return f"{one['block']} at {one['sparsity']:g}: error {errors[0]:.3f} as cut, {min(errors):.3f} trained"


def row_line(path: str, row: Mapping[str, Any]) -> str:
    """A line about a row of a profile."""
    drops = row["accuracy_drops"]
    return (
        f"{path} at {row['sparsity']:g}: accuracy drop {sum(drops) / len(drops):+.4f}, "
        f"{row['latency_share']:.3f} of the time, {row['size_bytes'] / MEGABYTE:.3f} MiB"
    )


def point_lines(measured: Mapping[str, Any]) -> list[str]:
    """Estimates beside measurements, and how far corrected estimates are off."""
    lines = ["estimated divergence, ms | measured divergence, accuracy drop, ms, MiB, MiB of the process"]
    for point in measured["points"]:
        estimated, found = point["estimated"], point["measured"]
        lines.append(
            f"{estimated['divergence']:.4f} {estimated['latency_ms']:7.2f} | {found['divergence']:.4f} "
            f"{found['accuracy_drop']:+.4f} {found['latency_ms']:7.2f} {found['size_bytes'] / MEGABYTE:6.2f} "
            f"{found['memory_bytes'] / MEGABYTE:5.0f}" + "  uniform" * point["uniform"] + "  unseen" * point["unseen"]
        )
    for name, line in measured["corrections"].items():
        off = [abs(error) for error in line["held_out"]]
        lines.append(
            f"{name}: corrected estimates are off by {sum(off) / len(off):.4g} on average, {max(off):.4g} at most"
        )
    return lines


if __name__ == "__main__":
    with command.clear_errors():
        main()
