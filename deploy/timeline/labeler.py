"""Labels of a video by whatever computes: of the whole, or of windows that slide over it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from configs import Recipe
from configs.limits import Limits
from datasets import unlabeled
from datasets.decode import open_source
from datasets.sequential import SequentialFile, Shown
from deploy.frames import Frame
from deploy.timeline.labels import Prediction
from deploy.timeline.scoring import Scored, scored
from deploy.timeline.windows import Plan, Window, Windows, windows_of
from runtime.errors import UserError
from tasks import task_of
from tasks.view_scores import FRAMES_PER_PASS

MOST_LIVE = 256  # frames of a camera's window that are kept

Run = Callable[[np.ndarray], np.ndarray]
Pool = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


class Labeler:
    """Says which class a video shows.

    Args:
        run: Maps clips float32 [N, T, 3, H, W] to logits [N, K].
        recipe: Of the network.
        names: Of the classes.
        mode: "test" for all views of the recipe, "val" for one center view.
        views_per_pass: See `Task.scores`.
        limits: What a video may cost; None for those of a person's own files.
        pool: Maps clips to logits and to features [N, D], which windows get besides; None for none.

    Raises:
        UserError: The network's task names no classes of videos.
    """

    def __init__(
        self, run: Run, recipe: Recipe, names: Sequence[str], mode: str = "test", views_per_pass: int = 0,
        limits: Limits | None = None, pool: Pool | None = None,
    ) -> None:  # fmt: skip
        self._pool, self._run, self.recipe, self.names, self.mode = pool, run, recipe, names, mode
        self._task, self._limits, self._views_per_pass = task_of(recipe), limits or Limits(), views_per_pass
        if not self._task.names_videos:
            raise UserError(f"{recipe.network.model} names no class of a video")
        self._dataset = self._task.dataset(unlabeled([]), recipe, mode, self._limits)

    def score(self, views: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities float32 [N, K] of views float32 [N, V, T, 3, H, W], and their mean features [N, D], if any."""
        pool, found = self._pool, []
        if pool is None:
            return self._task.scores(self._run, views, self.recipe, self._views_per_pass), np.empty((len(views), 0))

        def run(clips: np.ndarray) -> np.ndarray:
            logits, features = pool(clips)
            found.append(features)
            return logits

        scores = self._task.scores(run, views, self.recipe, self._views_per_pass)
        return scores, np.concatenate(found).reshape(*views.shape[:2], -1).mean(axis=1)

    def whole(self, path: str, source_fps: float = 0.0) -> Prediction:
        """The labels of a video as a whole, as test.py computes them; `source_fps` where it does not say its rate."""
        views = self._task.views(path, self.recipe, self.mode, self._limits)
        with open_source(path, limits=self._limits) as source:
            fps = source.fps or source_fps
            end = source.num_frames / fps if fps else float("nan")
        scores, features = self.score(views[None])
        return Prediction(path, self.names, [Scored(0.0, end, scores[0], features[0])])

    @property
    def windows_per_pass(self) -> int:
        """Windows whose views are scored together."""
        return max(1, FRAMES_PER_PASS // int(np.prod(self._dataset.sample_shape[:2])))

    def windows(self, source: Source, plan: Plan) -> Iterator[Scored]:
        """The labels of windows, in their order."""
        windows = Windows(plan, self.recipe, self.mode, source.fps)
        return scored(windows_of(source.frames, windows, source.fps), self.score, self.windows_per_pass)

    def live(self, frames: Iterable[Frame], window_s: float, stride_s: float) -> Iterator[Scored]:
        """The labels of the last seconds of a camera, again and again.

        Args:
            frames: The newest ones as they come; those that nobody had time for are left out.
            window_s: Seconds that are looked at.
            stride_s: Seconds between two looks, at least.
        """
        kept: deque[Frame] = deque(maxlen=MOST_LIVE)
        due = window_s
        for frame in frames:
            if frame.anew:
                kept.clear()
                due = (frame.seconds or 0.0) + window_s
            kept.append(frame)
            now = frame.seconds or 0.0
            while kept[0].seconds is not None and kept[0].seconds < now - window_s:
                kept.popleft()
            if now >= due:
                due = now + stride_s
                yield from scored([self._window(kept, now)], self.score, 1)

    def _window(self, kept: Sequence[Frame], now: float) -> Window:
        """All frames that are kept, as one window that ends now."""
        start = kept[0].seconds or 0.0
        fps = len(kept) / max(now - start, 1e-3)
        windows = Windows(Plan(len(kept), 1, len(kept)), self.recipe, self.mode, fps)
        shown = [Shown(number, start, frame.image) for number, frame in enumerate(kept)]

        def frames(wanted: Callable[[int], bool]) -> Iterator[Shown]:
            for one in shown:
                wanted(one.number)
                yield one

        (window,) = windows_of(frames, windows, fps)
        return window._replace(start=start, end=now)


class Source:
    """A video file or a folder of frames, whose frames come in their order.

    Args:
        path: The file or folder.
        fps: Frames a second of a folder, or of a file that says nothing.
        limits: What a frame may cost.

    Attributes:
        fps: Frames a second.
        num_frames: How many there are.
        frames: See `SequentialFile.frames`.

    Raises:
        UserError: It cannot be read, or nobody says its frames a second.
    """

    def __init__(self, path: str, fps: float = 0.0, limits: Limits | None = None) -> None:
        self.path = path
        if Path(path).is_dir():
            with open_source(path, limits=limits) as folder:
                self.fps, self.num_frames = fps, folder.num_frames
            self.frames = self._of_folder
            self._limits = limits
        else:
            film = SequentialFile(path, limits)
            self.fps, self.num_frames, self.frames = film.fps or fps, film.num_frames, film.frames
        if not self.fps > 0:
            raise UserError(f"nobody says how many frames of {path} are a second: --source_fps does")

    def _of_folder(self, wanted: Callable[[int], bool]) -> Iterator[Shown]:
        with open_source(self.path, limits=self._limits) as source:
            for number in range(source.num_frames):
                image = source.read([number])[0] if wanted(number) else None
                yield Shown(number, number / self.fps, image)
