"""A small /dev/shm is found out before a worker writes into it, and said; never a bus error."""

import errno
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from datasets.shared_memory import SHM, SharedArray
from runtime.errors import UserError

REPO = Path(__file__).resolve().parents[2]
SHAPE = (3, 1, 4, 3, 32, 32)  # 144 KiB
IN_SMALL_SHM = 'mount -t tmpfs -o size=200k tmpfs /dev/shm && exec "$@"'


def folder_of(descriptor):
    """Where a file lies that need not have a name."""
    return str(Path(f"/proc/self/fd/{descriptor}").readlink().parent)


@pytest.fixture
def full(monkeypatch):
    """Lets folders have no room."""
    real, folders = os.posix_fallocate, []

    def reserve(descriptor, offset, size):
        if folder_of(descriptor) in folders:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor, offset, size)

    monkeypatch.setattr(os, "posix_fallocate", reserve)
    return folders


def test_pages_are_there_before_they_are_written(capsys):
    memory = SharedArray(SHAPE)
    assert folder_of(memory._file.fileno()) == SHM
    assert os.fstat(memory._file.fileno()).st_blocks * 512 >= memory.array.nbytes == 147456
    assert memory.array.shape == SHAPE
    assert not memory.array.any()
    memory.close()
    memory.array[:] = 1
    assert capsys.readouterr() == ("", "")


def test_a_full_shm_is_said_with_sizes_and_ways_out(full, capsys):
    full.append(SHM)
    memory = SharedArray((64, 2**14))
    assert folder_of(memory._file.fileno()) == os.path.realpath(tempfile.gettempdir())
    memory.close()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"note: {SHM} has ")
    assert " MB free, the clips in the workers' hands need 4 MB: clips go through " in line
    assert "--num_workers 0" in line


def test_a_forbidden_shm_is_said(monkeypatch, capsys):
    real = tempfile.TemporaryFile

    def opened(dir):
        if dir == SHM:
            raise OSError(errno.EROFS, "Read-only file system")
        return real(dir=dir)

    monkeypatch.setattr(tempfile, "TemporaryFile", opened)
    SharedArray(SHAPE).close()
    assert capsys.readouterr().err.startswith(
        f"note: {SHM}: Read-only file system, the clips in the workers' hands need"
    )


def test_no_room_anywhere_is_one_clear_error(full):
    full += [SHM, os.path.realpath(tempfile.gettempdir())]
    with pytest.raises(
        UserError, match=rf"^{SHM} has \d+ MB free and .* has \d+ MB free, .* need 4 MB: --num_workers 0 needs"
    ):
        SharedArray((64, 2**14))


def test_two_loaders_in_an_shm_that_has_room_for_one(media_root, tiny_recipe, tmp_path):
    """Each would fit where the other is not; without reservation the second writes into pages that are not there."""
    recipe = tmp_path / "recipe.json"
    recipe.write_text(tiny_recipe.to_json())
    script = f"""
from configs.recipe import Recipe
from datasets.annotation import load_annotation
from datasets.dataset import VideoDataset
from datasets.loader import ClipLoader

dataset = VideoDataset(load_annotation({str(media_root)!r}, "val"), Recipe.from_json({str(recipe)!r}), "train")
with ClipLoader(dataset, 2, num_workers=1) as first, ClipLoader(dataset, 2, num_workers=1) as second:
    alone = [batch.clips for batch in ClipLoader(dataset, 2).epoch(0)]
    for loader in (first, second):
        print(all((batch.clips == clips).all() for batch, clips in zip(loader.epoch(0), alone, strict=True)))
"""
    small = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", IN_SMALL_SHM, "sh"]
    if not shutil.which("unshare") or subprocess.run([*small, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this system lets nobody mount a small /dev/shm")
    done = subprocess.run(
        [*small, sys.executable, "-c", script], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(REPO)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "True\nTrue\n"), done.stderr
    assert done.stderr.count("note: /dev/shm has 0 MB free") == 1


def test_a_system_without_shm_takes_the_temporary_folder(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("datasets.shared_memory.SHM", str(tmp_path / "absent"))
    monkeypatch.delattr(os, "posix_fallocate")
    memory = SharedArray((2, 3))
    memory.close()
    assert memory.array.sum() == 0
    assert not capsys.readouterr().err
