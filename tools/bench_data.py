"""How fast clips are read: our decoder, transforms and loader against the other routes that Python has, in turns.

    python -m tools.bench_data [--videos FILE ...] [--rounds 5] [--json FILE]

Without --videos it writes its own: 320x240, 25 frames a second, 7 seconds, textured and moving, as H.264 with one group
of pictures and as MPEG-4 with short ones, and the first as a folder of JPEG frames. Each route reads the same 8 frames,
one from each eighth of the video, with one thread; the figure is the smallest process CPU time of a clip. The loaders
are compared by wall time, which other work on the machine disturbs: quote ratios of one run only.
"""

from __future__ import annotations

import functools
import json
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from configs import Recipe
from datasets import Annotation, ClipLoader, Entry, VideoDataset
from datasets.decode import open_source
from datasets.sampling import mit_val
from datasets.transforms import TrainTransform
from runtime import command
from tools.measure import header, machine

CLIP = 8
FRAMES, HEIGHT, WIDTH, RATE = 175, 240, 320, 25
RECIPE = Recipe.of(model="tsn_r50", num_segments=CLIP, clip_len=1, frame_interval=1, sampling="mit", test_clips=1)

Reader = Callable[[str, np.ndarray], np.ndarray]  # path, rising indices -> uint8 [len, H, W, 3] RGB


def main(argv: list[str] | None = None) -> None:
    """Prints the three tables."""
    parser = command.parser(__doc__)
    parser.add_argument("--videos", nargs="+", default=[], help="video files or folders of JPEG frames of your own")
    parser.add_argument("--rounds", type=command.positive, default=5)
    parser.add_argument("--json", type=Path, help="also write the figures there")
    args = parser.parse_args(argv)
    cv2.setNumThreads(0)
    with tempfile.TemporaryDirectory(prefix="bench-data-") as folder:
        paths = [Path(path) for path in args.videos] or write_media(Path(folder))
        report = {
            "title": "Reading clips", "rounds": args.rounds, "machine": machine(),
            "decode": {path.name: decode_times(path, args.rounds) for path in paths},
            "augment": augment_times(args.rounds),
            "loader": {path.name: loader_rates(path, args.rounds) for path in paths},
        }  # fmt: skip
    command.say(*header(report), "", *tables(report))
    if args.json:
        args.json.write_text(json.dumps(report, indent=2) + "\n")


# ---------------------------------------------------------------------------------------------------------------------
# What is read


def write_media(folder: Path) -> list[Path]:
    """Writes the three kinds of media and returns their paths."""
    h264, mpeg4, jpeg = folder / "h264.mp4", folder / "mpeg4.avi", folder / "jpeg"
    write_h264(h264)
    _encode(mpeg4, "mpeg4", {"g": "25", "qscale": "4"})
    jpeg.mkdir()
    for index, frame in enumerate(_frames(), start=1):
        cv2.imwrite(str(jpeg / f"img_{index:05}.jpg"), frame[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])
    return [h264, mpeg4, jpeg]


def write_h264(path: Path) -> None:
    """Writes the video of one group of pictures."""
    _encode(path, "libx264", {"crf": "23", "g": "250"})


def _encode(path: Path, codec: str, options: dict[str, str]) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(RATE), options=options)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for frame in _frames():
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def _frames() -> Iterator[np.ndarray]:
    """uint8 [HEIGHT, WIDTH, 3]: a smooth texture that wanders under a little noise."""
    rng = np.random.default_rng(0)
    texture = cv2.GaussianBlur(rng.integers(0, 256, (2 * HEIGHT, 2 * WIDTH, 3), np.uint8), (0, 0), 4) * 3
    for index in range(FRAMES):
        top, left = index, index * 3 // 2
        noise = rng.integers(0, 6, (HEIGHT, WIDTH, 3), np.uint8)
        yield np.ascontiguousarray(texture[top : top + HEIGHT, left : left + WIDTH] // 2 + noise)


# ---------------------------------------------------------------------------------------------------------------------
# Decoding


def read_ours(path: str, indices: np.ndarray) -> np.ndarray:
    """The route that ships."""
    with open_source(path) as source:
        return source.read(indices)


def read_cv2(path: str, indices: np.ndarray) -> np.ndarray:
    """OpenCV: grab every frame, retrieve those that are wanted."""
    capture, wanted, frames = cv2.VideoCapture(path), set(indices.tolist()), []
    for index in range(int(indices[-1]) + 1):
        capture.grab()
        if index in wanted:
            frames.append(cv2.cvtColor(capture.retrieve()[1], cv2.COLOR_BGR2RGB))
    return np.stack(frames)


def read_av(path: str, indices: np.ndarray) -> np.ndarray:
    """PyAV: decode from the start, convert those that are wanted."""
    wanted, frames = set(indices.tolist()), []
    with av.open(path) as container:
        container.streams.video[0].thread_count = 1
        for index, frame in enumerate(container.decode(video=0)):
            if index in wanted:
                frames.append(frame.to_ndarray(format="rgb24"))
            if len(frames) == len(wanted):
                break
    return np.stack(frames)


def read_decord(path: str, indices: np.ndarray) -> np.ndarray:
    """decord: its batch reader."""
    import decord

    return decord.VideoReader(path, num_threads=1).get_batch(indices).asnumpy()


def read_cv2_images(path: str, indices: np.ndarray) -> np.ndarray:
    """OpenCV's JPEG decoder on a folder of frames."""
    names = sorted(Path(path).iterdir())
    return np.stack([np.asarray(cv2.imread(str(names[index]), cv2.IMREAD_COLOR_RGB)) for index in indices])


def readers_for(path: Path) -> dict[str, Reader]:
    """The routes that can read a path, ours first."""
    if path.is_dir():
        return {"ours": read_ours, "OpenCV": read_cv2_images}
    return {"ours": read_ours, "OpenCV sequential": read_cv2, "PyAV sequential": read_av, "decord": read_decord}


def decode_times(path: Path, rounds: int) -> dict[str, float | None]:
    """Smallest CPU milliseconds of a clip for each route; None for a route that reads other frames than most.

    Raises:
        RuntimeError: It is ours that reads other frames.
    """
    with open_source(str(path)) as source:
        indices = mit_val(source.num_frames, CLIP)
    readers = readers_for(path)
    frames = {name: read(str(path), indices).astype(int) for name, read in readers.items()}
    usual = np.median(np.stack(list(frames.values())), axis=0)
    agree = {name: read for name, read in readers.items() if np.abs(frames[name] - usual).mean() < 1}
    if "ours" not in agree:
        raise RuntimeError(f"our decoder reads other frames of {path} than the other routes do")
    times = in_turns({name: functools.partial(read, str(path), indices) for name, read in agree.items()}, rounds)
    return {name: times.get(name) for name in readers}


def in_turns(routes: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Smallest CPU milliseconds of each route, which take turns."""
    best = dict.fromkeys(routes, float("inf"))
    for _ in range(rounds):
        for name, route in routes.items():
            started = time.process_time()
            route()
            best[name] = min(best[name], (time.process_time() - started) * 1000)
    return best


# ---------------------------------------------------------------------------------------------------------------------
# Transforms and loaders


def augment_times(rounds: int) -> dict[str, float]:
    """Smallest CPU milliseconds of the training transform of a clip: exact, and fused into one resize."""
    frames = np.stack([frame for frame, _ in zip(_frames(), range(CLIP), strict=False)])
    out = np.empty((CLIP, 3, RECIPE.pixels.crop_size, RECIPE.pixels.crop_size), np.float32)
    transforms = {
        "exact": TrainTransform(RECIPE), "fused": TrainTransform(RECIPE.with_(fused_resize=True)),
    }  # fmt: skip
    draw = transforms["exact"].draw(HEIGHT, WIDTH, np.random.default_rng(0))
    return in_turns({name: functools.partial(t.apply, frames, draw, out) for name, t in transforms.items()}, 4 * rounds)


def loader_rates(path: Path, rounds: int, samples: int = 32, batch: int = 8) -> dict[str, float]:
    """Largest training clips per second of wall time: our loader and PyTorch's over the same dataset."""
    import torch.utils.data

    dataset = VideoDataset(Annotation((Entry(str(path), 0),) * samples, ("any",), str(path)), RECIPE, "train")
    rates: dict[str, float] = {}
    for workers in (0, 1, 2):
        with ClipLoader(dataset, batch, num_workers=workers) as ours:
            theirs = torch.utils.data.DataLoader(
                Samples(dataset), batch, num_workers=workers, persistent_workers=workers > 0
            )
            epochs: dict[str, Callable[[], Iterable]] = {
                f"ours, {workers} workers": functools.partial(ours.epoch, 0),
                f"torch, {workers} workers": functools.partial(iter, theirs),
            }
            for epoch in epochs.values():  # starts the workers
                _drain(epoch())
            for _ in range(rounds):
                for name, epoch in epochs.items():
                    started = time.perf_counter()
                    _drain(epoch())
                    rates[name] = max(rates.get(name, 0.0), samples / (time.perf_counter() - started))
    return rates


class Samples:
    """A dataset as PyTorch's loader wants it."""

    def __init__(self, dataset: VideoDataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return self.dataset.load(index)


def _drain(batches: Iterable) -> None:
    for _ in batches:
        pass


# ---------------------------------------------------------------------------------------------------------------------
# The tables


def tables(report: dict) -> list[str]:
    """Markdown lines."""
    lines = []
    for name, times in report["decode"].items():
        fastest = min(ms for ms in times.values() if ms)
        lines += [f"| {name}: {CLIP} frames | CPU ms per clip | ratio to the fastest |", "|---|---|---|"]
        for route, ms in times.items():
            lines.append(f"| {route} | {ms:.1f} | {fastest / ms:.2f} |" if ms else f"| {route} | other frames | - |")
        lines.append("")
    lines += ["| training transform | CPU ms per clip |", "|---|---|"]
    lines += [f"| {name} | {ms:.2f} |" for name, ms in report["augment"].items()]
    for name, rates in report["loader"].items():
        lines += ["", f"| {name}: loader | clips per second |", "|---|---|"]
        lines += [f"| {route} | {rate:.1f} |" for route, rate in rates.items()]
    return lines


if __name__ == "__main__":
    with command.clear_errors():
        main()
