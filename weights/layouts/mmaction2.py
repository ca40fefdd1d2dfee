"""github.com/open-mmlab/mmaction2, 0.x and 1.x: models/backbones/resnet.py, resnet_tsm.py, mobilenet_v2_tsm.py."""

from __future__ import annotations

from weights.layout import TORCH, Layout
from weights.quirks import COUNT, END, START, dense_in_name, like_a_resnet, shifts
from weights.tables import Names, Table, head, layer, mobilenet


def _names(module: str) -> Names:
    """Of the convolution and the norm of MMCV's ConvModule, which is both in one."""
    return f"{module}conv", f"{module}bn"


_RESNET = (
    head("cls_head.fc_cls"),
    *layer("backbone.conv1", "backbone.bn1", *_names("backbone.conv1.")),
    *layer("backbone.{block}.downsample.0", "backbone.{block}.downsample.1", *_names("backbone.{block}.downsample.")),
    ("backbone.{block}.conv{k}.{net}weight", "backbone.{block}.conv{k}.conv.{net}weight"),
    ("backbone.{block}.bn{k}.{leaf}", "backbone.{block}.conv{k}.bn.{leaf}"),
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
    (_mobilenet(shifted=False), _mobilenet(shifted=True), _RESNET),
    wraps=True,
    key="state_dict",
    protocol_in_name=(
        rf"{START}(?P<clip_len>{COUNT})x(?P<frame_interval>{COUNT})x(?P<num_segments>{COUNT}){END}",
    ),
    protocol_of=dense_in_name,
    built_in=shifts("mit"),
    refuses_file=like_a_resnet,
)  # fmt: skip
