"""MNN and ncnn: every network in them, and what they cannot do is refused before it is written."""

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from paddle import nn

from deploy.engines import open_engine, open_graph
from deploy.export import dygraph_logits
from deploy.folding import fused
from deploy.formats import FORMATS
from deploy.fusions import FUSIONS
from deploy.interface import Settings
from deploy.signature import Signature, TensorSpec
from deploy.writers import mnn, write_graph
from runtime.errors import UserError
from runtime.fresh_process import in_fresh_process
from tests.deploy.test_fusions import CLIPS, NAMES, assert_same, build, noise, stem_of

EDGE = [
    pytest.param(name, marks=pytest.mark.skipif(bool(FORMATS[name].lack), reason=FORMATS[name].lack))
    for name in ("mnn", "ncnn")
]
QUICK = ("tsm_tiny", "slowfast_tiny")
TINY = [name for name in NAMES if name.endswith("tiny")]
SIZES = CLIPS | {"i3d_inception": (8, 96), "slowfast_tiny": (8, 32), "tsm_tiny": (4, 33)}


def case_of(name):
    frames, size = SIZES.get(name, (4, 32))
    return build(name, frames, size, **stem_of(name)), noise(2, frames, size)


@pytest.mark.parametrize("name", [*TINY, "tsm_mobilenet_v2", "shufflenet3d_x0_25", "mobilenet3d_x0_2"])
def test_a_network_from_operations_over_images_gives_the_same_logits(name):
    model, clips = case_of(name)
    copy = fused(model, Signature.of_clips(clips.shape[1:]), FUSIONS["ncnn"])
    assert not [layer for layer in copy.sublayers() if isinstance(layer, nn.Conv3D)]
    assert_same(dygraph_logits(copy, clips), dygraph_logits(model, clips))


@pytest.mark.parametrize("options", [{"temporal_pool": True}, {"shift_place": "block"}, {"shift_direction": "online"}])
def test_every_kind_of_shift_gives_the_same_logits(options):
    model, clips = build("tsm_tiny", **options), noise(2)
    copy = fused(model, Signature.of_clips(clips.shape[1:]), FUSIONS["ncnn"])
    assert_same(dygraph_logits(copy, clips), dygraph_logits(model, clips))


class OneConvolution(nn.Layer):
    def __init__(self, kind, *arguments, **options):
        super().__init__()
        self.conv = kind(*arguments, **options)

    def forward(self, x):
        return self.conv(x)


@pytest.mark.parametrize("size", [(7, 9, 8), (6, 8, 7), (1, 5, 5)])
@pytest.mark.parametrize("kernel", [(1, 1, 1), (3, 1, 1), (1, 3, 3), (3, 3, 3), (2, 2, 2)])
@pytest.mark.parametrize("stride", [(1, 1, 1), (2, 2, 2), (1, 2, 2), (3, 1, 2)])
@pytest.mark.parametrize("padding", [0, 1, "SAME", (2, 1, 0)])
@pytest.mark.parametrize("groups", [1, 4])
def test_every_convolution_over_clips_is_the_same_over_images(size, kernel, stride, padding, groups):
    before = {"SAME": (9, 9, 9), 0: (0,) * 3, 1: (1,) * 3}.get(padding, padding)
    if min(side + 2 * zeros - reach for side, zeros, reach in zip(size, before, kernel, strict=True)) < 0:
        pytest.skip("the kernel does not fit")
    paddle.seed(1)
    padding = list(padding) if isinstance(padding, tuple) else padding
    model = OneConvolution(nn.Conv3D, 4, 8, list(kernel), list(stride), padding, groups=groups)
    x = paddle.randn([1, 4, *size])
    copy = fused(model, Signature((TensorSpec("x", tuple(x.shape)),), (TensorSpec("y", ()),)), FUSIONS["ncnn"])
    assert type(copy.conv).__name__ == "PlanarConv3D"
    np.testing.assert_allclose(copy(x).numpy(), model(x).numpy(), atol=1e-5)


@pytest.mark.parametrize("form", EDGE)
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.whole) for name in NAMES]
)
def test_a_graph_of_each_model_gives_the_same_logits(name, form, tmp_path):
    model, clips = case_of(name)
    graph = write_graph(form, model, Signature.of_clips(clips.shape[1:]), tmp_path)
    assert_same(open_graph(form, graph, Settings(threads=1))(clips), dygraph_logits(model, clips))


@pytest.mark.parametrize("form", EDGE)
def test_batches_are_taken_clip_by_clip(form, exported, clips):
    engine = open_engine(form, exported, threads=1)
    each = np.concatenate([engine(clip[None]) for clip in clips])
    np.testing.assert_array_equal(engine(clips), each)


def signature_of(x, y):
    return Signature((TensorSpec("x", tuple(x.shape)),), (TensorSpec("y", tuple(y.shape)),))


def run(form, graph, x):
    return open_graph(form, graph, Settings(threads=1)).infer({"x": x})["y"]


class Pooled(nn.Layer):
    """A convolution, and a pooling behind it."""

    def __init__(self, pool):
        super().__init__()
        self.first = nn.Conv3D(2, 4, 1)
        self.pool = pool

    def forward(self, x):
        return self.pool(self.first(x))


WRONG_IN_MNN = {
    "dilated": (lambda: OneConvolution(nn.Conv3D, 2, 4, 3, dilation=(2, 1, 1)), "conv: .*dilated along the frames"),
    "SAME": (lambda: Pooled(lambda x: F.max_pool3d(x, 3, 2, padding="SAME")), "behind first: .*SAME"),
    "SAME in a convolution": (lambda: OneConvolution(nn.Conv3D, 2, 4, 3, padding="SAME"), "conv: .*SAME"),
    "padded": (lambda: Pooled(lambda x: F.avg_pool3d(x, 3, 1, padding=(1, 0, 0), exclusive=False)),
               "behind first: .*padded along the frames"),
    "ceil": (lambda: Pooled(lambda x: F.max_pool3d(x, 2, 2, ceil_mode=True)), "behind first: .*ceil_mode"),
    "transposed": (lambda: OneConvolution(nn.Conv3DTranspose, 16, 16, 2, stride=2, groups=16),
                   "(behind )?conv: .*transposed .* in groups"),
}  # fmt: skip


def wrong_in_mnn(case, monkeypatch):
    """A network of a case, what goes in and what comes out; nothing is done for MNN before its rules."""
    if FORMATS["mnn"].lack:
        pytest.skip(FORMATS["mnn"].lack)
    paddle.seed(1)
    model = WRONG_IN_MNN[case][0]()
    x = paddle.randn([1, 16 if case == "transposed" else 2, 7, 9, 9])
    model.eval()
    monkeypatch.setitem(FUSIONS, "mnn", {})
    return model, x, model(x).numpy()


@pytest.mark.parametrize("case", WRONG_IN_MNN)
def test_what_mnn_computes_wrong_is_refused_by_the_layer(case, tmp_path, monkeypatch):
    model, x, expected = wrong_in_mnn(case, monkeypatch)
    with pytest.raises(UserError, match=f"--formats mnn: {WRONG_IN_MNN[case][1]}.*take --formats onnx, or ncnn"):
        write_graph("mnn", model, signature_of(x, expected), tmp_path)


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=pytest.mark.whole if case == "transposed" else ()) for case in WRONG_IN_MNN]
)
def test_the_rules_of_mnn_are_needed(case, tmp_path, monkeypatch):
    """Without them MNN converts the graph, and gives something else."""
    model, x, expected = wrong_in_mnn(case, monkeypatch)
    signature = signature_of(x, expected)
    monkeypatch.setattr(mnn, "refusal", lambda operator: "")

    def is_wrong():
        try:
            graph = write_graph("mnn", model, signature, tmp_path)
            found = in_fresh_process(run, "mnn", graph, x.numpy())
        except UserError:
            if not case.startswith("SAME"):  # of which its converter or its engine dies
                raise
            return True
        if found.shape != expected.shape:
            return True
        return not np.abs(found - expected).max() <= 0.01 * np.abs(expected).max()  # which a NaN is, too

    # Of transposed convolutions its converter writes memory that nobody has set: with 90 in every freed byte that is no
    # small number, without it would often be 0, and right by chance.
    monkeypatch.setenv("MALLOC_PERTURB_", "90")
    assert any(is_wrong() for _ in range(20))


class SixAxes(nn.Layer):
    """A shuffle of channels as it is mostly written."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv3D(4, 4, 1)

    def forward(self, x):
        x = self.conv(x)
        return x.reshape([1, 2, 2, *x.shape[2:]]).transpose([0, 2, 1, 3, 4, 5]).reshape(x.shape)


def test_what_ncnn_has_not_is_refused(tmp_path):
    if FORMATS["ncnn"].lack:
        pytest.skip(FORMATS["ncnn"].lack)
    model, x = SixAxes(), paddle.randn([1, 4, 3, 5, 5])
    with pytest.raises(UserError, match=r"ncnn has no Tensor\.\w+.*: take --formats onnx, or mnn"):
        write_graph("ncnn", model, signature_of(x, x), tmp_path)


@pytest.mark.parametrize("form", ["mnn", "ncnn"])
def test_a_format_that_nobody_writes_here_says_what_is_missing(form, tmp_path, monkeypatch):
    monkeypatch.setattr("deploy.formats.importlib.util.find_spec", lambda name: None if name in ("MNN", "pnnx") else 1)
    with pytest.raises(UserError, match=rf"--formats {form}: \w+ needs \w+: pip install -r requirements-edge.txt"):
        write_graph(form, build("tsm_tiny"), Signature.of_clips((4, 3, 32, 32)), tmp_path)


def test_paddings_of_every_axis_are_written_with_their_value(tmp_path):
    """Of a padding of rows and columns, or of frames too, paddle2onnx 2.1.0 takes other bytes for it."""
    pytest.importorskip("paddle2onnx")
    pytest.importorskip("onnxruntime")
    model = Pooled(lambda x: F.pad(x, [0, 0, 0, 0, 1, 1, 0, 2, 1, 0], value=-1.37))
    x = paddle.randn([1, 2, 3, 5, 5])
    expected = model(x).numpy()
    graph = write_graph("onnx", model, signature_of(x, expected), tmp_path)
    found = open_graph("onnxruntime", graph, Settings(threads=1)).infer({"x": x.numpy()})["y"]
    np.testing.assert_allclose(found, expected, atol=1e-5)
