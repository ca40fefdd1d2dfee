"""The recognizer: videos stay apart, any number of frames, partial BatchNorm, the static graph."""

import numpy as np
import paddle
import pytest

from models import compute_as_published, create_model, freeze_batch_norm

VARIANTS = [
    ("tsn_tiny", {}),
    ("tsm_tiny", {}),
    ("tsm_tiny", {"shift_place": "block", "shift_direction": "online"}),
    ("tsm_tiny", {"shift_direction": "paddle", "temporal_pool": True, "shift_div": 6}),
    ("tsm_mobilenet_v2", {}),
    ("mvf_tiny", {}),
    ("mvf_tiny", {"as_published": True}),
    ("mvf_tiny", {"mvf_stages": (1, 1, 1, 1), "mvf_share": True, "mvf_use_hs": False}),
    ("mvf_mobilenet_v2", {}),
]


def model_and_clips(name, options, num_frames=4, batch=3, size=32):
    """A model whose BatchNorms know the statistics of the clips, so that signals neither vanish nor explode."""
    paddle.seed(7)
    options = dict(options)
    as_published = options.pop("as_published", False)
    model = create_model(name, num_classes=5, num_frames=num_frames, **options)
    if as_published:
        compute_as_published(model)
    clips = paddle.randn([batch, num_frames, 3, size, size])
    norms = [layer for layer in model.sublayers() if "BatchNorm" in type(layer).__name__]
    for norm in norms:
        norm._momentum = 0.0
    with paddle.no_grad():
        model(clips)
    for norm in norms:
        norm._momentum = 0.9
    model.eval()
    return model, clips


@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_videos_never_mix(name, options):
    model, clips = model_and_clips(name, options)
    together = model(clips).numpy()
    apart = np.concatenate([model(clips[i : i + 1]).numpy() for i in range(3)])
    scale = np.abs(together).max()
    np.testing.assert_allclose(together, apart, rtol=0, atol=1e-5 * scale)
    assert np.abs(together[0] - together[1]).max() > 1e-3 * scale


@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_the_order_of_frames_matters_where_a_module_looks_at_time(name, options):
    model, clips = model_and_clips(name, options)
    change = (model(clips) - model(clips.flip(axis=[1]))).abs().max() / model(clips).abs().max()
    if name.startswith("tsn"):
        assert float(change) < 1e-5
    else:
        assert float(change) > 1e-4


@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_frames_are_counted_at_the_input(name, options):
    built_for_4, _ = model_and_clips(name, options, num_frames=4)
    built_for_6, clips = model_and_clips(name, options, num_frames=6)
    built_for_4.set_state_dict(built_for_6.state_dict())
    np.testing.assert_array_equal(built_for_4(clips), built_for_6(clips))


@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_every_parameter_gets_a_gradient(name, options):
    model, clips = model_and_clips(name, options, size=64)
    model.train()
    loss = paddle.nn.functional.cross_entropy(model(clips), paddle.to_tensor([0, 1, 2]))
    loss.backward()
    for parameter_name, parameter in model.named_parameters():
        if not parameter.stop_gradient:
            assert parameter.grad is not None, parameter_name
            assert np.abs(parameter.grad.numpy()).max() > 0, parameter_name


@pytest.mark.parametrize(("name", "options"), [VARIANTS[i] for i in (1, 3, 5, 6)])
def test_static_graph_with_any_batch_equals_dygraph(name, options, tmp_path):
    model, clips = model_and_clips(name, options)
    expected = model(clips).numpy()
    path = str(tmp_path / "model")
    spec = paddle.static.InputSpec([-1, *clips.shape[1:]], "float32", name="clips")
    paddle.jit.save(paddle.jit.to_static(model, input_spec=[spec], full_graph=True), path)
    loaded = paddle.jit.load(path)
    for batch in (1, 3):
        actual = loaded(clips[:batch]).numpy()
        np.testing.assert_allclose(actual, expected[:batch], rtol=0, atol=3e-5 * np.abs(expected).max())


@pytest.mark.parametrize("size", [(32, 32), (64, 32), (40, 56)])
def test_images_of_any_size(size):
    model, _ = model_and_clips("mvf_tiny", {})
    assert model(paddle.zeros([1, 4, 3, *size])).shape == [1, 5]


def test_views_must_be_folded_before_the_model():
    model, clips = model_and_clips("tsn_tiny", {})
    with pytest.raises(ValueError, match=r"clips must be \[N, T, 3, H, W\], got \[1, 3, 4, 3, 32, 32\]"):
        model(clips.unsqueeze(0))


def frozen(model):
    norms = {n: m for n, m in model.named_sublayers() if "BatchNorm" in type(m).__name__}
    return {name for name, m in norms.items() if not m.training and m.weight.stop_gradient and m.bias.stop_gradient}


def test_partial_batch_norm_freezes_all_but_the_first_and_stays():
    model = create_model("mvf_tiny", num_classes=5, num_frames=4, partial_bn=True)
    every = {n for n, m in model.named_sublayers() if "BatchNorm" in type(m).__name__}
    assert frozen(model) == every - {"backbone.bn1"}
    model.eval()
    model.train()
    assert frozen(model) == every - {"backbone.bn1"}
    assert model.training
    assert model.backbone.layer1.training
    before = {name: value.numpy() for name, value in model.state_dict().items()}
    model(paddle.randn([2, 4, 3, 32, 32])).sum().backward()
    moved = {n for n, v in model.state_dict().items() if "_mean" in n and not np.array_equal(v.numpy(), before[n])}
    assert moved == {"backbone.bn1._mean"}
    assert model.backbone.layer1[0].bn1.weight.grad is None
    assert model.backbone.bn1.weight.grad is not None


def test_batch_norm_trains_unless_told():
    model = create_model("tsn_tiny", num_classes=5, num_frames=4)
    model.train()
    assert not frozen(model)
    freeze_batch_norm(model, keep_first=False)
    assert len(frozen(model)) == 20
