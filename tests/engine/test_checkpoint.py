"""Checkpoints: atomic, recoverable, exact."""

import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import paddle
import pytest
from paddle import nn

from configs import Recipe
from engine import checkpoint
from engine.optim import build_optimizer
from engine.runs import LOGS
from runtime.errors import UserError
from runtime.lock import LockedError
from runtime.owned import FOLDER, ForeignError, Owned
from weights import CheckpointError, read_file

ROOT = Path(__file__).resolve().parents[2]


def make(seed):
    paddle.seed(seed)
    model = nn.Sequential(nn.Conv2D(3, 4, 3), nn.BatchNorm2D(4), nn.Flatten(), nn.Linear(4 * 36, 2))
    return model, build_optimizer(model, Recipe.of(lr=0.1, warmup_epochs=0.0))


def step(model, optimizer, seed):
    paddle.seed(seed)
    model(paddle.randn([2, 3, 8, 8])).square().mean().backward()
    optimizer.step()
    optimizer.clear_grad()


def values(model):
    return {name: tensor.numpy() for name, tensor in model.state_dict().items()}


def test_a_resumed_run_goes_on_bit_for_bit(tmp_path):
    model, optimizer = make(0)
    step(model, optimizer, 1)
    checkpoint.save_last(tmp_path, model, optimizer, {"epoch": 3})
    step(model, optimizer, 2)
    again, its_optimizer = make(5)  # built later in the same process, so Paddle numbers its parameters differently
    assert checkpoint.load_last(tmp_path, again, its_optimizer)["epoch"] == 3
    step(again, its_optimizer, 2)
    for name, value in values(model).items():
        np.testing.assert_array_equal(values(again)[name], value, err_msg=name)


def files_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_a_run_directory_is_free_again_after_the_run(tmp_path):
    for _ in range(2):
        with (
            checkpoint.run_directory(tmp_path / "run"),
            pytest.raises(LockedError, match=r"another process trains in .*run \(process \d+ on .*\): wait for it"),
            checkpoint.run_directory(tmp_path / "run"),
        ):
            pass
    assert not files_of(tmp_path / "run")


def test_a_run_that_ended_before_its_first_checkpoint_is_begun_again(tmp_path):
    model, optimizer = make(0)
    with checkpoint.run_directory(tmp_path):
        checkpoint.write_run_files(tmp_path, Recipe(), ["a"])
        for name in LOGS:
            Owned(tmp_path).start_log(name)
    with (
        pytest.raises(UserError, match="there is nothing to resume"),
        checkpoint.run_directory(tmp_path, True),
    ):
        pass
    with checkpoint.run_directory(tmp_path):
        assert not files_of(tmp_path)
        checkpoint.save_last(tmp_path, model, optimizer, {})
    with pytest.raises(UserError, match="holds a run already: add --resume"), checkpoint.run_directory(tmp_path):
        pass
    with checkpoint.run_directory(tmp_path, resume=True):
        pass


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("name", ["best.pdparams", "last.pdparams"])
def test_weights_without_a_state_are_never_written_over(tmp_path, name, resume):
    """Of a run whose first save failed, or of which somebody has kept no more."""
    model, _ = make(0)
    checkpoint.save_weights(tmp_path / name, model)
    before = files_of(tmp_path)
    with (
        pytest.raises(UserError, match=rf"holds {name} without the state\.json of its run.*move it"),
        checkpoint.run_directory(tmp_path, resume),
    ):
        pass
    assert files_of(tmp_path) == before


def test_a_checkpoint_that_was_put_back_goes_on(tmp_path):
    """Older files of the run, from a backup: the record knows the newer ones."""
    model, optimizer = make(0)
    names = ("last.pdparams", "last.pdopt", "state.json")
    step(model, optimizer, 0)
    checkpoint.save_last(tmp_path, model, optimizer, {"epoch": 1})
    backup = {name: (tmp_path / name).read_bytes() for name in names}
    step(model, optimizer, 1)
    checkpoint.save_last(tmp_path, model, optimizer, {"epoch": 2})
    for name, content in backup.items():
        (tmp_path / name).write_bytes(content)
    with checkpoint.run_directory(tmp_path, resume=True):
        assert checkpoint.load_last(tmp_path, model, optimizer)["epoch"] == 1
        checkpoint.save_last(tmp_path, model, optimizer, {"epoch": 2})


def test_a_best_checkpoint_that_was_changed_is_said_before_the_run_goes_on(tmp_path):
    model, optimizer = make(0)
    checkpoint.save_weights(tmp_path / "best.pdparams", model)
    checkpoint.save_last(tmp_path, model, optimizer, {"best": 0.5})
    (tmp_path / "best.pdparams").write_bytes(b"mine")
    with pytest.raises(ForeignError, match=r"best\.pdparams was changed"), checkpoint.run_directory(tmp_path, True):
        pass


@pytest.mark.parametrize("name", ["recipe.json", "classes.txt", "last.pdopt", *LOGS])
def test_what_somebody_else_put_there_is_not_written_over(tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(ForeignError, match=name), checkpoint.run_directory(tmp_path):
        pass
    assert (tmp_path / name).read_text() == "mine"


def test_a_run_of_a_version_without_records_goes_on(tmp_path):
    model, optimizer = make(0)
    checkpoint.save_weights(tmp_path / "best.pdparams", model)
    checkpoint.save_last(tmp_path, model, optimizer, {"best": 0.5})
    for name in LOGS:
        (tmp_path / name).write_text("line")
    shutil.rmtree(tmp_path / FOLDER)
    with checkpoint.run_directory(tmp_path, resume=True):
        for name in LOGS:
            with (tmp_path / name).open("a") as file:
                file.write("more")
            Owned(tmp_path).check(name)
        checkpoint.save_weights(tmp_path / "best.pdparams", model)
        checkpoint.save_last(tmp_path, model, optimizer, {"best": 0.5})


def test_paddle_reads_our_weights_and_we_read_them_back(tmp_path):
    model, _ = make(0)
    checkpoint.save_weights(tmp_path / "best.pdparams", model)
    theirs, ours = paddle.load(str(tmp_path / "best.pdparams")), read_file(tmp_path / "best.pdparams")
    for name, value in values(model).items():
        np.testing.assert_array_equal(np.asarray(theirs[name]), value)
        np.testing.assert_array_equal(ours[name], value)


def test_a_kill_at_any_rename_leaves_one_checkpoint_or_the_other(tmp_path, monkeypatch):
    model, optimizer = make(0)
    checkpoint.save_last(tmp_path / "whole", model, optimizer, {"epoch": 1})
    weights = {1: values(model)}
    step(model, optimizer, 1)
    weights[2] = values(model)
    replace, seen = os.replace, []
    for allowed in range(20):
        shutil.copytree(tmp_path / "whole", tmp_path / f"{allowed}")
        calls = []

        def killed(source, target, calls=calls, allowed=allowed):
            if len(calls) == allowed:
                raise KeyboardInterrupt
            calls.append(target)
            replace(source, target)

        monkeypatch.setattr("os.replace", killed)
        with contextlib.suppress(KeyboardInterrupt):
            checkpoint.save_last(tmp_path / f"{allowed}", model, optimizer, {"epoch": 2})
        monkeypatch.undo()
        again, its_optimizer = make(9)
        seen.append(checkpoint.load_last(tmp_path / f"{allowed}", again, its_optimizer)["epoch"])
        for name, value in weights[seen[-1]].items():
            np.testing.assert_array_equal(values(again)[name], value)
        with checkpoint.run_directory(tmp_path / f"{allowed}", resume=True):
            checkpoint.save_last(tmp_path / f"{allowed}", model, optimizer, {"epoch": 2})
    assert seen == sorted(seen)
    assert set(seen) == {1, 2}


def test_a_full_disk_is_one_error_and_leaves_the_previous_checkpoint_whole(tmp_path):
    """The kernel refuses the write (a limit on file size, set in a process of its own), not a mock."""
    model, optimizer = make(0)
    checkpoint.save_last(tmp_path, model, optimizer, {"epoch": 1})
    before = files_of(tmp_path)
    code = f"""
import resource, signal, sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_checkpoint import checkpoint, make, step
from configs import cli
from runtime import command
model, optimizer = make(0)
step(model, optimizer, 1)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
with command.clear_errors():
    checkpoint.save_last(Path({str(tmp_path)!r}), model, optimizer, {{"epoch": 2}})
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "last.pdparams: File too large; what was saved before is whole, make room and --resume" in done.stderr
    assert files_of(tmp_path) == before


@pytest.mark.parametrize("name", ["last.pdparams", "last.pdopt", "state.json"])
def test_a_damaged_file_is_named(tmp_path, name):
    model, optimizer = make(0)
    checkpoint.save_last(tmp_path, model, optimizer, {})
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-20])
    with pytest.raises(CheckpointError, match=rf"{name} is damaged"):
        checkpoint.load_last(tmp_path, model, optimizer)


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    model, optimizer = make(0)
    checkpoint.save_last(tmp_path, model, optimizer, {})
    other = nn.Linear(2, 2)
    with pytest.raises(CheckpointError, match="belongs to another model"):
        checkpoint.load_last(tmp_path, other, build_optimizer(other, Recipe()))


@pytest.mark.parametrize(
    "content",
    [
        "", "{}", "[]", '{"epoch": 1}', '{"digests": null}', '{"digests": {}, "epoch": "x"}', "[" * 100_000,
        '{"digests": {}, "epoch": 1' + "0" * 5000 + "}", '{"digests": {}, "best": NaN}', "\0", '{"digests": {"a": 1}}',
    ],
)  # fmt: skip
def test_a_state_that_is_none_is_damaged(tmp_path, content):
    (tmp_path / "state.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"state.json is damaged \("):
        checkpoint.read_state(tmp_path)


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    model, optimizer = make(0)
    checkpoint.save_last(tmp_path, model, optimizer, {"epoch": 1})
    before = files_of(tmp_path)
    weight = model[3].weight.numpy()
    weight[0, 0] = np.nan
    model[3].weight.set_value(weight)
    with pytest.raises(CheckpointError, match=r"3.weight is no longer finite and is not saved"):
        checkpoint.save_last(tmp_path, model, optimizer, {"epoch": 2})
    with pytest.raises(CheckpointError, match=r"3.weight is no longer finite and is not saved"):
        checkpoint.save_weights(tmp_path / "best.pdparams", model)
    assert files_of(tmp_path) == before


def test_a_best_checkpoint_that_is_gone_is_missed(tmp_path):
    model, optimizer = make(0)
    checkpoint.save_last(tmp_path, model, optimizer, {"best": 0.5})
    with pytest.raises(CheckpointError, match=r"best.pdparams is missing"):
        checkpoint.load_last(tmp_path, model, optimizer)


def test_nothing_to_resume(tmp_path):
    with pytest.raises(UserError, match="there is nothing to resume in"):
        checkpoint.read_state(tmp_path)


def test_a_directory_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match=r"cannot write to --output_dir .*file/run: Not a directory"):
        checkpoint.prepare_directory(tmp_path / "file" / "run")
