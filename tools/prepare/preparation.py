"""From what a site gives to videos or frames, lists and class names in the layout that training reads."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Container, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from configs.limits import Limits
from runtime import command
from runtime.errors import UserError
from runtime.owned import Owned
from tools.prepare import frames, grouping, lists, record, sources, undecodable
from tools.prepare.fingerprints import look_at
from tools.prepare.media import Index, frames_in, stem_of, videos_in
from tools.prepare.placing import place_all
from tools.prepare.record import Prepared
from tools.prepare.release import Annotations, Release
from tools.prepare.settings import Settings
from tools.prepare.sources import Found
from tools.prepare.unpacking import Folders
from tools.prepare.workers import in_parallel

if TYPE_CHECKING:
    import numpy as np

VIDEOS, FRAMES, ORIGINALS = "videos", "rawframes", "originals"


def prepare(name: str, release: Release, given: Sequence[str], root: Path, settings: Settings, limits: Limits) -> None:
    """Prepares a data set, or goes on where another process was ended.

    Args:
        name: Of the data set.
        release: What describes it.
        given: Folders and files of the site.
        root: Of the data set.
        settings: What is asked for.
        limits: What one video may cost.

    Raises:
        UserError: Something is missing, damaged, beyond a limit, or in the way; what is there is as it was.
    """
    _check(name, release, given, root, settings)
    files = sources.files_of(given)
    found = sources.find(release.videos, files, given)
    if release.annotate is None:
        sources.say_unknown(release.videos, files)
    texts = sources.texts_of(release, files, given, settings.unpacking)
    annotations = release.annotate(texts, settings.lists) if release.annotate else None
    if annotations:
        lists.check_splits(annotations, settings.lists.splits)
    left_out = lists.left_out_by(settings.lists.leave_out)
    owned = Owned(root)
    with owned.locked(f"another process prepares {root}"):
        owned.clear_unfinished()
        prepared = record.begin(root, name, settings)
        record.write(owned, prepared)
        _place_media(owned, prepared, found, release, annotations, settings)
        kinds = _media(owned, release, settings, limits, bool(prepared["frames"]))
        if annotations is None:
            hashes = functools.partial(_hashes, owned=owned, settings=settings, limits=limits)
            paths = [path for path in kinds[VIDEOS].paths() if not left_out & {path, stem_of(path)}]
            annotations = grouping.divide(paths, settings.lists, hashes)
        done = lists.lists_of(release, annotations, kinds, settings.lists.splits, left_out)
        prepared["lists"], prepared["label_order"] = list(done.records), settings.lists.label_order
        owned.write(done.files)
        record.write(owned, prepared)


def _check(name: str, release: Release, given: Sequence[str], root: Path, settings: Settings) -> None:
    sources.check_apart(given, root)
    if release.has_frames and (settings.media.frames or settings.media.reencode):
        raise UserError(f"{name} comes as frames: leave out --frames and --reencode")


def _place_media(
    owned: Owned,
    prepared: Prepared,
    found: Sequence[Found],
    release: Release,
    annotations: Annotations | None,
    settings: Settings,
) -> None:
    """Puts all media into the data set that are not there yet; of class folders, says what is no longer given."""
    folder = FRAMES if release.has_frames else ORIGINALS if settings.media.reencode else VIDEOS

    def place(origin: str, parts: Sequence[str]) -> str | None:
        below = release.place(origin, parts, annotations)
        return None if below is None else f"{folder}/{below}"

    loose = place_all(owned, prepared, found, place, settings, _digest(annotations), annotations is None)
    if annotations is None:  # so that all that is there is listed
        _say_no_longer_given(owned, folder, loose, prepared["archives"])


def _say_no_longer_given(
    owned: Owned, folder: str, loose: Container[str | None], archives: Mapping[str, Folders]
) -> None:
    """Says how many videos no folder and no archive of --source holds, such as renamed ones under their old names."""
    others = [path for path in videos_in(owned.folder / folder).paths() if f"{folder}/{path}" not in loose]
    number = len(others) - sum(count for folders in archives.values() for count, _ in folders.values())
    if number > 0:
        example = "" if archives else f", such as {others[0]}"
        command.say(
            f"{number} videos of {owned.folder / folder} are no longer in --source{example}: remove them there if they "
            "are not to be listed"
        )


def _digest(annotations: Annotations | None) -> str:
    """Tells tables apart that say where files belong; with other ones an archive is read again."""
    folders = sorted(annotations.folders.items()) if annotations else []
    return f" by tables {hashlib.sha256(repr(folders).encode()).hexdigest()[:16]}" if folders else ""


def _media(
    owned: Owned, release: Release, settings: Settings, limits: Limits, has_made_frames: bool
) -> dict[str, Index]:
    """Makes what smaller videos and frames are not there; returns what there is, that which training reads first.

    Frames of a run before this one are among it, as training would read their lists before any others.
    """
    root, media = owned.folder, settings.media
    if release.has_frames:
        return {FRAMES: frames_in(root / FRAMES)}
    if media.reencode:
        _make(
            owned, ORIGINALS, VIDEOS, ".mp4", functools.partial(frames.reencode, media=media, limits=limits), settings
        )
    if media.frames:
        _make(owned, VIDEOS, FRAMES, "", functools.partial(frames.extract, media=media, limits=limits), settings)
    videos = {VIDEOS: videos_in(root / VIDEOS, release.ignores_case)}
    return {FRAMES: frames_in(root / FRAMES, release.ignores_case)} | videos if has_made_frames else videos


def _make(
    owned: Owned, source: str, target: str, suffix: str, convert: Callable[[Path, Path], None], settings: Settings
) -> None:
    """Converts each video that has not been; says which ones do not decode."""

    def act(job: tuple[str, str]) -> str:
        try:
            with owned.adding(job[1]) as place:
                convert(owned.folder / source / job[0], place)
        except DecodeError as error:
            return str(error)
        return ""

    from datasets.decode import DecodeError

    jobs = [(path, f"{target}/{stem_of(path)}{suffix}") for path in videos_in(owned.folder / source).paths()]
    jobs = [job for job in jobs if not (owned.folder / job[1]).exists()]
    errors = list(filter(None, in_parallel(act, jobs, settings.workers, target)))
    if errors:
        command.say(f"{len(errors)} of {len(jobs)} videos do not decode, so {target}/ lacks them:", *errors[:3])


def _hashes(paths: Sequence[str], owned: Owned, settings: Settings, limits: Limits) -> list[np.ndarray]:
    """Perceptual hashes of each video; raises UserError if some do not decode, after all have been looked at."""
    root = owned.folder / VIDEOS
    looks = in_parallel(lambda path: look_at(str(root / path), None, limits), paths, settings.workers, "sources")
    errors = {path: look.error for path, look in zip(paths, looks, strict=True) if look.hashes is None}
    if errors:
        undecodable.refuse(owned, errors, "videos")
    return [look.hashes for look in looks if look.hashes is not None]
