"""Sends video files to a server of deploy.serve and prints its answers as predict.py prints its own.

python -m test_tipc.serving_client --url http://127.0.0.1:8866 --video clip.mp4
"""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

from runtime import command
from runtime.errors import UserError
from runtime.records import parse_record


class Entry(TypedDict):
    """What the server says of one class."""

    name: str
    label: int
    probability: float


class Answer(TypedDict):
    """What the server says of one video."""

    top: list[Entry]


class ServingError(UserError):
    """The server does not answer as it should."""


def main(argv: Sequence[str] | None = None) -> None:
    """Sends each file and prints what the server says of it."""
    parser = command.parser(__doc__)
    parser.add_argument("--url", required=True, help="where the server listens")
    parser.add_argument("--video", required=True, nargs="+", type=Path, help="video files")
    args = parser.parse_args(argv)
    for video in args.video:
        top = ask(args.url, video)
        if len(args.video) > 1:
            command.say(str(video))
        command.say(
            f"Top1 class:{top[0]['name']} prob:{top[0]['probability']:.6f}",
            *(f"  {rank}. {entry['name']} {entry['probability']:.6f}" for rank, entry in enumerate(top, start=1)),
            f"top-1 class: {top[0]['label']}",
            f"top-1 score: {top[0]['probability']:.8f}",
        )


def ask(url: str, video: Path) -> list[Entry]:
    """The classes that a server names for a file, the likeliest first; raises ServingError if it does not."""
    try:
        request = urllib.request.Request(f"{url}/predict", data=video.read_bytes(), method="POST")
        with urllib.request.urlopen(request, timeout=120) as answer:
            said: Answer = parse_record(answer.read(), Answer)
            return said["top"]
    except urllib.error.HTTPError as error:
        raise ServingError(f"{video}: {error.code} {error.read().decode(errors='replace')}") from error
    except (OSError, ValueError) as error:
        raise ServingError(f"{video}: {url} does not answer: {error}") from error


if __name__ == "__main__":
    with command.clear_errors():
        main()
