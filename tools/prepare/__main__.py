"""Prepare a data set as its site gives it, or your own class folders, and look at what comes out.

    python -m tools.prepare ucf101 --source downloads --root data/ucf101

Run it again to go on after an interruption. docs/en/prepare.md names the files of each site.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from configs.cli import add_limit_flags, add_options, limits_of, options_of
from runtime import command
from runtime.errors import UserError
from tools.prepare import preflight, preparation
from tools.prepare.mask_release import MaskRelease
from tools.prepare.releases import RELEASES
from tools.prepare.settings import Lists, Media, Settings, Unpacking


def main(arguments: Sequence[str] | None = None) -> None:
    """Prepares, unless --check is given, and checks."""
    parser = command.parser(__doc__ or "", "python -m tools.prepare NAME --source PATH ... --root DIR [flags]")
    parser.add_argument("name", choices=tuple(RELEASES), metavar="NAME", help=f"one of {', '.join(RELEASES)}")
    parser.add_argument(
        "--source", nargs="+", default=[], metavar="PATH", help="folders and files of the site, unpacked or not"
    )
    parser.add_argument("--root", required=True, help="folder of the data set")
    parser.add_argument("--check", action="store_true", help="only look at what has been prepared")
    parser.add_argument(
        "--decode", choices=("sample", "all"), default="sample",
        help="whether the check decodes a sample of each list, or all (then near duplicates are looked for, too)",
    )  # fmt: skip
    parser.add_argument(
        "--workers", type=command.positive, default=os.cpu_count() or 1, help="threads that unpack and decode"
    )
    add_options(parser.add_argument_group("media"), Media())
    add_options(parser.add_argument_group("lists"), Lists())
    add_options(parser.add_argument_group("archives", "What is beyond them is refused."), Unpacking())
    add_limit_flags(parser)
    args = parser.parse_args(arguments)
    if "" in (*args.source, args.root):
        raise UserError("--source and --root must be names, not empty")
    if bool(args.source) == args.check:
        raise UserError("give either --source, to prepare, or --check")
    settings = Settings(
        options_of(args, Media()), options_of(args, Lists()), options_of(args, Unpacking()), args.workers
    )
    release, root, limits = RELEASES[args.name], Path(args.root), limits_of(args)
    with _disk_errors_named():
        if isinstance(release, MaskRelease):
            from tools.prepare import masks  # of pictures

            if args.source:
                masks.prepare(args.name, release, args.source, root, settings, limits)
            masks.check(args.name, release, root, args.decode == "all", args.workers, limits)
            return
        if args.source:
            preparation.prepare(args.name, release, args.source, root, settings, limits)
        preflight.check(args.name, release, root, args.decode == "all", args.workers, limits)


@contextlib.contextmanager
def _disk_errors_named() -> Iterator[None]:
    """Turns what the disk says of --source and --root into UserError; `runtime.command` speaks of a full one."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        if error.errno in command.FULL or error.errno is None:
            raise
        place = error.filename2 or error.filename or "a file of --source or --root"  # the target of a rename counts
        raise UserError(
            f"cannot use {place}: {error.strerror}; move what is there, or name another --root or --source"
        ) from error


if __name__ == "__main__":
    with command.clear_errors():
        main()
