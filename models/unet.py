"""UNet over images: an encoder of five levels, a decoder that meets each of them again, and a map for each class.

Source: Ronneberger et al., "U-Net", MICCAI 2015, figure 1; xuduo35/unet_mxnet2ncnn, `symbol` of its training (the
channels, a pooling behind the fifth level too, transposed convolutions without a bias); TianzhongSong's Keras original
(upsampling instead of them). The MobileNetV2 encoder, its decoder's channels and the narrower widths are ours.
"""

from __future__ import annotations

import paddle
import paddle.nn.functional as F
from paddle import nn

from configs.networks import UNet
from models.implementation import Arrays, Implementation, Recognition
from models.kernels.batch_norm import BatchNorm2D, norm_relu
from models.kernels.conv import Conv2D
from models.mobilenet_v2 import MobileNetV2
from models.recognizer import Recognizer
from runtime.errors import UserError

ENCODER, DECODER = (64, 128, 256, 256, 256), (256, 256, 256, 128, 64)  # channels of the levels 1 to 5, and 5 to 1
WIDTHS = {"x1_0": 1, "x0_5": 2, "x0_25": 4, "tiny": 8}  # variant -> what all channels are divided by
# Blocks of MobileNetV2 whose outputs are the levels 1 to 4, and their channels; what is behind the last one is level 5.
MOBILENET_LEVELS = {"1": 16, "3": 24, "6": 32, "13": 96}
MOBILENET_DECODER = (96, 64, 32, 24, 16)
STRIDE = 32  # of five halvings


class DoubleConv(nn.Layer):
    """Two 3x3 convolutions with biases, each with BatchNorm and ReLU behind it."""

    chains = (("conv1", "bn1", "conv2"),)

    def __init__(self, in_channels: int, out_channels: int, norm_eps: float) -> None:
        super().__init__()
        kinds = {"padding": 1, "weight_attr": paddle.ParamAttr(initializer=nn.initializer.KaimingNormal())}
        self.conv1 = Conv2D(in_channels, out_channels, 3, **kinds)
        self.bn1 = BatchNorm2D(out_channels, epsilon=norm_eps)
        self.conv2 = Conv2D(out_channels, out_channels, 3, **kinds)
        self.bn2 = BatchNorm2D(out_channels, epsilon=norm_eps)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Maps [N, C, H, W] to [N, out_channels, H, W]."""
        x = norm_relu(self.bn1, self.conv1(x))
        return norm_relu(self.bn2, self.conv2(x))


class Up(nn.Layer):
    """Doubles height and width: a transposed convolution, or `nearest` or `bilinear` upsampling and a 3x3 one."""

    def __init__(self, in_channels: int, out_channels: int, how: str) -> None:
        super().__init__()
        self.how = how
        sums = in_channels if how == "transposed" else 9 * in_channels  # a transposed one of 2 has one tap for a pixel
        kinds = {
            "weight_attr": paddle.ParamAttr(initializer=nn.initializer.Normal(0.0, sums**-0.5)),
            "bias_attr": False,
        }
        if how == "transposed":
            self.conv: nn.Layer = nn.Conv2DTranspose(in_channels, out_channels, 2, stride=2, **kinds)
        else:
            self.conv = Conv2D(in_channels, out_channels, 3, padding=1, **kinds)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Maps [N, C, H, W] to [N, out_channels, 2H, 2W]."""
        if self.how != "transposed":
            size = [2 * x.shape[2], 2 * x.shape[3]]  # by numbers: of a factor paddle2onnx dies
            x = F.interpolate(x, size, mode=self.how, align_corners=False)
        return self.conv(x)


class Decoder(nn.Layer):
    """The way back up: `up5` to `up1`, each joined with the encoder's level of its size by `dec5` to `dec1`.

    Args:
        in_channels: Of what lies below the lowest level.
        channels: Of the levels 5 to 1.
        skips: Channels of the encoder's levels 5 to 1; 0 for a level that the encoder does not have.
        how: See `Up`.
        norm_eps: Epsilon of every BatchNorm.
    """

    def __init__(
        self, in_channels: int, channels: tuple[int, ...], skips: tuple[int, ...], how: str, norm_eps: float
    ) -> None:
        super().__init__()
        for level, width, skip in zip(range(5, 0, -1), channels, skips, strict=True):
            setattr(self, f"up{level}", Up(in_channels, width, how))
            setattr(self, f"dec{level}", DoubleConv(width + skip, width, norm_eps))
            in_channels = width

    def forward(self, x: paddle.Tensor, levels: list[paddle.Tensor]) -> paddle.Tensor:
        """Maps what lies below, [N, C, H/32, W/32], and the encoder's levels, the largest first, to [N, C', H, W].

        What comes from below stands before the encoder's in a concatenation.
        """
        for level in range(5, 0, -1):
            x = getattr(self, f"up{level}")(x)
            place = level - 6 + len(levels)  # the encoder may have no level of the image's own size
            if place >= 0:
                x = paddle.concat([x, levels[place]], axis=1)
            x = getattr(self, f"dec{level}")(x)
        return x


class UNetBackbone(nn.Layer):
    """Encoder and decoder of the original, all channels divided by one number."""

    def __init__(self, divisor: int, how: str, norm_eps: float) -> None:
        super().__init__()
        encoder, decoder = ([width // divisor for width in widths] for widths in (ENCODER, DECODER))
        channels = 3
        for level, width in enumerate(encoder, start=1):
            setattr(self, f"enc{level}", DoubleConv(channels, width, norm_eps))
            channels = width
        self.pool = nn.MaxPool2D(2, 2)
        self.decoder = Decoder(channels, tuple(decoder), tuple(encoder[::-1]), how, norm_eps)
        self.out_channels = decoder[-1]

    def forward(self, images: paddle.Tensor) -> paddle.Tensor:
        """Maps images float [N, 3, H, W] to features [N, out_channels, H, W]."""
        x, levels = images, []
        for level in range(1, 6):
            x = getattr(self, f"enc{level}")(x)
            levels.append(x)
            x = self.pool(x)
        return self.decoder(x, levels)


class MobileUNetBackbone(MobileNetV2):
    """MobileNetV2, in whose names its ImageNet weights load, and a narrow decoder."""

    image_prefix = "features"  # what its ImageNet weights have

    def __init__(self, how: str, norm_eps: float) -> None:
        super().__init__(norm_eps=norm_eps)
        skips = (*list(MOBILENET_LEVELS.values())[::-1], 0)
        self.decoder = Decoder(MobileNetV2.out_channels, MOBILENET_DECODER, skips, how, norm_eps)
        self.out_channels = MOBILENET_DECODER[-1]

    def forward(self, images: paddle.Tensor) -> paddle.Tensor:
        """Maps images float [N, 3, H, W] to features [N, 16, H, W]."""
        x, levels = images, []
        for name, block in self.features.named_children():
            x = block(x)
            if name in MOBILENET_LEVELS:
                levels.append(x)
        return self.decoder(x, levels)


class MapHead(nn.Layer):
    """A 1x1 convolution with one map for each class."""

    def __init__(self, in_channels: int, num_classes: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        weight_attr = paddle.ParamAttr(initializer=nn.initializer.Normal(0.0, in_channels**-0.5))
        self.new_fc = nn.Conv2D(in_channels, num_classes, 1, weight_attr=weight_attr)

    def forward(self, features: paddle.Tensor) -> paddle.Tensor:
        """Maps [N, C, H, W] to logits [N, K, H, W]."""
        return self.new_fc(self.dropout(features))


class Segmenter(Recognizer):
    """Maps images [N, 3, H, W] to logits [N, K, H, W]; the sides are multiples of 32."""

    def forward(self, images: paddle.Tensor) -> paddle.Tensor:
        """Raises UserError for another shape."""
        if len(images.shape) != 4:
            raise UserError(f"images must be [N, 3, H, W], got {list(images.shape)}")
        height, width = images.shape[2:]
        if height % STRIDE or width % STRIDE:
            raise UserError(f"the sides of images must be multiples of {STRIDE}, got {width}x{height}")
        return self.cls_head(self.backbone(images))


def build(network: UNet, num_classes: int, num_frames: int) -> Segmenter:
    """The network of the options."""
    how, eps = network.unet_up, network.norm_eps
    backbone: nn.Layer
    if network.variant == "mobilenet_v2":
        backbone = MobileUNetBackbone(how, eps)
    else:
        backbone = UNetBackbone(WIDTHS[network.variant], how, eps)
    head = MapHead(backbone.out_channels, num_classes, network.dropout)
    return Segmenter(backbone, head, network.partial_bn)


def recognize(arrays: Arrays, modules_hidden: bool) -> Recognition | None:
    """The UNet whose tensors these are."""
    up, stem = arrays.get("backbone.decoder.up5.conv.weight"), arrays.get("backbone.enc1.conv1.weight")
    if up is None:
        return None
    variant = "mobilenet_v2"
    if stem is not None:
        variant = next((name for name, divisor in WIDTHS.items() if ENCODER[0] // divisor == len(stem)), "")
        if not variant:
            raise UserError(f"backbone.enc1.conv1.weight has {len(stem)} channels: the widths are {', '.join(WIDTHS)}")
    if up.shape[-1] == 2:
        return Recognition(variant, {"unet_up": "transposed"})
    ways = ("nearest", "bilinear")
    return Recognition(
        variant, {}, f"are of upsampling that may be {' or '.join(ways)}: add --unet_up", {"unet_up": ways}
    )


IMPLEMENTATION = Implementation(build, recognize)
