"""Videos in, and rows out of, an object store: moto's server on loopback, which speaks S3 as Amazon does.

There is no package of MinIO's server on PyPI or in Debian.
"""

import os
import socket
import subprocess
import sys
import time

import pytest

from cluster import shards
from cluster.storage import Storage, fetched
from runtime.errors import UserError
from tests.cluster.conftest import ROOT, job_flags, rows_of

pytest.importorskip("pyarrow")
pytest.importorskip("moto", reason="no object store: pip install moto[server]")
KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_EC2_METADATA_DISABLED": "true"}


@pytest.fixture(scope="module")
def store():
    """The options of an address behind which there is a bucket."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.MonkeyPatch.context() as patch:
        for name, value in KEYS.items():
            patch.setenv(name, value)
        argv = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
            try:
                for _ in range(1200):
                    with socket.socket() as probe:
                        if probe.connect_ex(("127.0.0.1", port)) == 0:
                            break
                    time.sleep(0.1)
                options = f"?endpoint_override=127.0.0.1:{port}&scheme=http&region=us-east-1&allow_bucket_creation=true"
                from pyarrow import fs

                fs.FileSystem.from_uri(f"s3://bucket{options}")[0].create_dir("bucket")
                yield options
            finally:
                server.kill()


def put(options, name, content):
    from pyarrow import fs

    files, path = fs.FileSystem.from_uri(f"s3://bucket/{name}{options}")
    with files.open_output_stream(path) as stream:
        stream.write(content)


@pytest.mark.whole
def test_a_job_reads_and_writes_an_object_store(store, artifact, videos, tmp_path):
    pytest.importorskip("ray")
    names = videos.read_text().splitlines()[:4]
    for number, name in enumerate(names):
        with open(name, "rb") as file:
            put(store, f"videos/{number}.mp4", file.read())
    put(store, "videos/readme.md", b"no video")
    local, remote = tmp_path / "local", f"s3://bucket/job{store}"
    for source, output in ((names, local), ([f"s3://bucket/videos{store}"], remote)):
        flags = job_flags(artifact, source[0], output)
        at = flags.index("--input") + 1
        flags[at : at + 1] = source
        subprocess.run([sys.executable, "-m", "cluster.predict", *flags], cwd=ROOT, check=True, env=os.environ | KEYS)
    from pyarrow import parquet

    storage = Storage(remote)
    found = []
    for number in range(len(shards.Shards(storage))):
        with storage.reading(shards.file_of(number)) as file:
            found += parquet.read_table(file).to_pylist()
    assert [row["scores"] for row in found] == [row["scores"] for row in rows_of(local)]
    assert all(row["source"].startswith("s3://bucket/videos/") for row in found)


def test_files_of_a_store_appear_as_a_whole(store):
    storage = Storage(f"s3://bucket/some/job{store}")
    assert storage.is_empty()
    parts = shards.begin(storage, [f"{number}.mp4" for number in range(5)], 2, {})
    assert parts.sources(1) == ["2.mp4", "3.mp4"]
    storage.write(shards.file_of(2), b"rows")
    assert shards.Shards(storage).unfinished() == [0, 1]
    assert not storage.is_empty()


def test_objects_are_found_and_read_within_limits(store):
    for name in ("b.mp4", "sub/a.MP4", "notes.txt"):
        put(store, f"found/{name}", name.encode())
    found = list(shards.sources_of([f"s3://bucket/found{store}"]))
    assert found == [f"s3://bucket/found/b.mp4{store}", f"s3://bucket/found/sub/a.MP4{store}"]
    with fetched(found[0], 100) as path, open(path, "rb") as file:
        assert file.read() == b"b.mp4"
    with pytest.raises(UserError, match=r"^s3://bucket/found/b.mp4 has more than 0 MB"), fetched(found[0], 4):
        pass
    missing = f"s3://bucket/found/none.mp4{store}"
    with pytest.raises(UserError, match=r"^s3://bucket/found/none.mp4 cannot be read"), fetched(missing, 4):
        pass
    assert list(shards.sources_of([found[0]])) == [found[0]]
