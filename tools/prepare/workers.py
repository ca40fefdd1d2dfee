"""Work on many files at once, with a progress bar on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any, TypeVar

from runtime.command import signals_deferred

Item = TypeVar("Item")
Result = TypeVar("Result")


def progress(total: int, description: str, unit: str = "it") -> Any:
    """A bar of tqdm with ETA on a terminal; silent without a description, or where standard error is a file."""
    from tqdm import tqdm

    is_silent = not description or not sys.stderr.isatty()
    options = {"unit": unit, "unit_scale": unit == "B", "leave": False, "dynamic_ncols": True, "disable": is_silent}
    return tqdm(total=total, desc=description, **options)


def in_parallel(
    act: Callable[[Item], Result],
    items: Iterable[Item],
    workers: int,
    description: str,
    on_result: Callable[[Result], object] = lambda result: None,
    on_stop: Callable[[], object] = lambda: None,
) -> list[Result]:
    """What a function returns of each item, in their order.

    Threads do, as what takes time here (decoders, encoders, inflating, the disk) runs without Python's lock.

    Args:
        act: The function; of an error that it raises the first is raised, what has begun is finished, the rest is not.
        items: What it is called with.
        workers: Threads.
        description: Of the progress bar; empty for none.
        on_result: Called here with each result, as soon as it is there.
        on_stop: Called when an error or a signal ends it early, so that what is long can end, too.
    """
    items = list(items)
    with progress(len(items), description) as bar, ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(act, item) for item in items]
        try:
            for future in as_completed(futures):
                on_result(future.result())
                bar.update()
        except BaseException:
            with signals_deferred():
                on_stop()
                pool.shutdown(wait=True, cancel_futures=True)
            raise
        return [future.result() for future in futures]
