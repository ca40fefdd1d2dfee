"""Boards on which a run can be watched while it goes: VisualDL, and TensorBoard's files.

A board is a folder in the run directory: `visualdl --logdir RUN/visualdl`, `tensorboard --logdir RUN/tensorboard`.
"""

from __future__ import annotations

import contextlib
import io
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from configs import Recipe
from runtime.errors import UserError
from runtime.fresh_process import in_fresh_process

if TYPE_CHECKING:
    import numpy as np


class Board(Protocol):
    """What shows figures and pictures by the number of the batch that they belong to.

    Attributes:
        name: A key of BOARDS.
    """

    name: str

    def scalar(self, name: str, value: float, step: int) -> None:
        """Adds a point to a curve."""

    def image(self, name: str, image: np.ndarray, step: int) -> None:
        """Adds a picture, uint8 [H, W, 3] RGB."""

    def text(self, name: str, text: str, step: int) -> None:
        """Adds a text."""

    def graph(self, recipe: Recipe) -> str:
        """Draws the network; returns why not, if it does not."""

    @property
    def size(self) -> int:
        """Bytes that a checkpoint knows of."""

    def close(self) -> None:
        """Writes what is left."""


class VisualDL:
    """VisualDL's records, in one file, which a resumed run goes on with.

    Args:
        folder: Of the board.
        known: Bytes that the checkpoint of a resumed run knows of; None begins a board, or goes on with all that is
            there.
        step: Batches that are done.
    """

    name = "visualdl"
    package = "visualdl"
    FILE = "vdlrecords.run.log"

    def __init__(self, folder: Path, known: int | None, step: int) -> None:
        from visualdl import LogWriter

        from engine.log import cut_back

        self._folder = folder
        self._path = folder / self.FILE
        if known is not None:
            cut_back(self._path, known)
        with contextlib.redirect_stdout(io.StringIO()):  # it says that the file is there
            self._writer = LogWriter(logdir=str(folder), file_name=self.FILE)

    def scalar(self, name: str, value: float, step: int) -> None:
        """See `Board`."""
        self._writer.add_scalar(name, value, step)

    def image(self, name: str, image: np.ndarray, step: int) -> None:
        """See `Board`."""
        self._writer.add_image(name, image, step)

    def text(self, name: str, text: str, step: int) -> None:
        """See `Board`."""
        self._writer.add_text(name, text, step)

    def close(self) -> None:
        """See `Board`."""
        self._writer.close()

    def graph(self, recipe: Recipe) -> str:
        """See `Board`."""
        return in_fresh_process(_draw_visualdl, recipe, str(self._folder))

    @property
    def size(self) -> int:
        """See `Board`."""
        self._writer.flush()
        return self._path.stat().st_size


class TensorBoard:
    """TensorBoard's events, written one by one: tensorboardX's own writer keeps some in a queue that a kill loses. A
    resumed run has a file of its own, which takes the place of what the run before wrote after its checkpoint.

    Args: As those of `VisualDL`.
    """

    name = "tensorboard"
    package = "tensorboardX"
    size = 0

    def __init__(self, folder: Path, known: int | None, step: int) -> None:
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import Event, SessionLog

        folder.mkdir(parents=True, exist_ok=True)
        self._event = Event
        self._writer = EventsWriter(str(folder / "events"), f".{step}")
        if step:
            log = SessionLog(status=SessionLog.START)
            self._writer.write_event(Event(step=step + 1, session_log=log, wall_time=time.time()))

    def scalar(self, name: str, value: float, step: int) -> None:
        """See `Board`."""
        from tensorboardX.summary import scalar

        self._write(scalar(name, value), step)

    def image(self, name: str, image: np.ndarray, step: int) -> None:
        """See `Board`."""
        from tensorboardX.summary import image as picture

        self._write(picture(name, image, dataformats="HWC"), step)

    def text(self, name: str, text: str, step: int) -> None:
        """See `Board`."""
        from tensorboardX.summary import text as words

        self._write(words(name, text), step)

    def _write(self, summary: Any, step: int) -> None:
        self._writer.write_event(self._event(summary=summary, step=step, wall_time=time.time()))
        self._writer.flush()

    def graph(self, recipe: Recipe) -> str:
        """See `Board`."""
        return "TensorBoard draws none of Paddle's: take --log visualdl"

    def close(self) -> None:
        """See `Board`."""
        self._writer.close()


BOARDS = {board.name: board for board in (VisualDL, TensorBoard)}


def open_board(name: str, directory: Path, known: int | None = None, step: int = 0) -> Board:
    """The board of a run.

    Args:
        name: A key of BOARDS.
        directory: Of the run.
        known, step: See `VisualDL`.

    Raises:
        UserError: Its package is not installed, or what the checkpoint knows of is gone.
    """
    kind = BOARDS[name]
    try:
        return kind(directory / name, known, step)
    except ImportError as error:
        raise UserError(f"--log {name} needs {kind.package}: pip install {kind.package} ({error})") from error


def _draw_visualdl(recipe: Recipe, folder: str) -> str:
    """Draws the network of a recipe; returns why not, if it does not. In a process that has no Paddle yet."""
    from runtime import preparation
    from runtime.command import silenced

    preparation.prepare("cpu", 1, tune=False)
    from paddle.pir_utils import OldIrGuard
    from paddle.static import InputSpec
    from visualdl import LogWriter

    from models import from_recipe
    from models.tracing import old_operators, trace_as_written

    model = from_recipe(recipe)
    model.eval()
    trace_as_written()
    shape = recipe.network.input_shape(recipe.clip.num_frames, recipe.pixels.crop_size)
    try:
        with (
            silenced(1), silenced(2), LogWriter(logdir=folder, file_name=VisualDL.FILE) as writer, OldIrGuard(),
            old_operators(),
        ):  # fmt: skip
            writer.add_graph(model, [InputSpec([None, *shape], "float32")])
    except Exception as error:  # whatever a network has that Paddle's old graphs or VisualDL lack
        return f"{type(error).__name__}: {error}".partition("\n")[0]
    return ""
