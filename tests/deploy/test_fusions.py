"""The copy that is exported computes what the trained model does, with every BatchNorm folded."""

import importlib.util

import numpy as np
import paddle
import pytest

from configs.networks import family_of, model_names
from deploy.engines import ENGINES, open_graph
from deploy.export import dygraph_logits
from deploy.folding import fold_batch_norm, fused
from deploy.formats import FORMATS
from deploy.fusions import FUSIONS, FusedConv, SplitConv
from deploy.interface import Settings
from deploy.signature import Signature
from deploy.writers import WRITERS, write_graph
from models import create_model
from models.recognizer import batch_norms
from models.temporal_shift import TemporalShift

# Those over images have their own tests, in test_masks.py.
NAMES = [name for name in model_names() if family_of(name).task == "classification"]
SIGNATURE = Signature.of_clips((4, 3, 32, 32))


def build(name, num_frames=4, size=32, **options):
    """A model whose norms are far from the identity."""
    paddle.seed(11)
    model = create_model(name, num_classes=6, num_frames=num_frames, **options)
    for norm in batch_norms(model):
        norm._momentum = 0.0
    with paddle.no_grad():
        model(paddle.randn([4, num_frames, 3, size, size]))
    for norm in batch_norms(model):
        norm.weight.set_value(1 + 0.2 * paddle.rand(norm.weight.shape))
        norm.bias.set_value(0.1 * paddle.randn(norm.bias.shape))
    model.eval()
    return model


def noise(batch, num_frames=4, size=32):
    return np.random.default_rng(2).standard_normal((batch, num_frames, 3, size, size), dtype=np.float32)


def assert_same(found, wanted):
    assert np.ptp(wanted, axis=0).max() > 1e-3 * np.abs(wanted).max()  # the clips are told apart
    assert np.abs(found - wanted).max() < 1e-4 * np.abs(wanted).max()


def stem_of(name):
    """The option with which an I3D takes four frames."""
    return {"i3d_stem_stride": 1} if name.startswith(("i3d_r", "i3d_tiny")) else {}


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith(("tiny", "mobilenet_v2"))])
def test_fused_model_gives_the_same_logits_without_any_norm(name):
    model, clips = build(name, **stem_of(name)), noise(2)
    before = dygraph_logits(model, clips)
    copy = fused(model, SIGNATURE, FUSIONS["paddle"])
    assert not batch_norms(copy)
    assert_same(dygraph_logits(copy, clips), before)
    assert (dygraph_logits(model, clips) == before).all()  # the model itself is left as it was


OPTIONS = {
    "fast channels first": ("slowfast_tiny", {"joined_order": "fast_slow", "slow_frames": "stride"}),
    "a softmax at each place": ("x3d_tiny", {"places": "probabilities", "place_window": 1}),
    "mode T": ("mvf_tiny", {"mvf_mode": "T"}),
    "mode TH": ("mvf_tiny", {"mvf_mode": "TH"}),
    "shared kernel": ("mvf_tiny", {"mvf_share": True}),
    "no hard-swish": ("mvf_tiny", {"mvf_use_hs": False}),
    "all stages, half": ("mvf_tiny", {"mvf_stages": (1, 1, 1, 1), "mvf_alpha": 0.5}),
    "all channels": ("mvf_tiny", {"mvf_alpha": 1.0}),
    "shift of Paddle": ("tsm_tiny", {"shift_direction": "paddle", "shift_div": 10}),
    "shift online": ("tsm_tiny", {"shift_direction": "online", "shift_div": 3}),
    "shift of blocks": ("tsm_tiny", {"shift_place": "block"}),
    "nothing moves": ("tsm_tiny", {"shift_div": 1000}),
    "temporal pooling": ("tsm_tiny", {"temporal_pool": True}),
    "epsilon, same padding": ("tsm_mobilenet_v2", {"norm_eps": 1e-3, "same_padding": True}),
}  # fmt: skip


@pytest.mark.parametrize("case", OPTIONS)
def test_graph_of_every_option_gives_the_same_logits(case, tmp_path):
    name, options = OPTIONS[case]
    check_graph(build(name, **options), noise(2), tmp_path)


# each kind of block, and each module
QUICK = ("mvf_tiny", "tsn_mobilenet_v2", "i3d_tiny", "slowfast_tiny", "x3d_tiny")
# Frames and side where they are not 4 and 32. In the last stages of Inception kernels are larger than what they see; of
# MobileNetV2 over clips one place would be left, and norms of one place round much.
CLIPS = {"c3d": (16, 112), "i3d_inception": (16, 64)}
CLIPS |= {name: (8, 64) for name in model_names() if name.startswith("mobilenet3d")}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.whole) for name in NAMES]
)
def test_graph_of_each_model_gives_the_same_logits(name, tmp_path):
    frames, size = CLIPS.get(name, (4, 32))
    model, clips = build(name, frames, size, **stem_of(name)), noise(2, frames, size)
    check_graph(model, clips, tmp_path)
    if name == "x3d_tiny":
        check_graph(model, clips, tmp_path, form="legacy")  # it has a sigmoid
    if importlib.util.find_spec("paddle2onnx"):
        wanted = dygraph_logits(model, clips)
        graph = write_graph("onnx", model, Signature.of_clips(clips.shape[1:]), tmp_path)
        for engine in ("onnxruntime", "openvino"):
            assert_same(open_graph(engine, graph, Settings(threads=1))(clips), wanted)


@pytest.mark.parametrize("num_frames", [4, 8, 16])
@pytest.mark.parametrize("family", ["tsn", "tsm", "mvf"])
def test_graph_of_any_frame_count_takes_any_batch(family, num_frames, tmp_path):
    check_graph(build(f"{family}_tiny", num_frames), noise(5, num_frames), tmp_path, batches=(1, 2, 5, 1))


def check_graph(model, clips, folder, batches=(2,), form="paddle"):
    """Saves the graph of a model and runs it."""
    graph = write_graph(form, model, Signature.of_clips(clips.shape[1:]), folder)
    engine = open_graph("paddle", graph, Settings(threads=1))
    wanted = dygraph_logits(model, clips)
    for batch in batches:
        assert_same(np.concatenate([engine(clips[:batch]), wanted[batch:]]), wanted)


def looks(model):
    """Layers with their attributes, and tensors bit by bit; Paddle 3.0 leaves each method as it has traced it."""
    layers = [
        (path, type(layer), layer.forward.__func__.__name__, layer.training, sorted(vars(layer).keys() - {"forward"}))
        for path, layer in model.named_sublayers(include_self=True)
    ]
    return layers, {name: tensor.numpy().tobytes() for name, tensor in model.state_dict().items()}


@pytest.mark.parametrize(
    "forms",
    [
        ("paddle", "legacy", "onnx"),
        pytest.param(("onnx", "paddle", "onnx", "legacy", "paddle"), marks=pytest.mark.whole),  # other orders of two
    ],
)
def test_a_writer_leaves_the_model_as_it_is_for_the_next(forms, tmp_path):
    """So that formats may share one fused copy."""
    pytest.importorskip("paddle2onnx")
    model, clips, copies = build("tsm_tiny"), noise(2), {}
    wanted, fresh = dygraph_logits(model, clips), fused(model, SIGNATURE, FUSIONS["paddle"])
    for number, form in enumerate(forms):
        folder = tmp_path / str(number)
        folder.mkdir()
        graph = write_graph(form, model, SIGNATURE, folder, copies)
        (copy,) = copies.values()
        assert looks(copy) == looks(fresh)
        assert (dygraph_logits(copy, clips) == dygraph_logits(fresh, clips)).all()
        engine = next(name for name, kind in ENGINES.items() if form in kind.formats)
        assert_same(open_graph(engine, graph, Settings(threads=1))(clips), wanted)


def test_norms_are_folded_into_the_convolutions_before_them():
    model = build("mvf_tiny")
    norms = batch_norms(model)
    assert fold_batch_norm(model, SIGNATURE) == len(norms) - 4  # all but those of the fusions, which follow a sum
    convolutions = [layer for layer in model.sublayers() if isinstance(layer, paddle.nn.Conv2D)]
    assert all(convolution.bias is not None for convolution in convolutions)


def test_modules_are_replaced():
    models = {name: fused(build(name), SIGNATURE, FUSIONS["paddle"]) for name in ("tsm_tiny", "mvf_tiny")}
    kinds = {name: [type(layer) for layer in model.sublayers()] for name, model in models.items()}
    assert kinds["tsm_tiny"].count(SplitConv) == 8
    assert kinds["mvf_tiny"].count(FusedConv) == 4


def test_every_format_has_a_writer_and_fusions():
    assert list(FORMATS) == list(WRITERS) == list(FUSIONS)


def test_fusions_are_looked_up_by_the_type_of_a_layer():
    model = build("tsm_tiny")
    plain = fused(model, SIGNATURE, {})
    assert not batch_norms(plain)
    assert [type(layer) for layer in plain.sublayers()].count(TemporalShift) == 8
    negated = fused(model, SIGNATURE, {type(model.cls_head): lambda head: NegatedHead(head)})
    assert_same(-dygraph_logits(negated, noise(2)), dygraph_logits(model, noise(2)))


class NegatedHead(paddle.nn.Layer):
    """The logits of a head with the other sign."""

    def __init__(self, head):
        super().__init__()
        self.head = head

    def forward(self, features, num_frames):
        return -self.head(features, num_frames)
