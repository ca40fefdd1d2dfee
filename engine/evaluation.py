"""Scores of a data set: views in chunks, the mean over the views of a video of their probabilities or logits."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import paddle
from paddle import nn

from datasets import ClipLoader
from datasets.scores import score_views
from engine.log import progress
from engine.metrics import class_accuracy, confusion_matrix


def view_scores(
    model: nn.Layer, clips: np.ndarray, views_per_pass: int = 0, average: str = "probabilities"
) -> np.ndarray:
    """Class probabilities float32 [N, K] of each video by `score_views`, for a recognizer in eval mode."""

    def run(views: np.ndarray) -> np.ndarray:
        return model(paddle.to_tensor(views)).astype("float32").numpy()  # [B, K]

    with paddle.no_grad():
        return score_views(run, clips, views_per_pass, average)


def score_dataset(
    model: nn.Layer, loader: ClipLoader, views_per_pass: int = 0, title: str = "test"
) -> tuple[np.ndarray, np.ndarray]:
    """Scores float32 [num, K] and labels int64 [num] of a data set, in its order; leaves the model in eval mode.

    Views are averaged as the recipe of the data set says.
    """
    model.eval()
    average = loader.dataset.recipe.clip.average_views
    scores, labels = [], []
    with progress(len(loader), title) as bar:
        for batch in loader.epoch(0):
            scores.append(view_scores(model, batch.clips, views_per_pass, average))
            labels.append(batch.labels)
            bar.update()
    return np.concatenate(scores), np.concatenate(labels)


def write_report(
    directory: Path, scores: np.ndarray, labels: np.ndarray, class_names: Sequence[str], summary: dict
) -> None:
    """Writes `test.json`, `per_class.csv` and `confusion_matrix.png`.

    Args:
        directory: Made when absent.
        scores: float [num, K].
        labels: int [num].
        class_names: K names.
        summary: What goes into the JSON file beside the counts.
    """
    directory.mkdir(parents=True, exist_ok=True)
    confusion = confusion_matrix(scores, labels)
    record = {**summary, "samples": len(labels), "classes": list(class_names), "confusion": confusion.tolist()}
    (directory / "test.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    with (directory / "per_class.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["label", "class", "samples", "correct", "accuracy", "most_confused_with"])
        writer.writerows(_class_rows(confusion, class_names))
    _draw_confusion(directory / "confusion_matrix.png", confusion, class_names)


def _class_rows(confusion: np.ndarray, class_names: Sequence[str]) -> list[list[str | int]]:
    rows: list[list[str | int]] = []
    for label, (counts, accuracy) in enumerate(zip(confusion, class_accuracy(confusion), strict=True)):
        wrong = counts.copy()
        wrong[label] = 0
        confused = class_names[int(wrong.argmax())] if wrong.any() else ""
        shown = "" if np.isnan(accuracy) else f"{accuracy:.4f}"
        rows.append([label, class_names[label], int(counts.sum()), int(counts[label]), shown, confused])
    return rows


def _draw_confusion(path: Path, confusion: np.ndarray, class_names: Sequence[str]) -> None:
    """Rows normalised to shares; numbers and names are written where there are few enough classes to read them."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    classes = len(confusion)
    side = min(4 + 0.28 * classes, 16)
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    axes = figure.add_subplot()
    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, ax=axes, label="share of the class's videos")
    axes.set(xlabel="predicted", ylabel="true", title="Confusion matrix")
    if classes <= 60:
        axes.set_xticks(range(classes), class_names, rotation=90, fontsize=8, parse_math=False)
        axes.set_yticks(range(classes), class_names, fontsize=8, parse_math=False)
    if classes <= 20:
        for row, column in np.argwhere(confusion):
            color = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, str(confusion[row, column]), ha="center", va="center", color=color, fontsize=8)
    FigureCanvasAgg(figure).print_png(path)
