"""What a test of a classifier leaves behind: `test.json`, `per_class.csv` and `confusion_matrix.png`."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from runtime.command import printable, say
from tasks.accuracy import class_accuracy, confusion_matrix
from tasks.fonts import WAY_OUT, families_for
from tasks.report_files import write_report_files

REPORT = ("test.json", "per_class.csv", "confusion_matrix.png")


def write_report(
    directory: Path, scores: np.ndarray, labels: np.ndarray, class_names: Sequence[str], summary: dict[str, Any]
) -> list[str]:
    """Writes `test.json`, `per_class.csv` and `confusion_matrix.png`, and returns their names.

    Args:
        directory: Made when absent; a report that this program wrote there is replaced.
        scores: float [num, K].
        labels: int [num].
        class_names: K names.
        summary: What goes into the JSON file beside the counts.

    Raises:
        UserError: A file cannot be written, or there is one of its name which this program did not write.
    """
    confusion = confusion_matrix(scores, labels)
    record = {**summary, "samples": len(labels), "classes": list(class_names), "confusion": confusion.tolist()}
    table = io.StringIO()
    writer = csv.writer(table)
    writer.writerow(["label", "class", "samples", "correct", "accuracy", "most_confused_with"])
    writer.writerows(_class_rows(confusion, class_names))
    contents = (
        (json.dumps(record, indent=2) + "\n").encode(),
        table.getvalue().encode(errors="backslashreplace"),
        _drawn_confusion(confusion, class_names),
    )
    return write_report_files(directory, dict(zip(REPORT, contents, strict=True)))


def _class_rows(confusion: np.ndarray, class_names: Sequence[str]) -> list[list[str | int]]:
    rows: list[list[str | int]] = []
    for label, (counts, accuracy) in enumerate(zip(confusion, class_accuracy(confusion), strict=True)):
        wrong = counts.copy()
        wrong[label] = 0
        confused = class_names[int(wrong.argmax())] if wrong.any() else ""
        shown = "" if np.isnan(accuracy) else f"{accuracy:.4f}"
        rows.append([label, class_names[label], int(counts.sum()), int(counts[label]), shown, confused])
    return rows


def _drawn_confusion(confusion: np.ndarray, class_names: Sequence[str]) -> bytes:
    """A PNG image; numbers and names are written where there are few enough classes to read them."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    classes = len(confusion)
    side = min(4 + 0.28 * classes, 16)
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    axes = figure.add_subplot()
    fractions = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(fractions, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, ax=axes, label="fraction of the class's videos")
    axes.set(xlabel="predicted", ylabel="true", title="Confusion matrix")
    if classes <= 60:
        names = [printable(name).replace("\t", " ") for name in class_names]
        if families := families_for(names):
            look: dict[str, Any] = {"fontsize": 8, "fontfamily": families, "parse_math": False}
        else:
            names, look = [str(label) for label in range(classes)], {"fontsize": 8}
            axes.set_xlabel("predicted: labels, whose names are in per_class.csv")
            say(f"note: {REPORT[2]} shows labels, as no font here has the names' characters: {WAY_OUT}", error=True)
        axes.set_xticks(range(classes), names, rotation=90, **look)
        axes.set_yticks(range(classes), names, **look)
    if classes <= 20:
        for row, column in np.argwhere(confusion):
            color = "white" if fractions[row, column] > 0.5 else "black"
            axes.text(column, row, str(confusion[row, column]), ha="center", va="center", color=color, fontsize=8)
    image_file = io.BytesIO()
    FigureCanvasAgg(figure).print_png(image_file)
    return image_file.getvalue()
