"""SlowFast: a wide pathway over few frames, a thin one over all, which hands its features to the first.

Source: Feichtenhofer et al., "SlowFast Networks for Video Recognition", ICCV 2019, figure 1 and table 1; PySlowFast's
`models/video_model_builder.py` (norm and ReLU behind a lateral connection, slow frames at linspace) and mmaction2's
`models/backbones/resnet3d_slowfast.py` (neither, slow frames at a stride).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import paddle
from paddle import nn

from configs.networks import SlowFast
from models.implementation import Arrays, Implementation, Recognition
from models.kernels.batch_norm import BatchNorm3D, norm_relu
from models.recognizer3d import ClipHead, Recognizer3D, with_clip_head
from models.resnet3d import DEPTHS, STRIDES, ResNet3D, Temporal, conv3d, depth_of
from models.slowonly import TEMPORAL as SLOW

FAST = Temporal(5, 1, (((3, 1),),) * 4, halves=False)
BETA = 8  # channels of the slow pathway for one of the fast one
_AS_R50 = "_50_50"  # a ResNet-101 that reaches over frames in as many blocks as a ResNet-50 has
_LAST = "layer3.22.conv1"  # the last such block's first convolution
LATERAL_WIDTH = 2  # a lateral connection makes so many channels of one


class Lateral(nn.Layer):
    """From the fast pathway to the slow one: a convolution whose temporal stride leaves as many frames as the slow has.

    Args:
        in_channels: C of the fast pathway.
        kernel: Frames that it reaches over.
        alpha: Fast frames for each slow one.
        norm_eps: Epsilon of its norm; None leaves out norm and ReLU.
    """

    def __init__(self, in_channels: int, kernel: int, alpha: int, norm_eps: float | None) -> None:
        super().__init__()
        out_channels = LATERAL_WIDTH * in_channels
        self.conv = conv3d(in_channels, out_channels, (kernel, 1, 1), (alpha, 1, 1))
        self.bn = None if norm_eps is None else BatchNorm3D(out_channels, epsilon=norm_eps)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Maps [N, C, T, H, W] to [N, 2 * C, T / alpha, H, W]."""
        return self.conv(x) if self.bn is None else norm_relu(self.bn, self.conv(x))


class SlowFastBackbone(nn.Layer):
    """The two pathways and what connects them.

    Args:
        network: Options.

    Attributes:
        image_prefix: What stands before the names that an image network's backbone has.
    """

    image_prefix = "slow_path."

    def __init__(self, network: SlowFast) -> None:
        super().__init__()
        self.alpha, self.slow_frames = network.alpha, network.slow_frames
        variant, norm_eps = network.variant.partition("_")[0], network.norm_eps
        slow_reach, fast_reach = SLOW, FAST
        if network.variant.endswith(_AS_R50):
            slow_reach, fast_reach = (temporal._replace(stages=_as_r50(temporal.stages)) for temporal in (SLOW, FAST))
        fast = ResNet3D(variant, fast_reach, divisor=BETA, norm_eps=norm_eps)
        joined = [LATERAL_WIDTH * channels for channels in fast.widths[:-1]]
        self.slow_path = ResNet3D(variant, slow_reach, joined=joined, norm_eps=norm_eps)
        self.fast_path = fast
        eps = norm_eps if network.lateral_norm else None
        self.lateral = nn.LayerList(
            Lateral(channels, network.lateral_kernel, self.alpha, eps) for channels in fast.widths[:-1]
        )
        self.out_channels = self.slow_path.out_channels + fast.out_channels

    def forward(self, x: paddle.Tensor) -> tuple[paddle.Tensor, paddle.Tensor]:
        """Maps clips [N, 3, T, H, W] to features [N, C, T / alpha, h, w] and [N, C / 8, T, h, w]."""
        slow, fast = self.slow_path.stem(self._slow(x)), self.fast_path.stem(x)
        for i in range(len(STRIDES)):
            slow = paddle.concat([slow, self.lateral[i](fast)], axis=1)
            slow, fast = self.slow_path.stage(i, slow), self.fast_path.stage(i, fast)
        return slow, fast

    def _slow(self, x: paddle.Tensor) -> paddle.Tensor:
        """The slow pathway's frames of [N, 3, T, H, W]."""
        frames = x.shape[2]
        is_strided = self.slow_frames == "stride"
        taken = range(0, frames, self.alpha) if is_strided else spread(frames, frames // self.alpha).tolist()
        if paddle.in_dynamic_mode():
            return x[:, :, :: self.alpha] if is_strided else x.index_select(paddle.to_tensor(taken), axis=2)
        return paddle.concat([x[:, :, i : i + 1] for i in taken], axis=2)  # pnnx takes one frame of a selection


def _as_r50(stages: Sequence[Sequence[tuple[int, int]]]) -> list[list[tuple[int, int]]]:
    """The stages of a ResNet-101 each of whose blocks beyond those of a ResNet-50 sees single frames."""
    both = zip(DEPTHS["r50"], DEPTHS["r101"], stages, strict=True)
    return [[frames[0]] * few + [(1, 1)] * (many - few) for few, many, frames in both]


def spread(frames: int, count: int) -> np.ndarray:
    """`count` indices int64 from the first of so many frames to the last, rounded as PyTorch rounds its linspace."""
    step = np.float32(frames - 1) / np.float32(max(count - 1, 1))
    i = np.arange(count, dtype=np.float32)
    from_the_end = np.float32(frames - 1) - step * (count - 1 - i)
    return np.where(i < count // 2, step * i, from_the_end if count > 1 else i).astype(np.int64)


class FastFirstHead(ClipHead):
    """Joins the channels of the pathways the other way round, as mmaction2 does."""

    def pathways(self, features: Sequence[paddle.Tensor]) -> list[paddle.Tensor]:
        """The fast pathway's features, then the slow one's."""
        return list(features[::-1])


def build(network: SlowFast, num_classes: int, num_frames: int) -> Recognizer3D:
    """The network of the options."""
    head = FastFirstHead if network.joined_order == "fast_slow" else ClipHead
    return with_clip_head(SlowFastBackbone(network), network, num_classes, head)


def recognize(arrays: Arrays, modules_hidden: bool) -> Recognition | None:
    """The SlowFast whose tensors these are; how many fast frames there are for a slow one does not show."""
    slow, fast = (depth_of(arrays, f"backbone.{pathway}_path.") for pathway in ("slow", "fast"))
    lateral, last = (arrays.get(f"backbone.{name}.weight") for name in ("lateral.0.conv", f"slow_path.{_LAST}"))
    if not slow or slow != fast or lateral is None:
        return None
    options = {"lateral_kernel": lateral.shape[2], "lateral_norm": "backbone.lateral.0.bn.weight" in arrays}
    if last is not None and last.shape[2] == 1:
        slow += _AS_R50
    question = "fit any number of fast frames for a slow one: add --slowfast_alpha 8 (4x16) or 4 (8x8, 16x8)"
    return Recognition(slow, options, question, {"slowfast_alpha": (2, 4, 8, 16)})


IMPLEMENTATION = Implementation(build, recognize)
