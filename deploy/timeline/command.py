"""Labels many videos, in several processes if asked, and writes what comes out; a broken one stops no other.

What is known goes into a journal beside the output as it comes, so that the same command goes on after an interruption.
"""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from configs import cli
from runtime import command
from runtime.errors import UserError
from runtime.owned import Owned, create
from runtime.parallel import heard, processes_of

if TYPE_CHECKING:
    from deploy.timeline.journal import Journal
    from deploy.timeline.labeler import Labeler
    from deploy.timeline.labels import Prediction
    from deploy.timeline.scoring import Scored

LIVE_WINDOW_S, LIVE_STRIDE_S = 2.0, 1.0  # of a camera, unless flags say otherwise
Open = Callable[[argparse.Namespace], "Labeler"]  # of a module that imports no framework
Progress = Callable[..., Any]  # opens a bar of so many steps under a name, of which some are done


class Job(NamedTuple):
    """A video that is to be labeled.

    Attributes:
        number: Among all videos.
        path: Of the file or folder.
        known: Windows that are known already.
    """

    number: int
    path: str
    known: int


class Outcome(NamedTuple):
    """What became of the videos.

    Attributes:
        names: Of the classes.
        found: Number of a video -> its windows.
        failures: Number of a video -> why it could not be read.
    """

    names: list[str]
    found: dict[int, list[Scored]]
    failures: dict[int, str]


def run(
    args: argparse.Namespace, open_labeler: Open, paths: Sequence[str], facts: Mapping[str, Any], progress: Progress
) -> None:
    """Labels videos as the flags of `cli.add_label_flags` say.

    Args:
        args: Of the command.
        open_labeler: Opens the network by them; called here, or once in each process.
        paths: The videos.
        facts: All that decides the results beside the flags of labels and the videos.
        progress: See Progress.

    Raises:
        UserError: A flag contradicts another, or videos could not be read: all others are labeled.
    """
    from deploy.timeline.journal import Journal
    from deploy.timeline.outputs import check_new, features_of, targets_of

    targets = targets_of(args.output, paths) if args.output else {}
    features = features_of(args.features, paths) if args.features else {}
    if targets.keys() & features.keys():
        raise UserError(f"--features {args.features} is the file of --output, too: name another one")
    targets |= features
    if not targets:
        outcome = _label(args, open_labeler, paths, None, progress)
    else:
        first = next(iter(targets))
        check_new(targets, first)
        with Owned(first.parent).locked(f"another process labels videos into {first.parent}"):
            flags = {name: getattr(args, name) for name in ("window", "stride", "source_fps", "views")}
            flags["features"] = bool(args.features)
            journal = Journal(first, {**facts, **flags, "videos": [_state(path) for path in paths]})
            outcome = _label(args, open_labeler, paths, journal, progress)
            for target, numbers in targets.items():
                found = [prediction(outcome, paths, n) for n in numbers if n in outcome.found]
                if found and not os.path.lexists(target):  # it is there where an interruption came after it
                    _write(args, target, found, progress)
            journal.remove()
    if outcome.failures:
        if len(paths) == 1:
            raise UserError(outcome.failures[0])
        count, total = len(outcome.failures), len(paths)
        raise UserError(f"{count} of {total} videos could not be read: they are named above")


def prediction(outcome: Outcome, paths: Sequence[str], number: int) -> Prediction:
    """What is known of one video."""
    from deploy.timeline.labels import Prediction

    return Prediction(paths[number], outcome.names, outcome.found[number])


def _state(path: str) -> list[Any]:
    """What tells a file from another one of its name."""
    stat = Path(path).stat() if Path(path).exists() else None
    return [path, stat.st_size, stat.st_mtime_ns] if stat else [path]


def _write(args: argparse.Namespace, target: Path, found: list[Prediction], progress: Progress) -> None:
    from deploy.timeline import movie
    from deploy.timeline.labeler import Source
    from deploy.timeline.outputs import FEATURES, kind_of

    kind = FEATURES[target.suffix] if args.features and target == Path(args.features) else kind_of(target)
    if kind is None:
        source = Source(found[0].source, args.source_fps, cli.limits_of(args))
        movie.write(found[0], source, target, progress)
    else:
        create(target, kind.write(found, args.top))
    command.say(f"{target}: {len(found)} videos" if len(found) > 1 else str(target))


def _label(
    args: argparse.Namespace, open_labeler: Open, paths: Sequence[str], journal: Journal | None, progress: Progress
) -> Outcome:
    """Labels what the journal does not know yet; says what becomes of each video."""
    known: dict[int, list[Scored]] = journal.known if journal else {}
    done = journal.done if journal else set()
    jobs = [Job(n, path, len(known.get(n, ()))) for n, path in enumerate(paths) if n not in done]
    outcome = Outcome([], known, {})
    of_windows = len(paths) == 1 and args.window
    with contextlib.ExitStack() as opened:
        bar = None if of_windows else opened.enter_context(progress(len(paths), "videos", len(done)))
        for kind, (number, content) in _events(args, open_labeler, jobs):
            if kind == "names":
                outcome.names[:] = content
            elif kind == "begin" and of_windows:
                bar = opened.enter_context(progress(content, "windows", len(known.get(number, ()))))
            elif kind == "scored":
                known.setdefault(number, []).append(content)
                if journal:
                    journal.add(number, content)
                if of_windows and bar is not None:
                    bar.update()
            elif kind == "done":
                if not of_windows and bar is not None:
                    bar.update()
                _end(args, paths, outcome, number, content, journal)
    return outcome


def _end(
    args: argparse.Namespace, paths: Sequence[str], outcome: Outcome, number: int, error: str, journal: Journal | None
) -> None:
    """One video has come to its end."""
    if error:
        outcome.failures[number] = error
        outcome.found.pop(number, None)
        if len(paths) > 1:  # one alone is the error of the command
            command.say(f"error: {error}", error=True)
        return
    if journal:
        journal.finish(number)
        return
    if len(paths) > 1:
        command.say(paths[number])
    command.say(*lines_of(prediction(outcome, paths, number), args.top))


def lines_of(found: Prediction, count: int) -> list[str]:
    """What is printed of a video: its best classes, or, of windows, the parts that have one each."""
    from tasks.view_scores import prediction_lines

    if len(found.windows) == 1:
        return prediction_lines(found.windows[0].scores, found.names, count)
    return [
        f"{part.start:10.2f} {part.end:10.2f} s  {found.names[part.label]} {part.probability:.4f}"
        for part in found.segments()
    ]


def _events(args: argparse.Namespace, open_labeler: Open, jobs: Sequence[Job]) -> Iterator[tuple[str, Any]]:
    """What happens to the videos: ("names", (0, names)), then as `_labels` says."""
    processes = min(args.processes, len(jobs))
    if processes <= 1:
        labeler = open_labeler(args)
        yield "names", (0, list(labeler.names))
        yield from _labels(args, labeler, jobs)
        return
    shares = [(args, open_labeler, jobs[i::processes]) for i in range(processes)]
    with processes_of(_work, shares) as pipes:
        yield from ((kind, content) for kind, content in heard(pipes) if kind != "end")


def _work(pipe: Connection, args: argparse.Namespace, open_labeler: Open, jobs: Sequence[Job]) -> None:
    """What a process does: labels its share of the videos."""
    try:
        labeler = open_labeler(args)
        pipe.send(("names", (0, list(labeler.names))))
        for event in _labels(args, labeler, jobs):
            pipe.send(event)
        pipe.send(("end", (0, None)))
    except UserError as error:
        pipe.send(("error", error))


def _labels(args: argparse.Namespace, labeler: Labeler, jobs: Sequence[Job]) -> Iterator[tuple[str, Any]]:
    """("begin", (number, windows)), ("scored", (number, Scored))..., ("done", (number, error)) of each video."""
    from deploy.timeline.labeler import Source
    from deploy.timeline.windows import Plan

    for number, path, known in jobs:
        try:
            if args.window:
                source = Source(path, args.source_fps, cli.limits_of(args))
                plan = Plan.of(args.window, args.stride, source.fps, source.num_frames, known)
                yield "begin", (number, plan.count)
                for found in labeler.windows(source, plan):
                    yield "scored", (number, found)
            else:
                yield "scored", (number, labeler.whole(path, args.source_fps).windows[0])
        except UserError as error:
            yield "done", (number, str(error))
        else:
            yield "done", (number, "")


def watch(args: argparse.Namespace, labeler: Labeler) -> None:
    """Prints what a camera or an address shows, until --seconds are over, it ends, or Ctrl-C; then writes it."""
    from deploy.frames import LiveFrames
    from deploy.timeline.labels import Prediction, top
    from deploy.timeline.outputs import check_new, kind_of, targets_of

    name = args.video[0]
    if len(args.video) > 1:
        raise UserError(f"--video {' '.join(args.video)}: a camera or an address stands alone")
    if args.features:
        raise UserError(f"--features {args.features}: features are of files, and not of a camera; leave it out")
    targets = targets_of(args.output, [name]) if args.output else {}
    check_new(targets)
    if targets and kind_of(next(iter(targets))) is None:
        raise UserError(f"--output {args.output}: a film of a camera is not kept; take .csv, .jsonl, .srt or .html")
    frames, found = LiveFrames(name), []
    try:
        for one in labeler.live(frames, args.window or LIVE_WINDOW_S, args.stride or LIVE_STRIDE_S):
            found.append(one)
            shown = "  ".join(
                f"{label} {share:.3f}" for label, share in top(one.scores, labeler.names, min(args.top, 3))
            )
            command.say(f"{one.end:8.1f} s  {shown}")
            if args.seconds and one.end >= args.seconds:
                break
    except KeyboardInterrupt:
        if not targets:
            raise
    finally:
        frames.close()
    for target in targets:
        if found and (kind := kind_of(target)):
            create(target, kind.write([Prediction(name, labeler.names, found)], args.top))
            command.say(str(target))
