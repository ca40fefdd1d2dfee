"""What a test of masks leaves behind: `test.json`, `per_image.csv`, `worst_masks.png` and `report.html`."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from datasets import pictures
from datasets.images import ImageDataset
from datasets.masks import read_mask
from tasks.mask_metrics import Figures, iou
from tasks.past_test import names_of
from tasks.report_files import write_report_files
from tasks.report_page import Beside, record_text
from tasks.segmentation_page import page

REPORT = ("test.json", "per_image.csv", "worst_masks.png", "report.html")
WORST = 8  # rows of the sheet
TINT = np.array([255, 64, 32], np.float32)  # of what a mask covers


def write_report(
    directory: Path, found: Sequence[Figures], predictions: dict[int, np.ndarray], dataset: ImageDataset,
    class_names: Sequence[str], summary: dict[str, Any], beside: Beside,
) -> list[str]:  # fmt: skip
    """Writes the files of REPORT and returns their names.

    Args:
        directory: Made when absent; a report that this program wrote there is replaced.
        found: Of each image.
        predictions: Place in the data set -> classes uint8 [H, W], of the worst images.
        dataset: Has the images and masks.
        class_names: K names.
        summary: What goes into the JSON file beside the counts.
        beside: What the page shows beside.

    Raises:
        UserError: A file cannot be written, or there is one of its name which this program did not write.
    """
    confusion = np.sum([figures.confusion for figures in found], axis=0)
    ious = {name: round(float(value), 6) for name, value in zip(class_names, iou(confusion), strict=True)}
    record = {**summary, "samples": len(found), "classes": list(class_names), "iou": ious,
              "confusion": confusion.tolist()}  # fmt: skip
    table = io.StringIO()
    writer = csv.writer(table)
    writer.writerow(["image", "miou", "boundary_f", "wrong_pixels", "strip_pixels", "strip_wrong"])
    for entry, figures in zip(dataset.annotation.entries, found, strict=True):
        wrong = int(figures.confusion.sum() - np.diag(figures.confusion).sum())
        writer.writerow([entry.path, f"{figures.iou:.4f}", f"{figures.boundary:.4f}", wrong, *figures.strip])
    names, sheet = names_of(dataset.annotation), _sheet(found, predictions, dataset)
    results = [[name, round(figures.iou, 6)] for name, figures in zip(names, found, strict=True)]
    contents = (
        record_text(record, results),
        table.getvalue().encode(errors="backslashreplace"),
        sheet,
        page(found, names, class_names, summary, beside, sheet),
    )
    return write_report_files(directory, dict(zip(REPORT, contents, strict=True)))


def _sheet(found: Sequence[Figures], predictions: dict[int, np.ndarray], dataset: ImageDataset) -> bytes:
    """A PNG: a row for each of the worst images, with the picture, its mask over it, and the predicted one."""
    rows = []
    for index in sorted(predictions, key=lambda index: found[index].iou):
        image = dataset.picture(index)
        box = dataset.letterbox(image)
        square = box.apply(image)
        wanted = box.apply_labels(read_mask(dataset.annotation.entries[index].target))
        row = np.hstack([square, _tinted(square, wanted), _tinted(square, predictions[index])])
        cv2.putText(row, f"{found[index].iou:.3f}", (4, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 3)
        cv2.putText(row, f"{found[index].iou:.3f}", (4, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1)
        rows.append(row)
    return pictures.encode(np.vstack(rows), ".png")


def _tinted(image: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """An image in which all labels but 0 are tinted; what has none is dark."""
    mixed = image.astype(np.float32)
    covered = (labels > 0) & (labels != 255)
    mixed[covered] = 0.5 * mixed[covered] + 0.5 * TINT
    mixed[labels == 255] *= 0.3
    return np.rint(mixed).astype(np.uint8)
