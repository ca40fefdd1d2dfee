"""Tiny videos and frame folders, made on the spot."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np


def moving_frames(count: int, height: int = 48, width: int = 64, seed: int = 0) -> np.ndarray:
    """A texture that moves: every frame differs, and compresses well. uint8 [count, H, W, 3]."""
    noise = np.random.default_rng(seed).integers(0, 256, (2 * height, 2 * width, 3), dtype=np.uint8)
    texture = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 4), None, 0, 255, cv2.NORM_MINMAX)
    return np.stack([np.roll(texture, (2 * i, 3 * i), (0, 1))[:height, :width] for i in range(count)])


def write_video(
    path: Path, count: int = 40, codec: str = "libx264", container: dict | None = None, seed: int = 0,
    size: tuple[int, int] = (48, 64), **options: str,
) -> Path:  # fmt: skip
    """A video of `moving_frames`; `options` are the encoder's, `container` the muxer's, `size` is height and width."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options=container or {}) as file:
        stream = file.add_stream(codec, rate=25, options=options)
        frames = moving_frames(count, *size, seed=seed)
        stream.width, stream.height, stream.pix_fmt = frames.shape[2], frames.shape[1], "yuv420p"
        for frame in frames:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        file.mux(stream.encode(None))
    return path


def write_frames(
    folder: Path, count: int = 12, template: str = "img_{:05d}.jpg", first: int = 1, seed: int = 0
) -> Path:
    """A folder of `moving_frames` as images."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, frame in enumerate(moving_frames(count, seed=seed)):
        cv2.imwrite(str(folder / template.format(first + i)), cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    return folder


def decode_in_order(path: Path, *, is_kept: bool = False) -> np.ndarray:
    """All frames by plain sequential decoding: what `decode` must agree with. uint8 [count, H, W, 3].

    `is_kept`: no frame's memory is used again for the next, which only shows in what a decoder has left as it was.
    """
    with av.open(f"file:{path}") as file:
        stream = file.streams.best("video") or file.streams.video[0]
        decoder = stream.codec_context
        if decoder is None:
            raise ValueError(f"{path} is in a codec that FFmpeg writes and does not read")
        stream.thread_type = "NONE"
        packets = [packet for packet in file.demux(stream) if packet.size]
        frames = (frame for packet in [*packets, None] for frame in decoder.decode(packet))
        if is_kept:
            frames = iter(list(frames))
        return np.stack([frame.to_ndarray(format="rgb24") for frame in frames])
