"""The embedded data set: small real video files whose eight classes differ in nothing but motion.

A scene is a textured object on a textured background. It owns four tracks: where the object is, how large it is, how it
is turned, and which of three colors it shows. The class decides which track runs and in which direction; the other
three stand still at a moment drawn from the same tracks. Two consequences:

* Averaged over the moments of a video, a single frame has the same distribution in all eight classes.
* The second class of a pair plays the scenes of the first backwards. In `val` this holds file by file: the file of one
  class holds exactly the frames of the file of the same name in its partner, in reverse. Each frame is coded on its own
  at a constant quantizer, so it also holds bit by bit after decoding. A model that averages over frames gives both the
  same scores and is right on at most one of the two; only a model of time can pass 50 %.

The number of frames is odd because then the frames that a test takes from the middle (dense, or one frame of each
segment) are the same in a file and in its partner.

    python -m datasets.demo ROOT

writes the set with its default numbers, as folders that `datasets.annotation` reads.
"""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from datasets.embedded import check_numbers, write_once
from datasets.encode import encode_frames
from runtime import command

# Each motion: the track that runs, the class that plays it forwards, the class that plays it backwards.
MOTIONS: tuple[tuple[str, str, str], ...] = (
    ("size", "going_nearer", "going_farther"),
    ("x", "moving_right", "moving_left"),
    ("color", "showing_red_green_blue", "showing_blue_green_red"),
    ("angle", "turning_clockwise", "turning_counterclockwise"),
)
CLASS_NAMES: tuple[str, ...] = tuple(sorted(name for _, *names in MOTIONS for name in names))

FORMAT = 2  # raise it whenever the same parameters come to give other files
FRAME_RATE = 10
SPRITE_SIZE = 48
COLORS = ((235, 100, 90), (100, 225, 100), (110, 130, 240))  # lighter than the backgrounds
SHAPES: dict[str, tuple[tuple[float, float], ...]] = {  # corners in -1..1; all are long, so that a turn shows
    "bar": ((1, 0.28), (-1, 0.28), (-1, -0.28), (1, -0.28)),
    "bone": ((1, 0.4), (0.6, 0.4), (0.4, 0.2), (-0.4, 0.2), (-0.6, 0.4), (-1, 0.4),
             (-1, -0.4), (-0.6, -0.4), (-0.4, -0.2), (0.4, -0.2), (0.6, -0.4), (1, -0.4)),
    "diamond": ((1, 0), (0, 0.42), (-1, 0), (0, -0.42)),
    "lens": ((1, 0), (0.6, 0.28), (0, 0.38), (-0.6, 0.28), (-1, 0), (-0.6, -0.28), (0, -0.38), (0.6, -0.28)),
}  # fmt: skip


def write_demo_dataset(
    root: str | Path,
    *,
    train_per_class: int = 120,
    val_per_class: int = 20,
    num_frames: int = 17,
    size: int = 64,
    seed: int = 0,
) -> Path:
    """Writes `root/{train,val}/<class>/scene_<i>.mp4` and `root/classes.txt`, unless this very set is there already.

    The set appears at once or not at all: it is written beside `root` and moved. The same arguments give the same
    bytes with the same version of the encoder.

    Args:
        train_per_class: Videos of each class in `train`, all of different scenes.
        val_per_class: Videos of each class in `val`; the two classes of a pair share their scenes.
        num_frames: Frames of each video, odd.
        size: Width and height of the frames in pixels, even.
        seed: Seed of every scene.

    Returns:
        `root` as a path.

    Raises:
        DataError: A number is out of its range, or `root` holds something else than this set.
    """
    _check(train_per_class, val_per_class, num_frames, size, seed)
    marker = {
        "format": FORMAT, "train_per_class": train_per_class, "val_per_class": val_per_class,
        "num_frames": num_frames, "size": size, "seed": seed,
    }  # fmt: skip

    def write(folder: Path) -> None:
        _write_split(folder / "train", 0, train_per_class, num_frames, size, seed)
        _write_split(folder / "val", 1, val_per_class, num_frames, size, seed)
        (folder / "classes.txt").write_text("".join(f"{name}\n" for name in CLASS_NAMES), encoding="utf-8")

    return write_once(Path(root), marker, write)


def draw_video(rng: np.random.Generator, track: str, num_frames: int, size: int) -> np.ndarray:
    """Draws the video of a random scene in which one track runs forwards.

    Args:
        rng: Source of everything random in the scene.
        track: `x`, `size`, `angle` or `color`.
        num_frames: Frames T of the video.
        size: Height H and width W of the frames in pixels.

    Returns:
        RGB frames, uint8 [T, H, W, 3].
    """
    background = _background(rng, size)
    alpha, shading = _sprite(rng)
    palette = np.clip(np.array(COLORS) + rng.uniform(-25, 25, (3, 3)), 0, 255).astype(np.float32)
    states = _states(rng, track, num_frames, size)
    y = size * rng.uniform(0.38, 0.62)
    frames = np.empty((num_frames, size, size, 3), np.uint8)
    for t in range(num_frames):
        place = _placement(states["angle"][t], states["size"][t], (states["x"][t], y))
        mask = cv2.warpAffine(alpha, place, (size, size))[:, :, None]  # [H, W, 1]
        paint = cv2.warpAffine(shading, place, (size, size))[:, :, None] * palette[int(states["color"][t]) % 3]
        frames[t] = np.clip(np.rint(background + mask * (paint - background)), 0, 255).astype(np.uint8)
    return frames


def encode_video(path: Path, frames: np.ndarray) -> None:
    """Writes frames as an .mp4 in which each frame is coded on its own, at a constant quantizer.

    Hence the decoded picture is a function of the frame alone, not of its place in the video.

    Args:
        path: The file to write.
        frames: RGB, uint8 [T, H, W, 3]; H and W even.
    """
    if "libx264" in av.codecs_available:
        codec, options = "libx264", {"preset": "veryfast", "qp": "20", "g": "1", "threads": "1"}
    else:
        codec, options = "mpeg4", {"qmin": "3", "qmax": "3", "g": "1", "threads": "1"}
    with av.open(str(path), mode="w", options={"fflags": "+bitexact"}) as container:
        encode_frames(container, frames, codec, Fraction(FRAME_RATE), options)


def _check(train_per_class: int, val_per_class: int, num_frames: int, size: int, seed: int) -> None:
    rules = (
        ("train_per_class", train_per_class, train_per_class >= 1, "at least 1"),
        ("val_per_class", val_per_class, val_per_class >= 1, "at least 1"),
        ("num_frames", num_frames, num_frames >= 3 and num_frames % 2 == 1, "odd and at least 3"),
        ("size", size, size >= 32 and size % 2 == 0, "even and at least 32"),
        ("seed", seed, seed >= 0, "0 or more"),
    )
    check_numbers(rules)


def _write_split(folder: Path, split: int, per_class: int, num_frames: int, size: int, seed: int) -> None:
    """Writes one split; train (0) draws new scenes for the backward class, val (1) takes those of the forward class."""
    for motion, (track, *names) in enumerate(MOTIONS):
        for backward, name in enumerate(names):
            (folder / name).mkdir(parents=True)
            scenes = 0 if split == 1 else backward
            for i in range(per_class):
                frames = draw_video(np.random.default_rng((seed, split, motion, scenes, i)), track, num_frames, size)
                encode_video(folder / name / f"scene_{i:04}.mp4", frames[::-1] if backward else frames)


def _states(rng: np.random.Generator, running: str, num_frames: int, size: int) -> dict[str, np.ndarray]:
    """The tracks x (pixels), size (pixels), angle (radians) and color (thirds of a cycle), each float64 [T].

    One runs from moment -0.5 to 0.5. The others stand at one of the T moments, so that the values met in a frame are
    distributed in the same way whether a track runs or not.
    """
    moments = np.linspace(-0.5, 0.5, num_frames)
    times = {name: np.full(num_frames, moments[rng.integers(num_frames)]) for name in ("x", "size", "angle", "color")}
    times[running] = moments
    return {
        "x": size * (rng.uniform(0.42, 0.58) + rng.uniform(0.4, 0.55) * times["x"]),
        "size": size * rng.uniform(0.52, 0.6) * rng.uniform(2.0, 2.4) ** times["size"],
        "angle": math.pi / 2 + rng.uniform(-0.35, 0.35) + rng.uniform(2.2, 2.6) * times["angle"],
        "color": rng.uniform(3, 6) + rng.uniform(4.5, 6.0) * times["color"],
    }


def _background(rng: np.random.Generator, size: int) -> np.ndarray:
    """Smooth colored noise of two octaves, float32 [size, size, 3] in 0..255."""
    noise = np.zeros((size, size, 3), np.float32)
    for cells, height in ((3, 22.0), (9, 15.0)):
        grid = rng.uniform(-height, height, (cells, cells, 3)).astype(np.float32)
        noise += cv2.resize(grid, (size, size), interpolation=cv2.INTER_CUBIC)
    return np.clip(rng.uniform(40, 75) + noise, 0, 255)


def _sprite(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The object's mask in 0..1 and its texture, a factor of brightness; both float32 [SPRITE_SIZE, SPRITE_SIZE]."""
    center = (SPRITE_SIZE - 1) / 2
    corners = center + (center - 1) * np.array(list(SHAPES.values())[rng.integers(len(SHAPES))])
    mask = np.zeros((SPRITE_SIZE, SPRITE_SIZE), np.uint8)
    cv2.fillPoly(mask, [np.rint(corners * 16).astype(np.int32)], 255, lineType=cv2.LINE_AA, shift=4)
    x, y = np.meshgrid(np.linspace(-1, 1, SPRITE_SIZE), np.linspace(-1, 1, SPRITE_SIZE))
    frequency, phase = rng.uniform(3, 8, 2), rng.uniform(0, 2 * math.pi, 2)
    wave = np.sin(frequency[0] * x + phase[0]) * np.sin(frequency[1] * y + phase[1])
    return mask.astype(np.float32) / 255, (0.85 + 0.2 * wave).astype(np.float32)


def _placement(angle: float, diameter: float, center: tuple[float, float]) -> np.ndarray:
    """The affine map, float64 [2, 3], that puts the sprite's center at `center`; a rising angle turns clockwise."""
    scale, middle = diameter / SPRITE_SIZE, (SPRITE_SIZE - 1) / 2
    turn = scale * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    return np.column_stack((turn, np.array(center) - turn @ (middle, middle)))


def main() -> None:
    """The command line: writes the default set to the folder it is given."""
    parser = command.parser("Write ActionAlign's embedded data set.")
    parser.add_argument("root", help="folder to write; must be new, empty, or hold this very set")
    command.say(str(write_demo_dataset(parser.parse_args().root)))


if __name__ == "__main__":
    with command.clear_errors():
        main()
