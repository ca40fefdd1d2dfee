"""Puts what archives and folders of a site hold into a data set, in parallel, and goes on where it was broken off."""

from __future__ import annotations

from collections.abc import Sequence

from runtime import command
from runtime.owned import Owned
from tools.prepare import record
from tools.prepare.archives import Archive
from tools.prepare.record import Prepared
from tools.prepare.release import Part
from tools.prepare.settings import Settings
from tools.prepare.sources import Folder, Found
from tools.prepare.unpacking import Folders, Place, Unpacker, is_unpacked, put_file
from tools.prepare.workers import in_parallel, progress


def place_all(
    owned: Owned,
    prepared: Prepared,
    found: Sequence[Found],
    place: Place,
    settings: Settings,
    tables: str = "",
    are_all_listed: bool = False,
) -> set[str | None]:
    """Puts all media into the data set that are not there yet.

    Args:
        owned: The data set, which is locked.
        prepared: Its record, which is written as archives are done.
        found: What `sources.find` has found.
        place: From the name of an archive or of a folder of --source, and the folders and the name of a file below it,
            to its place in the data set; None passes over it.
        settings: What is asked for.
        tables: Tells tables apart that say where files belong: with other ones an archive is read again.
        are_all_listed: Whether all that is there is listed, so that the caller asks where loose files are.

    Returns:
        Where unpacked files are, as far as that had to be known.
    """
    jobs = [(archive, one.part) for one in found for archive in one.archives]
    asked = {archive.key + tables for archive, _ in jobs}
    prepared["archives"] = {key: folders for key, folders in prepared["archives"].items() if key in asked}
    loose = _targets(found, place) if jobs or are_all_listed else set()  # may be millions of frames
    finished = is_unpacked(owned, prepared["archives"], loose)
    jobs = [job for job in jobs if job[0].key + tables not in finished]

    def unpack(job: tuple[Archive, Part]) -> tuple[str, Folders]:
        return job[0].key + tables, unpacker.unpack(*job, place)

    def note(unpacked: tuple[str, Folders]) -> None:
        prepared["archives"] |= [unpacked]
        record.write(owned, prepared)

    with progress(sum(archive.size for archive, _ in jobs), "unpacking", "B") as bar:
        unpacker = Unpacker(owned, settings.unpacking, bar.update)
        in_parallel(unpack, jobs, settings.workers, "", note, unpacker.stop)
    over = [*unpacker.passed_over, *_put_files(owned, found, place, settings.workers)]
    if over:
        command.say(f"{len(over)} files of --source are in no table or in no folder of a class, such as {over[0]}")
    return loose


def _targets(found: Sequence[Found], place: Place) -> set[str | None]:
    """Where unpacked files are put."""
    files = [(one, name) for part in found for one, names in part.files.items() for name in names]
    return {place(one.origin, (*one.below, name)) for one, name in files}


def _put_files(owned: Owned, found: Sequence[Found], place: Place, workers: int) -> list[str]:
    """Puts unpacked files into the data set; returns those without a place."""

    def put(folder: Folder) -> list[str]:
        over = []
        for name in folders[folder]:
            target = place(folder.origin, (*folder.below, name))
            if target is None:
                over.append(str(folder.path / name))
            else:
                put_file(owned, folder.path / name, target)
        return over

    folders = {folder: names for one in found for folder, names in one.files.items()}
    return [path for over in in_parallel(put, folders, workers, "files") for path in over]
