"""Mistakes of networks of masks: in the way down, in the way up, in losses of regions, in their figures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import nn

from alignment.certification.recognizers import recognizer_pair
from alignment.certification.samples import drawn_images
from alignment.mutation.mutant import Mutant, changing, setting
from alignment.mutation.network import rewritten
from alignment.mutation.training import replaced_figure, with_losses, with_metric
from alignment.sides.pair import Pair
from configs.presets import preset_for_model
from models.temporal_module import find_layer
from models.unet import Decoder, Up

Tensor = Any
SIZE, IMAGES = 64, 2
BACKBONE, DECODER = "backbone", "backbone.decoder"


def segmenter(model: str, **options: Any) -> Callable[[int], Pair]:
    """A function of the seed that builds a small pair of networks of masks on drawn people."""

    def build(seed: int) -> Pair:
        recipe = preset_for_model(model)
        images, masks = drawn_images(recipe, 1, SIZE, IMAGES)
        return recognizer_pair(model, recipe, images, masks, seed=seed, options=options)

    return build


# ---------------------------------------------------------------------------------------------------------------------
# The way down


def levels_of(net: nn.Layer, images: Tensor) -> list[Tensor]:
    """The outputs of the encoder's levels."""
    x, levels = images, []
    for level in range(1, 6):
        x = getattr(net, f"enc{level}")(x if level == 1 else net.pool(x))
        levels.append(x)
    return levels


def last_pool_named_as_the_one_before(net: nn.Layer, _: Callable, images: Tensor) -> Tensor:
    """Two poolings have one name, as pool4 and pool5 of the original had: the last one reads what the fourth did."""
    levels = levels_of(net, images)
    return net.decoder(net.pool(net.pool(levels[3])), levels)


def skips_behind_the_pool(net: nn.Layer, _: Callable, images: Tensor) -> Tensor:
    """A level is handed over behind its pooling, and enlarged again."""
    levels = levels_of(net, images)
    handed = [F.interpolate(net.pool(level), scale_factor=2) for level in levels]
    return net.decoder(net.pool(levels[-1]), handed)


def averaged(net: nn.Layer, _: Callable, images: Tensor) -> Tensor:
    """The poolings average."""
    x, levels = images, []
    for level in range(1, 6):
        x = getattr(net, f"enc{level}")(x)
        levels.append(x)
        x = F.avg_pool2d(x, 2)
    return net.decoder(x, levels)


def without_second_relu(block: nn.Layer, _: Callable, x: Tensor) -> Tensor:
    """A pair of convolutions ends with its norm."""
    return block.bn2(block.conv2(F.relu(block.bn1(block.conv1(x)))))


# ---------------------------------------------------------------------------------------------------------------------
# The way up


def joined(by: Callable[[Tensor, Tensor], Tensor], net: Decoder, x: Tensor, levels: list[Tensor]) -> Tensor:
    """What a decoder computes that joins another way."""
    for level in range(5, 0, -1):
        x = by(getattr(net, f"up{level}")(x), levels[level - 1])
        x = getattr(net, f"dec{level}")(x)
    return x


def encoder_in_front(net: Decoder, _: Callable, x: Tensor, levels: list[Tensor]) -> Tensor:
    """The encoder's channels stand before those from below."""
    return joined(lambda below, beside: paddle.concat([beside, below], axis=1), net, x, levels)


def without_skips(net: Decoder, _: Callable, x: Tensor, levels: list[Tensor]) -> Tensor:
    """Zeros are joined where the encoder's levels belong."""
    return joined(lambda below, beside: paddle.concat([below, paddle.zeros_like(beside)], axis=1), net, x, levels)


def shifted_by_a_pixel(conv: nn.Layer, _: Callable, x: Tensor) -> Tensor:
    """`output_padding` of 1, and the first row and column cut off."""
    return F.conv2d_transpose(x, conv.weight, stride=2, output_padding=1)[:, :, 1:, 1:]


def in_groups(conv: nn.Layer, _: Callable, x: Tensor) -> Tensor:
    """The transposed convolution is read as one of two groups, as a converter of the original did."""
    return F.conv2d_transpose(x, conv.weight[:, : conv.weight.shape[1] // 2], stride=2, groups=2)


def kernel_turned_round(conv: nn.Layer, _: Callable, x: Tensor) -> Tensor:
    """The kernel is turned by half a circle, as for a convolution."""
    return F.conv2d_transpose(x, conv.weight.flip([2, 3]), stride=2)


def aligned_corners(up: Up, _: Callable, x: Tensor) -> Tensor:
    """The corners of a bilinear upsampling are aligned."""
    return up.conv(F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True))


def nearest(up: Up, _: Callable, x: Tensor) -> Tensor:
    """Upsampling repeats pixels, where it should interpolate."""
    return up.conv(F.interpolate(x, scale_factor=2, mode="nearest"))


def exchanged_channels(pair: Pair) -> None:
    """A square kernel of a transposed convolution has its two axes of channels exchanged."""
    up = find_layer(pair.candidate, f"{DECODER}.up4.conv")
    up.weight.set_value(up.weight.transpose([1, 0, 2, 3]))


# ---------------------------------------------------------------------------------------------------------------------
# Losses and figures


def dice_of_pixels(_: Callable) -> Callable:
    """Dice sums over the classes: a score of each pixel, as the original's."""

    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        known = (labels != 255).astype(logits.dtype)
        wanted = F.one_hot(labels * known.astype("int64"), logits.shape[1]).transpose([0, 3, 1, 2]).astype(logits.dtype)
        shares = F.softmax(logits, axis=1)
        dice = (2 * (shares * wanted).sum(axis=1) + 1) / ((shares + wanted).sum(axis=1) + 1)
        return 1 - (dice * known).sum() / known.sum()

    return loss


def unknown_as_background(loss: Callable) -> Callable:
    """The filled border counts as background."""
    return lambda logits, labels: loss(logits, paddle.where(labels == 255, paddle.zeros_like(labels), labels))


def mean_over_all_pixels(loss: Callable) -> Callable:
    """The sum over the labeled pixels is divided by the number of all."""
    return lambda logits, labels: loss(logits, labels) * (labels != 255).astype(logits.dtype).mean()


def unknown_in_the_metric(metric: Callable) -> Callable:
    """The filled border counts as background in the figures, too."""
    return lambda scores, labels: metric(scores, np.where(labels == 255, 0, labels))


MUTANTS: tuple[Mutant, ...] = (
    Mutant("poolings round up", "`ceil_mode`: nothing to be seen at sides of 32, and another size at others.",
           "unet_tiny", ("pool.ceil_mode",), setting("backbone.pool", ceil_mode=True)),
    rewritten("last pooling named as the one before", "unet_tiny", BACKBONE, last_pool_named_as_the_one_before,
              "decoder.up5", "backbone"),
    rewritten("levels behind their pooling", "unet_tiny", BACKBONE, skips_behind_the_pool, "decoder.dec5", "backbone"),
    rewritten("poolings average", "unet_tiny", BACKBONE, averaged, "enc2", "backbone"),
    rewritten("no ReLU at the end of a level", "unet_tiny", "backbone.enc3", without_second_relu),
    rewritten("encoder's channels in front", "unet_tiny", DECODER, encoder_in_front, "decoder.dec5", "decoder"),
    rewritten("no levels handed over", "unet_tiny", DECODER, without_skips, "decoder.dec5", "decoder"),
    rewritten("output_padding", "unet_tiny", f"{DECODER}.up3.conv", shifted_by_a_pixel),
    rewritten("transposed convolution in groups", "unet_tiny", f"{DECODER}.up3.conv", in_groups),
    rewritten("transposed kernel turned round", "unet_tiny", f"{DECODER}.up2.conv", kernel_turned_round),
    Mutant("transposed kernel with its channels exchanged", str(exchanged_channels.__doc__), "unet_tiny",
           ("up4.conv.weight",), exchanged_channels),
    rewritten("aligned corners in the decoder", "unet_bilinear", f"{DECODER}.up4", aligned_corners),
    rewritten("nearest for bilinear", "unet_bilinear", f"{DECODER}.up4", nearest),
    Mutant("epsilon of one norm of the decoder", "MXNet's 1e-3.", "unet_tiny", ("decoder.dec2.bn1",),
           changing(f"{DECODER}.dec2.bn1", lambda norm: setattr(norm, "_epsilon", 1e-3))),
    Mutant("Dice of pixels", str(dice_of_pixels.__doc__), "unet_tiny", ("dice",), with_losses(dice_of_pixels, "dice")),
    Mutant("filled border as background", str(unknown_as_background.__doc__), "unet_tiny", ("smoothed",),
           with_losses(unknown_as_background, "smoothed")),
    Mutant("mean over all pixels", str(mean_over_all_pixels.__doc__), "unet_tiny", ("smoothed",),
           with_losses(mean_over_all_pixels, "smoothed")),
    Mutant("filled border in the figures", str(unknown_in_the_metric.__doc__), "unet_tiny",
           ("miou", "pixel_acc", "boundary_f"), with_metric(unknown_in_the_metric)),
    Mutant("mean over images for that over the set", "The two agree where all images are alike.", "unet_tiny",
           ("miou",), with_metric(replaced_figure("miou", "image_miou"))),
)  # fmt: skip
