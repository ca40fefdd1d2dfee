"""Measures engines in turns: each in a process of its own, one after the other, several rounds.

The number is the smallest process CPU time, with one thread. Unlike wall time it hardly depends on what else the
machine does, and taking turns spreads what it does depend on (caches, clock) over all engines.
"""

from __future__ import annotations

import argparse
import datetime
import json
import math
import multiprocessing
import os
import platform
import resource
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from alignment.reports.environment import cpu
from configs.networks import ImageNetwork, family_of, network_of
from configs.presets import preset_for_model
from deploy.engines import versions
from runtime import command
from runtime.cpu import give_memory_back
from runtime.errors import UserError
from runtime.fresh_process import in_fresh_process
from tasks import TASKS

SETTINGS = ("MKL_DEBUG_CPU_TYPE", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_")
FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile")
REFERENCE = "torch"
# Those that the presets name.
IMAGE_MODELS = ("tsn_r50", "tsm_r50", "mvf_r50", "tsm_mobilenet_v2", "mvf_mobilenet_v2")
CLIP_MODELS = ("slowfast_r50", "x3d_s", "i3d_r50")
MODELS = IMAGE_MODELS + CLIP_MODELS
QUICK_MODELS = ("tsn_tiny", "tsm_tiny", "mvf_tiny")


@dataclass(frozen=True)
class Job:
    """What every engine computes.

    Attributes:
        model: The name of a model.
        num_frames: Frames T of a clip.
        size: Height and width, pixels.
        batch: Clips N.
        num_classes: Classes of the head.
        directory: Holds `weights.npz`, in the names of `alignment.weights`, and whatever else was prepared.
    """

    model: str
    num_frames: int
    size: int
    batch: int
    num_classes: int
    directory: str

    @property
    def weights(self) -> Path:
        """The file of the weights."""
        return Path(self.directory) / "weights.npz"

    @property
    def options(self) -> dict[str, Any]:
        """Arguments of `create_model` and `create_twin`; without dropout, so that two engines can agree."""
        return {"num_classes": self.num_classes, "num_frames": self.num_frames, "dropout": 0.0}

    @property
    def clips(self) -> np.ndarray:
        """Noise, float32 [N, T, 3, size, size], or of a network over images [N, 3, size, size], always the same."""
        shape = network_of(self.model).input_shape(self.num_frames, self.size)
        return np.random.default_rng(7).standard_normal((self.batch, *shape), dtype=np.float32)

    @property
    def labels(self) -> np.ndarray:
        """int64 [N]."""
        return np.arange(self.batch) % self.num_classes


# Called once in the engine's process; what it returns does the work once and gives back numbers to compare.
Work = Callable[[], np.ndarray]


@dataclass(frozen=True)
class Engine:
    """One row of the table.

    Attributes:
        label: How the table calls it.
        open: Prepares the work.
        rounds: At most so many turns; for an engine too slow to be waited for in each round.
    """

    label: str
    open: Callable[[Any], Work]
    rounds: int = sys.maxsize


@dataclass
class Row:
    """What was measured of one engine.

    Attributes:
        seconds: Process CPU time of one run of the work in each turn, after one to warm up.
        peak_mb: Largest resident memory of the process.
        values: What the first two runs gave back, [2, ...].
    """

    seconds: list[float]
    peak_mb: float
    values: np.ndarray


# ---------------------------------------------------------------------------------------------------------------------
# One process for each engine


def measure(job: Any, engines: dict[str, Engine], rounds: int) -> dict[str, Row]:
    """Runs all engines in turns.

    Raises:
        UserError: An engine fails.
    """
    context = multiprocessing.get_context("spawn")
    rows: dict[str, Row] = {}
    workers = {}
    try:
        for name, engine in engines.items():
            here, there = context.Pipe()
            process = context.Process(target=_quietly, args=(_serve, there, engine, job), daemon=True)
            process.start()
            there.close()
            workers[name] = (process, here)
        for _, connection in workers.values():
            _answer(connection)  # all have loaded before the first is timed
        for turn in range(rounds):
            for name, (_, connection) in workers.items():
                if turn < engines[name].rounds:
                    connection.send("turn")
                    seconds, peak_mb, values = _answer(connection)
                    row = rows.setdefault(name, Row([], 0.0, values))
                    row.seconds.append(seconds)
                    row.peak_mb = peak_mb
    finally:
        for process, connection in workers.values():
            connection.close()  # which ends the process, unless it still loads
            process.join(timeout=10)
            process.kill()
    return rows


def in_process(function: Callable[..., Any], *arguments: Any) -> None:
    """Runs a function in a process of its own, which frees its memory at its end."""
    in_fresh_process(_quietly, function, *arguments)


def _quietly(function: Callable[..., Any], *arguments: Any) -> None:
    """Keeps remarks of the frameworks out of the table: standard output goes to standard error, warnings nowhere."""
    os.dup2(2, 1)
    os.environ["GLOG_minloglevel"] = "2"  # noqa: SIM112  glog's own spelling
    warnings.simplefilter("ignore")
    function(*arguments)


def _serve(connection: Connection, engine: Engine, job: Any) -> None:
    """The process of an engine: prepares, then does one turn for each message."""
    try:
        work = engine.open(job)
        connection.send(None)
        while True:
            connection.recv()
            first = work()
            start = time.process_time()
            second = work()
            seconds = time.process_time() - start
            if _is_scarce():
                give_memory_back()  # the next engine may have it
            peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            connection.send((seconds, peak_mb, np.stack([first, second])))
    except EOFError:
        return
    except Exception as error:
        connection.send(error if isinstance(error, UserError) else UserError(f"{engine.label}: {error!r}"))


def _is_scarce() -> bool:
    """Whether less than a third of the memory is left; what a process keeps is worth time to it."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return True
    sizes = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
    return sizes["MemAvailable"] < sizes["MemTotal"] // 3


def _answer(connection: Connection) -> Any:
    try:
        answer = connection.recv()
    except EOFError:
        raise UserError("a measured process died, most likely for want of memory; choose fewer --engines") from None
    if isinstance(answer, Exception):
        raise answer
    return answer


# ---------------------------------------------------------------------------------------------------------------------
# The network in both frameworks


def make_weights(job: Job) -> None:
    """Writes random weights, with the statistics that BatchNorm finds in the clips."""
    from runtime import preparation

    preparation.prepare("cpu", threads=1)
    import paddle

    from alignment.sides.state import read_weights
    from models import create_model

    paddle.seed(7)
    model = create_model(job.model, **job.options)
    for layer in model.sublayers():
        if hasattr(layer, "_momentum"):
            layer._momentum = 0.0
    with paddle.no_grad():
        model(paddle.to_tensor(job.clips[:1]))
    arrays: dict[str, Any] = read_weights(model)
    np.savez(job.weights, **arrays)


def paddle_model(job: Job, tune: bool):
    """Our network with the job's weights, in a process prepared as `train.py` and `test.py` prepare theirs."""
    from runtime import preparation

    preparation.prepare("cpu", threads=1, tune=tune)
    from models import create_model

    return with_weights(create_model(job.model, **job.options), job.weights)


def torch_model(job: Job, keep_memory: bool = False, channels_last: bool = False):
    """The reference with the job's weights.

    Args:
        job: What to compute.
        keep_memory: Give the allocator the same settings that our process gets.
        channels_last: Keep images and kernels in the memory order of oneDNN's fastest convolutions.
    """
    if keep_memory:
        from runtime import preparation

        preparation.tune_malloc()
    import torch

    from alignment.certification.twins import create_twin

    torch.set_num_threads(1)
    model = with_weights(create_twin(job.model, **job.options), job.weights)
    return kernels_last(model) if channels_last else model


def torch_clips(job: Job, channels_last: bool = False):
    """The job's clips; channels last means that of each image, [N*T, 3, H, W], and so that of [N, 3, T, H, W]."""
    import torch

    clips = torch.from_numpy(job.clips)
    return images_last(clips) if channels_last else clips


def kernels_last(model):
    """A model of PyTorch with the kernels of its convolutions channels last, which makes their outputs so too."""
    import torch

    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.to(memory_format=torch.channels_last)
        elif isinstance(module, torch.nn.Conv3d):
            module.to(memory_format=torch.channels_last_3d)
    return model


def images_last(clips):
    """A tensor of clips, [N, T, 3, H, W], with its images channels last."""
    import torch

    return clips.flatten(0, 1).contiguous(memory_format=torch.channels_last).unflatten(0, clips.shape[:2])


def with_weights(model, file: Path):
    """A model of either framework with the weights of an .npz file, in the names of `alignment.weights`."""
    from alignment.sides.state import write_weights

    with np.load(file) as arrays:
        write_weights(model, dict(arrays))
    return model


# ---------------------------------------------------------------------------------------------------------------------
# Command and report


def start_alike() -> None:
    """Lets the processes that are measured start with one thread, and with no setting of the caller's shell."""
    os.environ["OMP_NUM_THREADS"] = "1"
    for name in SETTINGS:
        os.environ.pop(name, None)


def run(
    description: str,
    engines: dict[str, Engine],
    batch: int,
    value_names: str,
    prepare: Callable[[Job, Sequence[str]], None],
    argv: Sequence[str] | None = None,
    multiply_adds: Callable[[Job], int] | None = None,
    make_job: Callable[..., Job] = Job,
    models: Sequence[str] = MODELS,
    quick_models: Sequence[str] = QUICK_MODELS,
    size_of: Callable[[Job, str], int] | None = None,
) -> None:
    """The command of a benchmark: parses flags, measures each model, prints a table.

    Args:
        description: For --help and for the title.
        engines: The rows; REFERENCE is the one that the others are compared with.
        batch: Clips N.
        value_names: Title of the column that proves the engines to compute the same.
        prepare: Called with the job and the names of the engines before they open, writes the job's directory.
        argv: Flags.
        multiply_adds: What the work costs; with it each row says what fraction of the machine's peak it reaches.
        make_job: Called as Job is, makes the job.
        models, quick_models: Those that are measured unless others are named; under --quick.
        size_of: Bytes of the files that an engine reads; with it each row says how many.

    Raises:
        UserError: A flag is not possible, or an engine fails.
    """
    args = _parse(description, engines, argv, models, quick_models)
    start_alike()
    chosen = {name: engines[name] for name in args.engines}
    report: dict[str, Any] = {"title": description, "machine": machine(), "rounds": args.rounds, "models": {}}
    peak = in_fresh_process(peak_gflops) if multiply_adds else 0.0
    report["peak_gflops"] = peak
    command.say(*header(report), "", *table_head(value_names, bool(size_of)))
    for model in args.models:
        frames, size = (4, 32) if args.quick else clip_of(model)
        with tempfile.TemporaryDirectory() as directory:
            job = make_job(model, frames, size, batch, 10 if args.quick else classes_of(model), directory)
            prepare(job, args.engines)
            rows = measure(job, chosen, args.rounds)
            sizes = {name: size_of(job, name) for name in rows} if size_of else None
        report["models"][model] = {name: _as_json(row) for name, row in rows.items()}
        work = 2e-9 * in_fresh_process(multiply_adds, job) / peak if multiply_adds else 0.0
        command.say(*table_rows(job, engines, rows, work, sizes))
    command.say("", f"Load average at the end: {os.getloadavg()[0]:.1f}")
    if args.json:
        args.json.write_text(json.dumps(report, indent=2) + "\n")


def clip_of(model: str) -> tuple[int, int]:
    """Frames and side of the a model's clips: of its preset, or the usual ones of image networks."""
    recipe = preset_for_model(model)
    if isinstance(recipe.network, ImageNetwork):
        return 16 if recipe.clip.num_segments == 1 else 8, 224
    return recipe.clip.num_frames, recipe.pixels.crop_size


def classes_of(model: str) -> int:
    """Those that the model's task names, or else those of Kinetics-400."""
    return len(TASKS[family_of(model).task].targets.class_names) or 400


def peak_gflops(size: int = 2048, rounds: int = 5) -> float:
    """10^9 operations a second of the fastest float32 work that PyTorch does on one thread: a product or a convolution.

    A 3x3 convolution of 256 channels on maps of 14x14, laid out channels last, beats any product here.
    """
    import torch

    torch.set_num_threads(1)
    left, right = torch.randn(size, size), torch.randn(size, size)
    maps, kernel = (
        torch.randn(shape).to(memory_format=torch.channels_last) for shape in ((8, 256, 14, 14), (256, 256, 3, 3))
    )
    works = (
        (2e-9 * size**3, lambda: left @ right),
        (2e-9 * 8 * 14**2 * 256**2 * 9, lambda: torch.nn.functional.conv2d(maps, kernel, padding=1)),
    )
    best = 0.0
    for operations, work in works * (rounds + 1):
        start = time.process_time()
        work()
        best = max(best, operations / (time.process_time() - start))
    return best


def _parse(
    description: str, engines: dict[str, Engine], argv: Sequence[str] | None, models: Sequence[str],
    quick_models: Sequence[str],
) -> argparse.Namespace:  # fmt: skip
    parser = command.parser(description)
    parser.add_argument("--models", nargs="+", help=f"names of models (default: {' '.join(models)})")
    parser.add_argument("--engines", nargs="+", default=list(engines), choices=list(engines), metavar="NAME",
                        help=f"rows to measure: {', '.join(engines)} (default: all)")  # fmt: skip
    parser.add_argument("--rounds", type=command.positive, default=3, help="turns of each engine")
    parser.add_argument("--json", type=Path, help="write every measured number to this file")
    parser.add_argument("--quick", action="store_true", help="tiny models and clips: shows that it runs, not how fast")
    args = parser.parse_args(argv)
    if args.models is None:
        args.models = list(quick_models if args.quick else models)
    return args


def machine() -> dict[str, Any]:
    """Date, CPU and versions, as far as they can be found."""
    name, flags = cpu(FLAGS)
    return {
        "date": datetime.date.today().isoformat(),
        "processor": name,
        "flags": flags,
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "versions": versions("torch", "numpy"),
    }


def header(report: dict[str, Any]) -> list[str]:
    """What the numbers hold for, as Markdown."""
    found, peak = report["machine"], report.get("peak_gflops", 0.0)
    packages = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    return [
        f"## {report['title']}",
        "",
        f"{found['date']}, {found['processor']} ({', '.join(found['flags'])}), {found['cores']} cores, "
        f"{report.get('threads', 'one thread')} used, load average {found['load']} at the start. "
        f"Python {found['python']}, {packages}.",
        f"Smallest process CPU time of {report['rounds']} runs, the engines taking turns."
        + f" Peak: {peak:.0f} GFLOP/s, the fastest product or convolution in float32." * bool(peak),
    ]


def table_head(value_names: str, with_sizes: bool = False) -> list[str]:
    """The first two lines of the table."""
    size = " files, MB |" * with_sizes
    return [
        f"| model | clips | engine | CPU s | speed against PyTorch eager |{size} peak memory, MB | {value_names} |",
        "|---|---|---|---|---|---|---|" + "---|" * with_sizes,
    ]


def table_rows(
    job: Job,
    engines: dict[str, Engine],
    rows: dict[str, Row],
    work: float = 0.0,
    sizes: Mapping[str, int] | None = None,
) -> list[str]:
    """One line for each engine; the difference is to REFERENCE, if that was measured.

    Args:
        job, engines, rows: What was measured.
        work: Seconds that the work takes at the machine's peak; 0 leaves the fraction of it out.
        sizes: Bytes of the files that each engine reads; None leaves the column out.
    """
    lines = []
    reference = rows.get(REFERENCE)
    shape = f"{job.batch} x {job.num_frames} x {job.size}²"
    for name, row in rows.items():
        ratio = f"{min(reference.seconds) / min(row.seconds):.2f}" if reference else "-"
        label = engines[name].label + (" (1 run)" if engines[name].rounds == len(row.seconds) else "")
        lines.append(
            f"| {job.model} | {shape} | {label} | {min(row.seconds):.3f}"
            f"{f' ({work / min(row.seconds):.0%} of peak)' if work else ''} | {ratio} | "
            f"{f'{sizes[name] / 1e6:.2f} | ' if sizes is not None else ''}{row.peak_mb:.0f} | "
            f"{_differences(row, reference)} |"
        )
    return lines


def _differences(row: Row, reference: Row | None) -> str:
    """Largest difference of the first and of the second run, each relative to the largest value of the reference."""
    if reference is None or row is reference:
        return "-"
    pairs = zip(row.values, reference.values, strict=True)
    text = " / ".join(f"{np.abs(a - b).max() / max(np.abs(b).max(), math.ulp(0)):.0e}" for a, b in pairs)
    if row.values.ndim == 3 and (row.values.argmax(-1) != reference.values.argmax(-1)).any():
        text += ", another top 1"
    return text


def _as_json(row: Row) -> dict[str, Any]:
    return {"seconds": row.seconds, "peak_mb": row.peak_mb, "values": row.values.tolist()}
