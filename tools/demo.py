"""The main job on an embedded default: writes videos, trains three models, tests them, predicts one file.

    python -m tools.demo [--output_dir output/demo] [--seed 0]

The classes differ only in motion, so a model that averages frames (TSN) cannot tell a clip from its reverse. Ends with
a table, and with exit code 1 if the table does not show that.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import TypedDict

import numpy as np

from datasets.demo import CLASS_NAMES, MOTIONS, write_demo_dataset
from runtime import command
from runtime.errors import UserError
from runtime.owned import Owned
from runtime.records import read_lines, read_record

FAMILIES = ("mvf", "tsm", "tsn")
NAMES = {"mvf": "MVF", "tsm": "TSM", "tsn": "TSN"}


class Epoch(TypedDict):
    """A line of `metrics.jsonl`."""

    epoch: int
    loss: float
    top1_acc: float


class Tested(TypedDict):
    """What is read of `test.json`."""

    top1_acc: float
    confusion: list[list[int]]


def main(argv: list[str] | None = None) -> None:
    """Runs the demo and prints its table."""
    parser = command.parser(__doc__)
    parser.add_argument("--output_dir", type=Path, default=Path("output/demo"))
    parser.add_argument("--seed", type=int, default=1234, help="seed of the three trainings")
    args = parser.parse_args(argv)
    started = time.perf_counter()
    data = write_demo_dataset(args.output_dir / "data")
    seconds = train_all(data, args.output_dir, args.seed)
    rows = {}
    for family in FAMILIES:
        run = args.output_dir / family
        run_script(
            "test.py", "--dataset_root", data, "--pretrained", run / "last.pdparams", "--output_dir", run / "test"
        )
        rows[family] = {**read_record(run / "test" / "test.json", Tested), "train_seconds": seconds[family]}
    video = next((data / "val" / CLASS_NAMES[0]).iterdir())
    run_script("predict.py", "--video", video, "--pretrained", args.output_dir / "mvf" / "last.pdparams")
    command.say("", *table(rows).splitlines())
    took = time.perf_counter() - started
    command.say("", f"{len(CLASS_NAMES)} classes, {took:.0f} s in all; files in {args.output_dir}")
    if not claim_holds(rows):
        raise UserError(
            "the table does not show MVF and TSM above 90 % and TSN at or below the chance level of direction"
        )


def train_all(data: Path, output_dir: Path, seed: int) -> dict[str, float]:
    """Trains the three models side by side, one thread each, and tells of each epoch; returns the seconds of each.

    Raises:
        UserError: A training ends with an error.
    """
    runs, logs = {}, {}
    for family in FAMILIES:
        Owned(output_dir / family).remove_all()
        argv = [
            "train.py", "--preset", f"demo_{family}", "--dataset_root", str(data), "--output_dir",
            str(output_dir / family), "--seed", str(seed), "--num_workers", "0", "--threads", "1",
        ]  # fmt: skip
        command.say(f"$ python {' '.join(argv)} &")
        logs[family] = (output_dir / f"{family}.out").open("w")
        runs[family] = subprocess.Popen([sys.executable, *argv], stdout=logs[family], stderr=subprocess.STDOUT)
    started, told = time.perf_counter(), dict.fromkeys(FAMILIES, 0)
    seconds: dict[str, float] = {}
    try:
        while len(seconds) < len(runs):
            time.sleep(0.5)
            for family in FAMILIES:
                told[family] = _tell_epochs(family, output_dir / family / "metrics.jsonl", told[family])
                if family not in seconds and runs[family].poll() is not None:
                    seconds[family] = time.perf_counter() - started
                    if runs[family].returncode:
                        raise UserError(f"the training of {family} failed, see {output_dir / family}.out")
    finally:
        for family, process in runs.items():
            process.kill()
            process.wait()
            logs[family].close()
    return seconds


def _tell_epochs(family: str, metrics: Path, told: int) -> int:
    """Prints the epochs of a run that were not told yet; returns how many are told now."""
    events: list[Epoch] = read_lines(metrics, Epoch) if metrics.is_file() else []
    for event in events[told:]:
        command.say(f"{NAMES[family]} epoch {event['epoch']}: loss {event['loss']:.3f}, top-1 {event['top1_acc']:.1%}")
    return len(events)


def direction_accuracy(confusion: np.ndarray) -> float:
    """Fraction of videos taken for themselves among those taken for themselves or for their reverse.

    Args:
        confusion: int [8, 8], rows true, in the order of CLASS_NAMES.
    """
    twin = {}
    for _, forward, backward in MOTIONS:
        first, second = CLASS_NAMES.index(forward), CLASS_NAMES.index(backward)
        twin[first], twin[second] = second, first
    right = sum(confusion[label, label] for label in twin)
    reversed_ = sum(confusion[label, other] for label, other in twin.items())
    return float(right / max(right + reversed_, 1))


def claim_holds(rows: dict[str, dict]) -> bool:
    """Whether MVF and TSM tell the motions apart and TSN guesses their direction at even odds, half at most."""
    with_time = all(rows[family]["top1_acc"] > 0.9 for family in ("mvf", "tsm"))
    return with_time and direction_accuracy(np.array(rows["tsn"]["confusion"])) <= 0.5 >= rows["tsn"]["top1_acc"]


def table(rows: dict[str, dict]) -> str:
    """The result as a Markdown table."""
    lines = [
        "| model | sees order | top-1 | direction (clip or its reverse) | training |",
        "|---|---|---|---|---|",
    ]
    for family, row in rows.items():
        sees = "no" if family == "tsn" else "yes"
        direction = direction_accuracy(np.array(row["confusion"]))
        lines.append(
            f"| {NAMES[family]} | {sees} | {row['top1_acc']:.1%} | {direction:.1%} | {row['train_seconds']:.0f} s |"
        )
    lines.append(f"| chance | | {1 / len(CLASS_NAMES):.1%} | 50.0% | |")
    return "\n".join(lines)


def run_script(script: str, *arguments: object) -> None:
    """Runs a script of this repository and shows the command.

    Raises:
        UserError: It ends with an error.
    """
    argv = [script, *map(str, arguments)]
    command.say("", f"$ python {' '.join(argv)}")
    code = subprocess.run([sys.executable, *argv], check=False).returncode
    if code:
        raise UserError(f"python {' '.join(argv)} ended with exit code {code}")


if __name__ == "__main__":
    with command.clear_errors():
        main()
