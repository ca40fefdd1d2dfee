"""Other programs that do the work of ours, for `tools.bench_machine`; each is a program of one file."""

from __future__ import annotations

import argparse


def add_flags(parser: argparse.ArgumentParser, *modes: str) -> None:
    """Adds what every one of them takes.

    Args:
        parser: Of the program.
        modes: What it can do: `train` for one epoch, `val` with one view, `test` with 30, `predict`.
    """
    parser.add_argument("mode", choices=modes, help="what to do")
    parser.add_argument("--dataset_root", required=True, help="folder of the videos")
    parser.add_argument("--list", required=True, help="list file")
    parser.add_argument("--pretrained", required=True, help="weights in the layout of the program")
    parser.add_argument("--batch_size", type=int, default=1, help="videos in a pass")
    parser.add_argument("--num_workers", type=int, default=2, help="processes that read")
    parser.add_argument("--threads", type=int, default=1, help="threads of an operation")
