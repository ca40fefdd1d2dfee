"""Whole commands on all cores, by the clock: `python -m tools.bench_machine`.

Each program does each work with a few videos first, and then with N and with 2 N, taking turns. The difference of the
two wall times is what N videos take, with reading, copying and computing as they overlap; the rest is the start. The
videos are names of one file, which the system keeps in memory. mmaction2 is measured where requirements-third-party.txt
is installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from configs import Recipe
from configs.presets import get_preset
from runtime import command
from runtime.cpu import usable_cores
from runtime.errors import UserError
from tools import bench_data, measure

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = {  # preset -> the configuration of mmaction2 that it follows
    "kinetics400_tsm_mobilenet_v2": "tsm/tsm_imagenet-pretrained-mobilenetv2_8xb16-1x1x8-100e_kinetics400-rgb.py",
    "kinetics400_tsm_r50": "tsm/tsm_imagenet-pretrained-r50_8xb16-1x1x8-50e_kinetics400-rgb.py",
}
CLASSES = 400


@dataclass(frozen=True)
class Setup:
    """What all programs work on.

    Attributes:
        folder: Holds videos, weights in each layout and the artifact.
        preset: Of the network and the reading.
        recipe: The preset's, with 30 views in a test.
        batch: Videos in a batch of training.
        threads: Cores of this machine.
    """

    folder: Path
    preset: str
    recipe: Recipe
    batch: int
    threads: int

    def videos(self, count: int) -> Path:
        """A folder of so many videos."""
        return self.folder / f"videos{count}"

    def list_of(self, count: int) -> str:
        """A list of them."""
        return str(self.folder / f"list{count}.txt")


@dataclass(frozen=True)
class Program:
    """One row: the arguments of a program for a number of videos; None: it cannot."""

    label: str
    argv: Callable[[Setup, int], list[str] | None]


@dataclass(frozen=True)
class Work:
    """One table.

    Attributes:
        title: What is done, and what is counted.
        videos: N, unless another number is asked for; a multiple of the batch.
        programs: Rows; the last one that ran is what the others are compared with.
    """

    title: str
    videos: int
    programs: tuple[Program, ...]


@dataclass
class Times:
    """Of one program: wall and CPU seconds of each turn, for N and for 2 N videos."""

    wall: dict[int, list[float]] = field(default_factory=dict)
    cpu: dict[int, list[float]] = field(default_factory=dict)

    def rate(self) -> float:
        """Videos a second, without the start; not a number where more videos took no longer."""
        (few, first), (many, second) = ((count, min(times)) for count, times in sorted(self.wall.items()))
        return (many - few) / (second - first) if second > first else math.nan

    def start(self) -> float:
        """Seconds before the first video."""
        few = min(self.wall)
        return max(0.0, min(self.wall[few]) - few / self.rate())

    def cores(self) -> float:
        """Cores that are busy after the start."""
        few, many = sorted(self.cpu)
        return (min(self.cpu[many]) - min(self.cpu[few])) * self.rate() / (many - few)


# ---------------------------------------------------------------------------------------------------------------------
# The programs


def train(setup: Setup, count: int, processes: int = 1) -> list[str]:
    """One epoch of train.py, without evaluation."""
    run = tempfile.mkdtemp(dir=setup.folder)
    threads, batch = max(1, setup.threads // processes), setup.batch // processes
    launcher = ["-m", "paddle.distributed.launch", "--nproc_per_node", str(processes), "--log_dir", run]
    pixels = setup.recipe.pixels
    return [
        sys.executable, *(launcher if processes > 1 else []), str(ROOT / "train.py"), "--preset", setup.preset,
        "--num_classes", str(CLASSES), "--short_side", str(pixels.short_side),
        "--crop_size", str(pixels.crop_size), "--test_size", str(pixels.test_size),
        "--dataset_root", str(setup.videos(count)), "--train_list", setup.list_of(count), "--val_list",
        setup.list_of(count), "--pretrained", str(setup.folder / "ours.pdparams"), "--output_dir", f"{run}/run",
        "--batch_size", str(batch), "--threads", str(threads), "--num_workers", str(max(1, 2 // processes)), "--lr",
        "0.0001", "--max_iters", str(count // setup.batch),
    ]  # fmt: skip


def train_in_processes(setup: Setup, count: int) -> list[str] | None:
    """The same in a process for each core."""
    return train(setup, count, setup.threads) if setup.threads > 1 else None


def evaluate(setup: Setup, count: int, views: str) -> list[str]:
    """test.py."""
    return [
        sys.executable, str(ROOT / "test.py"), "--dataset_root", str(setup.videos(count)), "--val_list",
        setup.list_of(count), "--pretrained", str(setup.folder / "ours.pdparams"), "--output_dir",
        tempfile.mkdtemp(dir=setup.folder), "--views", views, "--threads", str(setup.threads),
    ]  # fmt: skip


def predict(setup: Setup, count: int) -> list[str]:
    """predict.py."""
    return [
        sys.executable, str(ROOT / "predict.py"), "--video", str(setup.videos(count)), "--pretrained",
        str(setup.folder / "ours.pdparams"), "--views", "quick", "--threads", str(setup.threads),
    ]  # fmt: skip


def infer(setup: Setup, count: int) -> list[str]:
    """deploy.infer."""
    return [
        sys.executable, "-m", "deploy.infer", "--model_dir", str(setup.folder / "artifact"), "--video",
        str(setup.videos(count)), "--views", "quick", "--threads", str(setup.threads),
    ]  # fmt: skip


def torch_loop(setup: Setup, count: int, mode: str) -> list[str]:
    """tools/peers/torch_loop.py."""
    return [
        sys.executable, "-m", "tools.peers.torch_loop", mode, *_data(setup, count), "--recipe",
        str(setup.folder / "recipe.json"), "--pretrained", str(setup.folder / "weights.npz"), "--batch_size",
        str(setup.batch if mode == "train" else 1), "--threads", str(setup.threads),
    ]  # fmt: skip


def mmaction2(setup: Setup, count: int, mode: str, is_best: bool) -> list[str] | None:
    """tools/peers/mmaction2.py; its batch in a test with one view is that of training, which is faster there."""
    if not _has_mmaction2(setup):
        return None
    return [
        sys.executable, "-m", "tools.peers.mmaction2", mode, *_data(setup, count), "--config", CONFIGS[setup.preset],
        "--pretrained",
        str(setup.folder / "mmaction2.pth"), "--batch_size", str(1 if mode == "test" else setup.batch), "--threads",
        str(setup.threads), *["--best"] * is_best,
    ]  # fmt: skip


def _has_mmaction2(setup: Setup) -> bool:
    return setup.preset in CONFIGS and importlib.util.find_spec("mmaction") is not None


def _data(setup: Setup, count: int) -> list[str]:
    return ["--dataset_root", str(setup.videos(count)), "--list", setup.list_of(count)]


def _peers(mode: str) -> tuple[Program, ...]:
    loop = Program("PyTorch loop, channels last, allocator set", lambda setup, n: torch_loop(setup, n, mode))
    return (
        *([loop] if mode != "predict" else []),
        Program("mmaction2 as it comes", lambda setup, n: mmaction2(setup, n, mode, is_best=False)),
        Program("mmaction2, channels last, allocator set", lambda setup, n: mmaction2(setup, n, mode, is_best=True)),
    )


WORKS = {
    "train": Work("training, clips", 64, (
        Program("train.py", train), Program("train.py, a process for each core", train_in_processes), *_peers("train"),
    )),
    "test_1": Work("test with one view, videos", 128, (
        Program("test.py", lambda setup, n: evaluate(setup, n, "quick")), *_peers("val"),
    )),
    "test_30": Work("test with 30 views, videos", 8, (
        Program("test.py", lambda setup, n: evaluate(setup, n, "full")), *_peers("test"),
    )),
    "predict": Work("many files, one view, videos", 128, (
        Program("predict.py", predict), Program("deploy.infer", infer), *_peers("predict"),
    )),
}  # fmt: skip


# ---------------------------------------------------------------------------------------------------------------------
# Measuring


def prepare(setup: Setup, counts: Sequence[int]) -> None:
    """Writes videos, lists, weights in each layout, and the artifact."""
    folder = setup.folder
    video = folder / "clip.mp4"
    bench_data.write_h264(video)
    for count in sorted(set(counts)):
        names = [f"{index:06}.mp4" for index in range(count)]
        setup.videos(count).mkdir()
        for name in names:
            os.link(video, setup.videos(count) / name)
        Path(setup.list_of(count)).write_text(
            "".join(f"{name} {index % CLASSES}\n" for index, name in enumerate(names))
        )
    measure.in_process(write_weights, setup)
    weights = str(folder / "ours.pdparams")
    _run([
        sys.executable, "-m", "deploy.export", "--pretrained", weights, "--output", str(folder / "artifact"), "--views",
        "quick",
    ])  # fmt: skip
    if _has_mmaction2(setup):
        _run([
            sys.executable, "-m", "tools.convert", weights, str(folder / "mmaction2.pth"), "--target", "mmaction2",
        ])  # fmt: skip


def write_weights(setup: Setup) -> None:
    """Random weights in our layout, with their recipe, and in the twin's names."""
    import paddle

    from alignment.sides.state import read_weights
    from engine import checkpoint
    from models import from_recipe

    paddle.seed(7)
    model = from_recipe(setup.recipe)
    checkpoint.save_weights(setup.folder / "ours.pdparams", model)
    checkpoint.write_run_files(setup.folder, setup.recipe, [f"class {index}" for index in range(CLASSES)])
    arrays: dict[str, Any] = read_weights(model)
    np.savez(setup.folder / "weights.npz", **arrays)


def measure_work(setup: Setup, work: Work, count: int, rounds: int) -> dict[str, Times]:
    """Wall and CPU times of all programs that can do a work, in turns."""
    times: dict[str, Times] = {}
    for program in work.programs:
        if (argv := program.argv(setup, setup.batch)) is not None:
            _run(argv, setup.threads)  # which compiles what is compiled, and fills what is cached
    for _ in range(rounds):
        for number in (count, 2 * count):
            for program in work.programs:
                argv = program.argv(setup, number)
                if argv is None:
                    continue
                wall, cpu = _run(argv, setup.threads)
                row = times.setdefault(program.label, Times())
                row.wall.setdefault(number, []).append(wall)
                row.cpu.setdefault(number, []).append(cpu)
    return times


def _run(argv: list[str], threads: int = 1) -> tuple[float, float]:
    """Wall and CPU seconds of a program.

    Raises:
        UserError: It fails.
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(threads)}
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        last = (done.stderr or done.stdout).strip().rpartition("\n")[2]
        raise UserError(f"{' '.join(argv)} ended with {done.returncode}: {last}")
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def table(title: str, times: dict[str, Times]) -> list[str]:
    """A table as Markdown."""
    peer = list(times.values())[-1]
    return [
        "", f"| {title} a second | program | ratio to the last | start, s | cores busy |", "|---|---|---|---|---|",
        *(
            f"| {row.rate():.2f} | {label} | {row.rate() / peer.rate():.2f} | {row.start():.1f} | {row.cores():.2f} |"
            for label, row in times.items()
        ),
    ]  # fmt: skip


def main(argv: Sequence[str] | None = None) -> None:
    """Prints a table for each network and work."""
    args = _parse(argv)
    threads = usable_cores()
    measure.start_alike()
    report: dict[str, Any] = {"title": "Whole commands", "machine": measure.machine(), "rounds": args.rounds}
    report |= {"threads": f"{threads} threads", "presets": {}}
    command.say(*measure.header(report)[:3])
    command.say(
        f"2 workers that read, batches of {args.batch_size} clips in training. Least wall time of {args.rounds} runs, "
        "the programs taking turns."
    )
    for preset in args.presets:
        with tempfile.TemporaryDirectory() as folder:
            recipe = get_preset(preset).with_(num_classes=CLASSES, sampling="dense", test_clips=10, test_crops="three")
            if args.quick:
                recipe = recipe.with_(short_side=40, crop_size=32, test_size=32, test_clips=2)
            setup = Setup(Path(folder), preset, recipe, args.batch_size, threads)
            counts = {name: args.videos or WORKS[name].videos for name in args.works}
            prepare(setup, [setup.batch, *(number for count in counts.values() for number in (count, 2 * count))])
            command.say("", f"### {preset}")
            for name in args.works:
                times = measure_work(setup, WORKS[name], counts[name], args.rounds)
                rows = {label: {"wall": row.wall, "cpu": row.cpu} for label, row in times.items()}
                report["presets"].setdefault(preset, {})[name] = rows
                command.say(*table(WORKS[name].title, times))
    command.say("", f"Load average at the end: {os.getloadavg()[0]:.1f}")
    if args.json:
        args.json.write_text(json.dumps(report, indent=2) + "\n")


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = command.parser(__doc__)
    parser.add_argument("--presets", nargs="+", help=f"names of presets (default: {next(iter(CONFIGS))})")
    parser.add_argument("--works", nargs="+", default=list(WORKS), choices=list(WORKS), help="default: all")
    parser.add_argument("--videos", type=command.positive, help="N, a multiple of the batch (default: by the work)")
    parser.add_argument("--batch_size", type=command.positive, default=8, help="clips of a batch of training")
    parser.add_argument("--rounds", type=command.positive, default=2, help="turns of each program")
    parser.add_argument("--json", type=Path, help="write every measured number to this file")
    parser.add_argument("--quick", action="store_true", help="tiny models and clips: shows that it runs, not how fast")
    args = parser.parse_args(argv)
    args.presets = args.presets or ["demo_tsm" if args.quick else next(iter(CONFIGS))]
    if args.videos and args.videos % args.batch_size:
        parser.error(f"--videos {args.videos} is no multiple of --batch_size {args.batch_size}")
    return args


if __name__ == "__main__":
    with command.clear_errors():
        main()
