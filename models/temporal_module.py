"""What every temporal module shares: it wraps a layer of an image backbone and knows how many frames a video has."""

from __future__ import annotations

from collections.abc import Callable

from paddle import nn


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


def find_layer(root: nn.Layer, path: str) -> nn.Layer:
    """The sublayer at a dotted path such as `layer1.0.conv1`."""
    layer = root
    for name in path.split("."):
        layer = getattr(layer, name)
    return layer


def wrap_layer(root: nn.Layer, path: str, wrap: Callable[[nn.Layer], nn.Layer]) -> None:
    """Replaces the sublayer at `path` by `wrap(sublayer)`."""
    parent_path, _, name = path.rpartition(".")
    parent = find_layer(root, parent_path) if parent_path else root
    setattr(parent, name, wrap(getattr(parent, name)))
