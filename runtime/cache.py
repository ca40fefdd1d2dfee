"""What is made once and used again: entries in the user's cache folder, each by a digest of all that it depends on."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from runtime.owned import digest_of

CONTENTS = "digests.json"  # of an entry: the name of each of its files -> SHA-256


def cache_folder() -> Path:
    """`$XDG_CACHE_HOME/actionalign`, by default `~/.cache/actionalign`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "actionalign"


def cached(kind: str, parts: Iterable[str | bytes], make: Callable[[Path], object], limit: int) -> Path:
    """A folder of the cache; made if it is not there or damaged.

    Several processes may ask for one entry at once: each that finds none makes it, and the first one's stays.

    Args:
        kind: The folder of the cache that all entries of a kind are in.
        parts: All that decides what is in the entry.
        make: Fills the empty folder that it gets; what it raises goes on, and no entry stays.
        limit: Bytes that the kind may take; the entries that were not used for longest are removed.

    Raises:
        OSError: The cache cannot be written, or is another user's.
    """
    digest = hashlib.sha256()
    for part in parts:
        content = part.encode() if isinstance(part, str) else part
        digest.update(b"%d:" % len(content) + content)
    folder = cache_folder() / kind
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if folder.stat().st_uid != os.getuid():
        raise PermissionError(f"{folder} is another user's")
    entry = folder / digest.hexdigest()
    if is_whole(entry):
        os.utime(entry)
        return entry
    fresh = Path(tempfile.mkdtemp(prefix=".", dir=folder))
    try:
        make(fresh)
        files = sorted(path for path in fresh.rglob("*") if path.is_file())
        digests = {path.relative_to(fresh).as_posix(): digest_of(path) for path in files}
        (fresh / CONTENTS).write_text(json.dumps(digests))
        _put(fresh, entry)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    _trim(folder, entry, limit)
    return entry


def is_whole(entry: Path) -> bool:
    """Whether an entry is there and holds what was written."""
    try:
        digests = json.loads((entry / CONTENTS).read_text())
        return all(digest_of(entry / name) == digest for name, digest in digests.items())
    except (OSError, ValueError, AttributeError):
        return False


def _put(fresh: Path, entry: Path) -> None:
    """Gives a folder the name of an entry; a damaged one goes, a whole one that came meanwhile stays."""
    for _ in range(2):
        try:
            fresh.rename(entry)
            return
        except OSError:
            if is_whole(entry):
                return
            shutil.rmtree(entry, ignore_errors=True)
    fresh.rename(entry)


def _trim(folder: Path, kept: Path, limit: int) -> None:
    """Removes the entries that were not used for longest until the rest takes no more than the limit."""
    sizes = {}
    for entry in folder.iterdir():
        with contextlib.suppress(OSError):
            used = entry.stat().st_mtime
            sizes[entry] = used, sum(path.stat().st_size for path in entry.rglob("*") if path.is_file())
    total = sum(size for _, size in sizes.values())
    for entry in sorted(sizes, key=sizes.__getitem__):
        if total <= limit:
            return
        if entry != kept and not entry.name.startswith("."):
            shutil.rmtree(entry, ignore_errors=True)
            total -= sizes[entry][1]
