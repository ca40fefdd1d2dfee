"""A small job on the embedded set, all of whose steps were done by the command."""

import contextlib
import io

import paddle
import pytest

from datasets.demo import CLASS_NAMES
from scaling import latency
from scaling.__main__ import main
from scaling.compose import Descendants
from scaling.job import Job
from scaling.original import Original

MEMORY = 2**27  # of a process: tests/scaling/test_latency.py weighs some, which takes a second each


@pytest.fixture(scope="session")
def job(make_checkpoint, motion_videos):
    weights = make_checkpoint("demo_tsm", CLASS_NAMES)
    return Job(str(weights), str(motion_videos), sparsities=(0.0, 0.5), epochs=1, batch_size=8)


@pytest.fixture(scope="session")
def piped(job, tmp_path_factory):
    """All steps by the command: the folder, and what was printed."""
    folder, printed = tmp_path_factory.mktemp("scaled") / "job", io.StringIO()
    flags = ["--pretrained", job.pretrained, "--dataset_root", job.dataset_root, "--output", str(folder)]
    more = ["--threads", "1", "--sparsities", "0.5", "--epochs", "1", "--batch_size", "8", "--processes", "2"]
    last = ["--engine", "paddle", "--points", "3", "--unseen", "2", "--uniform", "0.5", "--uniform_epochs", "1"]
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
        patch.setattr(latency, "ROUNDS", 5)
        patch.setattr(latency.Stopwatch, "_weighed", lambda self, graphs: [MEMORY] * len(graphs))
        main([*flags, *more, *last])
    return folder, printed.getvalue()


@pytest.fixture(scope="session")
def trained(piped):
    return piped[0]


@pytest.fixture(scope="session")
def original(job):
    return Original(job)


@pytest.fixture(scope="session")
def descendants(original, trained):
    return Descendants(original.model, original.blocks, trained)


@pytest.fixture(scope="session")
def clip(original):
    return paddle.to_tensor(original.held_out()[0][:2])
