"""From what a site gives to pictures and masks, in the lists that training reads: `images/`, `masks/`, `train.txt`."""

from __future__ import annotations

import functools
import shlex
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import numpy as np

from configs.limits import Limits
from datasets import load_annotation, pictures
from datasets.decode import read_labels, read_picture
from datasets.masks import MaskFile, Masks, read_mask
from datasets.targets import DataError
from runtime import command
from runtime.errors import UserError
from runtime.owned import Owned
from tools.prepare import lists, record, sources
from tools.prepare.archives import is_listable
from tools.prepare.mask_release import IMAGES, MASKS, ORIGINALS, PERSON, UNKNOWN, Labeled, MaskRelease
from tools.prepare.media import stem_of
from tools.prepare.placing import place_all
from tools.prepare.preflight import SMALL, sample
from tools.prepare.record import ListRecord
from tools.prepare.settings import Media, Settings
from tools.prepare.workers import in_parallel

SUBSETS = ("train", "val")
SHOWN = 3


def prepare(
    name: str, release: MaskRelease, given: Sequence[str], root: Path, settings: Settings, limits: Limits
) -> None:
    """Prepares a data set, or goes on where another process was ended; masks that are there are not drawn again.

    Args:
        name: Of the data set.
        release: What describes it.
        given: Folders and files of the site.
        root: Of the data set.
        settings: What is asked for.
        limits: What one picture may cost.

    Raises:
        UserError: Something is missing, damaged, beyond a limit, or in the way; what is there is as it was.
    """
    if settings.media != Media() or settings.lists.splits:
        raise UserError(f"{name} has pictures and one split: leave out --frames, --reencode and --splits")
    sources.check_apart(given, root)
    found = sources.find(release.parts, sources.files_of(given), given)
    left_out = lists.left_out_by(settings.lists.leave_out)
    owned = Owned(root)
    with owned.locked(f"another process prepares {root}"):
        owned.clear_unfinished()
        prepared = record.begin(root, name, settings)
        record.write(owned, prepared)
        place_all(owned, prepared, found, release.place, settings)
        labeled = [one for one in release.read(root / ORIGINALS, settings.lists) if one.picture not in left_out]
        there = [one for one in labeled if (root / IMAGES / one.picture).is_file()]
        act = functools.partial(_mask, owned=owned, limits=limits)
        shares = in_parallel(act, there, settings.workers, "masks")
        kept = [one for one, share in zip(there, shares, strict=True) if share >= settings.lists.min_share and share]
        prepared["lists"] = [_record(subset, labeled, kept) for subset in SUBSETS]
        owned.write({f"{subset}.txt": _list(subset, kept) for subset in SUBSETS})
        record.write(owned, prepared)


def _mask(one: Labeled, owned: Owned, limits: Limits) -> float:
    """Draws the mask of a picture, unless it is there; returns the fraction of the labeled pixels that is a person."""
    target = f"{MASKS}/{stem_of(one.picture)}.png"
    path = owned.folder / target
    if path.is_file():
        mask = read_labels(str(path))
    else:
        mask = one.draw()
        image = read_picture(str(owned.folder / IMAGES / one.picture), limits)
        if mask.shape != image.shape[:2]:
            sizes = [f"{width}x{height}" for height, width in (mask.shape, image.shape[:2])]
            raise UserError(f"{one.picture} is {sizes[1]}, its annotation {sizes[0]}: fetch both again")
        with owned.adding(target) as place:
            place.write_bytes(pictures.encode(mask, ".png"))
    known = mask != UNKNOWN
    return float((mask[known] == PERSON).mean()) if known.any() else 0.0


def _record(subset: str, labeled: Sequence[Labeled], kept: Sequence[Labeled]) -> ListRecord:
    annotated, listed = (sum(one.subset == subset for one in some) for some in (labeled, kept))
    return ListRecord(subset=subset, split=1, kind=IMAGES, official=0, annotated=annotated, listed=listed)


def _list(subset: str, kept: Sequence[Labeled]) -> bytes:
    lines = []
    for one in sorted((one for one in kept if one.subset == subset), key=lambda one: one.picture):
        if " " in one.picture or not is_listable(one.picture):
            raise UserError(f"no list can name {one.picture!r}, for a space or what is no text: rename it in --source")
        lines.append(f"{IMAGES}/{one.picture} {MASKS}/{stem_of(one.picture)}.png\n")
    return "".join(lines).encode()


def check(name: str, release: MaskRelease, root: Path, decode_all: bool, workers: int, limits: Limits) -> None:
    """Prints what a data set holds; the last line is the command that trains on it.

    Raises:
        UserError: It was not prepared, a list is empty, or a picture or a mask does not decode.
    """
    prepared = record.of(root, name)
    command.say(f"{'list':<8}{'annotated':>11}{'listed':>10}{'left out':>10}")
    for entry in prepared["lists"]:
        left_out = entry["annotated"] - entry["listed"]
        command.say(f"{entry['subset']:<8}{entry['annotated']:>11,}{entry['listed']:>10,}{left_out:>10,}")
        if not entry["listed"]:
            raise UserError(f"unusable: {entry['subset']}.txt lists nothing; lower --min_share, or look at --source")
    decode_all = decode_all or sum(entry["listed"] for entry in prepared["lists"]) <= SMALL
    for entry in prepared["lists"]:
        entries = load_annotation(str(root), entry["subset"], targets=Masks()).entries
        looked = sample(entries, decode_all)
        pairs = [(one.path, one.target) for one in looked]
        found = in_parallel(functools.partial(_look, limits=limits), pairs, workers, "decoding")
        broken = [what for what in found if isinstance(what, str)]
        shares = [what for what in found if not isinstance(what, str)] or [0.0]
        command.say(
            f"{entry['subset']}: {len(looked):,} of {len(entries):,} looked at, {len(broken)} do not decode; persons "
            f"cover {min(shares):.1%} / {median(shares):.1%} / {max(shares):.1%} (min / median / max)"
        )
        if broken:
            raise UserError(f"unusable: {'; '.join(broken[:SHOWN])}; leave them out with --leave_out FILE")
    words = ["python", "train.py", "--preset", release.preset, "--dataset_root", str(root)]
    command.say("", "next:", shlex.join(words))


def _look(pair: tuple[str, MaskFile], limits: Limits) -> float | str:
    """The fraction of a picture that is a person, or what is wrong with it or its mask."""
    try:
        image, mask = read_picture(pair[0], limits), read_mask(pair[1]._replace(classes=2))
    except DataError as error:
        return str(error)
    if mask.shape != image.shape[:2]:
        return f"{pair[0]} and its mask are of other sizes"
    return float(np.mean(mask == PERSON))
