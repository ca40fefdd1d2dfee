"""Trains a small UNet on drawn people, tests it, and puts one before another background: `make demo-portrait`.

The data are drawn here; the commands are those of every other network.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import TypedDict

import numpy as np

from datasets.figures import draw_figure, write_figures
from datasets.movie import MovieWriter
from runtime import command
from runtime.errors import UserError
from runtime.owned import Owned
from runtime.records import read_record
from tools.demo import run_script

LEAST = 0.85  # mean intersection over union that the demo shows
FRAMES, RATE, SIDE = 50, 25, 192


class Tested(TypedDict):
    """What is read of `test.json`."""

    image_miou: float
    image_miou_se: float
    boundary_f: float


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the demo and prints what it reaches; raises UserError if that is less than LEAST."""
    parser = command.parser(__doc__)
    parser.add_argument("--output_dir", type=Path, default=Path("output/demo_portrait"))
    parser.add_argument("--seed", type=int, default=1234, help="seed of the training")
    args = parser.parse_args(argv)
    started = time.perf_counter()
    out: Path = args.output_dir
    data = write_figures(out / "data")
    Owned(out / "unet").remove_all()
    run_script("train.py", "--preset", "demo_unet", "--dataset_root", data, "--output_dir", out / "unet",
             "--seed", args.seed)  # fmt: skip
    weights = out / "unet" / "best.pdparams"
    run_script("test.py", "--dataset_root", data, "--pretrained", weights, "--output_dir", out / "unet" / "test")
    video = out / "person.mp4"
    composed = next(path for n in itertools.count() if not (path := out / f"composed_{n}.mp4").exists())
    draw_movie(video, args.seed)
    run_script("predict.py", "--video", video, "--pretrained", weights, "--output", composed, "--background", "#207040",
             "--smoothing", "0.5")  # fmt: skip
    found = read_record(out / "unet" / "test" / "test.json", Tested)
    command.say(
        "",
        f"mIoU of an image {found['image_miou']:.3f} (standard error {found['image_miou_se']:.3f}), boundary F "
        f"{found['boundary_f']:.3f}; {time.perf_counter() - started:.0f} s in all; files in {out}",
    )
    if found["image_miou"] < LEAST:
        raise UserError(f"the network reaches {found['image_miou']:.3f}, and {LEAST} is what this demo shows")


def draw_movie(path: Path, seed: int) -> None:
    """Writes two seconds of a drawn person who sways."""
    image, _ = draw_figure(np.random.default_rng(seed), SIDE)
    with MovieWriter(path, Fraction(RATE)) as movie:
        for i in range(FRAMES):
            movie.write(np.roll(image, round(SIDE / 16 * np.sin(2 * np.pi * i / FRAMES)), axis=1), i / RATE)


if __name__ == "__main__":
    with command.clear_errors():
        main()
