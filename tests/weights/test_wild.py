"""Checkpoints as training programs leave them: wrapped, renamed, with other things beside, with two sets of weights."""

from __future__ import annotations

import argparse
import collections
import datetime
import enum
import functools
import io
import os
import pickle
import shutil
import subprocess
import sys
import time
import types
import zipfile
from pathlib import Path

import numpy as np
import paddle
import pytest
import safetensors.torch
import torch

import predict
import test as evaluate
import train
from configs import RecipeError
from deploy import export
from engine.pretrained import load_pretrained
from models import create_model
from tools import convert
from weights import CheckpointError, assign, read, to_layout


@pytest.fixture(scope="module")
def arrays():
    """Of a small TSM, by our names."""
    return arrays_of("tsm_tiny", 0)


@pytest.fixture(scope="module")
def images():
    """Of a small image network, by our names."""
    return arrays_of("tsn_tiny", 1)


def arrays_of(name, seed):
    """The state of a network with random weights, NumPy arrays by name."""
    paddle.seed(seed)
    return {key: value.numpy() for key, value in create_model(name, num_classes=4, num_frames=4).state_dict().items()}


def tensors(arrays, layout="mmaction2", prefix="", scale=1.0):
    """A state dict in the names of a layout."""
    theirs = to_layout(arrays, layout)
    bare = {name.removeprefix("module."): array for name, array in theirs.items()}
    return {
        prefix + name: torch.from_numpy(np.asarray(array * array.dtype.type(scale))) for name, array in bare.items()
    }


def check(found, arrays, scale=1.0):
    """Every number is the file's."""
    assert found.arrays.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(found.arrays[name], array * np.float32(scale))


def saved(path, content, **options):
    torch.save(content, path, **options)
    return path


PREFIXES = ["", "model.", "net.", "_orig_mod.", "module.model.", "backbone_net.", "a.b.c.d.", "3."]


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("layout", ["mmaction2", "mit-tsm", "mvfnet"])
def test_a_prefix_that_all_names_share_is_taken_off(tmp_path, arrays, layout, prefix):
    found = read(saved(tmp_path / "w.pth", {"state_dict": tensors(arrays, layout, prefix)}))
    check(found, arrays)
    assert found.layout == layout
    off = f", without the prefix {prefix!r}" if prefix else ""
    assert found.taken == f"took 'state_dict'{off}"


@pytest.mark.parametrize("prefix", ["", "backbone.", "model.backbone.", "encoder."])
@pytest.mark.parametrize("layout", ["torchvision", "paddle.vision"])
def test_an_image_network_in_a_wrapper_keeps_its_classifier(tmp_path, images, layout, prefix):
    state = {prefix + name: array for name, array in to_layout(images, layout).items()}
    np.savez(tmp_path / "w.npz", **state)
    found = read(tmp_path / "w.npz")
    check(found, images)
    assert found.layout == layout
    assert found.taken == (f"took '' (the file itself), without the prefix {prefix!r}" if prefix else "")


def test_marks_of_wrappers_inside_of_names_are_taken_off(tmp_path, arrays):
    names = {
        "backbone.layer1.": "backbone._orig_mod.layer1._checkpoint_wrapped_module.",
        "cls_head.": "_fsdp_wrapped_module.cls_head.",
    }
    state = tensors(arrays)
    for plain, wrapped in names.items():
        state = {name.replace(plain, wrapped): tensor for name, tensor in state.items()}
    found = read(saved(tmp_path / "w.pt", {f"module.{name}": tensor for name, tensor in state.items()}))
    check(found, arrays)
    assert "without the prefix 'module.' and without '_checkpoint_wrapped_module', '_fsdp_wrapped" in found.taken


def test_a_prefix_that_one_name_lacks_stays(tmp_path, arrays):
    state = tensors(arrays, prefix="model.")
    with pytest.raises(CheckpointError, match=r"1 of \d+ names do not begin with 'model.', first criterion.weight"):
        read(saved(tmp_path / "w.pth", state | {"criterion.weight": torch.ones(4)}))
    with_key = {"state_dict": state | {"criterion.weight": torch.ones(4)}}
    found = read(saved(tmp_path / "w.pth", with_key), which="state_dict.model")
    check(found, arrays)
    assert found.taken == "took 'state_dict.model', without the prefix 'model.'"


def test_what_a_wrapped_file_lacks_is_named(tmp_path, arrays):
    state = tensors(arrays, prefix="net.")
    del state["net.backbone.layer1.0.conv2.conv.weight"]
    found = read(saved(tmp_path / "w.ckpt", {"model": state}))
    with pytest.raises(CheckpointError, match=r"does not fit the model: the file lacks backbone.layer1.0.conv2.weight"):
        assign(create_model("tsm_tiny", num_classes=4, num_frames=4), found, ["head"])


KEYS = [
    "state_dict", "model", "model_state_dict", "model_state", "net", "weights", "network", "params", "module",
    "model.state_dict", "checkpoint.model.params", "state_dict_ema", "ema",
]  # fmt: skip


@pytest.mark.parametrize("key", KEYS)
def test_whatever_key_leads_to_the_weights(tmp_path, arrays, key):
    content = functools.reduce(lambda inner, name: {name: inner, "epoch": 3}, key.split(".")[::-1], tensors(arrays))
    found = read(saved(tmp_path / "w.pth", content))
    check(found, arrays)
    assert found.taken.startswith(f"took {key!r}")
    assert read(tmp_path / "w.pth", which=key).taken == found.taken


SUFFIXES = [".ckpt", ".pyth", ".bin", ".PTH", ".th", ".tar", ".pt", ".params", ".pdparams", ".safetensors", ".npz", ""]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_content_decides_what_a_file_is(tmp_path, arrays, suffix):
    path, state = tmp_path / f"w{suffix}", tensors(arrays)
    ours = {name: paddle.to_tensor(array) for name, array in arrays.items()}
    packed = io.BytesIO()
    np.savez(packed, **arrays)
    writers = [
        lambda: torch.save(state, path),
        lambda: torch.save(state, path, _use_new_zipfile_serialization=False),
        lambda: torch.save(state, path, _use_new_zipfile_serialization=False, pickle_protocol=4),
        lambda: safetensors.torch.save_file(state, path, {"format": "pt"}),
        lambda: path.write_bytes(packed.getvalue()),
        lambda: paddle.save(ours, str(path)),
        lambda: path.write_bytes(pickle.dumps(arrays, protocol=2)),
        lambda: path.write_bytes(pickle.dumps(arrays, protocol=5)),
    ]
    for write in writers:
        write()
        check(read(path), arrays)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"\x89HDF\r\n", "this is HDF5"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS"),
        (b"<!DOCTYPE html>", "this is a web page"),
        (b"\x00" * 600, r"of an exported graph, as in Paddle's \.pdiparams"),
        (b"a,b\n1,2\n", r"it begins with b'a,b"),
    ],
)
def test_what_is_no_weight_file_is_said(tmp_path, content, message):
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match=message) as caught:
        read(tmp_path / "w.pth")
    assert str(caught.value).isprintable()


class Phase(enum.Enum):
    FIT = "fit"


class Config(dict):
    """Stands for the classes of frameworks that are not installed here, or nowhere any more."""

    def __init__(self, **values):
        super().__init__(values)
        self.flags = {"x": 1}

    def method(self):
        return 1


class Slotted:
    """Its pickle calls `__new__` with keywords, as NEWOBJ_EX."""

    def __new__(cls, *, width=1):
        return super().__new__(cls)

    def __getnewargs_ex__(self):
        return (), {"width": 3}


@pytest.fixture
def gone(monkeypatch):
    """A module whose classes are pickled by its name, and that nobody can import afterwards."""
    module = types.ModuleType("pytorch_lightning_gone")
    for kind in (Phase, Config, Slotted):
        monkeypatch.setattr(kind, "__module__", module.__name__)
        setattr(module, kind.__name__, kind)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    yield module
    assert module.__name__ not in sys.modules


def beside(state):
    """What a Lightning checkpoint, and others, hold beside the weights."""
    weights = [torch.nn.Parameter(tensor.clone()) for tensor in list(state.values())[:3]]
    optimizer = torch.optim.AdamW(weights)
    sum(weight.sum() for weight in weights).backward()
    optimizer.step()
    tagged = torch.ones(2)
    tagged.note = Config()
    return {
        "epoch": 3, "global_step": 100, "pytorch-lightning_version": "2.6.0", "state_dict": state,
        "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"current": {"ready": 1}}}},
        "callbacks": {"ModelCheckpoint{'monitor': None}": {"best": torch.tensor(0.5), "dirpath": Path("runs")}},
        "optimizer_states": [optimizer.state_dict()], "lr_schedulers": [{"last_epoch": 1, "_step_count": 2}],
        "hyper_parameters": Config(phase=Phase.FIT, lr=1e-3), "hparams_name": "kwargs", "slotted": Slotted(),
        "args": argparse.Namespace(device=torch.device("cpu"), dtype=torch.float16, opt=(1, None)),
        "times": [datetime.datetime(2026, 1, 1), datetime.timedelta(1)], "frozen": frozenset({1}), "range": range(3),
        "rng": [torch.get_rng_state(), np.random.RandomState(0).get_state(), np.random.default_rng(0)],
        "partial": functools.partial(Config.method), "size": torch.Size([1, 2]), "complex": torch.ones(2) * 1j,
        "parameter": weights[0], "sparse": torch.eye(2).to_sparse(), "layer": torch.nn.Linear(2, 2), "kind": Config,
        "counts": collections.defaultdict(list, a=[1]), "queue": collections.deque([1], 2),
        "object": np.array([None, {}]),
    }  # fmt: skip


@pytest.mark.parametrize("options", [{}, {"pickle_protocol": 4}, {"_use_new_zipfile_serialization": False}], ids=str)
def test_other_things_beside_the_weights_stay_inert(tmp_path, arrays, gone, monkeypatch, options):
    path = saved(tmp_path / "epoch=3.ckpt", beside(tensors(arrays, prefix="model.")), **options)
    monkeypatch.delitem(sys.modules, gone.__name__)
    found = read(path)
    check(found, arrays)
    assert found.taken == "took 'state_dict', without the prefix 'model.'"


def test_what_is_no_array_among_the_weights_is_refused_by_name(tmp_path, arrays, gone, monkeypatch):
    whole = {"a/whole.pth": Config(), "b/whole.pth": {"model": torch.nn.Linear(2, 2)}}
    messages = ["pytorch_lightning_gone.Config", "model is a torch.nn.modules.linear.Linear, not an array; of a whole"]
    paths = []
    for name, content in whole.items():
        (tmp_path / name).parent.mkdir()
        paths.append(saved(tmp_path / name, content))
    paths.append(saved(tmp_path / "w.pth", {"state_dict": tensors(arrays) | {"backbone.hook": Config()}}))
    monkeypatch.delitem(sys.modules, gone.__name__)
    for path, message in zip(paths, [*messages, "backbone.hook is a pytorch_lightning_gone.Config"], strict=True):
        with pytest.raises(CheckpointError, match=message):
            read(path)


class Attack:
    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("legacy", [False, True])
def test_a_call_of_the_system_is_refused_wherever_it_stands(tmp_path, arrays, legacy):
    trace = tmp_path / "trace"
    for attack in (
        Attack(os.mkdir, str(trace)), Attack(subprocess.call, ["touch", str(trace)]), Attack(exec, "1"),
        Attack(eval, f"open({str(trace)!r}, 'w')"), Attack(shutil.copy, __file__, str(trace)),
        Attack(open, str(trace), "w"), Attack(__import__, "this"),
    ):  # fmt: skip
        path = saved(
            tmp_path / "w.ckpt", {"state_dict": tensors(arrays), "callbacks": [attack]},
            _use_new_zipfile_serialization=not legacy,
        )  # fmt: skip
        with pytest.raises(CheckpointError, match=r"w.ckpt is a pickle that calls [\w.]+; only arrays are read"):
            read(path)
    saved(
        tmp_path / "w.ckpt",
        {"state_dict": tensors(arrays), "log": [Attack(Path.touch, trace), Attack(getattr, trace, "mkdir")]},
    )
    check(read(tmp_path / "w.ckpt"), arrays)  # a harmless name is not called either
    assert not trace.exists()


def two_sets(arrays):
    """(content of a file, key of the average, key of the others): the average is twice as large."""
    raw, ema = tensors(arrays), tensors(arrays, scale=2)
    wrapped = {"n_averaged": torch.tensor(7), **{f"module.{name}": tensor for name, tensor in ema.items()}}
    swapped = {"steps": torch.tensor(7), **{f"module.{name}": tensor for name, tensor in raw.items()}}
    side = {f"model.{name}": tensor for name, tensor in raw.items()}
    side |= {f"ema_model.{name}": tensor for name, tensor in wrapped.items()}
    return {
        "timm": ({"state_dict": raw, "state_dict_ema": ema, "epoch": 3}, "state_dict_ema", "state_dict"),
        "torchvision": ({"model": raw, "model_ema": wrapped, "args": argparse.Namespace()}, "model_ema", "model"),
        "fairseq": ({"model": raw, "extra_state": {"ema": ema}}, "extra_state.ema", "model"),
        "mmengine": ({"meta": {}, "state_dict": ema, "message_hub": {}, "ema_state_dict": swapped},
                     "state_dict", "ema_state_dict"),
        "lightning": ({"state_dict": ema, "current_model_state": raw, "averaging_state": {"n": torch.tensor(7)}},
                      "state_dict", "current_model_state"),
        "side by side": ({"state_dict": side}, "state_dict.ema_model", "state_dict.model"),
        "camels": ({"EMAModel": ema, "netG": raw}, "EMAModel", "netG"),
    }  # fmt: skip


@pytest.mark.parametrize(
    "program", ["timm", "torchvision", "fairseq", "mmengine", "lightning", "side by side", "camels"]
)
def test_of_two_sets_the_average_is_taken_unless_the_flag_says_otherwise(tmp_path, arrays, program):
    content, average, others = two_sets(arrays)[program]
    path = saved(tmp_path / "w.pth", content)
    for which, key, scale, flag in (
        ("auto", average, 2, "raw"), ("ema", average, 2, "raw"), ("raw", others, 1, "ema"),
        (average, average, 2, "raw"), (others, others, 1, "ema"),
    ):  # fmt: skip
        found = read(path, which=which)
        expected = {name: array * np.float32(scale) for name, array in arrays.items()}
        check(found, expected)
        assert found.taken.startswith(f"took {key!r}")
        other = others if flag == "raw" else average
        assert f"(--weights {flag} takes {other!r})" in found.taken


def test_two_models_are_an_error_that_names_both_and_the_flag(tmp_path, arrays):
    student, teacher = tensors(arrays), tensors(arrays, "mvfnet", "module.", scale=3)
    path = saved(tmp_path / "w.pth", {"student": student, "teacher": teacher})
    with pytest.raises(CheckpointError, match=r"2 sets of weights: 'student', 'teacher'; choose one by --weights KEY"):
        read(path)
    check(read(path, which="teacher"), arrays, 3)
    with pytest.raises(CheckpointError, match=r"no weights 'ema' \(--weights\): it has 'student', 'teacher'"):
        read(path, which="ema")
    with pytest.raises(CheckpointError, match=r"no weights 'pupil' \(--weights\): it has 'student', 'teacher'"):
        read(path, which="pupil")
    copy = {name: tensor.clone() for name, tensor in student.items()}
    check(read(saved(tmp_path / "same.pth", {"model": student, "state_dict": copy, "again": student})), arrays)


def test_one_set_that_fits_is_taken_whatever_else_has_arrays(tmp_path, arrays):
    """As a discriminator, or the state of an optimizer by name."""
    other = {f"disc.{name}": tensor for name, tensor in tensors(arrays).items()} | {"disc.z.weight": torch.ones(2)}
    moments = {name: {"exp_avg": tensor, "exp_avg_sq": tensor} for name, tensor in tensors(arrays).items()}
    content = {"net_d": other, "net_g": tensors(arrays), "optimizer": {"state": moments}, "mean": torch.ones(3)}
    found = read(saved(tmp_path / "w.pth", content))
    check(found, arrays)
    assert found.taken == "took 'net_g'"


def test_extra_keys_of_tools_are_left_out_with_a_word(tmp_path, arrays):
    state = tensors(arrays, prefix="module.")
    layers = {name.rpartition(".")[0] for name in state}
    thop = {
        f"{layer}.total_{what}": torch.zeros(1, dtype=torch.float64) for layer in layers for what in ("ops", "params")
    }
    stat = {f"{layer}.{what}": torch.zeros(1) for layer in layers for what in ("Flops", "input_shape", "duration")}
    extra = {"total_ops": torch.zeros(1), "total_params": torch.zeros(1), "n_averaged": torch.tensor(3), **thop, **stat}
    mmcv = {
        "module.ema_" + name.removeprefix("module.").replace(".", "_"): tensor * 2 for name, tensor in state.items()
    }
    found = read(saved(tmp_path / "w.pth", {"state_dict": {**extra, **state, **mmcv}}))
    check(found, arrays)
    assert found.dropped["backbone.conv1.conv.total_ops"] == "a count of the tool thop"
    assert found.dropped["n_averaged"] == "the counter of PyTorch's AveragedModel"
    coverage = str(assign(create_model("tsm_tiny", num_classes=4, num_frames=4), found))
    counts = {
        "a count of the tool thop": len(thop) + 2, "the counter of PyTorch's AveragedModel": 1,
        "a measurement of the tool torchstat": len(stat), "the second set of mmcv's EMAHook": len(mmcv),
    }  # fmt: skip
    for why, count in counts.items():
        assert f"{count} skipped: {why}" in coverage
    assert coverage.startswith("took 'state_dict', without the prefix 'module.'; ")


def test_plain_data_among_the_arrays_is_left_out_and_a_weight_that_is_none_is_missed(tmp_path, arrays):
    state = tensors(arrays)
    check(
        read(saved(tmp_path / "w.pth", {**state, "epoch": 3, "best": 0.5, "arch": "tsm", "optimizer": {"lr": 1}})),
        arrays,
    )
    found = read(saved(tmp_path / "w.pth", {**state, "cls_head.fc_cls.bias": None}))
    with pytest.raises(CheckpointError, match=r"the file lacks cls_head.new_fc.bias"):
        assign(create_model("tsm_tiny", num_classes=4, num_frames=4), found)


def test_weights_in_other_containers(tmp_path, arrays):
    """As `torch.save((model.state_dict(), epoch))`, and dicts of other types."""
    state = tensors(arrays)
    check(read(saved(tmp_path / "w.pth", (state, 3))), arrays)
    assert read(saved(tmp_path / "w.pth", {"models": [state]})).taken == "took 'models.0'"
    check(read(saved(tmp_path / "w.pth", {"net": collections.defaultdict(list, state)})), arrays)
    check(read(saved(tmp_path / "w.pth", {"net": {name: tensor.numpy() for name, tensor in state.items()}})), arrays)


def test_only_a_pickle_may_hold_bfloat16_as_uint16(tmp_path, arrays):
    cut = {name: (array.view(np.uint32) >> 16).astype(np.uint16) for name, array in arrays.items()}
    short = {name: (array.astype(np.uint32) << 16).view(np.float32) for name, array in cut.items()}
    (tmp_path / "w").write_bytes(pickle.dumps(cut))
    check(read(tmp_path / "w"), short)
    np.savez(tmp_path / "w.npz", **cut)
    with pytest.raises(CheckpointError, match="is of type uint16, and weights are of floats"):
        read(tmp_path / "w.npz")


def test_paddle_files_with_other_things_beside(tmp_path, arrays):
    """As PaddleClas and PaddleDetection leave them, and paddle.save of nested dicts."""
    ours = {name: paddle.to_tensor(array) for name, array in arrays.items()}
    twice = {name: paddle.to_tensor(array * 2) for name, array in arrays.items()}
    content = {"model": ours, "ema": twice, "opt": {"LR_Scheduler": {"last_epoch": 3}}, "epoch": 3}
    paddle.save(content, str(tmp_path / "w.pdparams"))
    check(read(tmp_path / "w.pdparams", which="raw"), arrays)
    check(read(tmp_path / "w.pdparams"), arrays, 2)
    assert read(tmp_path / "w.pdparams").layout == "ours"


def test_every_command_that_reads_weights_has_the_flag(tmp_path, arrays, capsys):
    path = str(saved(tmp_path / "w.ckpt", two_sets(arrays)["timm"][0]))
    flags = ["--pretrained", path, "--weights", "raw"]
    for parsed in (
        predict.parse_args(["--video", "v", *flags]), evaluate.parse_args(["--dataset_root", "d", *flags]),
        train.parse_args(["--dataset_root", "d", *flags]), export.parse_args(["--output", "o", *flags]),
        convert.parse_args([path, "out.pdparams", "--weights", "raw"]),
    ):  # fmt: skip
        assert parsed.weights == "raw"
    loaded = load_pretrained(path, which="raw")
    np.testing.assert_array_equal(
        loaded.model.state_dict()["backbone.bn1.weight"].numpy(), arrays["backbone.bn1.weight"]
    )
    assert "took 'state_dict' (--weights ema takes 'state_dict_ema')" in capsys.readouterr().err
    convert.main([path, str(tmp_path / "out" / "best.pdparams"), "--weights", "raw"])
    check(read(tmp_path / "out" / "best.pdparams"), arrays)
    assert "took 'state_dict' (--weights ema takes 'state_dict_ema')" in capsys.readouterr().out
    for more, message in ((["--resume"], "leave out --weights"), ([], "there is no --pretrained")):
        with pytest.raises(RecipeError, match=message):
            train.run_directory_and_recipe(train.parse_args(["--dataset_root", "d", "--weights", "ema", *more]))


def test_a_file_cannot_occupy_the_machine_with_names(tmp_path, arrays):
    many = {f"a.b.c.layer{i}.running_mean": np.zeros(1, np.float32) for i in range(10_001)}
    (tmp_path / "w").write_bytes(pickle.dumps(many))
    with pytest.raises(CheckpointError, match="holds more than 10000 arrays"):
        read(tmp_path / "w")
    sets = {f"s{i}": {"running_mean": np.zeros(1, np.float32)} for i in range(10_000)}
    (tmp_path / "w").write_bytes(pickle.dumps({**sets, "model": arrays, "old": many}))
    started = time.process_time()
    check(read(tmp_path / "w"), arrays)
    assert time.process_time() - started < 5


def test_torchscript_is_said_to_be_a_whole_model(tmp_path):
    with zipfile.ZipFile(tmp_path / "w.pt", "w") as archive:
        archive.writestr("w/data.pkl", b"\x80\x02c__torch__.nets\nNet\n)\x81}b.")
        archive.writestr("w/code/__torch__/nets.py", "class Net(Module):\n")
    with pytest.raises(CheckpointError, match=r"holds a __torch__.nets.Net, not arrays by name; of a whole model save"):
        read(tmp_path / "w.pt")
    with zipfile.ZipFile(tmp_path / "w.zip", "w") as archive:
        archive.writestr("a.txt", "text")
    with pytest.raises(CheckpointError, match="a zip archive but not one of PyTorch's"):
        read(tmp_path / "w.zip")
