"""Weight files: what is read, and what is refused without being executed."""

import argparse
import os
import pickle
import sys
import types
import zipfile

import numpy as np
import paddle
import pytest
import safetensors.torch
import torch

from weights.files import CheckpointError, read_file

STATE = {
    "fc.weight": torch.arange(6, dtype=torch.float32).reshape(2, 3),
    "conv.weight": torch.randn(4, 3, 3, 3).to(memory_format=torch.channels_last),
    "half": torch.randn(5).half(),
    "double": torch.randn(2, 2, 2, dtype=torch.float64),
    "count": torch.tensor(7),
    "flag": torch.tensor([True, False]),
    "slice": torch.arange(10.0)[3:7],
    "empty": torch.zeros(0, 4),
    "brain": torch.randn(6).bfloat16(),
}


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"state_dict": s, "epoch": 3}])
def test_torch_files_come_back_bit_for_bit(tmp_path, legacy, wrap):
    path = tmp_path / "weights.pth"
    torch.save(wrap(STATE), path, _use_new_zipfile_serialization=not legacy)
    arrays = read_file(path)
    assert arrays.keys() == STATE.keys()
    for name, tensor in STATE.items():
        expected = tensor.float().numpy() if tensor.dtype == torch.bfloat16 else tensor.numpy()
        np.testing.assert_array_equal(arrays[name], expected)
        assert arrays[name].dtype == expected.dtype


def test_a_torch_parameter_is_read(tmp_path):
    torch.save(torch.nn.Linear(3, 2).state_dict(keep_vars=True), tmp_path / "linear.pt")
    assert read_file(tmp_path / "linear.pt")["weight"].shape == (2, 3)


def test_safetensors_come_back_bit_for_bit(tmp_path):
    tensors = {name: tensor.contiguous() for name, tensor in STATE.items()}
    safetensors.torch.save_file(tensors, tmp_path / "weights.safetensors")
    arrays = read_file(tmp_path / "weights.safetensors")
    assert arrays.keys() == STATE.keys()
    for name, tensor in STATE.items():
        expected = tensor.float().numpy() if tensor.dtype == torch.bfloat16 else tensor.numpy()
        np.testing.assert_array_equal(arrays[name], expected)
        assert arrays[name].dtype == expected.dtype


def test_what_training_scripts_keep_beside_the_weights_is_not_built(tmp_path, monkeypatch):
    """As mmengine's checkpoints, which hold a HistoryBuffer, and the many that hold parsed arguments."""
    history = types.ModuleType("mmengine.logging.history_buffer")
    history.HistoryBuffer = type("HistoryBuffer", (), {"__module__": history.__name__})
    buffer = history.HistoryBuffer()
    buffer.values = [1.0, 2.0]
    content = {"state_dict": {"a": torch.ones(2)}, "args": argparse.Namespace(lr=0.1), "message_hub": {"loss": buffer}}
    for name in ("mmengine", "mmengine.logging", history.__name__):
        monkeypatch.setitem(sys.modules, name, history)
    torch.save(content, tmp_path / "epoch_1.pth")
    monkeypatch.undo()
    assert read_file(tmp_path / "epoch_1.pth").keys() == {"a"}


def test_paddle_files_come_back_bit_for_bit(tmp_path):
    layer = paddle.nn.Sequential(paddle.nn.Conv2D(3, 4, 3), paddle.nn.BatchNorm2D(4))
    paddle.save(layer.state_dict(), str(tmp_path / "weights.pdparams"))
    arrays = read_file(tmp_path / "weights.pdparams")
    assert arrays.keys() == layer.state_dict().keys()
    for name, tensor in layer.state_dict().items():
        np.testing.assert_array_equal(arrays[name], tensor.numpy())


def test_numpy_files(tmp_path):
    np.savez(tmp_path / "weights.npz", a=np.arange(3), b=np.eye(2))
    assert read_file(tmp_path / "weights.npz").keys() == {"a", "b"}


class Attack:
    """Unpickling this creates a file."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return (os.mkdir, (str(self.trace),))


def write_pdparams(path, content):
    path.write_bytes(pickle.dumps(content))


def write_torch_zip(path, content):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(content, protocol=2))


def write_torch_legacy(path, content):
    parts = (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}, content)
    path.write_bytes(b"".join(pickle.dumps(part, protocol=2) for part in parts))


@pytest.mark.parametrize(
    ("name", "write"),
    [("w.pdparams", write_pdparams), ("zip.pth", write_torch_zip), ("old.pt", write_torch_legacy)],
)
def test_a_pickle_with_code_in_it_is_refused_and_not_run(tmp_path, name, write):
    trace = tmp_path / "executed"
    write(tmp_path / name, {"weight": Attack(trace)})
    with pytest.raises(CheckpointError, match=rf"{name} is a pickle that calls posix.mkdir; only arrays are read"):
        read_file(tmp_path / name)
    assert not trace.exists()


def test_an_object_array_in_npz_is_refused(tmp_path):
    np.savez(tmp_path / "w.npz", a=np.array([Attack(tmp_path / "executed")], dtype=object))
    with pytest.raises(CheckpointError, match=r"w.npz is not a whole weight file"):
        read_file(tmp_path / "w.npz")
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("kind", ["pdparams", "npz", "zip", "legacy", "safetensors"])
@pytest.mark.parametrize("keep", [0.0, 0.3, 0.9])
def test_a_truncated_file_is_one_clear_error(tmp_path, kind, keep):
    path = tmp_path / f"w.{kind if kind in ('pdparams', 'npz', 'safetensors') else 'pt'}"
    if kind == "pdparams":
        paddle.save(paddle.nn.Linear(30, 30).state_dict(), str(path))
    elif kind == "npz":
        np.savez(path, a=np.ones(1000))
    elif kind == "safetensors":
        safetensors.torch.save_file({"a": torch.ones(1000)}, path)
    else:
        torch.save({"a": torch.ones(1000)}, path, _use_new_zipfile_serialization=kind == "zip")
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
    with pytest.raises(CheckpointError, match=str(path)):
        read_file(path)


@pytest.mark.parametrize("content", [[1, 2], {"a": "text"}, {}, 5])
def test_a_pickle_without_arrays_is_refused(tmp_path, content):
    write_pdparams(tmp_path / "w.pdparams", content)
    with pytest.raises(CheckpointError, match=r"w.pdparams"):
        read_file(tmp_path / "w.pdparams")


def test_absent_and_unknown_files(tmp_path):
    with pytest.raises(CheckpointError, match="there is no weight file"):
        read_file(tmp_path / "none.pdparams")
    (tmp_path / "w.h5").touch()
    with pytest.raises(CheckpointError, match=r"the weight formats are \.pdparams.*got \.h5"):
        read_file(tmp_path / "w.h5")


def test_a_tensor_past_its_storage_is_refused(tmp_path):
    path = tmp_path / "w.pt"
    torch.save({"a": torch.ones(1000)}, path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content[:400] if name.endswith("data/0") else content)
    with pytest.raises(CheckpointError, match="reaches past the end of its storage"):
        read_file(path)
