"""Blocks of networks that state none: the ones that they would state, and never one that is not."""

import paddle
import pytest
from paddle import nn

from models.temporal_module import find_layer
from scaling import discover as room
from scaling.derive import derive
from scaling.discover import blocks_of, discover
from scaling.extract import extract
from tests.scaling.test_extract import Pair, build


class Hidden(nn.Layer):
    """A layer without `chains`, whatever it stands for."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(x)


def noise(*shape):
    paddle.seed(0)
    return paddle.randn(list(shape))


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("tsn_tiny", (1, 8, 3, 32, 32)),
        ("tsn_mobilenet_v2", (1, 2, 3, 32, 32)),
        ("r3d_r18", (1, 8, 3, 32, 32)),
        ("unet_tiny", (1, 3, 64, 64)),
    ],
)
def test_what_is_discovered_is_what_the_classes_state(name, shape):
    model = build(name)
    model.eval()
    for layer in model.sublayers():
        if hasattr(layer, "_variance"):  # so that a norm is no identity
            layer._mean.set_value(noise(*layer._mean.shape))
    stated = {(f"{block.path}.{group.writer}", f"{block.path}.{group.reader}") for block in extract(model)
              for group in block.groups}  # fmt: skip
    for layer in model.sublayers():
        layer.chains = ()
    found = blocks_of(model, shape[1:])
    discovered = {(f"{block.path}.{group.writer}", f"{block.path}.{group.reader}") for block in found
                  for group in block.groups}  # fmt: skip
    assert discovered >= stated
    for block in found:
        assert not any(other.path.startswith(f"{block.path}.") for other in found)
        narrow = derive(find_layer(model, block.path), block.groups, 0.5)
        assert sum(p.size for p in narrow.parameters()) < sum(
            p.size for p in find_layer(model, block.path).parameters()
        )


class Sneaky(nn.Layer):
    """What the second reads, the sum at the end reads too."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2D(4, 4, 1), nn.Conv2D(4, 4, 1)

    def forward(self, x):
        inside = self.first(x)
        return inside + self.second(inside)


class Mixed(nn.Layer):
    """Channels change their order on the way."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2D(4, 8, 1), nn.Conv2D(8, 4, 1)

    def forward(self, x):
        return self.second(paddle.nn.functional.channel_shuffle(self.first(x), 2))


class Twice(Pair):
    """Called twice with different inputs."""

    def forward(self, x):
        return super().forward(super().forward(x)[:, :3])


@pytest.mark.parametrize("layer", [Sneaky, Mixed, Twice])
def test_what_is_no_block_is_not_found(layer):
    model = nn.Sequential(layer(), nn.ReLU())
    model.eval()
    channels = 3 if layer is Twice else 4
    assert discover(model, noise(2, channels, 8, 8)) == []


def test_a_block_of_a_strangers_network_is_found_with_its_norm():
    model = nn.Sequential(Hidden(Pair()), nn.ReLU())
    model.eval()
    (block,) = discover(model, noise(1, 3, 8, 8))
    assert (block.path, block.groups[0].writer, block.groups[0].followers) == ("0.layer", "first", ("norm",))


def test_a_guess_is_proved_by_numbers(monkeypatch):
    model = nn.Sequential(Sneaky(), nn.ReLU())
    model.eval()
    monkeypatch.setattr(room, "is_proved", lambda *_: True)
    assert discover(model, noise(1, 4, 8, 8))  # which the proof alone has kept out
