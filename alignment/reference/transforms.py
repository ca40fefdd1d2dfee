"""From decoded frames to views in PyTorch, every formula written out in double precision.

Frames are uint8 tensors [T, H, W, 3] RGB; a box is (x, y, width, height). What chance decides comes from `rng`, whose
`uniform(low, high)`, `integers(low, high)`, `random()` and `permutation(n)` are called for one number after the other.

Source: mmaction2 `transforms/processing.py`; for the hue OpenCV's documentation of RGB <-> HSV in eight bits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F

Box = tuple[int, int, int, int]


def short_side_size(height: int, width: int, short_side: int) -> tuple[int, int]:
    """(height, width) of an image whose shorter side is scaled to `short_side`."""
    scale = short_side / min(height, width)
    return math.floor(height * scale + 0.5), math.floor(width * scale + 0.5)


def first_size(height: int, width: int, short_side: int, resize_shape: Sequence[int]) -> tuple[int, int]:
    """(height, width) after the first resize: `resize_shape` if there is one, whatever the shape was."""
    if resize_shape:
        return resize_shape[0], resize_shape[1]
    return short_side_size(height, width, short_side)


def resize(frames: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Bilinear, pixels as squares (corners not aligned), no antialiasing; half levels round up."""
    images = frames.permute(0, 3, 1, 2).double()  # [T, 3, H, W]
    resized = F.interpolate(images, size=(height, width), mode="bilinear", align_corners=False, antialias=False)
    return (resized + 0.5).floor().clamp(0, 255).byte().permute(0, 2, 3, 1)


def crop(frames: torch.Tensor, box: Box) -> torch.Tensor:
    """The pixels inside the box."""
    x, y, width, height = box
    return frames.narrow(1, y, height).narrow(2, x, width)


def center_crop_box(height: int, width: int, size: int) -> Box:
    """The square in the middle, nearer to the upper left corner if it cannot be exact."""
    return (width - size) // 2, (height - size) // 2, size, size


def three_crop_boxes(height: int, width: int, size: int) -> list[Box]:
    """The squares at the begin, the end and the middle of the longer side."""
    x, y = (width - size) // 2, (height - size) // 2
    if height > width:
        return [(x, 0, size, size), (x, 2 * y, size, size), (x, y, size, size)]
    return [(0, y, size, size), (2 * x, y, size, size), (x, y, size, size)]


def ten_crop_boxes(height: int, width: int, size: int) -> list[Box]:
    """The squares upper left, upper right, lower left, lower right and in the middle."""
    x, y = (width - size) // 4, (height - size) // 4
    places = [(0, 0), (4 * x, 0), (0, 4 * y), (4 * x, 4 * y), (2 * x, 2 * y)]
    return [(left, top, size, size) for left, top in places]


def random_resized_crop_box(height: int, width: int, rng: Any) -> Box:
    """The first of ten tries that fits: 8 to 100 % of the area, sides 3:4 to 4:3; else the largest centered square."""
    ratios = [math.exp(rng.uniform(math.log(3 / 4), math.log(4 / 3))) for _ in range(10)]
    areas = [rng.uniform(0.08, 1.0) * height * width for _ in range(10)]
    for ratio, area in zip(ratios, areas, strict=True):
        box_width, box_height = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if box_width <= width and box_height <= height:
            x = int(rng.integers(0, width - box_width + 1))
            y = int(rng.integers(0, height - box_height + 1))
            return x, y, box_width, box_height
    return center_crop_box(height, width, min(height, width))


def multi_scale_crop_box(
    height: int, width: int, size: int, scales: Sequence[float], max_gap: int, points: int, rng: Any
) -> Box:
    """One of the allowed pairs of scales of the short side, at one of 5 or 13 fixed places."""
    pairs = []
    for i, vertical in enumerate(scales):
        for j, horizontal in enumerate(scales):
            if abs(i - j) <= max_gap:
                pairs.append((int(min(height, width) * horizontal), int(min(height, width) * vertical)))
    box_width, box_height = pairs[int(rng.integers(0, len(pairs)))]
    box_width = size if abs(box_width - size) < 3 else box_width
    box_height = size if abs(box_height - size) < 3 else box_height
    x, y = (width - box_width) // 4, (height - box_height) // 4
    corners = [(0, 0), (4 * x, 0), (0, 4 * y), (4 * x, 4 * y), (2 * x, 2 * y)]
    sides = [(0, 2 * y), (4 * x, 2 * y), (2 * x, 4 * y), (2 * x, 0)]
    quarters = [(x, y), (3 * x, y), (x, 3 * y), (3 * x, 3 * y)]
    left, top = (corners + sides + quarters)[int(rng.integers(0, points))]
    return left, top, box_width, box_height


def source_box(box: Box, resized: tuple[int, int], source: tuple[int, int]) -> Box:
    """What `box` in frames of size `resized` covers in those of size `source`, (height, width), to whole pixels."""
    x, y, width, height = box
    vertical, horizontal = source[0] / resized[0], source[1] / resized[1]
    left, right = round(x * horizontal), round((x + width) * horizontal)
    top, bottom = round(y * vertical), round((y + height) * vertical)
    return left, top, max(1, right - left), max(1, bottom - top)


def flip(frames: torch.Tensor) -> torch.Tensor:
    """Left and right exchanged."""
    return frames.flip(2)


def flip_label(label: int, pairs: Sequence[tuple[int, int]]) -> int:
    """The label after a flip: the other of its pair, if it is in one."""
    for first, second in pairs:
        if label == first:
            return second
        if label == second:
            return first
    return label


def draw_jitter(strength: float, rng: Any) -> dict[str, Any]:
    """The arguments of `color_jitter` for a strength: three factors about 1, a hue, and their order."""
    low, high = max(0.0, 1 - strength), 1 + strength
    brightness, contrast, saturation = (float(rng.uniform(low, high)) for _ in range(3))
    hue = int(float(rng.uniform(-strength / 5, strength / 5)) * 255)
    order = tuple(int(i) for i in rng.permutation(4))
    return {"brightness": brightness, "contrast": contrast, "saturation": saturation, "hue": hue, "order": order}


def color_jitter(
    frames: torch.Tensor, brightness: float, contrast: float, saturation: float, hue: int, order: Sequence[int]
) -> torch.Tensor:
    """Other colors, frame by frame.

    Args:
        frames: uint8 [T, H, W, 3] RGB.
        brightness: Factor of every value.
        contrast: Factor of the distance to the frame's mean gray.
        saturation: Factor of the distance to the pixel's own gray.
        hue: Added to the hue in steps of two degrees; 0 leaves the image as it is.
        order: The four in the order in which they are applied: 0 is brightness and so on.
    """
    jittered = []
    for frame in frames:
        image = frame.double()
        for step in order:
            if step == 0:
                image = image * brightness
            elif step == 1:
                image = contrast * image + (1 - contrast) * _gray(image).mean()
            elif step == 2:
                image = saturation * image + (1 - saturation) * _gray(image).unsqueeze(-1)
            elif hue != 0:
                hue_levels, saturation_levels, value = _to_hsv(image.clamp(0, 255).floor())
                image = _to_rgb((hue_levels + hue) % 180, saturation_levels, value)
        jittered.append(image.clamp(0, 255).byte())  # cut off, not rounded
    return torch.stack(jittered)


def _gray(image: torch.Tensor) -> torch.Tensor:
    r, g, b = image.unbind(-1)
    return 0.2989 * r + 0.587 * g + 0.114 * b


def _to_hsv(image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Hue in 0..179, saturation and value in 0..255, whole numbers, each [H, W]."""
    r, g, b = image.unbind(-1)
    value, span = image.amax(-1), image.amax(-1) - image.amin(-1)
    divisor = span.clamp(min=1)  # where the span is 0 the numerator is, too
    hue = torch.where(
        value == r,
        30 * (g - b) / divisor,
        torch.where(value == g, 60 + 30 * (b - r) / divisor, 120 + 30 * (r - g) / divisor),
    )
    hue = (hue + 0.5).floor()
    saturation = (255 * span / value.clamp(min=1) + 0.5).floor()
    return torch.where(hue < 0, hue + 180, hue), saturation, value


def _to_rgb(hue: torch.Tensor, saturation: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Levels [H, W, 3], cut off to whole ones, as OpenCV does in eight bits."""
    channels = []
    for offset in (5, 3, 1):
        place = (offset + hue / 30) % 6
        share = torch.minimum(place, 4 - place).clamp(0, 1)
        channels.append(value - value * saturation / 255 * share)
    return torch.stack(channels, -1).floor()


def normalize(frames: torch.Tensor, mean: Sequence[float], std: Sequence[float]) -> torch.Tensor:
    """(frames - mean) / std of each channel, float32 [T, 3, H, W]."""
    values = (frames.double() - torch.tensor(mean).double()) / torch.tensor(std).double()
    return values.permute(0, 3, 1, 2).float()


def draw(
    height: int,
    width: int,
    rng: Any,
    *,
    short_side: int,
    resize_shape: Sequence[int],
    train_crop: str,
    crop_size: int,
    crop_scales: Sequence[float],
    crop_max_gap: int,
    crop_points: int,
    flip: float,
    color_jitter: float,
) -> tuple[Box, bool, dict[str, Any] | None]:
    """What chance decides for a clip of height x width: box in the resized frames, whether to flip, the colors.

    Args:
        height, width: Of the decoded frames.
        rng: The source of chance.
        short_side: Shorter side after the first resize.
        resize_shape: Height and width after it instead, if there are any.
        train_crop: `random_resized`, `multi_scale` or `center`.
        crop_size: Side of the view.
        crop_scales, crop_max_gap, crop_points: See `multi_scale_crop_box`.
        flip: Probability of a flip.
        color_jitter: Its strength; 0 draws none.
    """
    height, width = first_size(height, width, short_side, resize_shape)
    if train_crop == "random_resized":
        box = random_resized_crop_box(height, width, rng)
    elif train_crop == "multi_scale":
        box = multi_scale_crop_box(height, width, crop_size, crop_scales, crop_max_gap, crop_points, rng)
    else:
        box = center_crop_box(height, width, crop_size)
    flipped = float(rng.random()) < flip
    return box, flipped, draw_jitter(color_jitter, rng) if color_jitter else None


def train_view(
    frames: torch.Tensor,
    box: Box,
    flipped: bool,
    jitter: dict[str, Any] | None,
    *,
    short_side: int,
    resize_shape: Sequence[int],
    crop_size: int,
    mean: Sequence[float],
    std: Sequence[float],
    fused_resize: bool = False,
) -> torch.Tensor:
    """The view that `draw` decided, float32 [1, T, 3, crop_size, crop_size].

    Args:
        frames: The clip, uint8 [T, H, W, 3].
        box, flipped, jitter: What `draw` gave.
        short_side, resize_shape, crop_size: See `draw`.
        mean, std: Of R, G, B in 0..255.
        fused_resize: Crop from the decoded frames and resize once.
    """
    view = resize(_cropped(frames, box, short_side, resize_shape, fused_resize), crop_size, crop_size)
    if flipped:
        view = flip(view)
    if jitter is not None:
        view = color_jitter(view, **jitter)
    return normalize(view, mean, std).unsqueeze(0)


def eval_boxes(height: int, width: int, crops: str, size: int) -> list[tuple[Box, bool]]:
    """Boxes in resized frames, and whether they are flipped: one for `center`, three for `three`, ten for `ten`."""
    if crops == "ten":
        return [(box, flipped) for box in ten_crop_boxes(height, width, size) for flipped in (False, True)]
    if crops == "three":
        return [(box, False) for box in three_crop_boxes(height, width, size)]
    return [(center_crop_box(height, width, size), False)]


def eval_views(
    clips: Sequence[torch.Tensor],
    *,
    short_side: int,
    resize_shape: Sequence[int],
    crops: str,
    size: int,
    **options: Any,
) -> torch.Tensor:
    """All crops of all clips, float32 [V, T, 3, size, size]: first every clip of the first crop.

    Args:
        clips: Each uint8 [T, H, W, 3].
        short_side, resize_shape, options: See `train_view`.
        crops, size: See `eval_boxes`.
    """
    height, width = first_size(clips[0].shape[1], clips[0].shape[2], short_side, resize_shape)
    options |= {"short_side": short_side, "resize_shape": resize_shape}
    views = [
        train_view(clip, box, flipped, None, crop_size=size, **options)
        for box, flipped in eval_boxes(height, width, crops, size)
        for clip in clips
    ]
    return torch.cat(views)


def _cropped(
    frames: torch.Tensor, box: Box, short_side: int, resize_shape: Sequence[int], fused_resize: bool
) -> torch.Tensor:
    source = (frames.shape[1], frames.shape[2])
    resized = first_size(*source, short_side, resize_shape)
    if fused_resize:
        return crop(frames, source_box(box, resized, source))
    return crop(resize(frames, *resized), box)
