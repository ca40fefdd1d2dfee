"""Makes the beginning of a video, or of a folder of frames, small and H.264, as browsers and notebooks play it.

python -m tools.preview VIDEO preview.mp4
"""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path

from runtime import command
from runtime.owned import Owned

SHORT_SIDE, SECONDS = 240, 10
FOLDER_RATE = Fraction(25)  # frames a second, of a folder, and of a file which says nothing
MOST_RATE = Fraction(100)  # which broken files exceed
CHUNK = 16  # frames in memory at a time


def main(argv: list[str] | None = None) -> None:
    """Reads one file and writes another."""
    parser = command.parser(__doc__ or "")
    parser.add_argument("video", type=Path, help="video file or folder of frames")
    parser.add_argument("output", type=Path, help=".mp4 to write; one that this command wrote is replaced")
    args = parser.parse_args(argv)
    content = encode(args.video)
    with Owned(args.output.parent).locked(f"another process writes into {args.output.parent}"):
        Owned(args.output.parent).write({args.output.name: content})
    command.say(f"{args.output}: {len(content) / 2**10:.0f} KB")


def encode(video: Path) -> bytes:
    """The .mp4; both sides even, as H.264's usual pixel format asks for."""
    import av

    from datasets.decode import open_source
    from datasets.encode import encode_frames
    from datasets.transforms import resize, short_side_size

    target = io.BytesIO()
    with open_source(str(video)) as source, av.open(target, "w", format="mp4") as container:
        rate = min(Fraction(source.average_rate or FOLDER_RATE), MOST_RATE)
        count = min(source.num_frames, max(int(rate * SECONDS), 1))
        height, width = source.read([0]).shape[1:3]
        sides = short_side_size(height, width, min(SHORT_SIDE, height, width))
        height, width = (max(side // 2 * 2, 2) for side in sides)
        chunks = (source.read(range(start, min(start + CHUNK, count))) for start in range(0, count, CHUNK))
        frames = (frame for chunk in chunks for frame in resize(chunk, height, width))  # each [H, W, 3]
        encode_frames(container, frames, "libx264", rate, {"crf": "26"})
    return target.getvalue()


if __name__ == "__main__":
    with command.clear_errors():
        main()
