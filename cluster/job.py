"""Lets Ray do a job: a cluster of this machine, started and ended with the command, or one that is there."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from runtime import telemetry
from runtime.errors import UserError

ROOT = Path(__file__).resolve().parents[1]
LEFT_OUT = [".git", ".venv", "build", "output", "logs", "data", "tests", "docs"]  # of what other machines get of us


class Count(NamedTuple):
    """What a job has done.

    Attributes:
        videos: Of its shards.
        failed: Of these, those that cannot be read.
    """

    videos: int = 0
    failed: int = 0


@contextlib.contextmanager
def cluster(address: str = "") -> Iterator[None]:
    """Ray: that of an address (`HOST:PORT`, `ray://HOST:PORT`, `auto`), else one of this machine, ended with the block.

    Raises:
        UserError: Ray is not installed, or not to be reached.
    """
    telemetry.switch_off()
    try:
        import ray
    except ImportError as error:
        raise UserError(f"this needs Ray: pip install -r requirements-cluster.txt ({error})") from error
    settings: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": True}
    if address:
        settings |= {"address": address, "runtime_env": {"working_dir": str(ROOT), "excludes": LEFT_OUT}}
    else:
        settings |= {"include_dashboard": False, "runtime_env": {"env_vars": {"PYTHONPATH": str(ROOT)}}}
    try:
        ray.init(**settings)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        raise UserError(f"Ray does not answer at {address or 'this machine'}: {error}") from error
    try:
        yield
    finally:
        ray.shutdown()


def run(
    worker: type, work: Any, left: Sequence[int], workers: int, threads: int, tell: Callable[[int, int], None]
) -> Count:
    """Lets workers do shards.

    Args:
        worker: A class as Ray Data takes it: made once for each actor, called with batches of shard numbers (`item`),
            it returns `shard`, `videos` and `failed`.
        work: Its argument.
        left: Numbers of the shards.
        workers: Actors.
        threads: Cores that each of them takes.
        tell: Called with the videos and failures of each shard that is done.

    Raises:
        UserError: A worker failed for another reason than its videos.
    """
    import ray
    from ray.data import ActorPoolStrategy, DataContext

    logging.getLogger("ray.data").setLevel(logging.ERROR)  # which it sets itself when it is imported
    if not left:
        return Count()
    context = DataContext.get_current()
    context.enable_progress_bars = False
    blocks = min(len(left), max(64, 16 * workers))
    numbers = ray.data.from_items(list(left), override_num_blocks=blocks)
    done = numbers.map_batches(
        worker, fn_constructor_args=(work,), batch_size=1, num_cpus=threads,
        compute=ActorPoolStrategy(size=min(workers, len(left))),
    )  # fmt: skip
    videos = failed = 0
    try:
        for row in done.iter_rows():
            videos += int(row["videos"])
            failed += int(row["failed"])
            tell(int(row["videos"]), int(row["failed"]))
    except ray.exceptions.RayError as error:
        raise UserError(f"a worker failed: {_cause(error)}") from error
    return Count(videos, failed)


def _cause(error: BaseException) -> str:
    """The last line of what a worker has raised."""
    cause = getattr(error, "cause", None) or error.__cause__ or error
    lines = [line for line in str(cause).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(cause).__name__


def cores() -> int:
    """Cores of the cluster."""
    import ray

    return int(ray.cluster_resources().get("CPU", os.cpu_count() or 1))
