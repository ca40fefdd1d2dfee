"""Weight files: what is read, and what is refused without being executed."""

import argparse
import collections
import os
import pickle
import resource
import struct
import time
import zipfile
from pathlib import Path

import numpy as np
import paddle
import pytest
import safetensors.torch
import torch

from weights.files import CheckpointError, read_file, read_pickle

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


def test_what_training_scripts_keep_beside_the_weights_is_not_built(tmp_path):
    """As mmengine's checkpoints, whose HistoryBuffer refers to its methods by getattr, and parsed arguments."""
    history = pytest.importorskip("mmengine.logging").HistoryBuffer([1.0, 2.0], [1, 1])
    beside = argparse.Namespace(lr=0.1, work_dir=Path("runs"), counts=collections.Counter("ab"), seen={1, 2})
    content = {
        "state_dict": torch.nn.Linear(2, 1).state_dict(),
        "args": beside,
        "message_hub": {"log_scalars": {"loss": history}, "best": np.float64(0.5), "names": np.array(["bow"])},
    }
    torch.save(content, tmp_path / "epoch_1.pth")
    assert read_file(tmp_path / "epoch_1.pth").keys() == {"weight", "bias"}
    torch.save({"state_dict": {"a": history}}, tmp_path / "epoch_2.pth")
    with pytest.raises(CheckpointError, match=r"a is a mmengine.logging.history_buffer.HistoryBuffer, not an array"):
        read_file(tmp_path / "epoch_2.pth")


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
    (tmp_path / "w.h5").write_bytes(b"\x89HDF\r\n")
    with pytest.raises(CheckpointError, match=r"the weight formats are PyTorch's, .*; this is HDF5"):
        read_file(tmp_path / "w.h5")
    torch.save({"student": {"a": torch.ones(1)}, "teacher": {"a": torch.zeros(1)}}, tmp_path / "two.pt")
    with pytest.raises(CheckpointError, match=r"holds 2 sets of arrays: student, teacher"):
        read_file(tmp_path / "two.pt")


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


@pytest.mark.parametrize("dtype", [np.float32, np.uint16])
def test_what_is_built_is_limited_by_the_size_of_the_file(tmp_path, dtype):
    array = np.zeros(200_000, dtype)
    path = tmp_path / "a.pdparams"
    path.write_bytes(pickle.dumps({f"layer{i}.weight": array for i in range(20_000)}, protocol=4))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CheckpointError, match=r"a\.pdparams: its arrays are more than 50 times larger than the file"):
        read_file(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400 * 2**10  # KiB


def test_paddle_bfloat16_is_widened(tmp_path):
    layer = paddle.nn.Linear(3, 2)
    layer.to(dtype="bfloat16")
    paddle.save(layer.state_dict(), str(tmp_path / "w.pdparams"))
    arrays = read_file(tmp_path / "w.pdparams")
    for name, tensor in layer.state_dict().items():
        np.testing.assert_array_equal(arrays[name], tensor.astype("float32").numpy())
        assert arrays[name].dtype == np.float32


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_pickled_arrays_come_back_as_they_are(tmp_path, protocol):
    """Slots of an optimizer have pairs as keys; arrays may be shared, empty, transposed, of another byte order."""
    shared = np.arange(6, dtype=">f4").reshape(2, 3)
    content = {
        ("fc", "velocity"): shared,
        ("fc", "again"): shared,
        "t": shared.T,
        "none": np.zeros((0, 2)),
        "n": {"i": 3},
    }
    (tmp_path / "w.pdopt").write_bytes(pickle.dumps(content, protocol))
    found = read_pickle(tmp_path / "w.pdopt")
    assert found.keys() == content.keys()
    assert found["n"] == {"i": 3}
    for name in content.keys() - {"n"}:
        np.testing.assert_array_equal(found[name], content[name])
        assert found[name].dtype == content[name].dtype.newbyteorder("=")


# Pickles written by hand: a name, a text, a whole number, a call, a state, a dict of one array.


def a_name(module, name):
    return f"c{module}\n{name}\n".encode()


def a_text(text):
    return b"X" + struct.pack("<I", len(text.encode())) + text.encode()


def a_number(number):
    return pickle.dumps(number, 2)[2:-1]


def a_tuple(*items):
    return b"(" + b"".join(items) + b"t"


def a_call(module, name, *arguments):
    return a_name(module, name) + a_tuple(*arguments) + b"R"


def weights_of(value):
    return b"\x80\x02}" + a_text("w") + value + b"s."


def a_tensor(size, offset, shape, stride, *more):
    storage = a_tuple(a_text("storage"), a_name("torch", "FloatStorage"), a_text("0"), a_text("cpu"), a_number(size))
    numbers = (a_number(offset), a_tuple(*map(a_number, shape)), a_tuple(*map(a_number, stride)))
    return a_call("torch._utils", "_rebuild_tensor_v2", storage + b"Q", *numbers, b"\x89", b"}", *more)


def an_array(code, shape, content):
    dtype = a_call("numpy", "dtype", a_text(code), b"\x89", b"\x88") + a_tuple(a_number(3), a_text("<")) + b"b"
    empty = a_call(
        "numpy.core.multiarray", "_reconstruct", a_name("numpy", "ndarray"), a_tuple(a_number(0)), a_text("b")
    )
    return empty + a_tuple(a_number(1), a_tuple(*map(a_number, shape)), dtype, b"\x89", content) + b"b"


EIGHT = a_call("_codecs", "encode", a_text("A" * 8), a_text("latin1"))
OVER_BYTES = a_call("numpy", "ndarray", a_tuple(a_number(1)), a_text("O"), EIGHT)
BUILT_DTYPE = a_call("numpy", "dtype", a_text("V8"), b"\x89", b"\x88")
# Sixty tuples, each twice the one before: 300 bytes that take years to hash.
DOUBLED = b")" + b"".join(b"q" + bytes([i]) + b"h" + bytes([i]) + b"\x86" for i in range(60))


def test_the_pickles_by_hand_are_right(tmp_path):
    (tmp_path / "w.pdparams").write_bytes(weights_of(an_array("f4", [2], EIGHT)))
    np.testing.assert_array_equal(read_file(tmp_path / "w.pdparams")["w"], np.frombuffer(b"A" * 8, "<f4"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (weights_of(OVER_BYTES), "calls numpy.ndarray"),
        (weights_of(an_array("f4", [3], EIGHT)), "8 bytes does not have the shape"),
        (weights_of(an_array("f4", [-2], EIGHT)), "8 bytes does not have the shape"),
        (weights_of(an_array("O", [1], EIGHT)), "w is a NumPy array of type O"),
        (weights_of(an_array("c8", [1], EIGHT)), "w is a NumPy array of type c8"),
        (weights_of(an_array("M8[s]", [1], EIGHT)), r"w is a NumPy array of type M8\[s\]"),
        (weights_of(an_array("U2", [1], EIGHT)), "w is a NumPy array of type U2"),
        (weights_of(a_call("numpy.core.multiarray", "scalar", BUILT_DTYPE, EIGHT)), "w is a NumPy array of type V8"),
        (weights_of(a_call("_codecs", "encode", a_text("a"), a_text("punycode"))), "encodes other text"),
        (weights_of(a_call("_codecs", "encode", a_text("a"), a_text("none"))), "encodes other text"),
        (weights_of(a_call("numpy", "dtype", DOUBLED) + a_tuple(a_number(3), DOUBLED) + b"b"), "w is a numpy.dtype"),
        (b"\x80\x02}" + DOUBLED + a_number(1) + b"s.", "names an array 'key of type tuple'"),
        (b"\x80\x02}r" + struct.pack("<I", 10**8) + b".", "holds no arrays"),
        (b"\x80\x02p99999999999\n.", "remembered objects"),
        (b"\x80\x02" + b"}" * 1_000_001 + b".", "more than 1000000 steps"),
        (b"\x80\x02" + a_name("collections", "OrderedDict") + b"}b.", "calls collections.OrderedDict.__setstate__"),
        (b"\x80\x04\x8c\x04os\nx\x8c\x04\x1b[3m\x93.", r"calls os\?x.\?\[3m;"),
        (pickle.dumps({"a\nb": np.ones(1)}), r"names an array 'a\?b'"),
        (b"\x80\x02" + DOUBLED + a_text("x") + b"\x93.", "calls what has no name"),
        (b"\x80\x02(i\nos\nsystem\n.", "not a whole weight file"),
    ],
)
def test_a_hostile_pickle_is_one_line_at_once(tmp_path, content, message):
    started = time.monotonic()
    (tmp_path / "w.pdparams").write_bytes(content)
    with pytest.raises(CheckpointError, match=message) as caught:
        read_file(tmp_path / "w.pdparams")
    assert str(caught.value).isprintable()
    assert time.monotonic() - started < 20


def write_tensor(path, content, storage=bytes(16), compression=zipfile.ZIP_STORED, **members):
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("w/data.pkl", content)
        archive.writestr("w/data/0", storage)
        for name, data in members.items():
            archive.writestr(f"w/{name}", data)


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (a_tensor(4, 1, [2, 2], [2, 1]), "past the end"),
        (a_tensor(4, 0, [20000, 20000], [0, 0]), "400000000 elements of 4 numbers"),
        (a_tensor(4, -1, [1], [1]), "is not a size"),
        (a_tensor(4, 0, [2], [-1]), "is not a size"),
        (a_tensor(4, 0, [True], [1]), "is not a size"),
        (a_tensor(4, 0, [np.int32(3)], [np.int32(2**30)]), "is not a size"),
        (a_tensor(4, 0, [4], [1], b"}" + a_text("neg") + b"\x88s"), "negated or conjugated"),
        (
            a_call("__builtin__", "getattr", a_name("torch", "FloatStorage"), a_text("__init__")),
            "calls builtins.getattr",
        ),
        (a_call("pathlib", "os.system", a_text("true")), "calls pathlib.os.system"),
        (a_call("mmengine.fileio", "os.system", a_text("true")), "calls mmengine.fileio.os.system"),
        (a_call("mmengine.fileio", "load", a_text("x")), "w is a mmengine.fileio.load, not an array"),
    ],
)
def test_a_hostile_tensor_is_refused(tmp_path, tensor, message):
    write_tensor(tmp_path / "w.pth", weights_of(tensor))
    with pytest.raises(CheckpointError, match=message):
        read_file(tmp_path / "w.pth")


def test_byte_order_as_torch_reads_it(tmp_path):
    content, storage = weights_of(a_tensor(4, 0, [2, 2], [1, 2])), np.arange(4, dtype=">f4").tobytes()
    write_tensor(tmp_path / "w.pth", content, storage, byteorder="big", version="3\n")
    expected = torch.load(tmp_path / "w.pth", weights_only=True)["w"].numpy()
    np.testing.assert_array_equal(read_file(tmp_path / "w.pth")["w"], expected)
    np.testing.assert_array_equal(expected, [[0, 2], [1, 3]])
    parts = (0x1950A86A20F9469CFC6C, 1001, {"little_endian": False}, {})
    (tmp_path / "old.pth").write_bytes(b"".join(pickle.dumps(part, protocol=2) for part in parts))
    with pytest.raises(CheckpointError, match="written on a big-endian machine"):
        read_file(tmp_path / "old.pth")


def damaged_zip(path, method=None, encrypted=False):
    """An archive whose content, compression method or encryption is not what Python's zipfile can read."""
    name = "archive/data.pkl" if path.suffix == ".pth" else "a.npy"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED if encrypted else zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, b"\x80\x02}" * 100)
    content = bytearray(path.read_bytes())
    directory = content.find(b"PK\x01\x02")
    if encrypted:
        content[6] |= 1
        content[directory + 8] |= 1
    elif method:
        content[8] = content[directory + 10] = method
    else:
        content[30 + len(name) : 32 + len(name)] = b"\xff\xff"
    path.write_bytes(content)


@pytest.mark.parametrize("suffix", ["pth", "npz"])
@pytest.mark.parametrize("damage", [{}, {"method": 99}, {"method": 14}, {"encrypted": True}])
def test_a_damaged_archive_is_one_clear_error(tmp_path, suffix, damage):
    path = tmp_path / f"w.{suffix}"
    damaged_zip(path, **damage)
    with pytest.raises(CheckpointError, match=str(path)):
        read_file(path)


def test_an_archive_that_unpacks_without_an_end_is_refused(tmp_path):
    write_tensor(tmp_path / "w.pth", weights_of(a_tensor(4, 0, [4], [1])), compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(CheckpointError, match="is compressed, which PyTorch's files are not"):
        read_file(tmp_path / "w.pth")
    np.savez_compressed(tmp_path / "w.npz", a=np.zeros(2**24, np.float32), b=np.zeros(2**10))
    with pytest.raises(CheckpointError, match="more than 50 times larger than the file"):
        read_file(tmp_path / "w.npz")


@pytest.mark.parametrize(
    "header", ["{'descr': '<f4', 'fortran_order': False, 'shape': (", "(" * 9000, "{'descr': '<f4', 'shape': (10**9,)}",
               "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000,)}"]
)  # fmt: skip
def test_a_damaged_npy_header_is_one_clear_error(tmp_path, header):
    with zipfile.ZipFile(tmp_path / "w.npz", "w") as archive:
        archive.writestr("a.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header) + 1) + header.encode() + b"\n")
    with pytest.raises(CheckpointError, match=r"w\.npz is not a whole weight file") as caught:
        read_file(tmp_path / "w.npz")
    assert str(caught.value).isprintable()


def test_an_unknown_type_in_safetensors_is_named(tmp_path):
    safetensors.torch.save_file({"a": torch.zeros(4).to(torch.float8_e4m3fn)}, tmp_path / "w.safetensors")
    with pytest.raises(CheckpointError, match="a is of type F8_E4M3; the known types are"):
        read_file(tmp_path / "w.safetensors")


def test_reading_one_file_does_not_change_how_the_next_is_read(tmp_path):
    """A state for a name of the table, or for a stand-in, stays in its file."""
    torch.save({"a": torch.ones(3).bfloat16()}, tmp_path / "good.pth")
    for name in (a_name("torch", "BFloat16Storage"), a_name("argparse", "Namespace")):
        state = a_tuple(a_number(3), a_text("|"), b"NNN", a_number(8), a_number(1), a_number(0))
        write_tensor(tmp_path / "bad.pth", weights_of(name + state + b"b"))
        with pytest.raises(CheckpointError):
            read_file(tmp_path / "bad.pth")
        np.testing.assert_array_equal(read_file(tmp_path / "good.pth")["a"], np.ones(3, np.float32))
