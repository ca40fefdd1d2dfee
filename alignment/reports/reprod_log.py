"""The files of the official review of reproductions: written and compared by its package reprod_log, judged strictly.

The helper of reprod_log 1.0.1 lets NaN, broadcast and transposed shapes and empty files pass, and writes the log of a
second comparison into the first one's file. Its numbers and its log stay as they are; the verdict here is stricter.
"""

from __future__ import annotations

import contextlib
import datetime
import io
import logging
import pickle
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

import numpy as np

from alignment.sides.pair import Sides
from alignment.verdicts.difference import measure
from runtime.errors import UserError

Arrays = Mapping[str, np.ndarray]

# The candidate's file and the reference's, of each of the four steps and of the data before them.
STEPS = {
    "data": ("data_paddle", "data_ref"),
    "forward": ("forward_paddle", "forward_ref"),
    "metric": ("metric_paddle", "metric_ref"),
    "loss": ("loss_paddle", "loss_ref"),
    "backward": ("losses_paddle", "losses_ref"),
}
THRESHOLD = 1e-6  # the guide's, for the mean absolute error
PASSED, FAILED = "diff check passed", "diff check failed"  # the last line of the helper's log
COMPARED = "fiub"  # kinds of NumPy types: real numbers and booleans


def write_official(tensors: Mapping[str, Sides], directory: str | Path) -> dict[str, bool]:
    """Writes and compares the files of every step that there are tensors of.

    Args:
        tensors: Of a report; `data/...`, `forward/...`, `metric/...`, `loss/...` and `backward/...` are taken; what
            follows is the key in the file.
        directory: Gets the pairs of `.npy` files, and `log/STEP_diff.log`.

    Returns:
        The verdict by step.

    Raises:
        UserError: There are none of these, reprod_log is not installed, or a file cannot be written.
    """
    verdicts = {}
    for step, (candidate, reference) in STEPS.items():
        chosen = {name.partition("/")[2]: sides for name, sides in tensors.items() if name.startswith(f"{step}/")}
        if chosen:
            save(directory, candidate, {key: sides.candidate for key, sides in chosen.items()})
            save(directory, reference, {key: sides.reference for key, sides in chosen.items()})
            verdicts[step] = diff(directory, step, f"{candidate}.npy", f"{reference}.npy")
    if not verdicts:
        raise UserError(f"there are no tensors of {', '.join(STEPS)}: run at least one of these steps")
    return verdicts


def save(directory: str | Path, name: str, arrays: Arrays) -> Path:
    """Writes `NAME.npy` as reprod_log does: a dict of arrays, pickled.

    Raises:
        UserError: reprod_log is not installed, or the file cannot be written.
    """
    logger = _reprod_log().ReprodLogger()
    for key, array in arrays.items():
        logger.add(key, np.asarray(array))
    path = Path(directory) / f"{name}.npy"
    try:
        logger.save(str(path))
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error
    return path


def read(path: str | Path) -> dict[str, np.ndarray]:
    """The arrays of a file of reprod_log; whatever else its pickle asks for is refused, not executed.

    Raises:
        UserError: The file is absent, broken, or holds anything but arrays of numbers by name.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            content = _read_object(file)
    except FileNotFoundError:
        raise UserError(f"there is no file {path}; run the step that writes it first") from None
    except (pickle.UnpicklingError, EOFError, ValueError, TypeError, AttributeError, OSError) as error:
        raise UserError(f"{path} is not a whole file of reprod_log: {error or type(error).__name__}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} holds a {type(content).__name__}, not arrays by name as reprod_log writes them")
    for key, value in content.items():
        if not isinstance(value, np.ndarray) or value.dtype.hasobject:
            raise UserError(f"{path}: {key} is not an array of numbers, which is all that is compared")
    return content


def diff(
    directory: str | Path, step: str, candidate_file: str, reference_file: str, threshold: float = THRESHOLD
) -> bool:
    """Compares two files by the official helper, writes its log, and judges strictly.

    Args:
        directory: Where both files are.
        step: The log is `log/STEP_diff.log`. Its last line is our verdict; where the helper passes what we do not, its
            own verdict is marked as such, so that no search for its words finds a pass.
        candidate_file, reference_file: Names of the files.
        threshold: Largest mean absolute error of an array.

    Returns:
        Whether the helper passes and keys, shapes and types are the same and all numbers finite.

    Raises:
        UserError: A file is absent or broken, the log cannot be written, or reprod_log is not installed.
    """
    directory = Path(directory)
    reference, candidate = read(directory / reference_file), read(directory / candidate_file)
    path = directory / "log" / f"{step}_diff.log"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remark = _let_helper_compare(reference, candidate, threshold, path)
        log = path.read_text(encoding="utf-8", errors="replace")
        problems = _problems(reference, candidate, threshold)
        if PASSED not in log and not problems:
            problems = [remark or "the official helper does not pass it"]
        if problems:
            log = log.replace(PASSED, "by the official rule alone this passes")
        stamp = f"[{datetime.datetime.now():%Y/%m/%d %H:%M:%S}] root INFO:"  # as in the helper's own lines
        path.write_text(f"{log}{stamp} {_verdict(reference, candidate, problems)}\n", encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error
    return not problems


def _let_helper_compare(reference: Arrays, candidate: Arrays, threshold: float, path: Path) -> str:
    """Has the official helper write its log; returns why it could not, or an empty string."""
    helper = _reprod_log().ReprodDiffHelper()
    path.write_text("", encoding="utf-8")
    with _silent_root_logger(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            helper.compare_info(dict(reference), dict(candidate))
            helper.report(diff_method="mean", diff_threshold=threshold, path=str(path))
        except (AssertionError, TypeError, ValueError, NotImplementedError) as error:
            return f"the official helper cannot compare them: {error}"
    return ""


@contextlib.contextmanager
def _silent_root_logger() -> Iterator[None]:
    """Takes back what reprod_log does to the root logger, and keeps its lines off the terminal.

    It adds a handler for the file and one for standard output in each report, removes neither, and sets the level.
    """
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers[:] = []
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        for handler in root.handlers:
            handler.close()
        root.handlers[:] = handlers
        root.setLevel(level)


def _problems(reference: Arrays, candidate: Arrays, threshold: float) -> list[str]:
    """All reasons not to pass."""
    if not reference and not candidate:
        return ["both files are empty: nothing was compared"]
    problems = [f"{key}: the candidate has none" for key in reference if key not in candidate]
    problems += [f"{key}: the reference has none" for key in candidate if key not in reference]
    shared = {key: _problem(reference[key], candidate[key], threshold) for key in reference if key in candidate}
    return problems + [f"{key}: {problem}" for key, problem in shared.items() if problem]


def _problem(reference: np.ndarray, candidate: np.ndarray, threshold: float) -> str:
    if reference.dtype.kind not in COMPARED:
        return f"arrays of type {reference.dtype} are not compared"
    problem = measure(reference, candidate).problem
    if problem:
        return problem
    mean = _mean_error(reference, candidate)
    return "" if mean <= threshold else f"mean error {mean:.3g}, allowed {threshold:g}"


def _mean_error(reference: np.ndarray, candidate: np.ndarray) -> float:
    """In double precision: the helper subtracts in the arrays' own type, in which 1 - 2 may be 255."""
    return float(np.abs(candidate.astype(np.float64) - reference.astype(np.float64)).mean())


def _verdict(reference: Arrays, candidate: Arrays, problems: list[str]) -> str:
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        return f"{FAILED}, strictly: {problems[0]}{more}"
    means = {key: _mean_error(reference[key], candidate[key]) for key in reference}
    key = max(means, key=lambda name: means[name])
    return f"{PASSED}, strictly: {len(means)} arrays, all finite; largest mean error {means[key]:.3g} ({key})"


def _reprod_log() -> ModuleType:
    """The package, imported where it is needed: it brings Paddle along."""
    try:
        import reprod_log
    except ImportError as error:
        raise UserError("reprod_log is not installed: pip install -r requirements-dev.txt") from error
    return reprod_log


class _ArrayUnpickler(pickle.Unpickler):
    """Knows the constructors that an array needs and refuses every other name."""

    ALLOWED = (("numpy", "ndarray"), ("numpy", "dtype"), ("numpy._core.multiarray", "_reconstruct"))

    def find_class(self, module: str, name: str) -> Any:
        if (module.replace("numpy.core", "numpy._core"), name) not in self.ALLOWED:
            raise pickle.UnpicklingError(f"its pickle calls {module}.{name}; only arrays are read, nothing is executed")
        return super().find_class(module, name)


def _read_object(file: BinaryIO) -> Any:
    """The one object in a `.npy` file: a header, then a pickled array with no axes that holds it."""
    version = np.lib.format.read_magic(file)
    if version != (1, 0):
        raise ValueError(f"its version is {version}, that of a pickled dict is (1, 0)")
    shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    if shape != () or not dtype.hasobject:
        raise ValueError(f"it is one array of type {dtype} and shape {list(shape)}")
    return _ArrayUnpickler(file).load().item()
