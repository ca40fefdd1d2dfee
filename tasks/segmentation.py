"""One of K classes for each pixel of an image: masks, losses of pixels and regions, intersection over union."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from configs import Recipe, RecipeError
from configs.limits import Limits
from datasets import Annotation, Dataset, pictures
from datasets.figures import draw_figure, write_figures
from datasets.images import ImageDataset
from datasets.letterbox import UNKNOWN
from datasets.masks import Masks
from datasets.media import find_pictures
from tasks.mask_metrics import Figures, figures, summarize
from tasks.report_page import Beside
from tasks.segmentation_report import REPORT, WORST, write_report
from tasks.task import Meter, Run, Task
from tasks.view_scores import logits_of, prediction_lines, softmax

if TYPE_CHECKING:
    import paddle

IMAGES_PER_PASS = 16
EXAMPLE_SIZE = 160


class SegmentationMeter(Meter):
    """Keeps the figures of each image, and the classes of the pixels of the worst."""

    def __init__(self) -> None:
        self.figures: list[Figures] = []
        self.worst: dict[int, np.ndarray] = {}

    def update(self, scores: np.ndarray, targets: np.ndarray) -> None:
        """Takes probabilities [N, K, H, W] and labels [N, H, W]."""
        for maps, labels in zip(scores, targets, strict=True):
            self._keep(figures(maps, labels), maps.argmax(axis=0).astype(np.uint8))

    def add(self, other: SegmentationMeter) -> None:
        """Appends the figures of another one, and keeps what is worst of both."""
        for index, one in enumerate(other.figures):
            self._keep(one, other.worst.get(index))

    def _keep(self, one: Figures, classes: np.ndarray | None) -> None:
        """Takes the figures of an image, and the classes of its pixels unless others were worse."""
        if classes is not None:
            self.worst[len(self.figures)] = classes
        self.figures.append(one)
        if len(self.worst) > WORST:
            del self.worst[max(self.worst, key=lambda index: self.figures[index].iou)]

    def summary(self) -> dict[str, float]:
        """See `mask_metrics.summarize`."""
        return summarize(self.figures)

    def write(
        self, directory: Path, class_names: Sequence[str], facts: dict[str, Any], dataset: Dataset, beside: Beside
    ) -> list[str]:
        """See `segmentation_report.write_report`."""
        images = cast("ImageDataset", dataset)
        return write_report(directory, self.figures, self.worst, images, class_names, facts, beside)


class Segmentation(Task):
    """A mask for each image; a network gives logits [N, K, H, W] for images [N, 3, H, W]."""

    metrics = ("miou", "boundary_f", "pixel_acc")
    title = "mIoU"
    targets = Masks()
    example = "figures"
    report_files = REPORT

    def check(self, recipe: Recipe) -> None:
        """Raises RecipeError for another metric, and for mixup, which has no meaning for a mask."""
        super().check(recipe)
        if recipe.training.mixup_alpha:
            raise RecipeError(f"mixup_alpha must be 0 for {recipe.network.model}, got {recipe.training.mixup_alpha}")

    def dataset(self, annotation: Annotation, recipe: Recipe, mode: str, limits: Limits | None = None) -> ImageDataset:
        """Pictures in squares."""
        return ImageDataset(annotation, recipe, mode, self.targets, limits)

    def find(self, names: Sequence[str]) -> list[str]:
        """See `datasets.media.find_pictures`."""
        return find_pictures(names)

    def draw_example(self, stem: Path, seed: int) -> str:
        """A picture of a drawn person."""
        image, _ = draw_figure(np.random.default_rng(seed), EXAMPLE_SIZE)
        path = stem.with_suffix(".png")
        path.write_bytes(pictures.encode(image, ".png"))
        return str(path)

    def draw_dataset(self, root: Path, train: int, val: int) -> Path:
        """Drawn people, see `datasets.figures`."""
        return write_figures(root, train=train, val=val)

    def output_shape(self, recipe: Recipe, view_shape: Sequence[int]) -> tuple[int, ...]:
        """(K, H, W)."""
        return (recipe.network.num_classes, *view_shape[-2:])

    def training_batch(
        self, clips: paddle.Tensor, targets: paddle.Tensor, recipe: Recipe, rng: np.random.Generator
    ) -> tuple[paddle.Tensor, paddle.Tensor]:
        """Images as they are; maps of labels [N, K, H, W], and behind them the distances that a boundary loss reads."""
        import paddle

        from tasks.mask_losses import label_maps, signed_distances

        classes = recipe.network.num_classes
        maps = label_maps(targets, classes, recipe.training.label_smoothing)
        if recipe.training.boundary_weight:
            maps = paddle.concat([maps, paddle.to_tensor(signed_distances(targets.numpy(), classes))], axis=1)
        return clips, maps

    def training_target_shape(self, recipe: Recipe) -> tuple[int, ...]:
        """(K, H, W), or (2K, H, W) with distances."""
        size, maps = recipe.pixels.crop_size, recipe.network.num_classes
        return 2 * maps if recipe.training.boundary_weight else maps, size, size

    def loss(self, output: paddle.Tensor, target: paddle.Tensor, recipe: Recipe) -> paddle.Tensor:
        """Cross entropy of the pixels, and as much of Dice's and of the boundary's loss as the recipe says."""
        from tasks.mask_losses import boundary_loss, dice_loss, pixel_cross_entropy

        classes, training = recipe.network.num_classes, recipe.training
        maps, distances = target[:, :classes], target[:, classes:]
        total = pixel_cross_entropy(output, maps)
        if training.dice_weight:
            total = total + training.dice_weight * dice_loss(output, maps)
        if training.boundary_weight:
            total = total + training.boundary_weight * boundary_loss(output, maps, distances)
        return total

    def correct(self, output: paddle.Tensor, targets: paddle.Tensor) -> float:
        """The sum over images of the fraction of their labeled pixels that are met."""
        known = (targets != UNKNOWN).astype("float32")
        hits = (output.argmax(axis=1) == targets.astype("int64")).astype("float32") * known
        return float((hits.sum(axis=[1, 2]) / known.sum(axis=[1, 2]).clip(min=1.0)).sum())

    def scores(self, run: Run, clips: np.ndarray, recipe: Recipe, views_per_pass: int = 0) -> np.ndarray:
        """Probabilities float32 [N, K, H, W] of images [N, 1, 3, H, W]."""
        return softmax(logits_of(run, clips[:, 0], views_per_pass or IMAGES_PER_PASS), axis=1)

    def meter(self, recipe: Recipe) -> SegmentationMeter:
        """A meter that keeps the figures of each image."""
        return SegmentationMeter()

    def prediction_lines(self, scores: np.ndarray, class_names: Sequence[str], top: int) -> list[str]:
        """How much of an image each class is, the largest first."""
        return prediction_lines(np.array(self.record(scores)), class_names, top, "share")

    def record(self, scores: np.ndarray) -> list[float]:
        """The fraction of the pixels that each class has."""
        counts = np.bincount(scores.argmax(axis=0).ravel(), minlength=len(scores))
        return [float(count) / scores[0].size for count in counts]

    def value(self, result: Sequence[Any]) -> float:
        """The mean IoU of the image."""
        return float(result[0])

    def metric_lines(self, metrics: dict[str, float]) -> list[str]:
        """A line for each figure."""
        return [f"{name}\t{value:.4f}" for name, value in metrics.items()]

    def result_lines(self, metrics: dict[str, float]) -> list[str]:
        """The figures of the whole set, those of images with their standard error."""
        lines = super().result_lines(metrics)
        lines.append(f"image_miou: {metrics['image_miou']:.4f} (standard error {metrics['image_miou_se']:.4f})")
        return lines + ([f"strip_error: {metrics['strip_error']:.4f}"] if "strip_error" in metrics else [])
