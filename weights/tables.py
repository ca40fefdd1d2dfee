"""Tables of names: rules that are read both ways, and the ones that several public sources share.

A rule is a pair of templates, our name and theirs, with the fields of FIELDS. A table is a tuple of rules of which the
first that fits counts. Templates speak our words for the statistics of a norm; those of a framework are in its `Kind`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache

Rule = tuple[str, str]  # our template, theirs
Table = tuple[Rule, ...]
Names = tuple[str, str]  # of a convolution, of its norm
Rules = Callable[[str, str, str, str], Table]

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
    "mixed": r"Mixed_[345][a-f]",
    "unit": r"Conv3d_[12][abc]_\dx\d",
    "inception": r"(?:Conv3d_[12][abc]_\dx\d|Mixed_[345][a-f]\.b\d[ab]?)\.(?:conv3d|bn)\.\w+",
    "factor": r"conv_[st]\.weight|bn_s\.\w+",
    "c3d": r"[1-5][ab]",
    "image": r"(?:conv1|bn1|layer[1-4]\.\d+\.(?:conv\d|bn\d|downsample\.\d))\.\w+",
    "nested": r"features\.(?:\d+\.(?:\d+|conv\.(?:[01]\.[01]|[23]))|1\.conv\.1)\.\w+",  # MobileNetV2, blocks as ours
    "shifted": rf"(?:conv1|bn1|{_BLOCK}\.(?:conv\d|bn\d|downsample\.\d))\.(?:net\.)?\w+",
    "fused": rf"(?:conv1|bn1)\.\w+|{_BLOCK}\.(?:conv\d|bn\d|downsample\.\d)\.(?:\w+|{_WRAPPED})",
}

# The last parts of our names of a norm's tensors.
NORM = ("weight", "bias", "_mean", "_variance")

# First block of each group of MobileNetV2 (table 2 of the paper), and what comes after the last.
_GROUP_STARTS = (1, 2, 4, 7, 11, 14, 17, 18)
# The blocks in order: group from 0, number in the group from 0, number in the network from 1.
MOBILENET_BLOCKS = [(g, i, k) for g in range(7) for i, k in enumerate(range(_GROUP_STARTS[g], _GROUP_STARTS[g + 1]))]


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


def head(theirs: str) -> Rule:
    """The classifier, whose layer they call `theirs`."""
    return "cls_head.new_fc.{leaf}", f"{theirs}.{{leaf}}"


def layer(ours_conv: str, ours_norm: str, conv: str, norm: str) -> Table:
    """A convolution and its norm, by our names and by theirs."""
    return (f"{ours_conv}.weight", f"{conv}.weight"), (f"{ours_norm}.{{leaf}}", f"{norm}.{{leaf}}")


def mobilenet(first: Names, last: Names, block: Callable[[int, int, int], list[Names]], rules: Rules = layer) -> Table:
    """MobileNetV2 by its authors' names of each convolution and of its norm.

    Args:
        first, last: Of what stands before and behind the blocks.
        block: (group, number in the group, number in the network) -> those of a block: two in the first, else three.
        rules: (our convolution, our norm, their convolution, their norm) -> rules.
    """
    layers = [("0.0", "0.1", *first), ("18.0", "18.1", *last)]
    for group, index, k in MOBILENET_BLOCKS:
        ours = [("0.0", "0.1"), ("1", "2")] if k == 1 else [("0.0", "0.1"), ("1.0", "1.1"), ("2", "3")]
        pairs = zip(ours, block(group, index, k), strict=True)
        layers += [(f"{k}.conv.{conv}", f"{k}.conv.{norm}", *theirs) for (conv, norm), theirs in pairs]
    stem = "backbone.features."
    return tuple(rule for conv, norm, *theirs in layers for rule in rules(stem + conv, stem + norm, *theirs))


def flat_mobilenet(stem: str, last: str = "features.18", first: str = "{net}weight") -> Table:
    """MobileNetV2 whose blocks are one flat Sequential: convolution, norm, activation one after the other.

    Args:
        stem: What stands before every name.
        last: Their name of the last layer.
        first: Template of what follows the name of a block's first convolution, which a module may wrap.
    """
    parts = {"1": {"0.0": 0, "0.1": 1, "1": 3, "2": 4}, "{k}": {"0.1": 1, "1.0": 3, "1.1": 4, "2": 6, "3": 7}}
    return (
        ("backbone.features.18.{k}.{leaf}", f"{stem}{last}.{{k}}.{{leaf}}"),
        ("backbone.features.{k}.{j}.{leaf}", f"{stem}features.{{k}}.{{j}}.{{leaf}}"),  # the stem
        (f"backbone.features.{{k}}.conv.0.0.{first}", f"{stem}features.{{k}}.conv.0.{first}"),
        *(
            (f"backbone.features.{k}.conv.{ours}.{{leaf}}", f"{stem}features.{k}.conv.{theirs}.{{leaf}}")
            for k, names in parts.items()
            for ours, theirs in names.items()
        ),
    )


def bottlenecks3d(ours: str, theirs: Callable[[int], str], parts: Callable[[str], Names]) -> Table:
    """The blocks of a pathway of a ResNet over clips, whose source counts its stages in its own way.

    Args:
        ours: What stands before our names of the stages.
        theirs: Number of a stage from 1 -> their name of a block of it, with the field j for the block's number.
        parts: `conv1`, `conv2`, `conv3` or `downsample` -> their names inside of a block.
    """

    def rules(stage: int, part: str) -> Table:
        block, conv, norm = f"{ours}layer{stage}.{{j}}.", part, part.replace("conv", "bn")
        if part == "downsample":
            conv, norm = f"{part}.0", f"{part}.1"
        names = (f"{theirs(stage)}{name}" for name in parts(part))
        return layer(block + conv, block + norm, *names)

    every = ("conv1", "conv2", "conv3", "downsample")
    return tuple(rule for stage in range(1, 5) for part in every for rule in rules(stage, part))


# A ResNet of single frames with the names that ours has, too.
PLAIN_RESNET: Table = (head("fc"), ("backbone.{image}", "{image}"))
