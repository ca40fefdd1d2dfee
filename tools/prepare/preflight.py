"""Looks at a prepared data set as training will see it, and says what to type next."""

from __future__ import annotations

import random
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from configs.limits import Limits
from runtime import command
from runtime.errors import UserError
from runtime.owned import Owned
from tools.prepare import record, undecodable
from tools.prepare.fingerprints import Look, look_at, near_duplicates
from tools.prepare.record import ListRecord
from tools.prepare.release import Release
from tools.prepare.workers import in_parallel

if TYPE_CHECKING:
    from datasets import Annotation, Entry

SAMPLE = 200  # videos of each list that are decoded by default,
SMALL = 1000  # unless all lists together have so few


@dataclass(frozen=True)
class Checked:
    """One list that training reads, and what was seen of its media: an entry of it -> its look."""

    record: ListRecord
    annotation: Annotation
    looks: dict[Entry, Look]

    @property
    def title(self) -> str:
        """For messages."""
        return f"{self.record['subset']} {self.record['split']}"


def check(name: str, release: Release, root: Path, decode_all: bool, workers: int, limits: Limits) -> None:
    """Prints what a data set holds; the last line is the command that trains on it.

    Args:
        name: Of the data set.
        release: What describes it.
        root: Of the data set.
        decode_all: Whether all media are decoded, not SAMPLE of each list where there are more than SMALL.
        workers: Threads that decode.
        limits: What one video may cost.

    Raises:
        UserError: It was not prepared, or something makes it unusable.
    """
    prepared = record.of(root, name)
    _say_counts(prepared["lists"])
    lists = [entry for entry in prepared["lists"] if entry["subset"] != "test"]
    checked = _looked_at(lists, root, decode_all, workers, limits)
    for one in checked:
        _say_content(one)
    for train, val in _pairs(checked):
        _say_duplicates(train, val)
    _require_usable(checked, root)
    command.say("", "next:", _next_command(release, root, prepared["label_order"], lists))


def _say_counts(lists: Sequence[ListRecord]) -> None:
    command.say(f"{'list':<14}{'official':>10}{'annotated':>11}{'listed':>10}{'absent':>9}")
    for entry in lists:
        official = f"{entry['official']:,}" if entry["official"] else "-"
        absent = entry["annotated"] - entry["listed"]
        differs = entry["official"] and entry["official"] != entry["listed"]
        command.say(
            f"{entry['subset']:<8}{entry['split']:>2}    {official:>10}{entry['annotated']:>11,}{entry['listed']:>10,}"
            f"{absent:>9,}{'  <- not the official number' if differs else ''}"
        )


def _looked_at(
    lists: Sequence[ListRecord], root: Path, decode_all: bool, workers: int, limits: Limits
) -> list[Checked]:
    """Reads each list as training does, and decodes some or all of its media, each once."""
    from datasets import load_annotation

    annotations = [load_annotation(str(root), entry["subset"], entry["split"]) for entry in lists]
    decode_all = decode_all or sum(len(annotation.entries) for annotation in annotations) <= SMALL
    samples = [sample(annotation.entries, decode_all) for annotation in annotations]
    unique = list(dict.fromkeys((entry.path, entry.num_frames) for sample in samples for entry in sample))
    looks = in_parallel(lambda media: look_at(*media, limits), unique, workers, "decoding")
    seen = dict(zip((path for path, _ in unique), looks, strict=True))
    return [
        Checked(entry, annotation, {media: seen[media.path] for media in sample})
        for entry, annotation, sample in zip(lists, annotations, samples, strict=True)
    ]


def sample(entries: Sequence[Entry], all_of_them: bool) -> list[Entry]:
    """The entries of a list that are decoded: all, or always the same SAMPLE of them."""
    if all_of_them or len(entries) <= SAMPLE:
        return list(entries)
    return random.Random(0).sample(list(entries), SAMPLE)


def _say_content(one: Checked) -> None:
    entries, names = one.annotation.entries, one.annotation.class_names
    counts = Counter(entry.target for entry in entries)
    if max(counts) >= len(names):
        raise UserError(
            f"{one.annotation.source} has the label {max(counts)}, annotations/classes.txt has {len(names)} "
            "names: prepare again"
        )
    absent = [name for label, name in enumerate(names) if label not in counts]
    fewest, most = min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
    without = f" (not {', '.join(absent if len(absent) <= 3 else [absent[0], '...'])})" if absent else ""
    command.say(
        f"{one.title}: {len(counts)} of {len(names)} classes{without}, {counts[fewest]} ({names[fewest]}) to "
        f"{counts[most]} ({names[most]}) videos of each"
    )
    frames = [look.num_frames for look in one.looks.values() if not look.error] or [0]
    broken = sum(bool(look.error) for look in one.looks.values())
    command.say(
        f"{one.title}: {len(one.looks):,} of {len(entries):,} looked at, {broken} do not decode; "
        f"frames {min(frames)} / {median(frames):g} / {max(frames)} (min / median / max)"
    )


def _pairs(checked: Sequence[Checked]) -> list[tuple[Checked, Checked]]:
    """Training and validation of each split."""
    by_name = {(one.record["subset"], one.record["split"]): one for one in checked}
    splits = sorted({split for _, split in by_name})
    return [(by_name["train", split], by_name["val", split]) for split in splits]


def _say_duplicates(train: Checked, val: Checked) -> None:
    title = f"split {train.record['split']}: near duplicates between train and val"
    if any(len(one.looks) < len(one.annotation.entries) for one in (train, val)):
        command.say(f"{title}: not looked for in a sample; --decode all does")
        return
    sides = [
        [(entry, look.hashes) for entry, look in one.looks.items() if look.hashes is not None] for one in (val, train)
    ]
    pairs = dict(near_duplicates(*([hashes for _, hashes in side] for side in sides)))  # one for each of val
    command.say(f"{title}: {len(pairs)} of {len(sides[0])} videos of val")
    for left, right in sorted(pairs.items())[:3]:
        command.say(f"  {sides[0][left][0].path} and {sides[1][right][0].path}")


def _require_usable(checked: Sequence[Checked], root: Path) -> None:
    """Raises UserError for media that do not decode, whose paths it writes into a file."""
    errors = {
        Path(*Path(entry.path).relative_to(root).parts[1:]).as_posix(): look.error  # below videos/ or rawframes/
        for one in checked
        for entry, look in one.looks.items()
        if look.error
    }
    if errors:
        owned = Owned(root)
        with owned.locked(f"another process prepares {root}"):
            undecodable.refuse(owned, errors, "listed videos")


def _next_command(release: Release, root: Path, label_order: str, lists: Sequence[ListRecord]) -> str:
    words = ["python", "train.py", "--preset", release.preset, "--dataset_root", str(root)]
    if release.has_splits:
        words += ["--split", str(lists[0]["split"])]
    return " ".join([shlex.join(words), release.flags.get(label_order, "")]).strip()
