"""Networks that nobody here wrote: torchvision and timm against paddle.vision, by the API alone."""

import numpy as np
import paddle
import pytest
import torch

from alignment import align
from alignment.sides.pair import IncomparableError
from alignment.upstream.torchvision import torchvision

CLASSES = 10
LOSS = (torch.nn.functional.cross_entropy, paddle.nn.functional.cross_entropy)
OPTIMIZER = (
    lambda model: torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4, nesterov=True),
    lambda model: paddle.optimizer.Momentum(
        0.01, 0.9, parameters=model.parameters(), weight_decay=1e-4, use_nesterov=True
    ),
)


def imported(package):
    """torchvision.models or timm; skips with the reason where the package is absent or does not import."""
    try:
        torchvision()
    except IncomparableError as error:
        pytest.skip(str(error))
    return pytest.importorskip(package, reason=f"{package} is not installed", exc_type=ImportError)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)
    paddle.seed(0)


def aligned(theirs, ours, **options):
    rng = np.random.default_rng(0)
    return align(
        reference=theirs, candidate=ours, inputs=rng.normal(size=(2, 3, 64, 64)).astype("float32"),
        labels=np.array([3, 5]), loss=LOSS, optimizer=OPTIMIZER, train_steps=2, **options,
    )  # fmt: skip


@pytest.mark.parametrize("precision", ["float64", pytest.param("float32", marks=pytest.mark.whole)])
@pytest.mark.parametrize("name", ["resnet18", pytest.param("mobilenet_v2", marks=pytest.mark.whole)])
@pytest.mark.whole
def test_torchvision_equals_paddle_vision(name, precision):
    theirs = getattr(imported("torchvision.models"), name)(num_classes=CLASSES)
    ours = getattr(paddle.vision.models, name)(num_classes=CLASSES)
    report = aligned(theirs, ours, precision=precision)
    assert report.passed, report.text()


@pytest.mark.whole
def test_timm_equals_paddle_vision_once_the_comparison_can_see():
    """timm starts the last norm of each branch at zero: the guards say that such a comparison proves little."""
    timm = imported("timm")
    blind = aligned(timm.create_model("resnet18", num_classes=CLASSES), paddle.vision.models.resnet18(num_classes=10))
    assert blind.first_divergence.stage == "guards"
    assert blind.first_divergence.place == "layer1.0.bn2._mean"
    theirs = timm.create_model("resnet18", num_classes=CLASSES, zero_init_last=False)
    report = aligned(theirs, paddle.vision.models.resnet18(num_classes=CLASSES))
    assert report.passed, report.text()


def test_a_difference_between_two_libraries_is_found():
    """Ceil mode without padding gives maps of the same size, of other pixels."""
    theirs = imported("timm").create_model("resnet18", num_classes=CLASSES, zero_init_last=False)
    ours = paddle.vision.models.resnet18(num_classes=CLASSES)
    ours.maxpool = paddle.nn.MaxPool2D(3, 2, padding=0, ceil_mode=True)
    divergence = aligned(theirs, ours, steps=("config",)).first_divergence
    assert (divergence.stage, divergence.place) == ("config", "maxpool.padding")
    numbers = aligned(theirs, ours, steps=("forward",)).first_divergence
    assert numbers.place == "maxpool"
