"""github.com/open-mmlab/mmaction2, 0.x and 1.x: models/backbones/resnet.py, resnet_tsm.py, mobilenet_v2_tsm.py,
resnet3d.py, resnet3d_slowfast.py, resnet2plus1d.py, x3d.py, c3d.py; models/heads.
"""

from __future__ import annotations

from weights.layout import TORCH, Layout
from weights.quirks import (
    COUNT,
    END,
    START,
    dense_in_name,
    like_a_resnet,
    shifts,
    slowfast_alpha,
    slowfast_clip,
)  # fmt: skip
from weights.tables import Names, Table, head, layer, mobilenet


def _names(module: str) -> Names:
    """Of the convolution and the norm of MMCV's ConvModule, which is both in one."""
    return f"{module}conv", f"{module}bn"


_HEAD = head("cls_head.fc_cls")


def _resnet(stem: str) -> Table:
    """A ResNet, of single frames or over clips, whose names begin alike here and there."""
    return (
        *layer(f"{stem}conv1", f"{stem}bn1", *_names(f"{stem}conv1.")),
        *layer(
            f"{stem}{{block}}.downsample.0", f"{stem}{{block}}.downsample.1", *_names(f"{stem}{{block}}.downsample.")
        ),
        (f"{stem}{{block}}.conv{{k}}.{{net}}weight", f"{stem}{{block}}.conv{{k}}.conv.{{net}}weight"),
        (f"{stem}{{block}}.bn{{k}}.{{leaf}}", f"{stem}{{block}}.conv{{k}}.bn.{{leaf}}"),
    )


def _lateral(number: int) -> Table:
    theirs = f"backbone.slow_path.{f'layer{number}' if number else 'conv1'}_lateral."
    return layer(f"backbone.lateral.{number}.conv", f"backbone.lateral.{number}.bn", *_names(theirs))


_RESNET = (_HEAD, *_resnet("backbone."))
_SLOWFAST = (
    _HEAD,
    *_resnet("backbone.slow_path."),
    *_resnet("backbone.fast_path."),
    *(rule for number in range(4) for rule in _lateral(number)),
)
_FACTOR = "{factor}"  # of a convolution that is factored into space and time, or the whole
_R2PLUS1D = (
    _HEAD,
    (f"backbone.conv1.{_FACTOR}", f"backbone.conv1.conv.{_FACTOR}"),
    ("backbone.bn1.{leaf}", "backbone.conv1.bn.{leaf}"),
    (f"backbone.{{block}}.conv{{k}}.{_FACTOR}", f"backbone.{{block}}.conv{{k}}.conv.{_FACTOR}"),
    ("backbone.{block}.bn{k}.{leaf}", "backbone.{block}.conv{k}.bn.{leaf}"),
    (f"backbone.{{block}}.downsample.0.{_FACTOR}", f"backbone.{{block}}.downsample.conv.{_FACTOR}"),
    ("backbone.{block}.downsample.1.{leaf}", "backbone.{block}.downsample.bn.{leaf}"),
)
_X3D = (
    head("cls_head.fc2"),
    ("cls_head.fc1.weight", "cls_head.fc1.weight"),
    ("backbone.conv1_s.weight", "backbone.conv1_s.conv.weight"),
    *layer("backbone.conv1_t", "backbone.bn1", *_names("backbone.conv1_t.")),
    ("backbone.{block}.se.fc{k}.{leaf}", "backbone.{block}.se_module.fc{k}.{leaf}"),
    *_resnet("backbone.")[2:],
    *layer("backbone.conv5", "backbone.bn5", *_names("backbone.conv5.")),
)
_C3D = (
    _HEAD,
    ("backbone.conv{c3d}.{leaf}", "backbone.conv{c3d}.conv.{leaf}"),
    ("backbone.fc{k}.{leaf}", "backbone.fc{k}.{leaf}"),
)


def _rules(ours_conv: str, ours_norm: str, conv: str, norm: str) -> Table:
    wrapped = ".net" if ".net." in conv else ""  # the norm, too, which changes nothing
    return layer(ours_conv + wrapped, ours_norm, conv, norm)


def _mobilenet(shifted: bool) -> Table:
    def block(group: int, index: int, k: int) -> list[Names]:
        nets = ("net." if shifted and index > 0 else "", "", "")  # blocks that keep their input's shape are shifted
        stem = f"backbone.layer{group + 1}.{index}.conv"
        return [_names(f"{stem}.{j}.{net}") for j, net in enumerate(nets[k == 1 :])]

    ends = _names("backbone.conv1."), _names("backbone.conv2.")
    return head("cls_head.fc_cls"), *mobilenet(*ends, block, _rules)


LAYOUT = Layout(
    TORCH,
    (_mobilenet(shifted=False), _mobilenet(shifted=True), _RESNET, _SLOWFAST, _R2PLUS1D, _X3D, _C3D),
    wraps=True,
    key="state_dict",
    network={"i3d_stem_stride": 2, "slow_frames": "stride", "joined_order": "fast_slow"},
    protocol_in_name=(
        rf"{START}(?P<clip_len>{COUNT})x(?P<frame_interval>{COUNT})x(?P<num_segments>{COUNT}){END}",
    ),
    network_of=slowfast_alpha,
    protocol_of=lambda origin: {**dense_in_name(origin), **slowfast_clip(origin)},
    built_in=shifts("mit"),
    refuses_file=like_a_resnet,
)  # fmt: skip
