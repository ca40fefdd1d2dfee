"""Every layout of weights means what its authors' code computes, in both directions.

A checkpoint is drawn in the names of its layout, its logits are computed by plain functions that read those names, and
our model must give the same ones once the checkpoint is translated into it. The plain functions themselves are compared
with the authors' code where that is installed.
"""

import os
from dataclasses import dataclass, field, replace

import numpy as np
import paddle
import pytest
import torch

import weights
from alignment.sides.pair import IncomparableError
from alignment.upstream import SOURCES, find_source
from alignment.upstream.source import Settings
from configs.networks import network_of
from models import recognize
from tests.weights.layout_names import (
    KERAS_2018,
    KERAS_TODAY,
    MIT,
    MIT_MOBILE,
    MMACTION2,
    MMACTION2_MOBILE,
    MVFNET_MOBILE,
    OURS,
    OURS_MOBILE,
    PADDLEVIDEO,
    TIMM_MOBILE,
    TONYLINS,
    TORCHVISION,
    TORCHVISION_MOBILE,
    as_paddle_sees,
    without_marks,
)
from tests.weights.plain_networks import (
    KERAS,
    PADDLE,
    TORCH,
    Layers,
    MobileNetNames,
    ResNetNames,
    Temporal,
    mobilenet_v2,
    resnet,
)

CLASSES = 5
NOTHING, SHIFT = Temporal(), Temporal("shift")
BLOCK, POOL = replace(SHIFT, place="block"), replace(SHIFT, pool=True)
ONLY_PAST = replace(SHIFT, direction="online")
LATE = {"module": "fusion", "stages": (3, 4)}  # MVFNet fuses in the last two stages
LEAVES = {"ours": PADDLE, "paddlevideo": PADDLE, "paddle.vision": PADDLE, "keras": KERAS}
CHECKOUTS = {"mit-tsm": "ACTIONALIGN_MIT_TSM", "mvfnet": "ACTIONALIGN_MVFNET"}


@dataclass(frozen=True)
class Case:
    """A checkpoint.

    Args:
        name: Of the test.
        layout: As `weights` calls it.
        model: Ours for it.
        names, temporal, frames: What it is drawn by.
        said: Options that the file does not tell.
        prefix: Before every name.
        partial: What the file does not show of the model.
        written: Its names as we write them, where we choose others.
    """

    name: str
    layout: str
    model: str
    names: ResNetNames | MobileNetNames
    temporal: Temporal = NOTHING
    frames: int = 4
    said: dict = field(default_factory=dict)
    prefix: str = ""
    partial: tuple[str, ...] = ()
    written: ResNetNames | MobileNetNames | None = None

    def layers(self, arrays=None, dtype="float64"):
        leaves = LEAVES.get(self.layout, TORCH)
        same, eps = self.layout == "keras", as_paddle_sees(1e-3 if self.layout == "keras" else 1e-5)
        return Layers(arrays, leaves, eps, same, getattr(torch, dtype))

    def clips(self, dtype="float64"):
        """Of an odd and an even size: [N, T, 3, 33, 32]."""
        random = torch.Generator().manual_seed(1)
        shape = (max(8 // self.frames, 1), self.frames, 3, 33, 32)
        return torch.randn(shape, generator=random).to(getattr(torch, dtype))

    def logits(self, layers, names=None, dtype="float64"):
        names = names or self.names
        backbone = self.model.partition("_")[2]
        with torch.no_grad():
            if backbone == "mobilenet_v2":
                return mobilenet_v2(layers, self.clips(dtype), names, self.temporal, CLASSES)
            return resnet(layers, self.clips(dtype), names, backbone, self.temporal, CLASSES)


CASES = [
    Case("torchvision r18", "torchvision", "tsn_r18", TORCHVISION),
    Case("torchvision r50", "torchvision", "tsn_r50", TORCHVISION),
    Case("torchvision mobile", "torchvision", "tsn_mobilenet_v2", TORCHVISION_MOBILE),
    Case("paddle.vision r18", "paddle.vision", "tsn_r18", TORCHVISION),
    Case("paddle.vision mobile", "paddle.vision", "tsn_mobilenet_v2", TORCHVISION_MOBILE),
    Case("timm r34", "timm", "tsn_r34", TORCHVISION),
    Case("timm mobile", "timm", "tsn_mobilenet_v2", TIMM_MOBILE),
    Case("mit tsn", "mit-tsm", "tsn_r18", MIT),
    Case("mit tsm", "mit-tsm", "tsm_r50", MIT, SHIFT),
    Case("mit block", "mit-tsm", "tsm_r18", MIT, BLOCK, prefix="module."),
    Case("mit pool", "mit-tsm", "tsm_r18", MIT, POOL, prefix="module."),
    Case("mit r101", "mit-tsm", "tsm_r101", MIT, SHIFT, prefix="module."),
    Case("mit mobile", "mit-tsm", "tsm_mobilenet_v2", MIT_MOBILE, SHIFT, prefix="module."),
    Case("mit mobile tsn", "mit-tsm", "tsn_mobilenet_v2", MIT_MOBILE),
    Case("mit without net", "mit-tsm", "tsm_r18", without_marks(MIT), SHIFT, partial=("marks",), written=MIT),
    Case("mit without dropout", "mit-tsm", "tsm_r18", replace(MIT, fc="base_model.fc"), SHIFT, written=MIT),
    Case("mit mobile without dropout", "mit-tsm", "tsm_mobilenet_v2",
         replace(MIT_MOBILE, fc="base_model.classifier"), SHIFT, written=MIT_MOBILE),
    Case("online demo", "tonylins", "tsm_mobilenet_v2", TONYLINS, ONLY_PAST, said={"shift_direction": "online"},
         partial=("marks",)),
    Case("mvfnet tsn", "mvfnet", "tsn_r18", OURS, prefix="module."),
    Case("mvfnet THW", "mvfnet", "mvf_r50", OURS, Temporal(**LATE)),
    Case("mvfnet THW shared", "mvfnet", "mvf_r18", OURS, Temporal(**LATE, share=True), said={"mvf_share": True}),
    Case("mvfnet TH", "mvfnet", "mvf_r18", OURS, Temporal(**LATE, views="TH")),
    Case("mvfnet TH shared", "mvfnet", "mvf_r18", OURS, Temporal(**LATE, views="TH", share=True),
         said={"mvf_mode": "TH", "mvf_share": True}),
    Case("mvfnet T", "mvfnet", "mvf_r18", OURS, Temporal(**LATE, views="T"), said={"mvf_mode": "T"}),
    Case("mvfnet everywhere", "mvfnet", "mvf_r18", OURS, Temporal("fusion", alpha=0.25)),
    Case("mvfnet mobile", "mvfnet", "tsn_mobilenet_v2", MVFNET_MOBILE),
    Case("mvfnet mobile tsm", "mvfnet", "tsm_mobilenet_v2", MVFNET_MOBILE, SHIFT, prefix="module."),
    Case("mmaction2 tsn", "mmaction2", "tsn_r18", MMACTION2),
    Case("mmaction2 tsm", "mmaction2", "tsm_r50", MMACTION2, SHIFT),
    Case("mmaction2 block", "mmaction2", "tsm_r18", MMACTION2, BLOCK),
    Case("mmaction2 pool", "mmaction2", "tsm_r18", MMACTION2, POOL),
    Case("mmaction2 r101", "mmaction2", "tsm_r101", MMACTION2, SHIFT),
    Case("mmaction2 mobile", "mmaction2", "tsm_mobilenet_v2", MMACTION2_MOBILE, SHIFT),
    Case("mmaction2 mobile tsn", "mmaction2", "tsn_mobilenet_v2", MMACTION2_MOBILE),
    Case("PaddleMVF", "ours", "mvf_r50", OURS, Temporal(**LATE)),
    Case("ours block, pool", "ours", "tsm_tiny", OURS, replace(BLOCK, pool=True)),
    Case("ours mobile", "ours", "tsm_mobilenet_v2", OURS_MOBILE, SHIFT),
    Case("paddlevideo tsn", "paddlevideo", "tsn_r50", PADDLEVIDEO),
    Case("paddlevideo tsn r101", "paddlevideo", "tsn_r101", PADDLEVIDEO),
    Case("paddlevideo tsm 8", "paddlevideo", "tsm_r50", PADDLEVIDEO,
         Temporal("shift", direction="paddle", div=8), frames=8, said={"shift_div": 8}),
    Case("paddlevideo tsm 16", "paddlevideo", "tsm_r50", PADDLEVIDEO,
         Temporal("shift", direction="paddle", div=16), frames=16, said={"shift_div": 16}),
    Case("keras 2018", "keras", "tsn_mobilenet_v2", KERAS_2018),
    Case("keras", "keras", "tsn_mobilenet_v2", KERAS_TODAY, written=KERAS_2018),
]  # fmt: skip


@dataclass
class Loaded:
    """A checkpoint in our model.

    Args:
        case: What it is.
        arrays: As in the file, without the prefix.
        logits: What the plain function makes of them in float64.
        found, model: Its translation, and our model with it.
        ours: The model's float32 arrays by our names.
    """

    case: Case
    arrays: dict[str, np.ndarray]
    logits: torch.Tensor
    found: weights.Translation
    model: paddle.nn.Layer
    ours: dict[str, np.ndarray]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case.name.replace(" ", "-"))
def loaded(request, model_of):
    case = request.param
    layers = case.layers()
    logits = case.logits(layers)
    file = {case.prefix + name: array for name, array in layers.arrays.items()}
    found = weights.translate(file, "a test", case.layout)
    model = model_of(found, case.model, CLASSES, case.frames, case.partial, **case.said)
    ours = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    return Loaded(case, layers.arrays, logits, found, model, ours)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-10), ("float32", 1e-4)])
def test_our_logits_are_those_of_the_layout(loaded, dtype, tolerance):
    case = loaded.case
    loaded.model.to(dtype=dtype)
    weights.assign(loaded.model, loaded.found, case.partial)
    ours = loaded.model(paddle.to_tensor(case.clips(dtype).numpy())).numpy()
    theirs, rounding = loaded.logits, 0.0
    if dtype == "float32":
        theirs = case.logits(case.layers(loaded.arrays, dtype), dtype=dtype)
        rounding = float((theirs - loaded.logits).abs().max())  # of a hundred layers it may be more than the tolerance
    assert ours.dtype == dtype
    scale = float(theirs.abs().max())
    assert 0.3 < scale < 30
    assert rounding < 1e-3 * scale
    assert np.abs(ours - theirs.numpy()).max() < max(tolerance * max(1, scale), 4 * rounding)


def test_the_layout_is_recognized_and_no_tensor_is_lost(loaded):
    case, found = loaded.case, loaded.found
    guessed = weights.translate({case.prefix + name: array for name, array in loaded.arrays.items()}, "a test")
    assert guessed.options_of({}) == found.options_of({})
    assert guessed.arrays.keys() == found.arrays.keys()
    assert set(found.names.values()) == without_counters(loaded.arrays)
    assert set(found.dropped) == loaded.arrays.keys() - without_counters(loaded.arrays)
    models = recognize(found.arrays, weights.LAYOUTS[found.layout].hides)
    assert case.model in models or case.partial  # what a file does not show cannot be known


def test_a_round_trip_changes_no_bit(loaded):
    back = weights.translate(weights.to_layout(loaded.ours, loaded.case.layout), "a test", loaded.case.layout)
    expected = loaded.ours
    if not back.wraps:
        expected = {name.replace(".net.", "."): array for name, array in expected.items()}
    assert back.arrays.keys() == expected.keys()
    for name, array in expected.items():
        assert back.arrays[name].dtype == array.dtype
        assert back.arrays[name].shape == array.shape
        assert np.array_equal(back.arrays[name], array), name


def written(loaded):
    arrays = weights.to_layout(loaded.ours, loaded.case.layout)
    if loaded.case.layout != "mit-tsm":
        return arrays
    assert all(name.startswith("module.") for name in arrays)  # the authors' test_models.py takes it off unseen
    return {name.removeprefix("module."): array for name, array in arrays.items()}


def without_counters(names):
    return {name for name in names if not name.endswith("num_batches_tracked")}


def test_what_we_write_is_what_they_would(loaded):
    """The same file, or where we choose other names than this one has, one of the same meaning; all of it is read."""
    case, arrays = loaded.case, written(loaded)
    if case.written:
        layers = case.layers(arrays)
        assert case.logits(layers, case.written).equal(loaded.logits)
        assert layers.read == without_counters(arrays)
        return
    assert arrays.keys() == loaded.arrays.keys()
    for name in without_counters(arrays):
        assert arrays[name].dtype == loaded.arrays[name].dtype
        assert arrays[name].shape == loaded.arrays[name].shape
        assert np.array_equal(arrays[name], loaded.arrays[name]), name


def test_their_own_code_reads_what_we_write(loaded):
    """By its strict `load_state_dict`, with the same logits."""
    case = loaded.case
    if case.written or case.layout not in SOURCES or case.model not in SOURCES[case.layout].models:
        pytest.skip("no code of its authors to be run")
    path = os.environ.get(CHECKOUTS.get(case.layout, ""), "")
    temporal = case.temporal
    options = {
        "shift_place": temporal.place, "temporal_pool": temporal.pool, "mvf_mode": temporal.views,
        "mvf_alpha": temporal.alpha, "mvf_share": temporal.share,
        "mvf_stages": tuple(int(stage in temporal.stages) for stage in (1, 2, 3, 4)),
    }  # fmt: skip
    known = network_of(case.model).family
    network = network_of(case.model, **{name: value for name, value in options.items() if known.may_have(name)})
    settings = Settings(CLASSES, case.frames, network)
    try:
        _, source, _ = find_source(case.layout + f":{path}" * (case.layout in CHECKOUTS))
        theirs = source.build(case.model, settings, path).double()
    except IncomparableError as absent:
        pytest.skip(str(absent))
    theirs.load_state_dict({name: torch.from_numpy(array) for name, array in written(loaded).items()}, strict=True)
    theirs.eval()
    with torch.no_grad():
        logits = theirs(case.clips())
    assert (logits - loaded.logits).abs().max() < 1e-8  # their epsilon is a double


@pytest.mark.parametrize("name", ["paddle.vision r18", "paddle.vision mobile"])
def test_paddle_vision_itself(name):
    """Its names and its logits are those that the plain functions take and give."""
    (case,) = (case for case in CASES if case.name == name)
    layers = case.layers()
    logits = case.logits(layers)
    build = {"tsn_r18": "resnet18", "tsn_mobilenet_v2": "mobilenet_v2"}[case.model]
    theirs = getattr(paddle.vision.models, build)(num_classes=CLASSES)
    theirs.to(dtype="float64")
    theirs.eval()
    assert theirs.state_dict().keys() == layers.arrays.keys()
    theirs.set_state_dict({name: array.astype("float64") for name, array in layers.arrays.items()})
    images = paddle.to_tensor(case.clips().flatten(0, 1).numpy())
    scores = theirs(images).numpy().reshape(-1, case.frames, CLASSES)
    assert np.abs(scores.mean(1) - logits.numpy()).max() < 1e-10


MISREADINGS = {
    "direction": (replace(SHIFT, direction="paddle"), {}),
    "only the past": (ONLY_PAST, {}),
    "another fraction of the channels": (replace(SHIFT, div=16), {}),
    "padding": (SHIFT, {"same": True}),
    "epsilon": (SHIFT, {"eps": 1e-3}),
}


@pytest.mark.parametrize("misreading", MISREADINGS)
def test_a_misreading_changes_the_logits(misreading):
    """By far more than the tolerance: the comparisons above can fail."""
    case = Case("", "mit-tsm", "tsm_mobilenet_v2", MIT_MOBILE, SHIFT)
    layers = case.layers()
    right = case.logits(layers)
    temporal, changes = MISREADINGS[misreading]
    misread = case.layers(layers.arrays)
    vars(misread).update(changes)
    assert (replace(case, temporal=temporal).logits(misread) - right).abs().max() > 1e-3
