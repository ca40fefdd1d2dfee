"""The embedded data set for masks: drawn people, each a picture and the mask of the person in it.

A person is a head with hair, a neck and shoulders, in colors of its own, turned a little, before a background that has
the same colors in other shapes: discs and boxes stand around so that neither a color nor a place tells. Pictures are
upright, lying or square, so that each way of filling a square occurs.

    python -m datasets.figures ROOT

writes the set with its default numbers: `{train,val}/images/*.jpg` and `{train,val}/masks/*.png`.
"""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np

from datasets import pictures
from datasets.embedded import check_numbers, write_once
from datasets.masks import IMAGES, MASKS
from runtime import command

FORMAT = 1
QUALITY = 92  # of the JPEG files
RATIOS = ((3, 4), (1, 1), (4, 3), (9, 16))  # width : height
FINE = 4  # drawn so many times as large, and averaged
HALF = 128  # of 255: more of a pixel than that makes it the person's


def write_figures(root: str | Path, *, train: int = 240, val: int = 40, size: int = 96, seed: int = 0) -> Path:
    """Writes the set to `root`, see `embedded.write_once`. The same arguments give the same pictures.

    Args:
        root: New or empty.
        train, val: Pictures of each subset; no two show the same person.
        size: Long side of the pictures, pixels.
        seed: Of all that is drawn.

    Returns:
        `root` as a path.

    Raises:
        DataError: A number is out of its range, or `root` holds something else.
    """
    counts = {"train": train, "val": val}
    check_numbers(
        [(name, count, count >= 1, "at least 1") for name, count in counts.items()]
        + [("size", size, size >= 32, "at least 32"), ("seed", seed, seed >= 0, "0 or more")]
    )

    def write(folder: Path) -> None:
        for split, (subset, count) in enumerate(counts.items()):
            for name in (IMAGES, MASKS):
                (folder / subset / name).mkdir(parents=True)
            for i in range(count):
                image, mask = draw_figure(np.random.default_rng((seed, split, i)), size)
                photograph = pictures.encode(image, ".jpg", (cv2.IMWRITE_JPEG_QUALITY, QUALITY))
                (folder / subset / IMAGES / f"{i:04}.jpg").write_bytes(photograph)
                (folder / subset / MASKS / f"{i:04}.png").write_bytes(pictures.encode(mask * np.uint8(255), ".png"))

    return write_once(Path(root), {"format": FORMAT, **counts, "size": size, "seed": seed}, write)


def draw_figure(rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    """A picture uint8 [H, W, 3] RGB whose long side is `size`, and its mask uint8 [H, W] of 0 and 1."""
    across, down = RATIOS[rng.integers(len(RATIOS))]
    height, width = (max(8, round(size * side / max(across, down))) for side in (down, across))
    canvas = _background(rng, height * FINE, width * FINE)
    mask = np.zeros(canvas.shape[:2], np.uint8)
    _draw_person(rng, canvas, mask)
    canvas += rng.normal(0, 6, canvas.shape).astype(np.float32)
    image = cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA)
    covered = cv2.resize(mask, (width, height), interpolation=cv2.INTER_AREA)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8), (covered >= HALF).astype(np.uint8)


def _background(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Smooth noise with discs and boxes in it, float32 [height, width, 3]."""
    grid = rng.uniform(20, 235, (4, 4, 3)).astype(np.float32)
    canvas = cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
    for _ in range(int(rng.integers(3, 9))):
        color, center = rng.uniform(0, 255, 3).tolist(), (rng.uniform(0, 1, 2) * (width, height)).astype(int).tolist()
        reach = int(rng.uniform(0.04, 0.16) * min(height, width))
        if rng.random() < 0.5:
            cv2.circle(canvas, center, reach, color, -1)
        else:
            cv2.rectangle(canvas, (center[0] - reach, center[1] - reach), (center[0] + reach, center[1] + 2 * reach),
                          color, -1)  # fmt: skip
    return canvas


def _draw_person(rng: np.random.Generator, canvas: np.ndarray, mask: np.ndarray) -> None:
    """Shoulders, neck, head and hair, cut off by the lower edge; the mask has 255 where they are."""
    height, width = mask.shape
    head = rng.uniform(0.13, 0.2) * min(height, width)
    x, y = width * rng.uniform(0.35, 0.65), height * rng.uniform(0.28, 0.42)
    lean = rng.uniform(-0.2, 0.2)
    skin, cloth, hair = (rng.uniform(low, high, 3) for low, high in ((90, 230), (0, 255), (0, 120)))
    skin[1:] *= (0.82, 0.7)  # warm

    def at(right: float, down: float) -> tuple[float, float]:
        """A point, in radii of the head from its middle, turned by how the person leans."""
        return (
            x + head * (right * math.cos(lean) - down * math.sin(lean)),
            y + head * (right * math.sin(lean) + down * math.cos(lean)),
        )

    shoulder, floor = rng.uniform(2.0, 2.9), (height - y) / head + 4
    outline = [(-0.4, 0.8), (-0.5, 1.4), (-shoulder, 2.1), (-shoulder - 0.3, floor), (shoulder + 0.3, floor)]
    outline += [(shoulder, 2.1), (0.5, 1.4), (0.4, 0.8)]
    body = np.rint([at(*point) for point in outline]).astype(np.int32)
    neck = np.rint([at(*point) for point in ((-0.4, 0.5), (-0.45, 1.6), (0.45, 1.6), (0.4, 0.5))]).astype(np.int32)
    for target, colors in ((canvas, (cloth, skin, hair, skin)), (mask, (np.full(3, 255.0),) * 4)):
        paint = [color.tolist() if target.ndim == 3 else 255 for color in colors]
        cv2.fillPoly(target, [body], paint[0])
        cv2.fillPoly(target, [neck], paint[1])
        degrees = math.degrees(lean)
        for part, right, down, axes in ((2, 0.0, -0.18, (0.92, 1.12)), (3, 0.0, 0.08, (0.76, 1.0))):
            center = tuple(round(value) for value in at(right, down))
            cv2.ellipse(target, center, tuple(round(head * a) for a in axes), degrees, 0, 360, paint[part], -1)


def main() -> None:
    """The command line: writes the default set to the folder it is given."""
    parser = command.parser("Write ActionAlign's embedded data set of masks.")
    parser.add_argument("root", help="folder to write; must be new, empty, or hold this very set")
    command.say(str(write_figures(parser.parse_args().root)))


if __name__ == "__main__":
    with command.clear_errors():
        main()
