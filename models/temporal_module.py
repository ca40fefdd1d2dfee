"""What every temporal module shares: it wraps a layer of an image backbone and knows how many frames a video has."""

from __future__ import annotations

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import nn

from runtime.errors import UserError


class Caches:
    """What the modules of one network hand from frame to frame: `given` to this frame, `made` for the next."""

    def __init__(self) -> None:
        self.given: dict[int, paddle.Tensor] = {}
        self.made: dict[int, paddle.Tensor] = {}


class TemporalModule(nn.Layer):
    """A layer around `net` that lets the frames of one video see each other.

    The backbone has folded the frames into the batch: [N*T, C, H, W]. The recognizer reads T from its input and sets
    `num_frames` before it calls the backbone, so one network takes clips of any length.

    Args:
        net: The wrapped layer; its parameters keep their names, with `net.` in front.
        num_frames: T until the recognizer says otherwise.
        frame_divisor: 2 for a module behind a temporal pooling, which sees every video at half its frames.
    """

    def __init__(self, net: nn.Layer, num_frames: int, frame_divisor: int = 1) -> None:
        super().__init__()
        self.net = net
        self.frame_divisor = frame_divisor
        self.set_num_frames(num_frames)

    def set_num_frames(self, num_frames: int) -> None:
        """Announces the number of frames T of each video at the input of the network."""
        self.num_frames = num_frames // self.frame_divisor

    def streamed(self, number: int, caches: Caches) -> nn.Layer:
        """What takes its place where frames come one at a time, see `models.streaming`.

        Args:
            number: Of the module in the network, from 0: its key in `caches`.
            caches: Of the network.

        Returns:
            A layer with `kept(channels)`, the number of channels of its input that it keeps for the next frame.

        Raises:
            UserError: The module waits for frames that come later; the message says why.
        """
        raise UserError(f"{type(self).__name__} joins frames that come later: it cannot be streamed")


def find_layer(root: nn.Layer, path: str) -> nn.Layer:
    """The sublayer at a dotted path such as `layer1.0.conv1`."""
    layer = root
    for name in path.split("."):
        layer = getattr(layer, name)
    return layer


def replace_layer(root: nn.Layer, path: str, layer: nn.Layer) -> None:
    """Puts `layer` in the place of the sublayer at a dotted path."""
    parent_path, _, name = path.rpartition(".")
    setattr(find_layer(root, parent_path) if parent_path else root, name, layer)


def gather_rows(rows: paddle.Tensor, index: np.ndarray, zero_row: int | None = None) -> paddle.Tensor:
    """Gathers rows by index: row i of the result is row index[i] of the argument.

    An embedding lookup copies whole rows, and its gradient adds whole rows. On CPU Paddle's slices, transposes and
    concatenations do the same element by element and are 4 times slower forward, 15 times backward.

    Args:
        rows: [R, L].
        index: int64 [S], values in [0, R).
        zero_row: Where the index says this, the result is zero and takes no gradient.

    Returns:
        [S, L].
    """
    return F.embedding(paddle.to_tensor(index, place=rows.place), rows, padding_idx=zero_row)
