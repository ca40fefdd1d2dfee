"""The benchmark report that TIPC's log readers read: AutoLog's own where it works, and ours, line for line, elsewhere.

Source: LDOUBLEV/AutoLog 1.2.0, `auto_log/autolog.py` (blocks, keys, rounding, the misspelt `drivier_version`). It is
not on PyPI, starts a process that samples the memory, waits for it without a limit (for ever, if that process failed,
as it does where `gpu_ids` is set without an nvidia-smi), and ends the program when it has reported.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import platform
import resource
import shutil
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from runtime.command import say

TIME_KEYS = ("preprocess_time", "inference_time", "postprocess_time")
TIMEOUT_S = 60.0  # seconds that the real one may take for its report


@dataclass
class Benchmark:
    """What is measured and how it is reported: `start` with each batch, `stamp` at the end of each of its stages.

    Attributes:
        model_name: For the block `Model info`.
        precision: fp32, bf16 or int8.
        batch_size: Videos in a batch.
        input_shape: Of the views of a batch.
        facts: Configuration of the engine, under AutoLog's names.
        stages: Seconds of each stage of each batch.
        theirs: AutoLog's own logger, if there is one, which hears the same calls.
    """

    model_name: str
    precision: str
    batch_size: int
    input_shape: tuple[int, ...]
    facts: dict[str, Any]
    stages: list[list[float]] = field(default_factory=list)
    theirs: Any = None
    _last: float = 0.0

    def __enter__(self) -> Benchmark:
        """Enter before the first batch; the real AutoLog samples the memory from here on."""
        self.theirs = self._real_logger()
        return self

    def __exit__(self, *_: object) -> None:
        """Ends AutoLog's sampling process, for which Python would wait at its end."""
        sampler = getattr(getattr(self.theirs, "get_mem", None), "mem_p", None)
        if sampler is not None:
            sampler.kill()

    def start(self) -> None:
        """Begins a batch."""
        if self.theirs:
            self.theirs.times.start()
        self.stages.append([])
        self._last = time.perf_counter()

    def stamp(self) -> None:
        """Ends a stage."""
        now = time.perf_counter()
        self.stages[-1].append(now - self._last)
        self._last = now
        if self.theirs:
            last = len(self.stages[-1]) == len(TIME_KEYS)
            self.theirs.times.end(stamp=True) if last else self.theirs.times.stamp()

    def report(self) -> None:
        """Prints the blocks."""
        if not (self.theirs and _finishes(self.theirs.report)):
            for line in self.lines():
                say(*f"[{time.strftime('%Y/%m/%d %H:%M:%S')}] root INFO: {line}".split("\n"))

    def lines(self) -> list[str]:
        """AutoLog's report by our own measurements; it leaves room for an identifier before each value."""
        total = [sum(times) for times in zip(*self.stages, strict=True)] or [0.0] * 3
        mean = (round(1000 * seconds / max(len(self.stages), 1), 4) for seconds in total)
        rss = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 4)
        paddle, facts = sys.modules.get("paddle"), {"enable_memory_optim": True, **self.facts}
        conf = ("runtime_device", "ir_optim", "enable_memory_optim", "enable_tensorrt", "enable_mkldnn",
                "cpu_math_library_num_threads")  # fmt: skip
        return [
            "\n",
            "---------------------- Env info ----------------------",
            f" OS_version: {_system()}", " CUDA_version: None", " CUDNN_version: None", " drivier_version: None",
            "---------------------- Paddle info ----------------------",
            f" paddle_version: {getattr(paddle, '__version__', None)}",
            f" paddle_commit: {getattr(paddle, '__git_commit__', None)}", " log_api_version: 1.0",
            "----------------------- Conf info -----------------------", *(f" {key}: {facts[key]}" for key in conf),
            "----------------------- Model info ----------------------",
            f" model_name: {self.model_name}", f" precision: {self.precision}",
            "----------------------- Data info -----------------------",
            f" batch_size: {self.batch_size}", f" input_shape: {self.input_shape}", f" data_num: {len(self.stages)}",
            "----------------------- Perf info -----------------------",
            f" cpu_rss(MB): {rss}, gpu_rss(MB): None, gpu_util: None%", f" total time spent(s): {round(sum(total), 4)}",
            " " + ", ".join(f"{key}(ms): {value}" for key, value in zip(TIME_KEYS, mean, strict=True)),
        ]  # fmt: skip

    def _real_logger(self) -> Any:
        """AutoLog's logger, or None where it is not installed or cannot start."""
        if importlib.util.find_spec("auto_log") is None:
            return None
        try:
            from auto_log import AutoLogger

            return AutoLogger(
                model_name=self.model_name,
                model_precision=self.precision,
                batch_size=self.batch_size,
                data_shape=self.input_shape,
                save_path=None,
                inference_config=self.facts,
                pids=os.getpid(),
                gpu_ids="auto" if self.facts["runtime_device"] == "gpu" and shutil.which("nvidia-smi") else None,
                time_keys=list(TIME_KEYS),  # a list of its own: theirs is a default that all loggers share
                warmup=0,
            )
        except Exception as error:  # whatever goes wrong in there, the measurement is ours to report
            say(f"auto_log does not start ({error!r}): reporting without it", error=True)
            return None


def _finishes(report: Callable[[], None]) -> bool:
    """Whether AutoLog's report comes to its end in time; its `sys.exit(0)` ends no more than its thread."""
    done = threading.Event()

    def run() -> None:
        try:
            with contextlib.suppress(SystemExit):
                report()
            done.set()
        except Exception as error:
            say(f"auto_log fails ({error!r}): reporting without it", error=True)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(TIMEOUT_S)
    if thread.is_alive():
        say(f"auto_log gives no report within {TIMEOUT_S:g} s: reporting without it", error=True)
    return done.is_set()


def _system() -> str:
    try:
        release = platform.freedesktop_os_release()
        return f"{release['NAME']} {release.get('VERSION_ID', '')}".strip()
    except OSError:
        return f"{platform.system()} {platform.release()}"
