"""The main job on an embedded default: writes videos, trains three models, tests them, predicts one file.

    python -m tools.demo [--output_dir output/demo] [--seed 0]

The classes differ only in motion, so a model that averages frames (TSN) cannot tell a clip from its reverse. Ends with
a table, and with exit code 1 if the table does not show that.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from configs import UserError, cli
from datasets.demo import CLASS_NAMES, MOTIONS, write_demo_dataset

FAMILIES = ("mvf", "tsm", "tsn")
NAMES = {"mvf": "MVF", "tsm": "TSM", "tsn": "TSN"}


def main(argv: list[str] | None = None) -> None:
    """Runs the demo and prints its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output_dir", type=Path, default=Path("output/demo"))
    parser.add_argument("--seed", type=int, default=1234, help="seed of the three trainings")
    args = parser.parse_args(argv)
    started = time.perf_counter()
    data = write_demo_dataset(args.output_dir / "data")
    rows = {}
    for family in FAMILIES:
        run = args.output_dir / family
        shutil.rmtree(run, ignore_errors=True)
        seconds = _command(
            "train.py", "--preset", f"demo_{family}", "--dataset_root", data, "--output_dir", run, "--seed", args.seed,
            "--num_workers", 1,
        )  # fmt: skip
        _command("test.py", "--dataset_root", data, "--pretrained", run / "best.pdparams", "--output_dir", run / "test")
        rows[family] = {**json.loads((run / "test" / "test.json").read_text()), "train_seconds": seconds}
    video = next((data / "val" / CLASS_NAMES[0]).iterdir())
    _command("predict.py", "--video", video, "--pretrained", args.output_dir / "mvf" / "best.pdparams")
    print("\n" + table(rows))
    print(f"\n{len(CLASS_NAMES)} classes, {time.perf_counter() - started:.0f} s in all; files in {args.output_dir}")
    if not claim_holds(rows):
        raise UserError("the table does not show MVF and TSM above 90 % and TSN at or below an even guess of direction")


def direction_accuracy(confusion: np.ndarray) -> float:
    """Share of videos taken for themselves among those taken for themselves or for their reverse.

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


def _command(script: str, *arguments: object) -> float:
    """Runs a script of this repository and shows the command; returns its seconds.

    Raises:
        UserError: It ends with an error.
    """
    words = [script, *map(str, arguments)]
    print(f"\n$ python {' '.join(words)}", flush=True)
    started = time.perf_counter()
    code = subprocess.run([sys.executable, *words], check=False).returncode
    if code:
        raise UserError(f"python {' '.join(words)} ended with exit code {code}")
    return time.perf_counter() - started


if __name__ == "__main__":
    with cli.clear_errors():
        main()
