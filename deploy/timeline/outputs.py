"""Files of labels, by their suffix: tables, lists, subtitles. A new one is a function and its line in WRITERS."""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import math
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from deploy.timeline import page
from deploy.timeline.journal import journal_of
from deploy.timeline.labels import Prediction, top
from runtime.errors import UserError

Writer = Callable[[Sequence[Prediction], int], bytes]


def as_csv(found: Sequence[Prediction], count: int) -> bytes:
    """A row for each window: the video, start and end in seconds, the best classes and their probabilities."""
    file = io.StringIO()
    writer = csv.writer(file)
    count = min(count, min(len(one.names) for one in found))
    ranks = [name for rank in range(1, count + 1) for name in (f"label{rank}", f"probability{rank}")]
    writer.writerow(["source", "start", "end", *ranks])
    for one in found:
        for window in one.windows:
            best = [cell for name, share in top(window.scores, one.names, count) for cell in (name, f"{share:.6f}")]
            writer.writerow(
                [one.source, *("" if math.isnan(time) else f"{time:.2f}" for time in (window.start, window.end)), *best]
            )
    return file.getvalue().encode(errors="backslashreplace")


def as_json(found: Sequence[Prediction], count: int) -> bytes:
    """All windows and segments of each video."""
    content = [
        {
            "source": one.source,
            "windows": [_line(window, one, count) for window in one.windows],
            "segments": [
                {"start": _time(part.start), "end": _time(part.end), "label": one.names[part.label],
                 "probability": round(part.probability, 6)}
                for part in one.segments()
            ],
        }
        for one in found
    ]  # fmt: skip
    return (json.dumps(content, indent=1) + "\n").encode()


def as_json_lines(found: Sequence[Prediction], count: int) -> bytes:
    """A line for each window."""
    lines = [json.dumps({"source": one.source, **_line(window, one, count)}) for one in found for window in one.windows]
    return ("\n".join(lines) + "\n").encode()


def as_srt(found: Sequence[Prediction], count: int) -> bytes:
    """SubRip's subtitles: a cue for each segment."""
    one = _timed(found)
    cues = [
        f"{number}\n{clock(part.start, ',')} --> {clock(part.end, ',')}\n{_words(one.names[part.label])} "
        f"{part.probability:.0%}\n"
        for number, part in enumerate(one.segments(), start=1)
    ]
    return "\n".join(cues).encode(errors="backslashreplace")


def as_vtt(found: Sequence[Prediction], count: int) -> bytes:
    """WebVTT, the subtitles of browsers."""
    one = _timed(found)
    cues = [
        f"{clock(part.start, '.')} --> {clock(part.end, '.')}\n{_escaped(_words(one.names[part.label]))} "
        f"{part.probability:.0%}\n"
        for part in one.segments()
    ]
    return "\n".join(["WEBVTT\n", *cues]).encode(errors="backslashreplace")


def _timed(found: Sequence[Prediction]) -> Prediction:
    (one,) = found
    if any(math.isnan(window.end) for window in one.windows):
        raise UserError(f"nobody says how long {one.source} is: --source_fps does")
    return one


def as_parquet(found: Sequence[Prediction], count: int) -> bytes:
    """A row for each window: source, start, end, label, probability, and the probabilities of all classes."""
    return _parquet(found)


def _parquet(found: Sequence[Prediction], with_features: bool = False) -> bytes:
    import pyarrow
    import pyarrow.parquet

    rows = [(one, window) for one in found for window in one.windows]
    best = [top(window.scores, one.names, 1)[0] for one, window in rows]
    columns = {
        "source": pyarrow.array([one.source for one, _ in rows], pyarrow.string()),
        "start": pyarrow.array([window.start for _, window in rows], pyarrow.float64()),
        "end": pyarrow.array([window.end for _, window in rows], pyarrow.float64()),
        "label": pyarrow.array([label.name for label in best], pyarrow.string()),
        "probability": pyarrow.array([label.probability for label in best], pyarrow.float32()),
        "probabilities": pyarrow.array([window.scores for _, window in rows], pyarrow.list_(pyarrow.float32())),
    }
    if with_features:
        vectors = [window.features.astype(np.float32) for _, window in rows]
        columns["features"] = pyarrow.array(vectors, pyarrow.list_(pyarrow.float32()))
    content = pyarrow.table(columns, metadata={"classes": json.dumps(list(found[0].names))})
    target = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(content, target)
    data: bytes = target.getvalue().to_pybytes()
    return data


def features_as_npz(found: Sequence[Prediction], count: int) -> bytes:
    """Arrays with a row for each window: source, start, end, features, scores; and classes."""
    rows = [(one, window) for one in found for window in one.windows]
    target = io.BytesIO()
    np.savez_compressed(
        target, source=np.array([one.source for one, _ in rows]), start=np.array([w.start for _, w in rows]),
        end=np.array([w.end for _, w in rows]), features=np.stack([w.features for _, w in rows]).astype(np.float32),
        scores=np.stack([w.scores for _, w in rows]).astype(np.float32), classes=np.array(list(found[0].names)),
    )  # fmt: skip
    return target.getvalue()


def features_as_parquet(found: Sequence[Prediction], count: int) -> bytes:
    """As `as_parquet`, with a column of features."""
    return _parquet(found, with_features=True)


def _line(window: Any, one: Prediction, count: int) -> dict[str, Any]:
    best = [{"label": name, "probability": round(share, 6)} for name, share in top(window.scores, one.names, count)]
    return {"start": _time(window.start), "end": _time(window.end), "top": best}


def _time(seconds: float) -> float | None:
    return None if math.isnan(seconds) else round(seconds, 3)


def _words(name: str) -> str:
    """A name as one line of a subtitle."""
    return " ".join(name.split())


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def clock(seconds: float, comma: str) -> str:
    """Hours, minutes, seconds and milliseconds as subtitles have them."""
    minutes, rest = divmod(max(0, round(1000 * seconds)), 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{rest // 1000:02d}{comma}{rest % 1000:03d}"


class Kind(NamedTuple):
    """A kind of file.

    Attributes:
        write: Makes its content of predictions, with so many classes of each.
        takes_many: Whether several videos go into one.
        needs: A package that has to be installed.
    """

    write: Writer
    takes_many: bool = True
    needs: str = ""


WRITERS: dict[str, Kind] = {
    ".csv": Kind(as_csv),
    ".json": Kind(as_json),
    ".jsonl": Kind(as_json_lines),
    ".srt": Kind(as_srt, takes_many=False),
    ".vtt": Kind(as_vtt, takes_many=False),
    ".parquet": Kind(as_parquet, needs="pyarrow"),
    ".html": Kind(page.page),
}
FEATURES = {".npz": Kind(features_as_npz), ".parquet": Kind(features_as_parquet, needs="pyarrow")}
MOVIE = ".mp4"  # see `movie.py`
NAME = "{name}"  # of a video, in the name of an output


def kind_of(output: Path) -> Kind | None:
    """How a file is written; None for a film.

    Raises:
        UserError: Its suffix says no kind, or a package is missing.
    """
    suffix = output.suffix.lower()
    if suffix == MOVIE:
        return None
    if suffix not in WRITERS:
        raise UserError(f"--output {output} must end with one of {', '.join([*WRITERS, MOVIE])}")
    return _installed(WRITERS[suffix], f"--output {output}")


def _installed(kind: Kind, asked: str) -> Kind:
    if kind.needs and importlib.util.find_spec(kind.needs) is None:
        raise UserError(f"{asked} needs {kind.needs}: pip install {kind.needs}")
    return kind


def features_of(output: str, paths: Sequence[str]) -> dict[Path, list[int]]:
    """The file of features, and the numbers of all videos; raises UserError as `targets_of` does."""
    target = Path(output)
    if target.suffix not in FEATURES:
        raise UserError(f"--features {output} must end with one of {', '.join(FEATURES)}")
    _installed(FEATURES[target.suffix], f"--features {output}")
    return {target: list(range(len(paths)))}


def targets_of(output: str, paths: Sequence[str]) -> dict[Path, list[int]]:
    """The files that are to be written, and the numbers of the videos that go into each.

    Args:
        output: As it was asked for; `{name}` in it stands for the name of each video.
        paths: The videos.

    Raises:
        UserError: Its suffix says no kind, or several videos cannot go into one.
    """
    kind = kind_of(Path(output))
    if NAME in output:
        targets: dict[Path, list[int]] = {}
        for number, path in enumerate(paths):
            targets.setdefault(Path(output.replace(NAME, Path(path).stem)), []).append(number)
        twice = next((numbers for numbers in targets.values() if len(numbers) > 1), None)
        if twice:
            raise UserError(f"--output {output}: {paths[twice[0]]} and {paths[twice[1]]} have the same name")
    elif len(paths) > 1 and (kind is None or not kind.takes_many):
        example = Path(output).with_name(f"{NAME}{Path(output).suffix}")
        raise UserError(f"--output {output} is of one video, and there are {len(paths)}: take {example}")
    else:
        targets = {Path(output): list(range(len(paths)))}
    return targets


def check_new(targets: Iterable[Path], first: Path | None = None) -> None:
    """Raises UserError for a file that is there already, unless an interruption has left a journal beside the first."""
    if first and journal_of(first).exists():
        return
    there = next((target for target in targets if os.path.lexists(target)), None)
    if there:
        raise UserError(f"--output {there} exists: remove it, or choose another name")
