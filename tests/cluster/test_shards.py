"""The list of a job and its shards, and files that appear as a whole; Ray is not needed."""

import contextlib
import json
import pickle

import pytest

pytest.importorskip("pyarrow")

from cluster import shards
from cluster.shards import JobError, Shards
from cluster.storage import Storage, fetched, opened
from runtime.errors import UserError

NAMES = [f"/videos/{number}, 视频\n.mp4" for number in range(10)]


@pytest.fixture
def storage(tmp_path):
    return Storage(str(tmp_path / "job"))


def test_every_video_is_in_one_shard(storage):
    parts = shards.begin(storage, iter(NAMES), 4, {"views": "full"})
    assert len(parts) == 3
    assert [parts.sources(number) for number in range(3)] == [NAMES[:4], NAMES[4:8], NAMES[8:]]
    assert parts.unfinished() == [0, 1, 2]
    storage.write(shards.file_of(1), b"rows")
    assert pickle.loads(pickle.dumps(storage)).read(shards.file_of(1)) == b"rows"
    assert Shards(storage).unfinished() == [0, 2]


def test_a_full_last_shard_is_the_last(storage):
    assert len(shards.begin(storage, NAMES[:8], 4, {})) == 2


def test_the_same_command_goes_on_and_another_is_refused(storage):
    shards.begin(storage, NAMES, 4, {"views": "full"})
    assert len(shards.begin(storage, NAMES, 4, {"views": "full"})) == 3
    with pytest.raises(JobError, match="holds a job whose views is full, this one's is quick: name another --output"):
        shards.begin(storage, NAMES, 4, {"views": "quick"})
    with pytest.raises(JobError, match="holds a job whose shard_size is 4, this one's is 5"):
        shards.begin(storage, NAMES, 5, {"views": "full"})
    with pytest.raises(JobError, match="holds a job of other videos"):
        shards.begin(storage, NAMES[::-1], 4, {"views": "full"})


def test_a_job_whose_list_was_cut_off_begins_anew(storage):
    storage.write(shards.LIST, b'"half')
    assert len(shards.begin(storage, NAMES, 4, {})) == 3
    assert json.loads(storage.read(shards.JOB))["videos"] == 10


def test_a_folder_of_somebody_else_is_left_alone(storage):
    storage.write("notes.txt", b"mine")
    with pytest.raises(JobError, match="is not empty, and no job of this command"):
        shards.begin(storage, NAMES, 4, {})
    assert storage.read("notes.txt") == b"mine"


def test_no_video_is_no_job(storage):
    with pytest.raises(UserError, match="there is no video"):
        shards.begin(storage, [], 4, {})


def test_a_file_appears_as_a_whole_or_not_at_all(storage):
    with contextlib.suppress(ZeroDivisionError), storage.writing("a.bin") as stream:
        stream.write(b"half")
        raise ZeroDivisionError
    assert not storage.exists("a.bin")
    storage.write("a.bin", b"0123456789")
    assert storage.part("a.bin", 2, 5) == b"234"
    storage.clear_unfinished()
    assert storage.names("") == {"a.bin"}


def test_sources_are_lists_folders_and_addresses(tmp_path):
    for name in ("b.mp4", "a.mp4"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "list.txt").write_text("a.mp4 3\n\ns3://bucket/x.mp4\n/abs/y.mp4\n")
    found = list(shards.sources_of([str(tmp_path / "list.txt"), str(tmp_path / "b.mp4")]))
    assert found == [str(tmp_path / "a.mp4"), "s3://bucket/x.mp4", "/abs/y.mp4", str(tmp_path / "b.mp4")]


def test_an_address_that_nobody_knows_is_named_without_its_key():
    with pytest.raises(UserError, match=r"^gopher://host/x names no place that Arrow knows"):
        opened("gopher://key:secret@host/x?token=secret")


def test_a_path_is_read_where_it_is():
    with fetched("/videos/a.mp4", 10) as path:
        assert path == "/videos/a.mp4"
