"""C3D: eight 3x3x3 convolutions, five poolings and two fully connected layers, for 16 frames of 112 x 112.

Source: Tran et al., "Learning Spatiotemporal Features with 3D Convolutional Networks", ICCV 2015, section 3.3;
mmaction2's `models/backbones/c3d.py`; Efficient-3DCNNs' `models/c3d.py` (with norms, and its own poolings).
"""

from __future__ import annotations

import paddle
import paddle.nn.functional as F
from paddle import nn

from configs.networks import C3D
from models.implementation import Arrays, Implementation, Recognition
from models.kernels.batch_norm import BatchNorm3D, norm_relu
from models.kernels.conv import Conv3D
from models.recognizer3d import Classifier, Recognizer3D
from runtime.errors import UserError

FRAMES, SIDE = 16, 112
# Behind a pooling: the names of the convolutions, and their channels.
GROUPS = ((("1a",), 64), (("2a",), 128), (("3a", "3b"), 256), (("4a", "4b"), 512), (("5a", "5b"), 512))
FEATURES = 4096
FC_STD = 0.005


class C3DBackbone(nn.Layer):
    """The convolutions and the two fully connected layers.

    Args:
        norm: Norms behind the convolutions, and poolings, of Efficient-3DCNNs.
        dropout: Between the two fully connected layers.
        norm_eps: Epsilon of the norms.
    """

    out_channels = FEATURES

    def __init__(self, norm: bool, dropout: float, norm_eps: float) -> None:
        super().__init__()
        self.norm = norm
        channels = 3
        for names, width in GROUPS:
            for name in names:
                weight_attr = paddle.ParamAttr(initializer=nn.initializer.KaimingNormal())
                setattr(self, f"conv{name}", Conv3D(channels, width, 3, padding=1, weight_attr=weight_attr))
                if norm:
                    setattr(self, f"bn{name}", BatchNorm3D(width, epsilon=norm_eps))
                channels = width
        weight_attr = paddle.ParamAttr(initializer=nn.initializer.Normal(0.0, FC_STD))
        self.fc6 = nn.Linear(channels * 4 * 4, FEATURES, weight_attr=weight_attr)
        self.fc7 = nn.Linear(FEATURES, FEATURES, weight_attr=weight_attr)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Maps [N, 3, 16, 112, 112] to [N, 4096].

        Raises:
            UserError: The clips have another size.
        """
        if list(x.shape[2:]) != [FRAMES, SIDE, SIDE]:
            shape = " x ".join(map(str, x.shape[2:]))
            raise UserError(f"c3d takes clips of {FRAMES} frames of {SIDE} x {SIDE}, got {shape}; set clip_len, "
                            "crop_size and test_size")  # fmt: skip
        for i, (names, _) in enumerate(GROUPS):
            for name in names:
                conv = getattr(self, f"conv{name}")
                x = norm_relu(getattr(self, f"bn{name}"), conv(x)) if self.norm else F.relu(conv(x))
            x = self._pool(i, x)
        x = self.dropout(F.relu(self.fc6(x.flatten(1))))
        return F.relu(self.fc7(x))

    def _pool(self, i: int, x: paddle.Tensor) -> paddle.Tensor:
        """The pooling behind group i: the first keeps the frames, the last begins a pixel outside."""
        if self.norm:
            frames, stride = {0: (2, 1), 4: (1, 2)}.get(i, (2, 2))
        else:
            frames = stride = 1 if i == 0 else 2
        padding = (0, 1, 1) if i == len(GROUPS) - 1 else 0
        return F.max_pool3d(x, (frames, 2, 2), stride=(stride, 2, 2), padding=padding)


def build(network: C3D, num_classes: int, num_frames: int) -> Recognizer3D:
    """The network of the options."""
    backbone = C3DBackbone(network.c3d_norm, network.dropout, network.norm_eps)
    return Recognizer3D(backbone, Classifier(FEATURES, num_classes, network.dropout), network.partial_bn)


def recognize(arrays: Arrays, modules_hidden: bool) -> Recognition | None:
    """The C3D whose tensors these are."""
    if "backbone.conv1a.weight" not in arrays:
        return None
    return Recognition("", {"c3d_norm": "backbone.bn1a.weight" in arrays})


IMPLEMENTATION = Implementation(build, recognize)
