"""Sends video files to a server of deploy.serve and prints its answers as predict.py prints its own.

python -m test_tipc.serving_client --url http://127.0.0.1:8866 --video clip.mp4
"""

from __future__ import annotations

import argparse
import json
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from runtime import command
from runtime.errors import UserError


class ServingError(UserError):
    """The server does not answer as it should."""


def main(argv: Sequence[str] | None = None) -> None:
    """Sends each file and prints what the server says of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", required=True, help="where the server listens")
    parser.add_argument("--video", required=True, nargs="+", type=Path, help="video files")
    args = parser.parse_args(argv)
    for video in args.video:
        top = ask(args.url, video)
        if len(args.video) > 1:
            print(video)
        print(f"Top1 class:{top[0]['name']} prob:{top[0]['probability']:.6f}")
        for rank, entry in enumerate(top, start=1):
            print(f"  {rank}. {entry['name']} {entry['probability']:.6f}")
        print(f"top-1 class: {top[0]['label']}\ntop-1 score: {top[0]['probability']:.8f}", flush=True)


def ask(url: str, video: Path) -> list[dict]:
    """The classes that a server names for a file, the likeliest first; raises ServingError if it does not."""
    try:
        request = urllib.request.Request(f"{url}/predict", data=video.read_bytes(), method="POST")
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.load(answer)["top"]
    except urllib.error.HTTPError as error:
        raise ServingError(f"{video}: {error.code} {error.read().decode(errors='replace')}") from error
    except (OSError, ValueError, KeyError) as error:
        raise ServingError(f"{video}: {url} does not answer: {error}") from error


if __name__ == "__main__":
    with command.clear_errors():
        main()
