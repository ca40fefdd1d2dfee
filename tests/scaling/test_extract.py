"""Which parts of each network may become narrower, and what is said of a network that shows none."""

import paddle
import pytest
from paddle import nn

from configs.networks import model_names
from models import create_model
from models.temporal_module import find_layer
from runtime.errors import UserError
from scaling.extract import extract

FRAMES = {"c3d": 16}
# model -> blocks, and groups of channels in them
BLOCKS = {
    "tsn_tiny": (8, 8), "tsm_r50": (16, 32), "mvf_tiny": (8, 8), "tsm_mobilenet_v2": (16, 16), "i3d_tiny": (7, 14),
    "slowfast_tiny": (14, 28), "x3d_tiny": (5, 5), "r2plus1d_r18": (9, 25), "r3d_r18": (8, 8), "i3d_inception": (9, 18),
    "shufflenet3d_x0_25": (16, 16), "mobilenet3d_x0_2": (16, 16), "unet_tiny": (10, 10), "unet_mobilenet_v2": (21, 21),
}  # fmt: skip


def build(name, **options):
    frames = 1 if name.startswith("unet") else FRAMES.get(name, 8)
    return create_model(name, num_classes=5, num_frames=frames, **options)


@pytest.mark.parametrize("name", BLOCKS)
def test_blocks_of_each_kind_of_network(name):
    model = build(name)
    blocks = extract(model)
    assert (len(blocks), sum(len(block.groups) for block in blocks)) == BLOCKS[name]
    for block in blocks:
        layer = find_layer(model, block.path)
        for group in block.groups:
            assert find_layer(layer, group.writer).weight.shape[0] == group.channels
            assert find_layer(layer, group.reader).weight.shape[1] == group.channels
        assert not any(other.path.startswith(f"{block.path}.") for other in blocks)


def test_a_network_of_stacked_convolutions_has_one_block():
    with pytest.raises(UserError, match=r"Recognizer3D has no block .* extract\(model, rules="):
        extract(build("c3d"))


def test_every_model_is_known_to_have_blocks_or_not():
    """A new family either has chains or is named here."""
    families = {name.partition("_")[0] for name in model_names()}
    assert families - {name.partition("_")[0] for name in BLOCKS} == {"c3d", "mc3", "slowonly"}
    assert extract(build("mc3_r18"))
    assert extract(build("slowonly_r50"))


class Pair(nn.Layer):
    def __init__(self, groups=1):
        super().__init__()
        self.first, self.norm = nn.Conv2D(3, 8, 3, padding=1, groups=groups), nn.BatchNorm2D(8)
        self.second = nn.Conv2D(8, 4, 1)

    def forward(self, x):
        return self.second(paddle.tanh(self.norm(self.first(x))))


def test_somebodys_network_is_told_by_a_rule():
    model = nn.Sequential(Pair(), nn.ReLU())
    (block,) = extract(model, rules={Pair: [("first", "norm", "second")]})
    assert (block.path, block.groups[0].writer, block.groups[0].followers) == ("0", "first", ("norm",))
    with pytest.raises(UserError, match="0: its chain names third, which it has not"):
        extract(model, rules={Pair: [("first", "third")]})
    with pytest.raises(UserError, match="1: its chain names _, which it has not"):
        extract(model, rules={nn.ReLU: ["_"]})


def test_convolutions_in_groups_are_left_as_they_are():
    class Grouped(nn.Layer):
        chains = (("a", "b", "c"),)

        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = nn.Conv2D(4, 8, 1), nn.Conv2D(8, 8, 1, groups=2), nn.Conv2D(8, 4, 1)

    with pytest.raises(UserError, match="Sequential has no block"):
        extract(nn.Sequential(Grouped()))
