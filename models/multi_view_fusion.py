"""Multi-View Fusion: a fraction of the channels is convolved along time, height and width, each channel by itself.

Source: Wu et al., "MVFNet: Multi-View Fusion Network for Efficient Video Recognition", AAAI 2021, section 3; the
authors' repository whwu95/MVFNet (names of parameters, initialization, which blocks are wrapped).
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import nn

from configs.networks import MVF
from models.backbones import backbone_of, build_backbone, stage_of
from models.implementation import Arrays, Implementation, Recognition
from models.kernels.batch_norm import BatchNorm3D
from models.recognizer2d import Recognizer2D, with_head
from models.temporal_module import TemporalModule, find_layer, gather_rows, replace_layer
from runtime.errors import UserError


@functools.cache
def band_basis(length: int) -> np.ndarray:
    """The constant [3, length * length] whose product with kernels [C, 3] is their band matrices.

    Row k holds the matrix with ones where output position i reads input position i + k - 1, so that
    `band @ signal` is the convolution of the signal with zero padding.
    """
    basis = np.stack([np.eye(length, k=k - 1) for k in range(3)])
    return basis.reshape(3, length * length)


def band_matrices(kernel: paddle.Tensor, length: int) -> paddle.Tensor:
    """Tridiagonal matrices [1, C, length, length] of the kernels [C, 3].

    The leading axis is there because Paddle 3.3 fails to differentiate a product of operands of unequal rank.
    """
    basis = paddle.to_tensor(band_basis(length), dtype=kernel.dtype)
    return paddle.matmul(kernel, basis).reshape([1, -1, length, length])  # [1, C, L, L]


@functools.lru_cache(maxsize=256)
def video_index(num_videos: int, num_outer: int, num_inner: int, num_kept: int) -> np.ndarray:
    """Source rows, int64 [N*kept*outer], that swap the last axes of [N, outer, inner] and keep the first of inner."""
    rows = np.arange(num_videos * num_outer * num_inner).reshape(num_videos, num_outer, num_inner)
    return np.ascontiguousarray(rows[:, :, :num_kept].transpose(0, 2, 1)).reshape(-1)


class MultiViewFusion(TemporalModule):
    """A convolution of the input whose first `alpha * C` channels have been fused over the views.

    Args:
        net: The wrapped 2-D convolution.
        num_frames: Frames T of a video.
        alpha: Fraction of the input channels that is fused; int(alpha * C) must not be 0.
        mode: The views that are summed: `THW`, `TH` or `T`.
        share: One kernel for all views instead of one for each.
        use_hs: BatchNorm and hard-swish after the sum.
        norm_eps: Epsilon of the BatchNorm.

    Attributes:
        as_published: Compute by depthwise 3-D convolutions and a concatenation. Otherwise the same numbers come from
            matrix products, see `_banded_sum`.
    """

    def __init__(
        self,
        net: nn.Conv2D,
        num_frames: int,
        alpha: float = 0.125,
        mode: str = "THW",
        share: bool = False,
        use_hs: bool = True,
        norm_eps: float = 1e-5,
    ) -> None:
        super().__init__(net, num_frames)
        self.channels = int(net.weight.shape[1] * alpha)
        self.mode = mode
        self.as_published = False
        self.shift_conv = self._view_conv((3, 1, 1))
        self.h_conv = self._view_conv((1, 3, 1)) if "H" in mode and not share else None
        self.w_conv = self._view_conv((1, 1, 3)) if "W" in mode and not share else None
        self.bn = BatchNorm3D(self.channels, epsilon=norm_eps) if use_hs else None

    def _view_conv(self, kernel: tuple[int, int, int]) -> nn.Conv3D:
        initializer = nn.initializer.Normal(0.0, math.sqrt(2.0 / (3 * self.channels)))
        return nn.Conv3D(
            self.channels,
            self.channels,
            kernel,
            padding=[k // 2 for k in kernel],
            groups=self.channels,
            weight_attr=paddle.ParamAttr(initializer=initializer),
            bias_attr=False,
        )

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Maps [N*T, C, H, W] to `net` of it, with the first channels fused."""
        if self.as_published:
            fused = self.fuse(self._video_by_slices(x))
            return self.net(paddle.concat([self._frames_by_slices(fused), x[:, self.channels :]], axis=1))
        # A convolution is linear: what changes in its first input channels can be added to its output, which spares
        # copying all the other channels.
        by_rows = paddle.in_dynamic_mode()
        part = self._video_by_rows(x) if by_rows else self._video_by_slices(x)
        change = self.fuse(part) - part
        change = self._frames_by_rows(change) if by_rows else self._frames_by_slices(change)
        weight = self.net.weight[:, : self.channels]
        return self.net(x) + F.conv2d(change, weight, stride=self.net._stride, padding=self.net._updated_padding)

    def fuse(self, part: paddle.Tensor) -> paddle.Tensor:
        """Sums the views of [N, C', T, H, W]; same shape."""
        y = self._conv3d_sum(part) if self.as_published else self._banded_sum(part)
        return y if self.bn is None else F.hardswish(self.bn(y))

    def _video_by_slices(self, x: paddle.Tensor) -> paddle.Tensor:
        """The fused channels of [N*T, C, H, W] as videos [N, C', T, H, W]."""
        x = x[:, : self.channels]
        x = x.reshape([-1, self.num_frames, *x.shape[1:]])  # [N, T, C', H, W]
        return x.transpose([0, 2, 1, 3, 4])  # [N, C', T, H, W]

    def _frames_by_slices(self, y: paddle.Tensor) -> paddle.Tensor:
        """Videos [N, C', T, H, W] as frames [N*T, C', H, W]."""
        y = y.transpose([0, 2, 1, 3, 4])  # [N, T, C', H, W]
        return y.reshape([-1, *y.shape[2:]])  # [N*T, C', H, W]

    def _video_by_rows(self, x: paddle.Tensor) -> paddle.Tensor:
        """`_video_by_slices` as one copy of memory."""
        images, channels, height, width = x.shape
        videos = images // self.num_frames
        index = video_index(videos, self.num_frames, channels, self.channels)
        part = gather_rows(x.reshape([-1, height * width]), index)  # [N*C'*T, H*W]
        return part.reshape([videos, self.channels, self.num_frames, height, width])  # [N, C', T, H, W]

    def _frames_by_rows(self, y: paddle.Tensor) -> paddle.Tensor:
        """`_frames_by_slices` as one copy of memory."""
        videos, channels, frames, height, width = y.shape
        # The same exchange of the two inner axes, with frames in the role of channels and none left out.
        index = video_index(videos, channels, frames, frames)
        y = gather_rows(y.reshape([-1, height * width]), index)  # [N*T*C', H*W]
        return y.reshape([-1, channels, height, width])  # [N*T, C', H, W]

    def _conv3d_sum(self, a: paddle.Tensor) -> paddle.Tensor:
        """The sum of views of [N, C', T, H, W] by depthwise 3-D convolutions."""
        y = self.shift_conv(a)
        if "H" in self.mode:
            swap = [0, 1, 3, 2, 4]  # T and H change places, and the T kernel serves H
            y = y + (self.h_conv(a) if self.h_conv else self.shift_conv(a.transpose(swap)).transpose(swap))
        if "W" in self.mode:
            swap = [0, 1, 4, 3, 2]
            y = y + (self.w_conv(a) if self.w_conv else self.shift_conv(a.transpose(swap)).transpose(swap))
        return y

    def _kernel(self, conv: nn.Conv3D | None) -> paddle.Tensor:
        """The kernels [C', 3] of a view; with shared kernels, those of time."""
        return (conv or self.shift_conv).weight.reshape([self.channels, 3])  # [C', 3]

    def _banded_sum(self, a: paddle.Tensor) -> paddle.Tensor:
        """The sum of views of [N, C', T, H, W] by products with tridiagonal matrices, one for each channel.

        Paddle's depthwise convolution on CPU reaches a tenth of the speed of its matrix product, which outweighs
        the zeros multiplied here.
        """
        _, channels, frames, height, width = a.shape
        rows = a.reshape([-1, channels, frames, height * width])  # [N, C', T, H*W]
        y = paddle.matmul(band_matrices(self._kernel(None), frames), rows).reshape(
            [-1, channels, frames, height, width]
        )  # [N, C', T, H, W]
        if "H" in self.mode:
            y = y + paddle.matmul(band_matrices(self._kernel(self.h_conv), height).unsqueeze(2), a)
        if "W" in self.mode:
            columns = a.reshape([-1, channels, frames * height, width])  # [N, C', T*H, W]
            band = band_matrices(self._kernel(self.w_conv), width).transpose([0, 1, 3, 2])
            y = y + paddle.matmul(columns, band).reshape([-1, channels, frames, height, width])  # [N, C', T, H, W]
        return y


def insert_multi_view_fusion(backbone: nn.Layer, num_frames: int, network: MVF) -> None:
    """Wraps the first convolution of every block of the chosen stages, in place.

    A convolution with so few input channels that int(alpha * C) is 0 stays plain.

    Args:
        backbone: ResNet or MobileNetV2.
        num_frames: Frames T of a video.
        network: Options of the fusion.
    """
    fusion = (network.mvf_alpha, network.mvf_mode, network.mvf_share, network.mvf_use_hs, network.norm_eps)
    for chosen, paths in zip(network.mvf_stages, backbone.block_paths, strict=True):
        for path in paths if chosen else []:
            target = f"{path}.{find_layer(backbone, path).first_conv}"
            net = find_layer(backbone, target)
            if int(net.weight.shape[1] * network.mvf_alpha) > 0:
                replace_layer(backbone, target, MultiViewFusion(net, num_frames, *fusion))


def build(network: MVF, num_classes: int, num_frames: int) -> Recognizer2D:
    """A recognizer with multi-view fusion, see `insert_multi_view_fusion`; the logits of its frames are averaged."""
    backbone = build_backbone(network)
    insert_multi_view_fusion(backbone, num_frames, network)
    return with_head(backbone, network, num_classes, consensus="scores", init_std=0.01)


def recognize(arrays: Arrays, modules_hidden: bool) -> Recognition | None:
    """The MVF whose tensors these are.

    Raises:
        UserError: The fused channels of the layers are no one fraction of their input's.
    """
    kernels = [name for name in arrays if name.endswith(".shift_conv.weight")]
    variant = backbone_of(arrays)
    if not variant or not kernels:
        return None
    stages = {stage_of(name) for name in kernels}
    options: dict[str, Any] = {
        "mvf_alpha": _fused_fraction(arrays, kernels),
        "mvf_stages": tuple(int(stage in stages) for stage in range(4)),
        "mvf_use_hs": any(name.replace("shift_conv", "bn") in arrays for name in kernels),
    }
    if not any(".h_conv." in name for name in arrays):  # only time is fused, or one kernel serves all views
        question = "fit --mvf_mode T and --mvf_share alike: add one of them"
        return Recognition(variant, options, question, answers={"mvf_mode": ("T",), "mvf_share": (True,)})
    wide = any(".w_conv." in name for name in arrays)
    return Recognition(variant, options | {"mvf_mode": "THW" if wide else "TH", "mvf_share": False})


def _fused_fraction(arrays: Arrays, kernels: list[str]) -> float:
    """The fraction of the channels, of which each layer fuses the whole number below it."""
    wrapped = [arrays.get(name.replace("shift_conv", "net"), np.empty((0, 0))).shape[1] for name in kernels]
    fused = [len(arrays[name]) for name in kernels]
    least = max(n / max(channels, 1) for n, channels in zip(fused, wrapped, strict=True))
    for fraction in (least, float(np.nextafter(least, 1))):
        if all(int(channels * fraction) == n for n, channels in zip(fused, wrapped, strict=True)):
            return fraction
    raise UserError(f"no one fraction of the channels is fused in all layers: {fused} of {wrapped}")


IMPLEMENTATION = Implementation(build, recognize)
