"""The list of a job, in shards: so many videos, which one worker takes, and which are done as a whole or not at all.

The list lies beside the results, with the places where its shards begin, so that neither the driver nor a worker ever
holds more than a shard of it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from cluster.storage import Storage, is_remote, opened
from configs.suffixes import VIDEO_SUFFIXES
from datasets.media import LIST_SUFFIX, find_videos, listed
from runtime.errors import UserError

LIST, PLACES, JOB, SHARDS = "list.jsonl", "places.bin", "job.json", "shards"


class JobError(UserError):
    """The folder of results is another job's."""


def sources_of(names: Iterable[str]) -> Iterator[str]:
    """The videos behind names: as `datasets.find_videos` finds them, and the objects below an address.

    A list (`.txt`) is read line by line.

    Raises:
        UserError: One stands for none.
    """
    for name in names:
        if is_remote(name):
            yield from _objects(name)
        elif Path(name).suffix.lower() == LIST_SUFFIX and Path(name).is_file():
            yield from _listed(Path(name))
        else:
            yield from (str(Path(path).resolve()) for path in find_videos([name]))


def _listed(path: Path) -> Iterator[str]:
    """The videos of a list of any length; a line may be an address."""
    folder = path.resolve().parent
    try:
        with path.open(encoding="utf-8-sig") as lines:
            for line in filter(None, map(str.strip, lines)):
                yield line if is_remote(line) else listed(folder, line)
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no text in UTF-8: {error}") from error


def _objects(address: str) -> Iterator[str]:
    from pyarrow import fs

    files, path = opened(address)
    try:
        found = files.get_file_info(fs.FileSelector(path, recursive=True))
    except OSError as error:
        if files.get_file_info(path).is_file:
            yield address
            return
        raise UserError(f"{address.partition('?')[0]} cannot be listed: {error}") from error
    scheme, options = address.partition("://")[0], address.partition("?")[2]
    rest = address.partition("://")[2]
    key = rest.rpartition("@")[0] + "@" if "@" in rest.partition("?")[0] else ""
    for one in sorted(info.path for info in found if info.is_file):
        if Path(one).suffix.lower() in VIDEO_SUFFIXES:
            yield f"{scheme}://{key}{one}" + (f"?{options}" if options else "")


class Shards:
    """The shards of a job whose list has been written.

    Args:
        storage: Of the job.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._places = np.frombuffer(
            storage.read(PLACES), np.uint64
        )  # where each shard begins, and where the last ends

    def __len__(self) -> int:
        return len(self._places) - 1

    def sources(self, number: int) -> list[str]:
        """The videos of a shard."""
        start, end = (int(place) for place in self._places[number : number + 2])
        return [json.loads(line) for line in self._storage.part(LIST, start, end).splitlines()]

    @property
    def num_videos(self) -> int:
        """Videos of all shards."""
        count: int = json.loads(self._storage.read(JOB))["videos"]
        return count

    def unfinished(self) -> list[int]:
        """Numbers of the shards that have no result."""
        done = self._storage.names(SHARDS)
        return [number for number in range(len(self)) if Path(file_of(number)).name not in done]


def file_of(number: int) -> str:
    """Name of the result of a shard."""
    return f"{SHARDS}/part-{number:08d}.parquet"


def begin(storage: Storage, sources: Iterable[str], size: int, facts: dict[str, Any]) -> Shards:
    """Writes the list of a job, or finds that the job is there already.

    Args:
        storage: Of the job.
        sources: The videos.
        size: Videos of a shard.
        facts: What else decides the results, for JSON.

    Raises:
        JobError: The folder holds another job, or something else.
        UserError: There is no video.
    """
    if storage.exists(JOB):
        known = json.loads(storage.read(JOB))
        now = {"shard_size": size, **facts}
        other = next((name for name, value in now.items() if known.get(name) != value), "")
        if other:
            raise JobError(
                f"{storage.name} holds a job whose {other} is {known.get(other)}, this one's is {now[other]}: name "
                "another --output, or give the command that began it"
            )
        if known["list"] != _digest_of(sources):
            raise JobError(f"{storage.name} holds a job of other videos: name another --output")
        return Shards(storage)
    if not storage.is_empty() and not storage.names("") <= {LIST, PLACES}:
        raise JobError(f"{storage.name} is not empty, and no job of this command: name another --output")
    digest, places, written, count = hashlib.sha256(), [0], 0, 0
    with storage.writing(LIST) as stream:
        for source in sources:
            line = (json.dumps(source) + "\n").encode()
            stream.write(line)
            digest.update(line)
            written += len(line)
            count += 1
            if count % size == 0:
                places.append(written)
    if not count:
        raise UserError("there is no video in what --input names")
    if places[-1] != written:
        places.append(written)
    storage.write(PLACES, np.array(places, np.uint64).tobytes())
    record = {"shard_size": size, **facts, "videos": count, "list": digest.hexdigest()}
    storage.write(JOB, (json.dumps(record, indent=2) + "\n").encode())  # last: what has it is begun
    return Shards(storage)


def _digest_of(sources: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for source in sources:
        digest.update((json.dumps(source) + "\n").encode())
    return digest.hexdigest()
