"""Pages in processes of their own."""

import contextlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from datasets.demo import CLASS_NAMES

ROOT = Path(__file__).resolve().parents[3]


@contextlib.contextmanager
def opened(*flags, folder):
    """The address of a page, whose process is gone at the end; its temporary files lie in a folder."""
    argv = [sys.executable, "-m", "tools.page", "--port", "0", "--threads", "1", *map(str, flags)]
    with subprocess.Popen(
        argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        env=os.environ | {"TMPDIR": str(folder)},
    ) as process:  # fmt: skip
        try:
            said = [process.stdout.readline()]
            while said[-1] and "the page is at" not in said[-1]:
                said.append(process.stdout.readline())
            yield re.search(r"http://[\d.]+:\d+", said[-1])[0]
        finally:
            process.kill()


@pytest.fixture(scope="session")
def weights(make_checkpoint):
    """Of a network that tells the embedded videos apart somehow."""
    return make_checkpoint("demo_tsm", CLASS_NAMES, test_clips=2)


@pytest.fixture(scope="session")
def uploads(tmp_path_factory):
    """Where the page's process keeps what it is sent."""
    return tmp_path_factory.mktemp("uploads")


@pytest.fixture(scope="session")
def page(weights, uploads):
    """The address of a page that takes a megabyte and four seconds."""
    flags = ("--pretrained", weights, "--engine", "dygraph", "--max_megabytes", 1, "--max_seconds", 4)
    with opened(*flags, folder=uploads) as address:
        yield address
