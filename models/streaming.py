"""A trained network that sees one frame at a time: what its modules keep for the next frame goes out and comes in.

Source: Lin et al., "TSM: Temporal Shift Module for Efficient Video Understanding", ICCV 2019, section 4.2 (online
models); the authors' `online_demo/mobilenet_v2_tsm.py` (which channels are kept, and that the shortcut is not shifted).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import paddle
from paddle import nn

from models.recognizer2d import Recognizer2D
from models.temporal_module import Caches, TemporalModule, replace_layer
from runtime.errors import UserError

Shape = tuple[int, int, int]


class StreamingRecognizer(nn.Layer):
    """One frame of each video and the caches in; its logits and the new caches out.

    Caches of zeros begin a video. The mean of the logits of its frames is what the network makes of the whole clip, for
    every number of frames. Videos of one batch do not see each other; one of them begins anew where its rows of the
    caches are zeros.

    Args:
        model: In eval mode; left as it is, and its parameters are copied.

    Raises:
        UserError: The network has no temporal module, or one that waits for later frames.
    """

    def __init__(self, model: nn.Layer) -> None:
        super().__init__()
        if not isinstance(model, Recognizer2D):
            raise UserError("only a network whose frames meet in temporal modules can be streamed, such as TSM")
        model = copy.deepcopy(model)
        self.caches = Caches()
        self.backbone, self.cls_head = model.backbone, model.cls_head
        modules = [(p, layer) for p, layer in self.backbone.named_sublayers() if isinstance(layer, TemporalModule)]
        if not modules:
            raise UserError("this network has no temporal module: nothing is to be kept from frame to frame")
        self.streamed = []
        for number, (path, module) in enumerate(modules):
            layer = module.streamed(number, self.caches)
            replace_layer(self.backbone, path, layer)
            self.streamed.append(path)
        self.eval()

    def forward(self, frames: paddle.Tensor, states: Sequence[paddle.Tensor]) -> list[paddle.Tensor]:
        """Maps normalized frames float32 [N, 3, H, W] and the caches to logits [N, K] and the caches of the next."""
        self.caches.given = dict(enumerate(states))
        logits = self.cls_head(self.backbone(frames), 1)
        return [logits, *(self.caches.made[i] for i in range(len(states)))]

    def state_shapes(self, height: int, width: int) -> list[Shape]:
        """Channels, rows and columns of each cache, for frames of this size, in their order.

        Raises:
            UserError: A module keeps nothing.
        """
        shapes: dict[int, Shape] = {}

        def see(layer: Any, inputs: tuple[paddle.Tensor, ...]) -> None:
            channels, rows, columns = inputs[0].shape[1:]
            kept = layer.kept(channels)
            shapes[layer.number] = (kept, rows, columns)
            self.caches.given[layer.number] = paddle.zeros([1, kept, rows, columns], inputs[0].dtype)

        layers = [layer for path, layer in self.backbone.named_sublayers() if path in self.streamed]
        hooks = [layer.register_forward_pre_hook(see) for layer in layers]
        with paddle.no_grad():
            self.backbone(paddle.zeros([1, 3, height, width], self.cls_head.new_fc.weight.dtype))
        for hook in hooks:
            hook.remove()
        return [shapes[number] for number in range(len(layers))]
