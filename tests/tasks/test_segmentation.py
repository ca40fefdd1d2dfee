"""Figures of masks on cases that are known by hand, and the losses."""

import csv
import json

import numpy as np
import paddle
import pytest

from configs import RecipeError, get_preset
from datasets import load_annotation
from datasets.figures import write_figures
from datasets.letterbox import UNKNOWN
from tasks import mask_losses, task_of
from tasks.mask_metrics import STRIP, figures, strip_along_border, summarize
from tasks.past_test import names_of, read_test
from tasks.report_page import Beside

RECIPE = get_preset("demo_unet")


def scores_of(classes, count=2):
    """Scores [K, H, W] whose best class is the one of each pixel."""
    return (np.arange(count)[:, None, None] == classes).astype(np.float32)


def disc(radius, side=64, at=32):
    y, x = np.mgrid[:side, :side]
    return ((y - at) ** 2 + (x - at) ** 2 <= radius**2).astype(np.uint8)


def test_a_perfect_mask():
    found = figures(scores_of(disc(15)), disc(15))
    assert (found.iou, found.boundary, found.strip) == (1.0, 1.0, (0, 0))
    assert summarize([found, found]) == {
        "miou": 1.0, "pixel_acc": 1.0, "boundary_f": 1.0, "image_miou": 1.0, "image_miou_se": 0.0,
    }  # fmt: skip


def test_intersection_over_union_by_hand():
    labels = np.array([[0, 0, 1, 1], [0, 0, 1, UNKNOWN]], np.uint8)
    predicted = np.array([[0, 1, 1, 1], [0, 0, 0, 1]], np.uint8)
    found = figures(scores_of(predicted), labels)
    assert found.confusion.tolist() == [[3, 1], [1, 2]]
    assert found.iou == pytest.approx((3 / 5 + 2 / 4) / 2)


def test_sums_are_over_the_set_and_means_over_its_images():
    right, wrong = figures(scores_of(disc(4)), disc(4)), figures(scores_of(disc(0)), disc(30))
    summary = summarize([right, wrong])
    assert summary["image_miou"] == pytest.approx((right.iou + wrong.iou) / 2)
    assert summary["image_miou_se"] == pytest.approx(abs(right.iou - wrong.iou) / 2)
    confusion = right.confusion + wrong.confusion
    hits = np.diag(confusion)
    assert summary["miou"] == pytest.approx((hits / (confusion.sum(0) + confusion.sum(1) - hits)).mean())
    assert summary["pixel_acc"] == pytest.approx(hits.sum() / confusion.sum())


def test_boundaries_may_be_a_pixel_off_and_no_more():
    """0.008 of the diagonal of 64 x 64 is 0.7, so 1 pixel."""
    assert figures(scores_of(disc(16)), disc(15)).boundary > 0.95
    far = figures(scores_of(disc(20)), disc(15)).boundary
    assert far < 0.1
    assert figures(scores_of(disc(15)), np.zeros((64, 64), np.uint8)).boundary == 0
    assert np.isnan(figures(scores_of(np.zeros((64, 64))), np.zeros((64, 64), np.uint8)).boundary)


def test_the_strip_lies_inside_along_the_filled_border():
    labels = np.full((64, 64), UNKNOWN, np.uint8)
    labels[10:50] = 0
    strip = strip_along_border(labels)
    reach = int(64 * STRIP)
    assert np.flatnonzero(strip.all(axis=1)).tolist() == [*range(10, 10 + reach), *range(50 - reach, 50)]
    assert strip.sum() == 64 * 2 * reach
    predicted = np.zeros((64, 64), np.uint8)
    predicted[10, :8] = predicted[30, :8] = 1
    found = figures(scores_of(predicted), labels)
    assert found.strip == (64 * 2 * reach, 8)
    assert summarize([found])["strip_error"] == pytest.approx(8 / (64 * 2 * reach))
    assert not strip_along_border(np.zeros((64, 64), np.uint8)).any()


def maps_of(labels):
    return mask_losses.label_maps(paddle.to_tensor(labels), 2)


def test_pixels_without_a_label_change_no_loss():
    rng = np.random.default_rng(0)
    labels = disc(10, 32, 16)[None]
    labels[:, :5] = UNKNOWN
    logits = rng.normal(size=(1, 2, 32, 32)).astype(np.float32)
    other = logits.copy()
    other[:, :, :5] = rng.normal(size=(1, 2, 5, 32))
    distances = paddle.to_tensor(mask_losses.signed_distances(labels, 2))
    for loss in (mask_losses.pixel_cross_entropy, mask_losses.dice_loss,
                 lambda x, maps: mask_losses.boundary_loss(x, maps, distances)):  # fmt: skip
        first, second = (float(loss(paddle.to_tensor(x), maps_of(labels))) for x in (logits, other))
        assert first == second


def test_dice_is_of_regions_and_not_of_pixels():
    """Ten wrong pixels cost a small region more than a large one; a score of each pixel would cost both the same."""
    losses = []
    for radius in (4, 14):
        labels = disc(radius, 32, 16)[None]
        predicted = labels[0].copy()
        predicted[0, :10] = 1
        logits = paddle.to_tensor(scores_of(predicted)[None] * 40)
        losses.append(float(mask_losses.dice_loss(logits, maps_of(labels))))
    assert losses[0] > 4 * losses[1] > 0
    perfect = paddle.to_tensor(scores_of(labels[0])[None] * 40)
    assert float(mask_losses.dice_loss(perfect, maps_of(labels))) == pytest.approx(0, abs=1e-6)


def test_distances_by_hand():
    labels = np.zeros((1, 4, 8), np.uint8)
    labels[0, :, 4:] = 1
    person = mask_losses.signed_distances(labels, 2)[0, 1] * 8
    np.testing.assert_allclose(person[1], [4, 3, 2, 1, 0, -1, -2, -3], atol=1e-6)
    assert not mask_losses.signed_distances(np.zeros((1, 4, 8), np.uint8), 2).any()


def test_the_boundary_loss_is_least_for_the_mask_itself():
    labels = disc(10, 32, 16)[None]
    distances = paddle.to_tensor(mask_losses.signed_distances(labels, 2))
    losses = [
        float(mask_losses.boundary_loss(paddle.to_tensor(scores_of(disc(r, 32, 16))[None] * 40), maps_of(labels),
                                        distances))
        for r in (6, 10, 14)
    ]  # fmt: skip
    assert losses[1] < min(losses[0], losses[2])


@pytest.mark.parametrize("boundary", [0.0, 0.5])
def test_targets_have_the_shape_that_a_graph_is_traced_for(boundary):
    recipe = RECIPE.with_(boundary_weight=boundary, dice_weight=0.5)
    task = task_of(recipe)
    labels = paddle.to_tensor(disc(10)[None])
    _, maps = task.training_batch(paddle.zeros([1, 3, 64, 64]), labels, recipe, np.random.default_rng(0))
    assert tuple(maps.shape[1:]) == task.training_target_shape(recipe)
    logits = paddle.randn([1, 2, 64, 64])
    total = float(task.loss(logits, maps, recipe))
    plain = float(mask_losses.pixel_cross_entropy(logits, maps[:, :2]))
    parts = 0.5 * float(mask_losses.dice_loss(logits, maps[:, :2]))
    if boundary:
        parts += boundary * float(mask_losses.boundary_loss(logits, maps[:, :2], maps[:, 2:]))
    assert total == pytest.approx(plain + parts, rel=1e-5)


def test_what_masks_do_not_have_is_refused():
    with pytest.raises(RecipeError, match=r"mixup_alpha must be 0 for unet_tiny, got 0\.2"):
        task_of(RECIPE.with_(mixup_alpha=0.2))
    with pytest.raises(RecipeError, match="best_metric must be one of miou, boundary_f, pixel_acc, got 'top1_acc'"):
        task_of(RECIPE.with_(best_metric="top1_acc"))
    with pytest.raises(RecipeError, match="model must be another for crop_size 60, or that a multiple of 32"):
        RECIPE.with_(crop_size=60)
    with pytest.raises(RecipeError, match="model must be another for 8 frames"):
        RECIPE.with_(clip_len=8)


def test_the_report_shows_the_worst(tmp_path):
    root = write_figures(tmp_path / "set", train=1, val=12, size=64)
    task = task_of(RECIPE)
    data = task.dataset(load_annotation(str(root), "val", targets=task.targets), RECIPE, "test")
    meter = task.meter(RECIPE)
    for index in range(len(data)):
        _, labels = data.load(index)
        predicted = np.where(labels == UNKNOWN, 0, labels)
        if index == 7:
            predicted = 1 - predicted
        meter.update(scores_of(predicted)[None], labels[None])
    assert 7 in meter.worst
    assert len(meter.worst) == 8
    names = meter.write(
        tmp_path / "report", ("background", "person"), {**meter.summary(), "seconds": 1.0}, data, Beside()
    )
    assert names == list(task.report_files)
    rows = list(csv.DictReader((tmp_path / "report/per_image.csv").read_text().splitlines()))
    assert [row["miou"] for row in rows].index("0.0000") == 7
    record = json.loads((tmp_path / "report/test.json").read_text())
    assert (record["samples"], record["seconds"], set(record["iou"])) == (12, 1.0, {"background", "person"})
    assert (tmp_path / "report/worst_masks.png").stat().st_size > 1000
    page = (tmp_path / "report/report.html").read_text()
    listed = names_of(data.annotation)
    assert page.index(f"<td>{listed[7]}</td>") < min(
        page.index(f"<td>{name}</td>") for name in listed if name != listed[7]
    )
    other = read_test(str(tmp_path / "report"), [task]).of(listed, ("background", "person"))
    ious = np.array([figures.iou for figures in meter.figures])
    np.testing.assert_allclose(other, ious, atol=1e-6)
    beside = Beside((), "other run", other - 0.25 * np.arange(12))
    meter.write(tmp_path / "report", ("background", "person"), meter.summary(), data, beside)
    assert (
        f"<td>other run</td><td class=n>{ious.mean() - 0.25 * 5.5:.4f}</td>"
        in (tmp_path / "report/report.html").read_text()
    )
