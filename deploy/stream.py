"""Names what happens in a stream of frames while it happens: `python -m deploy.infer --stream ...`.

Each event is one line of JSON: the source, its onset in seconds and frames, the label, its confidence.
"""

from __future__ import annotations

import argparse
import bisect
import itertools
import json
import math
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from configs import Recipe, cli
from datasets.transforms import EvalTransform
from deploy.artifact import Artifact, ArtifactError
from deploy.events import Course, Event, Smoothing, advance
from deploy.frames import Frame, LiveFrames, RecordedFrames, check_allowed, is_live
from deploy.interface import Engine, Stream
from runtime import command
from runtime.errors import UserError

STEP = 1.02  # between two latencies that are told apart, a factor


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds what a stream is asked."""
    section = parser.add_argument_group("stream")
    section.add_argument(
        "--stream", action="store_true",
        help="an artifact of deploy.export --stream: --video is a file, a folder of frames, the number of a camera, or "
        "an address (rtsp://, http://); events are printed as lines of JSON",
    )  # fmt: skip
    section.add_argument("--allow_network", action="store_true", help="let --video be an address")
    section.add_argument("--every", type=command.positive, default=1, help="the network sees each so many-th frame")
    section.add_argument("--window", type=command.positive, default=12, help="frames whose scores are averaged")
    section.add_argument("--hold", type=command.positive, default=2, help="frames in a row before a label counts")
    section.add_argument("--threshold", type=float, default=0.0, help="probability that a label needs to count")
    section.add_argument("--ignore", nargs="+", default=[], help="names of classes that never count")
    section.add_argument("--seconds", type=float, default=0.0, help="end a camera's stream after so long; 0: never")
    section.add_argument("--patience", type=float, default=10.0, help="seconds to wait for a camera that went away")


@dataclass
class Report:
    """What a stream has cost, in a memory that does not grow with it.

    Attributes:
        dropped: Frames that a live source gave and nobody took.
        latencies: How many frames took how long from their arrival to their scores, in steps of STEP.
    """

    dropped: int = 0
    latencies: Counter[int] = field(default_factory=Counter)

    def add(self, seconds: float) -> None:
        """Counts a frame."""
        self.latencies[round(math.log(max(seconds, 1e-9), STEP))] += 1

    @property
    def frames(self) -> int:
        """How many the network saw."""
        return self.latencies.total()

    def percentile(self, percent: float) -> float:
        """Seconds that so many percent of the frames did not exceed, to half a step."""
        counts = sorted(self.latencies.items())
        totals = list(itertools.accumulate(count for _, count in counts))
        return STEP ** counts[bisect.bisect_left(totals, percent / 100 * totals[-1])][0]

    def line(self) -> str:
        """For people."""
        if not self.latencies:
            return "0 frames"
        middle, late, worst = (1000 * self.percentile(percent) for percent in (50, 95, 99))
        return (
            f"{self.frames} frames, {self.dropped} dropped, latency {middle:.1f} ms in the middle, {late:.1f} at 95 %, "
            f"{worst:.1f} at 99 %"
        )


class FrameStream:
    """An engine's stream of the frames of one source, transformed as the recipe tests them.

    Args:
        engine: Of an artifact of `deploy.export --stream`.
        recipe: Of the artifact.

    Raises:
        ArtifactError: The artifact takes clips.
    """

    def __init__(self, engine: Engine, recipe: Recipe, views: str) -> None:
        if not engine.signature.states:
            raise ArtifactError("--stream needs an artifact of python -m deploy.export --stream: this one takes clips")
        self._engine = engine
        self._transform = EvalTransform(recipe.with_(test_crops="center"), cli.VIEWS[views])
        self._source, self._result = engine.signature.inputs[0].name, engine.signature.outputs[0].name
        self.reset()

    def reset(self) -> None:
        """The next frame is the first of another stream."""
        self._stream = Stream(self._engine)
        self._size: tuple[int, ...] = ()

    def fits(self, image: np.ndarray) -> bool:
        """Whether a frame may follow those before it: it has their size."""
        return self._size in ((), image.shape)

    def scores(self, image: np.ndarray) -> np.ndarray:
        """Logits [K] of a frame uint8 [H, W, 3] RGB, which remembers those before."""
        self._size = image.shape
        size = self._transform.size
        out = np.empty((1, 1, 3, size, size), np.float32)
        self._transform.apply(image[None], out)
        return self._stream.step({self._source: out[0]})[self._result][0]


def run(args: argparse.Namespace, artifact: Artifact, engine: Engine, names: Sequence[str]) -> None:
    """Prints the events of each source, and on standard error what the streams have cost.

    Raises:
        UserError: A source cannot be read, or a name of --ignore is none of the classes.
    """
    unknown = [name for name in args.ignore if name not in names]
    if unknown:
        raise UserError(f"--ignore {unknown[0]}: no class of this network has this name")
    smoothing = Smoothing(args.window, args.hold, args.threshold, {names.index(name) for name in args.ignore})
    stream = FrameStream(engine, artifact.recipe, args.views or artifact.record["views"])
    for name in args.video:
        check_allowed(name, args.allow_network)
    for name in args.video:
        source = LiveFrames(name, args.patience) if is_live(name) else RecordedFrames(name, cli.limits_of(args))
        report, began = Report(), time.monotonic()
        try:
            stream.reset()
            frames = _until(source, args.seconds, began, args.every)
            for event in follow(frames, stream, smoothing, report, name):
                command.say(json.dumps(event.line(names, source.fps, name)))
        finally:
            source.close()
        report.dropped = source.dropped
        command.say(f"{name}: {report.line()}", error=True)
        if is_live(name) and not (args.seconds and time.monotonic() - began >= args.seconds):
            raise UserError(f"--video {name} has ended and did not come back in {args.patience:g} s (--patience)")


def _until(source: Iterable[Frame], seconds: float, began: float, every: int) -> Iterable[Frame]:
    """The frames that the network sees."""
    for frame in source:
        if seconds and time.monotonic() - began >= seconds:
            return
        if frame.number % every == 0 or frame.anew:
            yield frame


def follow(
    frames: Iterable[Frame], stream: FrameStream, smoothing: Smoothing, report: Report, name: str
) -> Iterator[Event]:
    """Yields each event of the frames when it happens.

    Where a source comes back or its frames change their size, the stream begins anew, and a note says so.
    """
    course = Course()
    for frame in frames:
        if frame.anew or not stream.fits(frame.image):
            height, width = frame.image.shape[:2]
            why = "the source was gone" if frame.anew else f"frames are {width}x{height} now"
            command.say(f"note: {name}, frame {frame.number}: {why}; the stream begins anew", error=True)
            stream.reset()
            course = Course()
        course, event = advance(course, frame.number, stream.scores(frame.image), smoothing)
        report.add(time.perf_counter() - frame.arrived)
        if event is not None:
            yield event
