"""Runs the steps of a chain, judges each, and writes what TIPC's tools read beside what is true.

A step has passed if its own process ended with 0, what it had to leave behind is there, made by this run, and the
numbers in it hold. A step that fails does not hide those that do not need it.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from alignment.reports.environment import CPU_FLAGS, cpu
from deploy.engines import versions
from runtime.command import printable, say
from runtime.errors import UserError
from runtime.lock import locked
from runtime.owned import Owned
from test_tipc.processes import contained

OUTPUT = Path("test_tipc/output")
PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"
ALL_SKIPPED = 77  # exit code of a test that could not be made, as Automake and Meson read it
_ENDING = 10.0  # seconds that a server may take to end


class StepError(UserError):
    """What a step left behind is not what it must be."""


@dataclass
class Step:
    """One step and its verdict."""

    name: str
    status: str
    command: str = ""
    log: str = ""
    reason: str = ""
    seconds: float = 0.0
    numbers: dict[str, Any] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether everything about it held."""
        return self.status == PASSED


def results_name(mode: str, is_dy2static: bool, has_nodes: bool) -> str:
    """Name of a chain's folder of results: the mode, and what tells chains apart that have the same."""
    return f"{'dy2static_' * is_dy2static}{'fleet_' * has_nodes}{mode}"


class Session:
    """The steps of one chain on one config in one mode.

    Attributes:
        folder: `test_tipc/output/<model>/<mode>`, emptied at the start: nothing of an earlier run can pass for this.
        steps: Those that are over.
    """

    def __init__(self, model: str, mode: str, timeout_s: float | None = None) -> None:
        """Empties the folder; `timeout_s` is what a step may take in seconds, None any time.

        Raises:
            UserError: Another run writes there now, or the folder holds what no chain has left there.
        """
        self.model, self.mode = model, mode
        self.folder = OUTPUT / model / mode
        self.steps: list[Step] = []
        self._timeout_s = timeout_s
        self._started = time.time()
        for word in (model, mode):
            if Path(word).name != word or word in ("", ".."):
                raise UserError(f"{word!r} must be the name of a folder in {OUTPUT}")
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        self._lock = contextlib.ExitStack()  # given back when this process ends
        self._lock.enter_context(
            locked(self.folder.parent / f".{mode}.lock", f"{self.folder} is being written by another run")
        )
        Owned(self.folder).remove_all(is_held=True)
        self._owned = Owned.create_private(self.folder)

    def run(
        self,
        name: str,
        argv: Sequence[str],
        log: Path,
        outputs: Sequence[Path] = (),
        check: Callable[[], dict[str, Any]] = dict,
        environment: Mapping[str, str] | None = None,
    ) -> Step:
        """Runs a command as a step.

        Args:
            name: Names the step in the results.
            argv: The command.
            log: File for what it prints.
            outputs: Files in the folder that it must make; any that are there before are removed first.
            check: Looks at what it left and returns numbers for the results; a UserError, or what a missing or broken
                file raises, is the step's failure.
            environment: Variables besides those of this process.

        Returns:
            The step.
        """
        self._owned.remove(os.path.relpath(path, self.folder) for path in outputs)
        started = time.perf_counter()
        with self._process(argv, log, environment) as process:
            try:
                code = process.wait(self._timeout_s)
                reason = f"exit code {code}: {_last_line(log)}" if code else ""
            except subprocess.TimeoutExpired:
                reason = f"not over after {self._timeout_s:g} s"
        numbers, reason = ({}, reason) if reason else _judge(outputs, check)
        return self._report(
            Step(name, FAILED if reason else PASSED, shlex.join(argv), str(log), reason,
                 round(time.perf_counter() - started, 1), numbers)
        )  # fmt: skip

    @contextlib.contextmanager
    def server(
        self, name: str, argv: Sequence[str], log: Path, is_ready: Callable[[], bool], timeout_s: float = 120.0
    ) -> Iterator[Step]:
        """Runs a server while the body of the `with` statement lasts; its step is judged when it has ended.

        Args:
            name, argv, log: As of `run`.
            is_ready: Asked until it says yes, or the server has ended, or the time is over.
            timeout_s: Seconds for that.

        Yields:
            The step, whose status says whether the server is ready.
        """
        started = time.perf_counter()
        step = Step(name, FAILED, shlex.join(argv), str(log))
        with self._process(argv, log) as process:
            while process.poll() is None and not step.passed and time.perf_counter() - started < timeout_s:
                step.status = PASSED if is_ready() else FAILED
                time.sleep(0.2)
            step.reason = "" if step.passed else f"not ready within {timeout_s:g} s"
            if process.poll() is not None:
                step.status, step.reason = FAILED, f"exit code {process.returncode}: {_last_line(log)}"
            try:
                yield step
            finally:
                if step.passed:
                    _end(process, step)
                step.seconds = round(time.perf_counter() - started, 1)
                self._report(step)

    def skip(self, name: str, reason: str) -> Step:
        """Notes a step that was not run, and why."""
        return self._report(Step(name, SKIPPED, reason=reason))

    def fail(self, name: str, reason: str) -> Step:
        """Notes a failure that is no command's."""
        return self._report(Step(name, FAILED, reason=reason))

    def judge(self, name: str, check: Callable[[], dict[str, Any]]) -> Step:
        """A step without a process of its own: numbers that other steps left."""
        numbers, reason = _judge((), check)
        return self._report(Step(name, FAILED if reason else PASSED, reason=reason, numbers=numbers))

    def finish(self) -> int:
        """Writes `results.json`, prints a summary, and returns the exit code.

        It is 0 if steps passed and none failed, ALL_SKIPPED if there was nothing but skipped ones, and else 1.
        """
        count = {status: sum(step.status == status for step in self.steps) for status in (PASSED, FAILED, SKIPPED)}
        passed = bool(count[PASSED] and not count[FAILED])
        all_skipped = bool(self.steps) and count[SKIPPED] == len(self.steps)
        seconds = round(time.time() - self._started, 1)
        record = {
            "model": self.model, "mode": self.mode, "passed": passed, "seconds": seconds,
            "date": time.strftime("%Y-%m-%d", time.gmtime(self._started)), "versions": versions("numpy"),
            "cpu": cpu(CPU_FLAGS)[0],
            "steps": [asdict(step) for step in self.steps],
        }  # fmt: skip
        (self.folder / "results.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        counts = ", ".join(f"{count[status]} {status}" for status in count)
        say(
            "",
            f"{self.model} {self.mode}: {counts}, {seconds:.0f} s; results in {self.folder}",
            *(f"  failed: {step.name}: {step.reason}" for step in self.steps if step.status == FAILED),
            *(f"  skipped: {step.name}: {step.reason}" for step in self.steps if all_skipped),
        )
        self._owned.seal()
        self._lock.close()
        if passed:
            return 0
        return ALL_SKIPPED if all_skipped else 1

    def _report(self, step: Step) -> Step:
        """Notes a step and writes its line, a reason on a line of its own.

        Source: status_check in test_tipc/common_func.sh of PaddleOCR, PaddleVideo and PaddleClas: four fields.
        """
        self.steps.append(step)
        verdicts = {PASSED: "Run successfully with command", FAILED: "Run failed with command", SKIPPED: "Skipped"}
        status = self.folder / "results_python.log"
        fields = (verdicts[step.status], self.model, step.command or step.name, step.log or str(status))
        lines = [f"\033[33m {printable(' - '.join(fields))}!  \033[0m"]
        lines += [f"   {step.name}: {printable(step.reason)}"] if step.reason else []
        print("\n".join(lines), flush=True)  # noqa: T201  the colour is part of that form
        with status.open("a", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
        return step

    @contextlib.contextmanager
    def _process(
        self, argv: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
    ) -> Iterator[subprocess.Popen[bytes]]:
        """A process that writes a log, of which nothing is left at the end."""
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as file, contained(argv, environment, output=file) as process:
            yield process


def _judge(outputs: Sequence[Path], check: Callable[[], dict[str, Any]]) -> tuple[dict[str, Any], str]:
    """The numbers of a step whose process has ended well, and why it fails all the same, or nothing."""
    missing = [str(path) for path in outputs if not (path.is_file() and path.stat().st_size)]
    if missing:
        return {}, f"exit code 0, but there is no {', '.join(missing)}"
    try:
        return check(), ""
    except (UserError, OSError, ValueError, KeyError, TypeError) as error:
        return {}, str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"


def _end(process: subprocess.Popen[bytes], step: Step) -> None:
    """Ends a server by its own number; it fails if it does not end, or ends with an error."""
    process.terminate()
    try:
        code = process.wait(_ENDING)
    except subprocess.TimeoutExpired:
        step.status, step.reason = FAILED, f"does not end within {_ENDING:g} s of SIGTERM"
        return
    if code:
        step.status, step.reason = FAILED, f"exit code {code} after SIGTERM"


def _last_line(log: Path) -> str:
    """The line that says why a command failed: its last `error:`, or else its last one."""
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("error:")]
    return (errors or lines or ["it printed nothing"])[-1]
