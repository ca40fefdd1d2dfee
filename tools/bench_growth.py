"""How time grows with frames, pixels and the length of a list: `python -m tools.bench_growth`.

A clip's forward pass, training step and reading are to be linear in frames and in pixels, and what a sample costs is
not to depend on the list that it stands in.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from configs import Recipe
from datasets import ClipLoader, VideoDataset, load_annotation
from runtime import command
from runtime.fresh_process import in_fresh_process
from tools import bench_data, bench_infer, bench_train, measure
from tools.measure import Engine, Job

WORKS = {"forward": Engine("forward pass", bench_infer.ours), "step": Engine("training step", bench_train.ours)}
FRAMES, SIDES, ENTRIES = (4, 8, 16, 32, 64), (96, 128, 192, 256, 384), (100, 1_000, 10_000, 100_000)
QUICK: dict[str, tuple[int, ...]] = {"frames": (2, 4), "sides": (32, 64), "entries": (50, 100)}
USUAL_FRAMES, USUAL_SIDE = 8, 224
NAMES_OF_A_FILE = 10_000  # of a list; ext4 lets a file have 65,000
SAMPLES = 64  # of a list, of which each is read


def exponent(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """The power of the size that the time grows with: the slope between their logarithms, by least squares."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def compute_times(model: str, frames: int, side: int, rounds: int) -> dict[str, float]:
    """Smallest CPU seconds of one clip in each of WORKS."""
    with tempfile.TemporaryDirectory() as folder:
        job = Job(model, frames, side, 1, 400, folder)
        measure.in_process(measure.make_weights, job)
        rows = {name: measure.measure(job, {name: engine}, rounds)[name] for name, engine in WORKS.items()}
    return {name: min(row.seconds) for name, row in rows.items()}


def read_time(video: Path, frames: int, side: int, rounds: int) -> float:
    """Smallest CPU seconds of reading a clip for training."""
    recipe = _recipe(frames, crop_size=side, test_size=side, short_side=side * 8 // 7)
    folder = video.parent
    dataset = VideoDataset(
        load_annotation(str(folder), "train", list_file=_list(folder, [video.name])), recipe, "train"
    )
    return _least_seconds(lambda: dataset.load(0), 4 * rounds)


def list_times(video: Path, entries: int, rounds: int) -> dict[str, float]:
    """CPU seconds of reading a list of so many videos and of one sample of it, and what a worker is sent, in MB.

    The videos are names of copies of one file.
    """
    with tempfile.TemporaryDirectory(dir=video.parent) as folder:
        names = [f"{index}.mp4" for index in range(entries)]
        for index, name in enumerate(names):
            if index % NAMES_OF_A_FILE == 0:
                copy = shutil.copy(video, Path(folder) / name)
            else:
                os.link(copy, Path(folder) / name)
        list_file = _list(Path(folder), names)
        started = time.process_time()
        annotation = load_annotation(folder, "train", list_file=list_file)
        listed = time.process_time() - started
        dataset = VideoDataset(annotation, _recipe(USUAL_FRAMES), "train")
        batch = min(SAMPLES, entries)
        with ClipLoader(dataset, batch, shuffle=True) as loader:
            sample = _least_seconds(lambda: next(iter(loader.epoch(0))), rounds) / batch
        sent = len(pickle.dumps(dataset)) / 1e6
    return {"list": listed, "sample": sample, "sent_mb": sent}


def _recipe(frames: int, **options: Any) -> Recipe:
    return bench_data.RECIPE.with_(num_segments=frames, **options)


def _list(folder: Path, names: Sequence[str]) -> str:
    path = folder / "list.txt"
    path.write_text("".join(f"{name} 0\n" for name in names))
    return str(path)


def _least_seconds(work: Callable[[], object], rounds: int) -> float:
    work()
    return bench_data.in_turns({"work": work}, rounds)["work"] / 1000


def main(argv: Sequence[str] | None = None) -> None:
    """Prints three tables."""
    parser = command.parser(__doc__)
    parser.add_argument("--model", help="name of a model (default: tsm_mobilenet_v2)")
    parser.add_argument("--rounds", type=command.positive, default=3, help="runs of each, of which the fastest counts")
    parser.add_argument("--json", type=Path, help="write every measured number to this file")
    parser.add_argument("--quick", action="store_true", help="tiny models and lists: shows that it runs")
    args = parser.parse_args(argv)
    model = args.model or ("tsm_tiny" if args.quick else "tsm_mobilenet_v2")
    sizes = QUICK if args.quick else {"frames": FRAMES, "sides": SIDES, "entries": ENTRIES}
    usual_frames, usual_side = (2, 32) if args.quick else (USUAL_FRAMES, USUAL_SIDE)
    measure.start_alike()
    report: dict[str, Any] = {"title": f"Growth: {model}", "machine": measure.machine(), "rounds": args.rounds}
    report |= {"frames": {}, "pixels": {}, "entries": {}}
    command.say(*measure.header(report))
    with tempfile.TemporaryDirectory() as folder:
        video = Path(folder) / "clip.mp4"
        bench_data.write_h264(video)
        for kind, name, shapes in (
            ("frames", "frames of a clip", [(frames, usual_side) for frames in sizes["frames"]]),
            ("pixels", "pixels of a frame", [(usual_frames, side) for side in sizes["sides"]]),
        ):
            table = report[kind]
            command.say("", f"| {name} | forward, CPU s | training step, CPU s | reading, CPU s |", "|---|---|---|---|")
            for frames, side in shapes:
                row = compute_times(model, frames, side, args.rounds)
                row["read"] = in_fresh_process(read_time, video, frames, side, args.rounds)
                table[frames if kind == "frames" else side**2] = row
                label = str(frames) if kind == "frames" else f"{side}²"
                command.say(f"| {label} | {' | '.join(f'{row[column]:.4f}' for column in (*WORKS, 'read'))} |")
            powers = [exponent(list(table), [row[column] for row in table.values()]) for column in (*WORKS, "read")]
            command.say(f"| grows with the power | {' | '.join(f'{power:.2f}' for power in powers)} |")
        command.say("", "| videos of a list | reading the list, CPU s | a sample, CPU ms | sent to a worker, MB |",
                    "|---|---|---|---|")  # fmt: skip
        for entries in sizes["entries"]:
            row = in_fresh_process(list_times, video, entries, args.rounds)
            report["entries"][entries] = row
            command.say(f"| {entries} | {row['list']:.3f} | {1000 * row['sample']:.2f} | {row['sent_mb']:.2f} |")
    if args.json:
        args.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    with command.clear_errors():
        main()
