"""What several rooms' tests share: the embedded data set in small, and the commands as functions."""

import gc
import runpy
import signal
from pathlib import Path

import paddle
import pytest
import torch

from configs import get_preset
from datasets.demo import write_demo_dataset
from engine.checkpoint import pickled
from models import from_recipe
from models.recognizer import batch_norms
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


def settle(model, recipe):
    """Gives a new model statistics as after training, and a classifier that is sure of itself."""
    paddle.seed(3)
    model.train()
    for norm in batch_norms(model):
        norm._momentum = 0.0
    model(paddle.randn([2, recipe.clip.num_frames, 3, recipe.pixels.crop_size, recipe.pixels.crop_size]))
    for norm in batch_norms(model):
        norm.weight.set_value(1 + 0.2 * paddle.rand(norm.weight.shape))
        norm.bias.set_value(0.1 * paddle.randn(norm.bias.shape))
    model.cls_head.new_fc.weight.set_value(model.cls_head.new_fc.weight * 20)
    model.eval()
    return model


@pytest.fixture(scope="session")
def make_checkpoint(tmp_path_factory):
    """Writes a run directory: (preset, class names, **recipe fields) -> the path of its weights."""

    def make(preset, class_names=tuple(f"class_{label}" for label in range(8)), **fields):
        recipe = get_preset(preset).with_(num_classes=8, **fields)
        folder = tmp_path_factory.mktemp(recipe.network.model)
        state = settle(from_recipe(recipe), recipe).state_dict()
        arrays = {name: tensor.numpy() for name, tensor in state.items()}
        (folder / "best.pdparams").write_bytes(pickled(arrays))
        (folder / "recipe.json").write_text(recipe.to_json())
        (folder / "classes.txt").write_text("".join(f"{name}\n" for name in class_names))
        return folder / "best.pdparams"

    return make


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
