"""A pooling over clips that is padded as TensorFlow pads."""

from __future__ import annotations

import paddle
import paddle.nn.functional as F
from paddle import nn

from models.kernels.conv import same_padding
from models.resnet3d import Triple

BELOW = -1.0  # what stands around a ReLU's output, and never wins


class SameMaxPool3D(nn.Layer):
    """A max pooling with `SAME` padding of what comes from a ReLU.

    Where its kernel is larger than a side, the padding stands there by itself.

    Args:
        kernel, stride: Of frames, rows and columns.
    """

    def __init__(self, kernel: Triple, stride: Triple) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Maps [N, C, T, H, W] to [N, C, T', H', W'], each side divided by its stride and rounded up."""
        if min(x.shape[2:]) >= max(self.kernel):
            return F.max_pool3d(x, self.kernel, stride=self.stride, padding="SAME")
        frames, rows, columns = same_padding(x.shape[2:], self.kernel, self.stride)
        x = F.pad(x, [*columns, *rows, *frames], value=BELOW, data_format="NCDHW")
        return F.max_pool3d(x, self.kernel, stride=self.stride)
