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
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from configs import Recipe, cli
from datasets.transforms import EvalTransform
from deploy.addresses import check_allowed, is_live
from deploy.artifact import Artifact, ArtifactError
from deploy.events import Course, Event, Smoothing, advance
from deploy.frames import Frame, LiveFrames, RecordedFrames
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
    pace = section.add_mutually_exclusive_group()
    pace.add_argument("--every", type=command.positive, default=1, help="the network sees each so many-th frame")
    pace.add_argument(
        "--fps", type=float,
        help="the network sees so many frames a second, 0: all (default: those that the recipe trains with)",
    )  # fmt: skip
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
    fps = rate_of(artifact.recipe) if args.fps is None and args.every == 1 else args.fps or 0.0
    if fps < 0:
        raise UserError(f"--fps must be at least 0, got {fps:g}")
    smoothing = Smoothing(args.window, args.hold, args.threshold, {names.index(name) for name in args.ignore})
    stream = FrameStream(engine, artifact.recipe, args.views or artifact.record["views"])
    for name in args.video:
        check_allowed(name, args.allow_network)
    for name in args.video:
        source = LiveFrames(name, args.patience) if is_live(name) else RecordedFrames(name, cli.limits_of(args))
        report, began = Report(), time.monotonic()
        try:
            stream.reset()
            frames = seen(_until(source, args.seconds, began), args.every, fps, name)
            for event, seconds in follow(frames, stream, smoothing, report, name):
                command.say(json.dumps(event.line(names, seconds, name)))
        finally:
            source.close()
        report.dropped = source.dropped
        command.say(f"{name}: {report.line()}", error=True)
        if is_live(name) and not (args.seconds and time.monotonic() - began >= args.seconds):
            raise UserError(f"--video {name} has ended and did not come back in {args.patience:g} s (--patience)")


def rate_of(recipe: Recipe) -> float:
    """Frames a second of the clips that a recipe trains with; 0 where it counts frames as they come."""
    return recipe.clip.fps / recipe.clip.frame_interval


def _until(source: Iterable[Frame], seconds: float, began: float) -> Iterator[Frame]:
    """The frames before the end of so many seconds; all, for 0."""
    for frame in source:
        if seconds and time.monotonic() - began >= seconds:
            return
        yield frame


def seen(frames: Iterable[Frame], every: int, fps: float, name: str) -> Iterator[Frame]:
    """The frames that the network sees.

    Args:
        frames: Of a source.
        every: Each so many-th.
        fps: So many a second, the first of each such part of a second; 0 for no such limit. A slower source is seen
            whole, and a note says so.
        name: Of the source.

    Raises:
        UserError: Nothing says how many frames of the source are a second.
    """
    last, before, is_slow = -1, Frame(np.empty(0), -2, 0.0), False
    for frame in frames:
        if fps and frame.seconds is None:
            raise UserError(f"--fps {fps:g}: nobody says how many frames of {name} are a second: take --fps 0")
        part = _part(frame, every, fps)
        if fps and not is_slow and frame.number == before.number + 1 and part > _part(before, every, fps) + 1:
            is_slow = True
            command.say(f"note: {name} has fewer than {fps:g} frames a second (--fps): all are seen", error=True)
        if part > last or frame.anew:
            last = part
            yield frame
        before = frame


def _part(frame: Frame, every: int, fps: float) -> int:
    """The number of the part of its stream that a frame is in, of each of which the network sees one."""
    return math.floor((frame.seconds or 0.0) * fps + 1e-6) if fps else frame.number // every


def follow(
    frames: Iterable[Frame], stream: FrameStream, smoothing: Smoothing, report: Report, name: str
) -> Iterator[tuple[Event, float | None]]:
    """Yields each event of the frames when it happens, and when its first frame was.

    Where a source comes back or its frames change their size, the stream begins anew, and a note says so.
    """
    course = Course()
    times: deque[tuple[int, float | None]] = deque(maxlen=smoothing.hold)
    for frame in frames:
        if frame.anew or not stream.fits(frame.image):
            height, width = frame.image.shape[:2]
            why = "the source was gone" if frame.anew else f"frames are {width}x{height} now"
            command.say(f"note: {name}, frame {frame.number}: {why}; the stream begins anew", error=True)
            stream.reset()
            course = Course()
        times.append((frame.number, frame.seconds))
        course, event = advance(course, frame.number, stream.scores(frame.image), smoothing)
        report.add(time.perf_counter() - frame.arrived)
        if event is not None:
            yield event, dict(times)[event.frame]
