"""Pictures, videos and cameras with the masks of a network: before another background, or as masks."""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from configs import Recipe, cli
from configs.limits import Limits
from configs.suffixes import PICTURE_SUFFIXES, VIDEO_SUFFIXES
from datasets import pictures, unlabeled
from datasets.decode import read_picture
from datasets.images import ImageDataset
from datasets.movie import MovieWriter
from deploy.addresses import is_live
from deploy.frames import Frame, LiveFrames, RecordedFrames
from runtime import command
from runtime.errors import UserError
from runtime.owned import create, creating
from tasks import Task, task_of
from tasks.compositing import Background, Steadied, background_of, composed

Run = Callable[[np.ndarray], np.ndarray]
LIVE_RATE = Fraction(30)  # what is said of a camera's frames, which have their own times
DIGITS = 6  # of the numbers of frames


class Portraits:
    """Draws the frames of sources as one command asks for it.

    Args:
        run: Maps images float32 [N, 3, H, W] to logits.
        task: Of the network.
        recipe: Of the network.
        args: Of a parser with `cli.add_output_flags` and `cli.add_drawing_flags`.
        limits: What a file may cost.

    Raises:
        UserError: The task has no masks, or the flags contradict each other.
    """

    def __init__(self, run: Run, task: Task, recipe: Recipe, args: argparse.Namespace, limits: Limits) -> None:
        dataset = task.dataset(unlabeled([]), recipe, "test", limits)
        if not isinstance(dataset, ImageDataset):
            raise UserError(f"--output draws masks, and {recipe.network.model} gives none: leave it out")
        if not 0 <= args.smoothing < 1:
            raise UserError(f"--smoothing must be 0 or more and below 1, got {args.smoothing:g}")
        self._run, self._task, self._recipe, self._dataset, self._limits = run, task, recipe, dataset, limits
        self._background: Background | None = background_of(args.background, limits)
        self._steadied = Steadied(args.smoothing)
        self._seconds = args.seconds

    def share(self, image: np.ndarray) -> np.ndarray:
        """How much of each pixel is not the first class, float32 [H, W], of an image uint8 [H, W, 3] RGB."""
        view = np.empty(self._dataset.sample_shape, np.float32)
        self._dataset.apply(image, view)
        maps = self._task.scores(self._run, view[None], self._recipe)[0]  # [K, size, size]
        return self._dataset.letterbox(image).undo(1 - maps[0])

    def drawn(self, image: np.ndarray) -> np.ndarray:
        """The image of the next frame as it is asked for, uint8 [H, W, 3] RGB."""
        return composed(image, self._steadied(self.share(image)), self._background)

    def draw(self, name: str, output: Path, progress: Callable[[int, str], Any]) -> str:
        """Draws a source into a file or a folder, which appears when it is whole; returns a line about it.

        Raises:
            UserError: The source cannot be read, or the output exists, cannot be written, or does not fit the source.
        """
        is_file = bool(output.suffix)
        if is_picture(name):
            target = output if is_file else output / f"{Path(name).stem}.png"
            _check_new(target)
            if target.suffix.lower() not in PICTURE_SUFFIXES:
                raise UserError(f"--output {output}: a picture goes into a picture, as out.png, or a folder")
            self._steadied.reset()
            image = self.drawn(read_picture(name, self._limits))
            create(target, pictures.encode(image, target.suffix))
            return f"{target}: 1 picture"
        _check_new(output)
        if output.suffix.lower() in VIDEO_SUFFIXES:
            return self._draw_video(name, output, progress)
        if is_file:
            raise UserError(f"--output {output}: frames go into a video, as out.mp4, or a folder, which has no suffix")
        return self._draw_folder(name, output, progress)

    def _draw_video(self, name: str, output: Path, progress: Callable[[int, str], Any]) -> str:
        count = 0
        with _opened(name, self._limits) as source:
            rate = Fraction(source.fps).limit_denominator(1001) if source.fps else LIVE_RATE
            sound = "" if is_live(name) or os.path.isdir(name) else name
            with creating(output) as place, MovieWriter(place, rate, sound) as movie, _ended_by_hand(name):
                for count, frame in enumerate(self._frames(source, name, progress), start=1):  # noqa: B007
                    seconds = frame.seconds if frame.seconds is not None else frame.number / float(rate)
                    movie.write(self.drawn(frame.image), seconds)
        heard = f"{movie.sounds} packets of sound" if movie.sounds else "no sound, as it has none"
        return f"{output}: {count} frames, {heard}"

    def _draw_folder(self, name: str, output: Path, progress: Callable[[int, str], Any]) -> str:
        output.mkdir(parents=True)
        count = 0
        with _opened(name, self._limits) as source, _ended_by_hand(name):
            for count, frame in enumerate(self._frames(source, name, progress), start=1):
                create(output / f"{count - 1:0{DIGITS}}.png", pictures.encode(self.drawn(frame.image), ".png"))
        return f"{output}: {count} pictures"

    def _frames(self, source: Any, name: str, progress: Callable[[int, str], Any]) -> Iterator[Frame]:
        """The frames of a source with a bar; a camera's until its time is over."""
        self._steadied.reset()
        with progress(source.num_frames, "frames") as bar:
            for frame in source:
                if frame.anew:
                    self._steadied.reset()
                yield frame
                bar.update()
                if self._seconds and is_live(name) and (frame.seconds or 0) >= self._seconds:
                    return


def is_picture(name: str) -> bool:
    """Whether a name is the file of one picture."""
    path = Path(name)
    return path.is_file() and path.suffix.lower() in PICTURE_SUFFIXES and not pictures.is_animation_file(path)


@contextlib.contextmanager
def _opened(name: str, limits: Limits) -> Iterator[RecordedFrames | LiveFrames]:
    source = LiveFrames(name) if is_live(name) else RecordedFrames(name, limits)
    try:
        yield source
    finally:
        source.close()


@contextlib.contextmanager
def _ended_by_hand(name: str) -> Iterator[None]:
    """Lets Ctrl-C end a camera's video, of which all is kept; that of a file it stops, as any other command."""
    try:
        yield
    except KeyboardInterrupt:
        if not is_live(name):
            raise


def _check_new(path: Path) -> None:
    if path.exists():
        raise UserError(f"--output {path} exists: remove it, or choose another name")


def run(
    args: argparse.Namespace, run: Run, recipe: Recipe, names: Sequence[str], progress: Callable[[int, str], Any]
) -> None:
    """Draws all sources of a command, or says how much of each picture is which class where nothing is to be drawn."""
    task, limits = task_of(recipe), cli.limits_of(args)
    if not args.output:
        paths = task.find(args.video)
        dataset = task.dataset(unlabeled(paths), recipe, cli.VIEWS[args.views], limits)
        for index, path in enumerate(paths):
            if len(paths) > 1:
                command.say(path)
            scores = task.scores(run, dataset.views(index)[None], recipe, args.views_per_pass)[0]
            command.say(*task.prediction_lines(scores, names, args.top))
        return
    portraits, output = Portraits(run, task, recipe, args, limits), Path(args.output)
    several = len(args.video) > 1
    if several and output.suffix:
        raise UserError(f"--output {output} is one file for {len(args.video)} sources: name a folder")
    for name in args.video:
        target = output / f"{Path(name).stem}{'.png' * is_picture(name)}" if several else output
        command.say(portraits.draw(name, target, progress))
