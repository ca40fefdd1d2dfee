"""What one video or picture may cost; they refuse a file and change no number of any other."""

from __future__ import annotations

from dataclasses import dataclass

from configs.options import Options, option


@dataclass(frozen=True)
class Limits(Options):
    """Limits that fit a person's own files: a film of hours, frames of 8K."""

    max_video_megabytes: int = option(4096, "largest content of a video: the sum of its packets", at_least=1)
    max_video_frames: int = option(1_000_000, "most frames of a video", at_least=1)
    max_frame_pixels: int = option(36_000_000, "largest frame or picture, width times height", at_least=1)
    max_read_megabytes: int = option(8192, "most memory for the frames of one sample", at_least=1)
    max_decode_seconds: float = option(600.0, "longest decoding of one sample, CPU seconds", above=0)


# Of files from the network: minutes of video, frames of 4K.
STRANGERS = Limits(
    max_video_megabytes=128,
    max_video_frames=40_000,
    max_frame_pixels=9_500_000,
    max_read_megabytes=1024,
    max_decode_seconds=30.0,
)
