"""Where a network looks: maps that a linear classifier has by its weights, of every kind of network; missing frames."""

import numpy as np
import paddle
import pytest

from engine.evaluation import run_of
from engine.grad_cam import grad_cam, pooled
from engine.occlusion import occlusion
from models import create_model

KINDS = {"tsm_tiny": 8, "mvf_tiny": 8, "tsn_mobilenet_v2": 4, "i3d_tiny": 8, "slowfast_tiny": 32, "x3d_tiny": 8}


def network(name, frames):
    paddle.seed(4)
    model = create_model(name, num_classes=5, num_frames=frames)
    for layer in model.sublayers():
        if hasattr(layer, "_variance"):
            layer.bias.set_value(0.1 * paddle.randn(layer.bias.shape))
    model.eval()
    return model


def clip_of(frames, size=64):
    return np.random.default_rng(1).standard_normal((frames, 3, size, size), dtype=np.float32)


def test_the_map_of_a_linear_classifier_is_that_of_its_weights():
    """Zhou et al., "Learning deep features for discriminative localization", CVPR 2016."""
    model, clip = network("tsn_tiny", 4), clip_of(4)
    kept = []
    hook = model.cls_head.register_forward_pre_hook(lambda _, inputs: kept.append(inputs[0].numpy()))
    logits = run_of(model)(clip[None])[0]
    label = int(logits.argmax())
    maps, found = grad_cam(model, clip, label)
    hook.remove()
    weight = model.cls_head.new_fc.weight.numpy()[:, label]
    expected = np.maximum((kept[0] * weight[:, None, None]).sum(axis=1), 0)  # [T, h, w]
    centers = maps.reshape(4, expected.shape[1], -1, expected.shape[2], maps.shape[2] // expected.shape[2]).mean(
        axis=(2, 4)
    )
    assert np.corrcoef(centers.ravel(), expected.ravel())[0, 1] > 0.95
    assert (maps.shape, maps.min() >= 0, maps.max()) == ((4, 64, 64), True, 1.0)
    np.testing.assert_allclose(found, logits, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_network_has_maps_and_features(name):
    frames = KINDS[name]
    model, clip = network(name, frames), clip_of(frames)
    before = {key: tensor.numpy() for key, tensor in model.state_dict().items()}
    maps = [grad_cam(model, clip, label)[0] for label in range(5)]
    assert maps[0].shape == (frames, 64, 64)
    assert max(one.max() for one in maps) == 1.0
    assert any(not np.array_equal(maps[0], one) for one in maps[1:])
    both = np.stack([clip, clip_of(frames) * 0.5])
    logits, found = pooled(model, both)
    np.testing.assert_allclose(logits, run_of(model)(both), rtol=1e-5, atol=1e-6)
    assert found.shape[0] == 2
    assert np.isfinite(found).all()
    assert not np.array_equal(found[0], found[1])
    for key, tensor in model.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), before[key])
    assert all(parameter.grad is None or not parameter.grad.numpy().any() for parameter in model.parameters())


def test_the_part_that_decides_is_missed():
    def run(clips):
        return np.stack([np.array([4 * clip[5:7].mean(), 0.0]) for clip in clips])

    clip = np.ones((16, 3, 8, 8), np.float32)
    lost = occlusion(run, clip, 0)
    assert len(lost) == 8
    assert np.flatnonzero(lost > 1e-6).tolist() == [2, 3]  # frames 4, 5 and 6, 7
    assert len(occlusion(run, clip[:7], 0)) == 7
