"""MXNet's files, built here byte by byte, and the portrait UNet that one holds."""

import struct

import numpy as np
import paddle
import pytest

from engine.pretrained import load_pretrained
from models import create_model
from weights import CheckpointError, read, read_file, to_layout

V2, OLD = 0xF993FAC9, None


def array_bytes(array, version=V2):
    shape = array.shape
    if version is OLD:
        head = struct.pack(f"<I{len(shape)}I", len(shape), *shape)
    else:
        head = struct.pack("<Ii", version, 0) + struct.pack(f"<I{len(shape)}q", len(shape), *shape)
    return head + struct.pack("<iii", 1, 0, 0) + np.ascontiguousarray(array, "<f4").tobytes()


def params(arrays, version=V2):
    """A file of these arrays, as `mx.nd.save` writes it."""
    names = b"".join(struct.pack("<Q", len(name)) + name.encode() for name in arrays)
    body = b"".join(array_bytes(array, version) for array in arrays.values())
    count = struct.pack("<Q", len(arrays))
    return struct.pack("<QQ", 0x112, 0) + count + body + count + names


@pytest.fixture
def network():
    paddle.seed(1)
    model = create_model("unet_x0_25", num_classes=2, num_frames=1, norm_eps=1e-3)
    rng = np.random.default_rng(0)
    for name, tensor in model.state_dict().items():
        if name.endswith(("_mean", "_variance")) or (".bn" in name and name.endswith("bias")):
            tensor.set_value(rng.uniform(0.5, 1.5, tensor.shape).astype(np.float32))
    model.eval()
    return model


@pytest.mark.parametrize("version", [V2, OLD])
def test_the_original_loads_and_gives_the_same_maps(network, tmp_path, version):
    """Norms have a weight of 1, whatever stands in the file; the first kernel reads B, G, R."""
    theirs = to_layout({name: tensor.numpy() for name, tensor in network.state_dict().items()}, "unet-mxnet")
    assert {"arg:conv1_1_weight", "arg:bn10_2_gamma", "aux:bn6_1_moving_var", "arg:trans_conv6_weight",
            "arg:conv11_1_bias"} <= set(theirs)  # fmt: skip
    theirs["arg:bn3_1_gamma"] = theirs["arg:bn3_1_gamma"] * 7
    path = tmp_path / "unet-0100.params"
    path.write_bytes(params(theirs, version))
    loaded = load_pretrained(str(path))
    assert loaded.recipe.network.model == "unet_x0_25"
    assert loaded.recipe.network.norm_eps == 1e-3
    assert (loaded.recipe.pixels.std, loaded.recipe.pixels.padding) == ((255.0,) * 3, "zero")
    images = paddle.randn([1, 3, 64, 64])
    np.testing.assert_array_equal(loaded.model(images).numpy(), network(images).numpy())
    np.testing.assert_array_equal(
        read_file(path)["arg:conv1_1_weight"][:, ::-1], network.backbone.enc1.conv1.weight.numpy()
    )


def test_damaged_files_are_refused_in_one_line(network, tmp_path):
    arrays = to_layout({name: tensor.numpy() for name, tensor in network.state_dict().items()}, "unet-mxnet")
    whole = params(arrays)
    path = tmp_path / "unet.params"
    sparse = whole.replace(struct.pack("<Ii", V2, 0), struct.pack("<Ii", V2, 1), 1)
    huge = whole[:16] + struct.pack("<Q", 2**60) + whole[24:]
    for content in (whole[:-5], whole[: len(whole) // 2], whole[:30], sparse, huge, whole[:16] + b"\xff" * 64):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match="is not a whole weight file") as caught:
            read(str(path))
        assert "\n" not in str(caught.value)
