"""Looks for what is wrong with a data set: `python -m tools.check_videos --dataset_root DIR`.

Every video of the training and validation lists is decoded to its end: broken ones, very short ones, odd sizes, and
those that are there twice, above all in training and in validation, are named. The exit code is 1 if one is broken, or
in both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, NamedTuple

from configs import cli
from configs.limits import Limits
from runtime import command
from runtime.cpu import usable_cores
from runtime.errors import UserError
from runtime.parallel import heard, processes_of

if TYPE_CHECKING:
    from datasets.checks import Examined

SUBSETS = ("train", "val")
MOST_SHOWN = 20  # pairs whose pictures are in the page


class Finding(NamedTuple):
    """Something that is wrong.

    Attributes:
        kind: What.
        paths: Of the videos.
        words: More about it.
    """

    kind: str
    paths: tuple[str, ...]
    words: str


def main(argv: Sequence[str] | None = None) -> None:
    """Examines the videos and says what was found."""
    parser = command.parser(__doc__ or "", "python -m tools.check_videos --dataset_root DIR [flags]")
    parser.add_argument("--dataset_root", required=True, help="folder of a data set")
    parser.add_argument("--train_list", default="", help="list file of the training videos, instead of the one found")
    parser.add_argument("--val_list", default="", help="list file of the validation videos, instead of the one found")
    parser.add_argument("--split", type=command.positive, default=1, help="of a data set that has several")
    parser.add_argument("--min_frames", type=command.positive, default=8, help="a video of fewer is very short")
    parser.add_argument("--processes", type=command.count, default=0, help="that decode; 0: all cores")
    parser.add_argument(
        "--output",
        type=command.file_ending(".html"),
        help="page to write, with pictures of what is there twice (.html)",
    )
    cli.add_limit_flags(parser)
    args = parser.parse_args(argv)
    from datasets import load_annotation
    from engine.progress import progress

    lists = {"train": args.train_list, "val": args.val_list}
    subsets = {name: load_annotation(args.dataset_root, name, args.split, 0, lists[name]) for name in SUBSETS}
    videos = [(name, entry.path) for name, one in subsets.items() for entry in one.entries]
    found = examined([path for _, path in videos], cli.limits_of(args), args.processes or usable_cores(), progress)
    findings = findings_of([name for name, _ in videos], found, args.min_frames)
    for one in findings:
        command.say(f"{one.kind}: {', '.join(one.paths)}{': ' * bool(one.words)}{one.words}")
    seconds = sum(one.frames / one.fps for one in found if one.fps)
    counts = ", ".join(f"{len(one.entries)} {name}" for name, one in subsets.items())
    command.say(
        f"{counts}; {sum(one.frames for one in found)} frames, {seconds / 60:.1f} minutes; {len(findings)} findings"
    )
    if args.output:
        from runtime.owned import create

        create(args.output, page(findings, args.dataset_root, cli.limits_of(args)), overwrite=True)
        command.say(str(args.output))
    grave = [one for one in findings if one.kind in (BROKEN, LEAK)]
    if grave:
        raise UserError(f"{len(grave)} of the findings spoil results: {BROKEN} videos, or the same in {LEAK}")


BROKEN, SHORT, ODD, LEAK, TWICE = "broken", "very short", "odd size", "train and val", "twice"


def examined(
    paths: Sequence[str], limits: Limits, processes: int, progress: Callable[[int, str], Any]
) -> list[Examined]:
    """What each video is, in the order of the paths."""
    found: dict[int, Examined] = {}
    jobs = list(enumerate(paths))
    shares = [(jobs[i::processes], limits) for i in range(min(processes, len(jobs)))]
    with progress(len(paths), "videos") as bar, processes_of(work, shares) as pipes:
        for kind, content in heard(pipes):
            if kind == "examined":
                found[content[0]] = content[1]
                bar.update()
    return [found[number] for number, _ in jobs]


def work(pipe: Connection, jobs: Sequence[tuple[int, str]], limits: Limits) -> None:
    """What a process does."""
    import cv2

    cv2.setNumThreads(1)
    from datasets.checks import examine

    for number, path in jobs:
        pipe.send(("examined", (number, examine(path, limits))))
    pipe.send(("end", None))


def findings_of(subsets: Sequence[str], found: Sequence[Examined], min_frames: int) -> list[Finding]:
    """What is wrong, the gravest first.

    Args:
        subsets: Of each video, "train" or "val".
        found: What each video is.
        min_frames: A video of fewer is very short.
    """
    from datasets.checks import odd_sizes, twins

    broken = [Finding(BROKEN, (one.path,), one.error.removeprefix(one.path).strip(" :")) for one in found if one.error]
    pairs = []
    for first, second, off in twins(found):
        is_leak = subsets[first] != subsets[second]
        pairs.append(
            Finding(
                LEAK if is_leak else TWICE,
                (found[first].path, found[second].path),
                f"they differ by {off:.1%} of the contrast",
            )
        )
    short = [
        Finding(SHORT, (one.path,), f"{one.frames} frames")
        for one in found
        if not one.error and one.frames < min_frames
    ]
    odd = [Finding(ODD, (found[k].path,), f"{found[k].width}x{found[k].height}") for k in odd_sizes(found)]
    return [*broken, *(p for p in pairs if p.kind == LEAK), *(p for p in pairs if p.kind == TWICE), *short, *odd]


def page(findings: Sequence[Finding], root: str, limits: Limits) -> bytes:
    """The findings as a page, with moving pictures of what is there twice."""
    from runtime.html_page import Markup, document, row, section, table
    from tasks.report_page import thumbnail

    parts = []
    for kind in (BROKEN, LEAK, TWICE, SHORT, ODD):
        rows = []
        for number, one in enumerate([one for one in findings if one.kind == kind]):
            shows = kind in (LEAK, TWICE) and number < MOST_SHOWN
            pictures = [thumbnail(path, limits, path) for path in one.paths] if shows else []
            rows.append(row((*one.paths, one.words, Markup("".join(pictures)))))
        head = ("video",) if kind not in (LEAK, TWICE) else ("video", "looks like")
        parts.append(section(kind, table((*head, "", ""), rows) if rows else ""))
    return document(f"Videos of {root}", parts or ["<p>Nothing is wrong.</p>"]).encode()


if __name__ == "__main__":
    with command.clear_errors():
        main()
