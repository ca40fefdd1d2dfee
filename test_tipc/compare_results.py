"""Compares predictions in logs with the ground truth, video by video, class by class.

    python -m test_tipc.compare_results --gt_file test_tipc/output/mvf/whole_infer/ground_truth.log \\
        --log_file 'test_tipc/output/mvf/whole_infer/python_infer_*.log' --atol fp32=1e-4 bf16=0.03 int8=0.1

The ground truth is what predict.py printed. A log speaks of the precision that its name has (`..._precision_bf16_...`),
and of fp32 if its name has none. A pattern without a file and a log without a prediction are failures.
"""

from __future__ import annotations

import argparse
import dataclasses
import glob
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from deploy.parity import OTHER_PIXELS
from runtime import command
from runtime.errors import UserError

# Of probabilities. fp32: rounding of other kernels. bf16 has 8 bits, int8 steps of 1/255 of a range, layer after layer.
ATOL = {"fp32": 1e-4, "fp16": 1e-2, "bf16": 2.5e-2, "int8": 1e-1}
RTOL = dict(ATOL)
# Of what tells the videos apart in the ground truth: a weak model gives nearly the same scores to all of them, and then
# a fixed tolerance would pass the scores of another video.
FRACTION = {"fp32": 0.05, "fp16": 0.1, "bf16": 0.25, "int8": 0.5}
LEAST_SPREAD = 1e-4
_TOP = re.compile(r"Top1 class:(?P<name>.*) (?P<what>prob|share):(?P<score>\S+)")
_RANK = re.compile(r"  \d+\. (?P<name>.*) (?P<score>\S+)")
_LABEL = re.compile(r"top-1 class: *(?P<label>\d+)")
_SCORE = re.compile(r"top-1 score: *(?P<score>\S+)")


class ComparisonError(UserError):
    """Predictions differ, or there is nothing to compare."""


@dataclass(frozen=True)
class Tolerance:
    """A score may be off by atol + rtol * (its true value), at most by a fraction of what tells videos apart."""

    atol: float
    rtol: float
    fraction: float
    most: float = math.inf

    def within(self, spread: float) -> Tolerance:
        """The tolerance for a ground truth whose scores differ by `spread` between videos."""
        return dataclasses.replace(self, most=self.fraction * spread)

    def of(self, true: float) -> float:
        """What a score may be off by."""
        return min(self.atol + self.rtol * abs(true), self.most)


TOLERANCES = {name: Tolerance(ATOL[name], RTOL[name], FRACTION[name]) for name in ATOL}


@dataclass
class Prediction:
    """What a log says of one video.

    Attributes:
        score: Of the first class.
        name, label: The first class as a name and as a number, as far as the log says them.
        scores: Of all classes that it prints.
        is_share: Whether scores are fractions of the pixels of a picture.
    """

    score: float = math.nan
    name: str | None = None
    label: int | None = None
    scores: dict[str, float] = field(default_factory=dict)
    is_share: bool = False


@dataclass(frozen=True)
class Agreement:
    """How two logs agree: videos, those with the same first class, and the largest difference of a score."""

    videos: int
    same_top1: int
    difference: float


def read_predictions(path: str | Path) -> list[Prediction]:
    """The predictions of a log in their order: lines of predict.py, of deploy.infer, of TIPC's result files.

    Raises:
        ComparisonError: The log cannot be read, holds no prediction, or a score that is no number from 0 to 1.
    """
    try:
        rows = Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise ComparisonError(f"{path} cannot be read: {error.strerror}") from error
    found: list[Prediction] = []
    for row in rows:
        if top := _TOP.fullmatch(row):
            found.append(Prediction(_number(path, top["score"]), top["name"], is_share=top["what"] == "share"))
        elif (rank := _RANK.fullmatch(row)) and found:
            found[-1].scores[rank["name"]] = _number(path, rank["score"])
        elif label := _LABEL.fullmatch(row):
            if not found or found[-1].label is not None:
                found.append(Prediction())
            found[-1].label = int(label["label"])
        elif (score := _SCORE.fullmatch(row)) and found:
            found[-1].score = _number(path, score["score"])
    if not found:
        raise ComparisonError(f"{path} holds no prediction (Top1 class:NAME prob:P, or top-1 class: and top-1 score:)")
    if any(math.isnan(prediction.score) for prediction in found):
        raise ComparisonError(f"{path} names a class without its score")
    return found


def compare(truth: Sequence[Prediction], found: Sequence[Prediction], tolerance: Tolerance) -> Agreement:
    """Compares predictions of the same videos in the same order.

    The first class must be the same, unless both scores may be off by so much that either may come first.

    Raises:
        ComparisonError: They differ, the message says in which video and by how much; or the truth has the same scores
            for all videos, so that agreement would prove nothing.
    """
    if len(truth) != len(found):
        raise ComparisonError(f"{len(found)} predictions for {len(truth)} videos")
    if any(prediction.is_share for prediction in truth):
        tolerance = dataclasses.replace(tolerance, atol=max(tolerance.atol, OTHER_PIXELS))  # those at chance
    if len(truth) > 1:
        tolerance = tolerance.within(_spread(truth))
    same, largest = 0, 0.0
    for video, (expected, got) in enumerate(zip(truth, found, strict=True), start=1):
        for name, true, score in _pairs(expected, got):
            largest = max(largest, abs(score - true))
            if not abs(score - true) <= tolerance.of(true):
                allowed = f"{tolerance.of(true):.1e} apart is allowed"
                raise ComparisonError(f"video {video}: {name} has {score:.6f}, the ground truth {true:.6f}, {allowed}")
        same += _same_top1(video, expected, got, tolerance)
    return Agreement(len(truth), same, largest)


def compare_files(truth: str | Path, log: str | Path, tolerances: Mapping[str, Tolerance] | None = None) -> Agreement:
    """Compares a log with the ground truth by the tolerance of the precision in its name."""
    return compare(read_predictions(truth), read_predictions(log), (tolerances or TOLERANCES)[precision_of(log)])


def precision_of(log: str | Path) -> str:
    """The precision that the name of a log, or of a result file, has; fp32 if none."""
    found = re.search(r"_(fp32|fp16|bf16|int8)(?=[_.])", Path(log).name)
    return found[1] if found else "fp32"


def _pairs(expected: Prediction, got: Prediction) -> list[tuple[str, float, float]]:
    """(class, true score, score) of every class that both have, or of the first if only that is known."""
    names = [name for name in expected.scores if name in got.scores]
    if expected.scores and got.scores and not names:
        raise ComparisonError("no class is in both: are these the class names of the same model?")
    if names:
        return [(name, expected.scores[name], got.scores[name]) for name in names]
    return [("the first class", expected.score, got.score)]


def _spread(truth: Sequence[Prediction]) -> float:
    """The largest difference between two videos in the score of a class; raises if it is next to nothing."""
    columns: dict[str, list[float]] = {}
    for prediction in truth:
        for name, score in (prediction.scores or {"": prediction.score}).items():
            columns.setdefault(name, []).append(score)
    spread = max(max(column) - min(column) for column in columns.values())
    if spread < LEAST_SPREAD:
        raise ComparisonError(f"the ground truth has the same scores for all videos (to {spread:.1e}): train the model")
    return spread


def _same_top1(video: int, expected: Prediction, got: Prediction, tolerance: Tolerance) -> bool:
    """Whether the first class is the same; raises if it is another that is not all but even with it."""
    if expected.name is not None and got.name is not None:
        if expected.name == got.name:
            return True
        lead = expected.score - expected.scores.get(got.name, -math.inf)
        if lead <= 2 * tolerance.of(expected.score):
            return False
    elif expected.label is not None and got.label is not None and expected.label == got.label:
        return True
    raise ComparisonError(
        f"video {video}: the first class is {got.name or got.label}, that of the ground truth "
        f"{expected.name or expected.label}"
    )


def _number(path: str | Path, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not -1e-6 <= value <= 1 + 1e-6:
        raise ComparisonError(f"{path}: the score {text} is no probability")
    return value


# ---------------------------------------------------------------------------------------------------------------------
# The command


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Flags of the command."""
    parser = command.parser(__doc__)
    parser.add_argument("--gt_file", required=True, help="ground truth; a pattern may find one for each precision")
    parser.add_argument("--log_file", required=True, help="logs to compare; may be a pattern")
    parser.add_argument("--atol", nargs="+", default=[], help="absolute tolerance: a number, or PRECISION=NUMBER ...")
    parser.add_argument("--rtol", nargs="+", default=[], help="relative tolerance, likewise")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Compares every log; each failure is a line, and any makes the exit code 1."""
    args = parse_args(argv)
    atol, rtol = numbers(ATOL, args.atol), numbers(RTOL, args.rtol)
    allowed = {name: Tolerance(atol[name], rtol[name], FRACTION[name]) for name in ATOL}
    truths = {precision_of(path): path for path in _files(args.gt_file)}
    failures = 0
    for log in _files(args.log_file):
        truth = truths.get(precision_of(log)) or truths.get("fp32")
        try:
            if truth is not None and Path(truth).samefile(log):
                raise ComparisonError(f"{log} is compared with itself")
            if truth is None:
                raise ComparisonError(f"{args.gt_file} has no ground truth for {precision_of(log)}")
            agreement = compare_files(truth, log, allowed)
            command.say(
                f"Assert allclose passed! The results of {log} and {truth} are consistent! "
                f"(top-1 agreement {agreement.same_top1} of {agreement.videos}, largest difference "
                f"{agreement.difference:.1e})"
            )
        except ComparisonError as error:
            failures += 1
            command.say(f"The results of {log} and the results of {truth} are inconsistent! {error}")
    if failures:
        raise ComparisonError(f"{failures} log(s) differ from the ground truth")


def numbers(defaults: Mapping[str, float], given: Iterable[str]) -> dict[str, float]:
    """A number for each precision; raises ComparisonError for what is no number."""
    result = dict(defaults)
    for text in given:
        precision, _, number = text.rpartition("=")
        try:
            value = float(number)
        except ValueError:
            value = math.nan
        if not 0 <= value < math.inf or (precision and precision not in defaults):
            raise ComparisonError(f"{text!r} must be a number from 0, or one of {', '.join(defaults)} = such a number")
        result.update({precision: value} if precision else dict.fromkeys(defaults, value))
    return result


def _files(pattern: str) -> list[str]:
    files = sorted(glob.glob(pattern))
    if not files:
        raise ComparisonError(f"no file fits {pattern}: there is nothing to compare")
    return files


if __name__ == "__main__":
    with command.clear_errors():
        main()
