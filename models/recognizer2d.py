"""A video recognizer made of an image backbone, the temporal modules inside it, and a head; without modules it is TSN.

Source: Wang et al., "Temporal Segment Networks", ECCV 2016.
"""

from __future__ import annotations

import paddle
from paddle import nn

from configs.networks import TSN, ImageNetwork
from models.backbones import backbone_of, build_backbone, shows_fusion, shows_shift
from models.heads import CONSENSUS
from models.implementation import Arrays, Implementation, Recognition
from models.recognizer import Recognizer, check_axes
from models.temporal_module import TemporalModule


class Recognizer2D(Recognizer):
    """Classifies clips frame by frame, the frames of one video meeting in temporal modules and in the head.

    Args:
        backbone: Maps images [B, 3, H, W] to features [B, C, h, w]; may hold temporal modules.
        cls_head: Called with the features and the number of frames of each video.
        frame_divisor: 2 if the backbone halves the frames.
        partial_bn: See Recognizer.
    """

    def __init__(
        self, backbone: nn.Layer, cls_head: nn.Layer, frame_divisor: int = 1, partial_bn: bool = False
    ) -> None:
        super().__init__(backbone, cls_head, partial_bn)
        self.frame_divisor = frame_divisor

    def forward(self, clips: paddle.Tensor) -> paddle.Tensor:
        """Maps normalized clips float32 [N, T, 3, H, W] to logits [N, K]; T may differ from call to call.

        Raises:
            UserError: The clips have no five axes.
        """
        features, num_frames = self.extract(clips)
        return self.cls_head(features, num_frames)

    def extract(self, clips: paddle.Tensor) -> tuple[paddle.Tensor, int]:
        """The backbone's features [N*T', C, h, w] of the clips [N, T, 3, H, W], and T'."""
        check_axes(clips)
        num_frames, channels, height, width = clips.shape[1:]
        for layer in self.backbone.sublayers():
            if isinstance(layer, TemporalModule):
                layer.set_num_frames(num_frames)
        images = clips.reshape([-1, channels, height, width])  # [N*T, 3, H, W]
        return self.backbone(images), num_frames // self.frame_divisor


def with_head(
    backbone: nn.Layer,
    network: ImageNetwork,
    num_classes: int,
    *,
    consensus: str,
    init_std: float,
    frame_divisor: int = 1,
) -> Recognizer2D:
    """A recognizer of a backbone and a new head.

    Args:
        backbone: With its temporal modules in place.
        network: Options of the model.
        num_classes: Classes K.
        consensus: What the family averages over frames, a key of `heads.CONSENSUS`, unless the options say another.
        init_std: Std of the classifier's initial weights.
        frame_divisor: 2 if the backbone halves the frames.
    """
    head = CONSENSUS[consensus if network.consensus == "family" else network.consensus]
    cls_head = head(backbone.out_channels, num_classes, network.dropout, init_std)
    return Recognizer2D(backbone, cls_head, frame_divisor=frame_divisor, partial_bn=network.partial_bn)


def build(network: TSN, num_classes: int, num_frames: int) -> Recognizer2D:
    """A TSN: the features of the frames are averaged, then classified."""
    return with_head(build_backbone(network), network, num_classes, consensus="features", init_std=0.01)


def recognize(arrays: Arrays, modules_hidden: bool) -> Recognition | None:
    """The TSN whose tensors these are: a backbone, with no temporal module that would show."""
    variant = backbone_of(arrays)
    return Recognition(variant, {}) if variant and not shows_fusion(arrays) and not shows_shift(arrays) else None


IMPLEMENTATION = Implementation(build, recognize)
