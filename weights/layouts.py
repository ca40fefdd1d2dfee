"""How public repositories name and arrange the weights of the models that we have, as tables that are read both ways.

A rule is a pair of templates, our name and theirs, with the fields of FIELDS. A table is a tuple of rules of which the
first that fits counts. Templates speak our words for the statistics of a norm; those of a framework are in its `Kind`.

Sources of the names: the repositories and files that the layouts below cite.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from itertools import chain
from typing import Any

import numpy as np

Rule = tuple[str, str]  # our template, theirs
Table = tuple[Rule, ...]

_BLOCK = r"layer[1-4](?:\.net)?\.\d+(?:\.net)?"
_WRAPPED = r"net\.weight|(?:shift|h|w)_conv\.weight|bn\.\w+"
# What a field of a template stands for.
FIELDS = {
    "k": r"\d+",
    "j": r"\d+",
    "leaf": r"\w+",
    "net": r"(?:net\.)?",
    "first": rf"weight|{_WRAPPED}",  # of a convolution that a module may wrap
    "block": _BLOCK,
    "image": r"(?:conv1|bn1|layer[1-4]\.\d+\.(?:conv\d|bn\d|downsample\.\d))\.\w+",
    "shifted": rf"(?:conv1|bn1|{_BLOCK}\.(?:conv\d|bn\d|downsample\.\d))\.(?:net\.)?\w+",
    "fused": rf"(?:conv1|bn1)\.\w+|{_BLOCK}\.(?:conv\d|bn\d|downsample\.\d)\.(?:\w+|{_WRAPPED})",
    "any": r"(?:conv1|bn1|layer[1-4]|features)\..+",
}

NORM = ("weight", "bias", "_mean", "_variance")


@dataclass(frozen=True)
class Kind:
    """How a framework names the statistics of a norm, and in which order it keeps the axes of an array.

    Attributes:
        words: Our last part of a name -> theirs.
        to_ours: (their name, their array) -> our array.
        to_theirs: (their name, our array) -> their array.
        moved: What `to_ours` does to the axes, in words.
        mark: A last part of a name that only this kind of file has.
    """

    words: Mapping[str, str]
    to_ours: Callable[[str, np.ndarray], np.ndarray]
    to_theirs: Callable[[str, np.ndarray], np.ndarray]
    moved: str
    mark: str


def _keras_axes(name: str) -> tuple[int, ...]:
    return (2, 3, 0, 1) if "depthwise" in name else (3, 2, 0, 1)  # H, W, C, 1 and H, W, I, O


def _keras_to_ours(name: str, array: np.ndarray) -> np.ndarray:
    return array.transpose(_keras_axes(name)) if array.ndim == 4 else array


def _keras_to_theirs(name: str, array: np.ndarray) -> np.ndarray:
    return array.transpose(np.argsort(_keras_axes(name))) if array.ndim == 4 else array


def _transpose_matrix(name: str, array: np.ndarray) -> np.ndarray:
    return array.T if array.ndim == 2 else array  # of these networks' weights only the classifier's is a matrix


def _keep(name: str, array: np.ndarray) -> np.ndarray:
    return array


KINDS = {
    "paddle": Kind({}, _keep, _keep, "", "_mean"),
    "torch": Kind(
        {"_mean": "running_mean", "_variance": "running_var"}, _transpose_matrix, _transpose_matrix,
        "[out, in] to [in, out]", "running_mean",
    ),
    # Its words stand in the table, where a convolution's `weight` and a norm's can be told apart.
    "keras": Kind({}, _keras_to_ours, _keras_to_theirs, "[H, W, in, out] to [out, in, H, W]", "moving_mean:0"),
}  # fmt: skip


@dataclass(frozen=True)
class Layout:
    """The names and arrays of one family of weight files.

    Attributes:
        kind: A key of KINDS.
        tables: One for each kind of network.
        wraps: Whether a name shows that a temporal module wraps its layer.
        network: Recipe fields without which the weights mean something else.
        protocol: Recipe fields of its authors' way to sample and test.
        file_name: Patterns whose named groups are recipe fields that its authors write into file names.
        prefix: What stands before every name in its authors' files.
        key: Where its authors' files of PyTorch keep the weights; empty if they are all of the file.
        hides: Whether its files, which do not wrap, may be of a network with temporal shifts.
        segments_divide: Whether the shift moves one part of the channels in as many as there are segments.
    """

    kind: str
    tables: tuple[Table, ...]
    wraps: bool = False
    network: Mapping[str, Any] = field(default_factory=dict)
    protocol: Mapping[str, Any] = field(default_factory=dict)
    file_name: tuple[str, ...] = ()
    prefix: str = ""
    key: str = ""
    hides: bool = False
    segments_divide: bool = False


# The order of MobileNetV2's blocks: first number of each group of table 2 of the paper, and what comes after the last.
_GROUP_STARTS = (1, 2, 4, 7, 11, 14, 17, 18)
_BLOCKS = [(g, i, k) for g in range(7) for i, k in enumerate(range(_GROUP_STARTS[g], _GROUP_STARTS[g + 1]))]
_SHORTCUTS = {k for _, i, k in _BLOCKS if i > 0}  # blocks that keep their input's shape; the first of a group does not


def _head(theirs: str) -> Rule:
    return "cls_head.new_fc.{leaf}", f"{theirs}.{{leaf}}"


def _flat_mobilenet(stem: str, last: str = "features.18", first: str = "{net}weight") -> Table:
    """Blocks as one flat Sequential: convolution, norm, activation one after the other."""
    return (
        ("backbone.features.18.{k}.{leaf}", f"{stem}{last}.{{k}}.{{leaf}}"),
        ("backbone.features.{k}.{j}.{leaf}", f"{stem}features.{{k}}.{{j}}.{{leaf}}"),  # the stem
        *(
            (f"backbone.features.1.conv.{ours}.{{leaf}}", f"{stem}features.1.conv.{theirs}.{{leaf}}")
            for ours, theirs in (("0.0", 0), ("0.1", 1), ("1", 3), ("2", 4))
        ),
        (f"backbone.features.{{k}}.conv.0.0.{first}", f"{stem}features.{{k}}.conv.0.{first}"),
        *(
            (f"backbone.features.{{k}}.conv.{ours}.{{leaf}}", f"{stem}features.{{k}}.conv.{theirs}.{{leaf}}")
            for ours, theirs in (("0.1", 1), ("1.0", 3), ("1.1", 4), ("2", 6), ("3", 7))
        ),
    )


def _nested_mobilenet() -> Table:
    """Blocks of Sequentials of convolution, norm and activation, as ours."""
    parts = {"1": ("0.0", "0.1", "1", "2"), "{k}": ("0.0", "0.1", "1.0", "1.1", "2", "3")}
    names = [f"features.{k}.conv.{part}.{{leaf}}" for k, names in parts.items() for part in names]
    return tuple((f"backbone.{name}", name) for name in ["features.{k}.{j}.{leaf}", *names])


def _conv_module(ours_conv: str, ours_norm: str, theirs: str) -> Table:
    """MMCV's ConvModule: `conv` and `bn` in one."""
    return (f"{ours_conv}.weight", f"{theirs}.conv.weight"), (f"{ours_norm}.{{leaf}}", f"{theirs}.bn.{{leaf}}")


_MMACTION2_RESNET = (
    _head("cls_head.fc_cls"),
    *_conv_module("backbone.conv1", "backbone.bn1", "backbone.conv1"),
    *_conv_module("backbone.{block}.downsample.0", "backbone.{block}.downsample.1", "backbone.{block}.downsample"),
    ("backbone.{block}.conv{k}.{net}weight", "backbone.{block}.conv{k}.conv.{net}weight"),
    ("backbone.{block}.bn{k}.{leaf}", "backbone.{block}.conv{k}.bn.{leaf}"),
)


def _mmaction2_mobilenet(shifted: bool) -> Table:
    def block(group: int, index: int, k: int) -> Iterable[Rule]:
        ours, theirs = f"backbone.features.{k}.conv", f"backbone.layer{group + 1}.{index}.conv"
        if k == 1:
            yield from _conv_module(f"{ours}.0.0", f"{ours}.0.1", f"{theirs}.0")
            yield from _conv_module(f"{ours}.1", f"{ours}.2", f"{theirs}.1")
            return
        net = "net." if shifted and k in _SHORTCUTS else ""
        yield f"{ours}.0.0.{net}weight", f"{theirs}.0.{net}conv.weight"  # it wraps the norm too, which changes nothing
        yield f"{ours}.0.1.{{leaf}}", f"{theirs}.0.{net}bn.{{leaf}}"
        yield from _conv_module(f"{ours}.1.0", f"{ours}.1.1", f"{theirs}.1")
        yield from _conv_module(f"{ours}.2", f"{ours}.3", f"{theirs}.2")

    return (
        _head("cls_head.fc_cls"),
        *_conv_module("backbone.features.0.0", "backbone.features.0.1", "backbone.conv1"),
        *_conv_module("backbone.features.18.0", "backbone.features.18.1", "backbone.conv2"),
        *chain.from_iterable(block(*position) for position in _BLOCKS),
    )


def _timm_mobilenet() -> Table:
    def block(group: int, index: int, k: int) -> Iterable[Rule]:
        ours, theirs = f"backbone.features.{k}.conv", f"blocks.{group}.{index}"
        convs = ("conv_dw", "conv_pw") if k == 1 else ("conv_pw", "conv_dw", "conv_pwl")
        last = len(convs) - 1
        for j, conv in enumerate(convs):
            yield f"{ours}.{j if j == last else f'{j}.0'}.weight", f"{theirs}.{conv}.weight"
            yield f"{ours}.{j + 1 if j == last else f'{j}.1'}.{{leaf}}", f"{theirs}.bn{j + 1}.{{leaf}}"

    return (
        _head("classifier"),
        ("backbone.features.0.0.weight", "conv_stem.weight"),
        ("backbone.features.0.1.{leaf}", "bn1.{leaf}"),
        ("backbone.features.18.0.weight", "conv_head.weight"),
        ("backbone.features.18.1.{leaf}", "bn2.{leaf}"),
        *chain.from_iterable(block(*position) for position in _BLOCKS),
    )


def _paddlevideo_resnet(depths: tuple[int, ...]) -> Table:
    def name(stage: int, index: int) -> str:
        if depths[stage] > 20:  # more blocks than letters
            return f"res{stage + 2}{f'b{index}' if index else 'a'}"
        return f"res{stage + 2}{chr(ord('a') + index)}"

    def layer(ours_conv: str, ours_norm: str, theirs: str) -> Table:
        return (
            (f"backbone.{ours_conv}.weight", f"backbone.{theirs}._conv.weight"),
            (f"backbone.{ours_norm}.{{leaf}}", f"backbone.{theirs}._batch_norm.{{leaf}}"),
        )

    def block(stage: int, index: int) -> Iterable[Rule]:
        ours, theirs = f"layer{stage + 1}.{index}", name(stage, index)
        for j in range(3):
            yield from layer(f"{ours}.conv{j + 1}", f"{ours}.bn{j + 1}", f"{theirs}.conv{j}")
        yield from layer(f"{ours}.downsample.0", f"{ours}.downsample.1", f"{theirs}.short")

    blocks = (block(stage, index) for stage, depth in enumerate(depths) for index in range(depth))
    return _head("head.fc"), *layer("conv1", "bn1", "conv"), *chain.from_iterable(blocks)


def _keras_mobilenet(conv: Callable[[int, str], str], norm: Callable[[int, str], str], head: str) -> Table:
    """MobileNetV2 of Keras, whose names of layers have changed once.

    Args:
        conv, norm: (number of the block from 0, `expand`, `depthwise` or `project`) -> name of the layer.
        head: Name of the classifier.
    """

    def convolution(ours: str, theirs: str) -> Rule:
        return f"{ours}.weight", f"{theirs}|{theirs}|{'depthwise_' * ('depthwise' in theirs)}kernel:0"

    def statistics(ours: str, theirs: str) -> Iterable[Rule]:
        words = ("gamma", "beta", "moving_mean", "moving_variance")
        return ((f"{ours}.{a}", f"{theirs}|{theirs}|{b}:0") for a, b in zip(NORM, words, strict=True))

    def block(k: int) -> Iterable[Rule]:
        ours = f"backbone.features.{k}.conv"
        parts = ("depthwise", "project") if k == 1 else ("expand", "depthwise", "project")
        last = len(parts) - 1
        for j, part in enumerate(parts):
            yield convolution(f"{ours}.{j if j == last else f'{j}.0'}", conv(k - 1, part))
            yield from statistics(f"{ours}.{j + 1 if j == last else f'{j}.1'}", norm(k - 1, part))

    return (
        ("cls_head.new_fc.weight", f"{head}|{head}|kernel:0"),
        ("cls_head.new_fc.bias", f"{head}|{head}|bias:0"),
        convolution("backbone.features.0.0", "Conv1"),
        *statistics("backbone.features.0.1", "bn_Conv1"),
        convolution("backbone.features.18.0", "Conv_1"),
        *statistics("backbone.features.18.1", "Conv_1_bn"),
        *chain.from_iterable(block(k) for _, _, k in _BLOCKS),
    )


def _keras_stem(k: int) -> str:
    return f"block_{k}" if k else "expanded_conv"


# A number in a file name that counts frames; sizes of images have three digits.
_COUNT, _START, _END = r"[1-9]\d?", r"(?:^|[_/-])", r"(?=[_./-]|$)"
_TENSORFLOW = {"norm_eps": 1e-3, "same_padding": True, "mean": (127.5,) * 3, "std": (127.5,) * 3}
_IMAGENET = {"short_side": 256, "crop_size": 224, "test_size": 224, "test_crops": "center", "test_clips": 1}
_TORCHVISION_RESNET = (_head("fc"), ("backbone.{image}", "{image}"))
_TORCHVISION = (_TORCHVISION_RESNET, (_head("classifier.1"), *_nested_mobilenet()))
_OUR_RESNET = (_head("cls_head.new_fc"), ("backbone.{fused}", "backbone.{fused}"))

LAYOUTS: dict[str, Layout] = {
    # This repository and PaddleMVF
    "ours": Layout("paddle", ((_head("cls_head.new_fc"), ("backbone.{any}", "backbone.{any}")),), wraps=True),
    # github.com/whwu95/MVFNet: codes/models; MobileNetV2 ends in a layer of its own
    "mvfnet": Layout(
        "torch",
        (
            (_head("cls_head.new_fc"), *_flat_mobilenet("backbone.", last="conv", first="{first}")),
            _OUR_RESNET,
        ),
        wraps=True,
        protocol={"sampling": "mmaction0"},
        file_name=(rf"{_START}(?P<clip_len>{_COUNT})x(?P<frame_interval>{_COUNT}){_END}",),
        key="state_dict",
    ),
    # github.com/mit-han-lab/temporal-shift-module: ops/models.py, archs/mobilenet_v2.py. Without dropout the
    # classifier stays where the image network has it.
    "mit-tsm": Layout(
        "torch",
        (
            (_head("new_fc"), _head("base_model.classifier"), *_flat_mobilenet("base_model.")),
            (_head("new_fc"), _head("base_model.fc"), ("backbone.{shifted}", "base_model.{shifted}")),
        ),
        wraps=True,
        protocol={"sampling": "mit", "consensus": "scores", "average_views": "scores"},
        file_name=(rf"_shift(?P<shift_div>{_COUNT})_", rf"_segment(?P<num_segments>{_COUNT}){_END}"),
        prefix="module.",
        key="state_dict",
    ),
    # github.com/open-mmlab/mmaction2, 0.x and 1.x: models/backbones/resnet.py, resnet_tsm.py, mobilenet_v2_tsm.py
    "mmaction2": Layout(
        "torch",
        (_mmaction2_mobilenet(shifted=False), _mmaction2_mobilenet(shifted=True), _MMACTION2_RESNET),
        wraps=True,
        file_name=(
            rf"{_START}(?P<clip_len>{_COUNT})x(?P<frame_interval>{_COUNT})x(?P<num_segments>{_COUNT}){_END}",
        ),
        key="state_dict",
    ),
    # github.com/PaddlePaddle/PaddleVideo: modeling/backbones/resnet.py, resnet_tsm.py
    "paddlevideo": Layout(
        "paddle",
        (_paddlevideo_resnet((3, 4, 6, 3)), _paddlevideo_resnet((3, 4, 23, 3))),
        network={"shift_direction": "paddle"},
        protocol={"sampling": "mit"},
        hides=True,
        segments_divide=True,
    ),
    # torchvision and timm's ResNet; torchvision's MobileNetV2
    "torchvision": Layout("torch", _TORCHVISION, protocol=_IMAGENET),
    "timm": Layout("torch", (_timm_mobilenet(), _TORCHVISION_RESNET), protocol=_IMAGENET),
    # paddle.vision has torchvision's names
    "paddle.vision": Layout("paddle", _TORCHVISION, protocol=_IMAGENET),
    # github.com/tonylins/pytorch-mobilenet-v2, which the TSM authors build on and their online demo is
    "tonylins": Layout("torch", ((_head("classifier"), *_flat_mobilenet("")),), protocol=_IMAGENET, hides=True),
    # keras.applications.mobilenet_v2, and the names of its first weights (2018)
    "keras": Layout(
        "keras",
        (
            _keras_mobilenet(
                lambda k, part: f"mobl{k}_conv_{k}_{part}",
                lambda k, part: f"bn{k}_conv_{k}_bn_{part}",
                "Logits",
            ),
            _keras_mobilenet(
                lambda k, part: f"{_keras_stem(k)}_{part}",
                lambda k, part: f"{_keras_stem(k)}_{part}_BN",
                "predictions",
            ),
        ),
        network=_TENSORFLOW,
        protocol=_IMAGENET,
    ),
}  # fmt: skip


def rename(name: str, table: Table, to_ours: bool) -> str | None:
    """The name on the other side of the first rule that fits, or None."""
    for ours, theirs in table:
        source, target = (theirs, ours) if to_ours else (ours, theirs)
        match = _pattern(source).fullmatch(name)
        if match:
            return target.format_map(match.groupdict())
    return None


@cache
def _pattern(template: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)\}", template)  # text, field, text, field, ..., text
    pieces = [re.escape(text) for text in parts]
    pieces[1::2] = [f"(?P<{name}>{FIELDS[name]})" for name in parts[1::2]]
    return re.compile("".join(pieces))
