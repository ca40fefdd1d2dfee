"""The commands of the suite: `compare` (the default), `report`, `selftest`, and the four classic steps.

Exit code 0: everything passed. 1: something differs. 2: the two sides could not be compared.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from alignment import process
from alignment.sides.pair import IncomparableError
from alignment.stages import STAGES
from runtime import command
from runtime.errors import UserError
from runtime.owned import Owned, unfinished_beside

PASSED, DIFFERS, INCOMPARABLE = 0, 1, 2
CERTIFIED = (
    "mvf_r50", "mvf_r101", "tsn_r50", "tsm_r50", "tsm_r101", "tsm_mobilenet_v2", "i3d_r50", "i3d_inception",
    "slowonly_r50", "slowfast_r50", "r2plus1d_r18", "r3d_r18", "mc3_r18", "x3d_s", "c3d", "shufflenet3d_x0_25",
    "mobilenet3d_x0_2", "unet_x1_0", "unet_x0_5", "unet_x0_25", "unet_mobilenet_v2",
)  # fmt: skip
REAL = {"frames": 16, "size": 224, "batch": 1}
REDUCED = {"frames": 0, "size": 0, "batch": 2}  # 0: of the family's small clip
REFERENCES = (
    "mmaction2", "mit-tsm:PATH", "mvfnet:PATH", "torchvision", "timm", "pytorchvideo", "pyslowfast:PATH",
    "pytorch-i3d:PATH", "efficient-3dcnns:PATH", "resnets-3d:PATH",
)  # fmt: skip
STEPS = (*STAGES, "data")  # the data have no model in them


def run(argv: Sequence[str]) -> int:
    """Runs one command; returns its exit code and prints one line for whatever goes wrong."""
    commands: dict[str, Callable[[Sequence[str]], int]] = {"report": report, "selftest": selftest}
    if argv and argv[0] in commands:
        return _exit_code(commands[argv[0]], argv[1:])
    return _exit_code(compare, argv)


def _exit_code(run: Callable[[Sequence[str]], int], argv: Sequence[str]) -> int:
    """The command's own, or that of what went wrong, which is printed in one line."""
    try:
        return run(argv)
    except UserError as error:
        command.say(f"error: {error}", error=True)
        return INCOMPARABLE
    except KeyboardInterrupt:
        command.say("stopped by Ctrl-C", error=True)
        return 130


def compare(argv: Sequence[str]) -> int:
    """Compares one recognizer or all that are certified, with tables on the terminal and reports in a folder."""
    parser = argparse.ArgumentParser(
        prog="python -m alignment",
        description="Compares recognizers with their PyTorch twins.",
        epilog="further commands: python -m alignment report DIR --rtol 1e-6; python -m alignment selftest",
    )
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument(
        "--model", help=f"a recognizer of models/, at {REAL}; with options of its network as NAME,flag=value"
    )
    which.add_argument(
        "--all", action="store_true", help=f"{', '.join(CERTIFIED)}, or all that --reference has, by two small clips"
    )
    _add_run_flags(parser)
    parser.add_argument("--steps", type=_names, help=f"of {','.join(STEPS)} (default: all)")
    parser.add_argument("--table", metavar="FILE", help="put the results into the table in this file, beside others")
    args = parser.parse_args(argv)
    args.steps = args.steps or [step for step in STEPS if not (args.reference and step == "data")]
    unknown = [step for step in args.steps if step not in STEPS]
    if unknown:
        raise IncomparableError(f"--steps must be among {', '.join(STEPS)}, got {', '.join(unknown)}")
    everything = () if args.reference else CERTIFIED
    reports = _reports(args, everything if args.all else (args.model,))
    if args.table:
        from alignment.reports.markdown import OWN, THIRD_PARTY, update_table

        update_table(args.table, reports, THIRD_PARTY if args.reference else OWN, STEPS)
    return _verdict(reports)


def classic(step: str) -> int:
    """One of the steps of the official guide by itself: data, forward, metric, loss or backward."""

    def command(argv: Sequence[str]) -> int:
        parser = argparse.ArgumentParser(description=f"The step {step} of the official guide, with its file names.")
        parser.add_argument("--model", default="mvf_r50", help="a recognizer of models/ (default: mvf_r50)")
        _add_run_flags(parser)
        args = parser.parse_args(argv)
        args.steps, args.all = (step,) if step != "backward" else ("backward", "train"), False
        return _verdict(_reports(args, (args.model,)))

    return _exit_code(command, sys.argv[1:])


def report(argv: Sequence[str]) -> int:
    """Prints a report again, under another tolerance if one is given."""
    parser = argparse.ArgumentParser(prog="python -m alignment report", description=report.__doc__)
    parser.add_argument("directory", help="where `python -m alignment --output` wrote report.json")
    parser.add_argument("--rtol", type=float, help="what every tensor may be off by, relative to its scale")
    parser.add_argument("--only", metavar="PATTERN", help="regular expression: apply --rtol to these names only")
    args = parser.parse_args(argv)
    from alignment.reports.tolerance import rejudge

    found = rejudge(args.directory, args.rtol, args.only)
    command.say(*found.text().splitlines())
    return PASSED if found.passed else DIFFERS


def selftest(argv: Sequence[str]) -> int:
    """Injects faults and demands that each is caught and named."""
    parser = argparse.ArgumentParser(prog="python -m alignment selftest", description=selftest.__doc__)
    parser.add_argument("--only", metavar="PATTERN", default="", help="regular expression: these mutants only")
    parser.add_argument(
        "--seeds", type=command.count, default=20, help="unmutated runs that must all pass (default: 20)"
    )
    parser.add_argument(
        "--workers", type=command.positive, default=2, help="processes, of one thread each (default: 2)"
    )
    args = parser.parse_args(argv)
    process.prepare(threads=1)
    from alignment.mutation.selftest import run_selftest

    return PASSED if run_selftest(args.only, args.seeds, args.workers) else DIFFERS


def _verdict(reports: Sequence[Any]) -> int:
    return PASSED if all(one.passed for one in reports) else DIFFERS


def _add_run_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--reference", default="", metavar="SOURCE", help=f"compare with third-party code: {', '.join(REFERENCES)}"
    )
    parser.add_argument(
        "--precision", choices=("float32", "float64", "both"), help="default: both with --all, else float32"
    )
    parser.add_argument("--frames", type=command.positive, help="frames of a clip")
    parser.add_argument("--size", type=command.positive, help="height and width in pixels")
    parser.add_argument("--batch", type=command.positive, help="clips")
    parser.add_argument("--video", nargs="+", default=(), metavar="FILE", help="videos to use instead of embedded ones")
    parser.add_argument("--train_steps", type=command.positive, default=3, help="steps of the optimizer (default: 3)")
    parser.add_argument("--seed", type=command.count, default=0, help="of weights and dropout masks")
    parser.add_argument(
        "--threads",
        type=command.count,
        default=0,
        help="threads of one operation (default: 1 with --all, else all cores)",
    )
    parser.add_argument("--output", default="output/alignment", metavar="DIR", help="default: output/alignment")


def _reports(args: argparse.Namespace, names: Sequence[str]) -> list[Any]:
    """Runs, prints and writes the comparisons of some models in the precisions that the flags ask for."""
    if args.reference and "data" in args.steps:
        raise IncomparableError(f"the step data has no model in it: leave it out with --reference {args.reference}")
    process.prepare(args.threads or (1 if args.all else 0))
    from alignment.certification.certify import certify
    from alignment.reports.files import write_report

    for name in names:  # now, not when everything is computed
        for folder in Path(args.output).glob(f"{name}*"):
            Owned(folder).check_all()

    upstream = None
    if args.reference:
        from alignment.upstream import find_upstream

        upstream = find_upstream(args.reference)
    shape = {key: getattr(args, key) or value for key, value in (REDUCED if args.all else REAL).items()}
    precision = args.precision or ("both" if args.all else "float32")
    found = []
    for one in certify(
        names,
        steps=args.steps,
        precisions=("float64", "float32") if precision == "both" else (precision,),
        **shape,
        videos=args.video,
        train_steps=args.train_steps,
        seed=args.seed,
        upstream=upstream,
        progress=_show,
    ):
        _show("")
        command.say(*one.text().splitlines(), "")
        directory = Path(args.output) / f"{one.title}_{one.precision}"
        with unfinished_beside(directory, f"another process writes {directory}") as report:
            written = [str(file.relative_to(report.folder)) for file in write_report(one, report.folder)]
            report.seal()
            report.move_to(directory)
        command.say(f"written to {directory}: {', '.join(written)}", "")
        found.append(one)
    return found


def _show(line: str) -> None:
    """What is running now, on a line that the next one overwrites; only where somebody looks on."""
    if sys.stderr.isatty():
        print(f"\r{line:<60}", end="\r", file=sys.stderr, flush=True)  # noqa: T201  each line overwrites the last


def _names(text: str) -> tuple[str, ...]:
    return tuple(part for part in text.split(",") if part)
