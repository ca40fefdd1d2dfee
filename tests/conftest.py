"""What several rooms' tests share: the embedded data set in small, and the commands as functions."""

import gc
import runpy
import signal
from pathlib import Path

import pytest
import torch

from datasets.demo import write_demo_dataset
from runtime.command import clear_errors
from runtime.cpu import give_memory_back

ROOT = Path(__file__).resolve().parents[1]

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in jobs in the background, and in all that they start
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """A cache of the tests' own, in them and in all processes that they start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """PyTorch on one thread, as Paddle is: on clips this small more only wait for each other and for other tests."""
    torch.set_num_threads(1)


@pytest.fixture(scope="module", autouse=True)
def memory_given_back():
    """Gives what a file of tests has freed back to the system: the commands tell malloc to keep it, of each test."""
    yield
    gc.collect()
    give_memory_back()


@pytest.fixture(scope="session")
def motion_videos(tmp_path_factory):
    """The embedded data set: 8 classes, 4 training and 2 validation videos of each."""
    return write_demo_dataset(tmp_path_factory.mktemp("motion") / "data", train_per_class=4, val_per_class=2)


@pytest.fixture
def own_signals():
    """Lets signals do what they did before, once a test has run a command in this process."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def in_this_process(capsys, own_signals):
    """Runs the `main` of a command.

    Returns:
        A function (main, *flags) -> (exit code, what it printed); on an error its message for the code.
    """

    def run(main, *flags):
        try:
            with clear_errors():
                main([str(flag) for flag in flags])
        except SystemExit as stop:
            return stop.code, capsys.readouterr().out
        return 0, capsys.readouterr().out

    return run


@pytest.fixture
def command(monkeypatch, in_this_process):
    """Runs `train.py`, `test.py` or `predict.py` in this process.

    Returns:
        A function (script, *flags) -> (exit code, what it printed); on an error its message for the code.
    """
    monkeypatch.chdir(ROOT)
    return lambda script, *flags: in_this_process(runpy.run_path(script)["main"], *flags)
