"""A trained TSM that sees one frame at a time: what its shifts take from the frame before comes in and goes out.

Source: Lin et al., "TSM: Temporal Shift Module for Efficient Video Understanding", ICCV 2019, section 4.2 (online
models); the authors' `online_demo/mobilenet_v2_tsm.py` (which channels are kept, and that the shortcut is not shifted).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import paddle
from paddle import nn

from models.recognizer2d import Recognizer2D
from models.temporal_module import TemporalModule, replace_layer
from models.temporal_shift import TemporalShift, channel_bounds
from runtime.errors import UserError

Shape = tuple[int, int, int]


class Caches:
    """What the shifts of one network hand from frame to frame: `given` to this frame, `made` for the next."""

    def __init__(self) -> None:
        self.given: dict[int, paddle.Tensor] = {}
        self.made: dict[int, paddle.Tensor] = {}


class CachedShift(nn.Layer):
    """`net` of an input whose first channels are those of the frame before.

    Args:
        shift: The shift of a clip whose place it takes.
        number: Of the shift in the network, from 0.
        caches: Of the network.
    """

    def __init__(self, shift: TemporalShift, number: int, caches: Caches) -> None:
        super().__init__()
        self.net = shift.net
        self.number = number
        self.caches = caches
        self.shift_div, self.direction = shift.shift_div, shift.direction

    def kept(self, channels: int) -> int:
        """How many of so many channels are those of the frame before."""
        return channel_bounds(channels, self.shift_div, self.direction)[-1]

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Maps one frame of each video, [N, C, H, W], to what `net` makes of it, shifted."""
        end = self.kept(x.shape[1])
        self.caches.made[self.number] = x[:, :end]
        return self.net(paddle.concat([self.caches.given[self.number], x[:, end:]], axis=1))


class StreamingRecognizer(nn.Layer):
    """One frame of each video and the caches in; its logits and the new caches out.

    Caches of zeros begin a video. The mean of the logits of its frames is what the network makes of the whole clip, for
    every number of frames. Videos of one batch do not see each other; one of them begins anew where its rows of the
    caches are zeros.

    Args:
        model: In eval mode; left as it is, and its parameters are copied.

    Raises:
        UserError: The network is no TSM, or a frame waits for later ones in it.
    """

    def __init__(self, model: Recognizer2D) -> None:
        super().__init__()
        check_streamable(model)
        model = copy.deepcopy(model)
        self.caches = Caches()
        self.backbone, self.cls_head = model.backbone, model.cls_head
        shifts = [(path, layer) for path, layer in self.backbone.named_sublayers() if isinstance(layer, TemporalShift)]
        for number, (path, layer) in enumerate(shifts):
            replace_layer(self.backbone, path, CachedShift(layer, number, self.caches))
        self.eval()

    def forward(self, frames: paddle.Tensor, states: Sequence[paddle.Tensor]) -> list[paddle.Tensor]:
        """Maps normalized frames float32 [N, 3, H, W] and the caches to logits [N, K] and the caches of the next."""
        self.caches.given = dict(enumerate(states))
        logits = self.cls_head(self.backbone(frames), 1)
        return [logits, *(self.caches.made[i] for i in range(len(states)))]

    def state_shapes(self, height: int, width: int) -> list[Shape]:
        """Channels, rows and columns of each cache, for frames of this size, in their order.

        Raises:
            UserError: A layer has fewer channels than `shift_div`, so that none moves.
        """
        shapes: dict[int, Shape] = {}

        def see(layer: CachedShift, inputs: tuple[paddle.Tensor, ...]) -> None:
            channels, rows, columns = inputs[0].shape[1:]
            end = layer.kept(channels)
            if end == 0:
                raise UserError(f"shift_div is above the {channels} channels of a layer, of which none moves")
            shapes[layer.number] = (end, rows, columns)
            self.caches.given[layer.number] = paddle.zeros([1, end, rows, columns], inputs[0].dtype)

        layers = [layer for layer in self.backbone.sublayers() if isinstance(layer, CachedShift)]
        hooks = [layer.register_forward_pre_hook(see) for layer in layers]
        with paddle.no_grad():
            self.backbone(paddle.zeros([1, 3, height, width], self.cls_head.new_fc.weight.dtype))
        for hook in hooks:
            hook.remove()
        return [shapes[number] for number in range(len(layers))]


def check_streamable(model: nn.Layer) -> None:
    """Raises UserError for a network that cannot be computed frame by frame, with the reason."""
    backbone = getattr(model, "backbone", None)
    modules = [layer for layer in backbone.sublayers() if isinstance(layer, TemporalModule)] if backbone else []
    if not isinstance(model, Recognizer2D) or not modules:
        raise UserError("only TSM can be streamed: train one with --shift_direction online")
    for module in modules:
        if not isinstance(module, TemporalShift):
            raise UserError(f"{type(module).__name__} joins frames that come later: only the shift can be streamed")
        if module.direction != "online":
            raise UserError(
                f"the shift of this network ({module.direction}) takes channels of the next frame, too, which a stream "
                "does not have yet: train it with --shift_direction online"
            )
