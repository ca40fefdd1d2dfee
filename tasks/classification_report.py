"""What a test of a classifier leaves behind: `test.json`, `per_class.csv`, `confusion_matrix.png`, `report.html`."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from datasets import Dataset
from runtime.command import printable, say
from runtime.html_page import png
from tasks.classification_page import page
from tasks.fonts import WAY_OUT, families_for
from tasks.outcome import Outcome
from tasks.report_files import write_report_files
from tasks.report_page import Beside, record_text

REPORT = ("test.json", "per_class.csv", "confusion_matrix.png", "report.html")


def write_report(
    directory: Path, outcome: Outcome, summary: dict[str, Any], beside: Beside, dataset: Dataset
) -> list[str]:
    """Writes the files of REPORT, and returns their names.

    Args:
        directory: Made when absent; a report that this program wrote there is replaced.
        outcome: Of the test.
        summary: What goes into the JSON file beside the counts.
        beside: What the page shows beside.
        dataset: Has the samples.

    Raises:
        UserError: A file cannot be written, or there is one of its name which this program did not write.
    """
    confusion, names = outcome.confusion, outcome.classes
    record = {
        **summary, "samples": len(outcome.labels), "classes": list(names),
        "intervals": {name: list(one) for name, one in outcome.intervals().items()},
        "calibration_error": outcome.calibration_error, "confusion": confusion.tolist(),
    }  # fmt: skip
    table = io.StringIO()
    writer = csv.writer(table)
    writer.writerow(["label", "class", "samples", "correct", "accuracy", "low", "high", "most_confused_with"])
    writer.writerows(_class_rows(outcome))
    contents = (
        record_text(record, outcome.results()),
        table.getvalue().encode(errors="backslashreplace"),
        drawn_confusion(confusion, names),
        page(outcome, summary, beside, dataset),
    )
    return write_report_files(directory, dict(zip(REPORT, contents, strict=True)))


def _class_rows(outcome: Outcome) -> list[list[str | int]]:
    rows: list[list[str | int]] = []
    for label, (counts, accuracy) in enumerate(zip(outcome.confusion, outcome.class_accuracy, strict=True)):
        wrong = counts.copy()
        wrong[label] = 0
        confused = outcome.classes[int(wrong.argmax())] if wrong.any() else ""
        figures = (accuracy, *outcome.class_interval(label))
        shown = ["" if np.isnan(figure) else f"{figure:.4f}" for figure in figures]
        rows.append([label, outcome.classes[label], int(counts.sum()), int(counts[label]), *shown, confused])
    return rows


def drawn_confusion(confusion: np.ndarray, class_names: Sequence[str]) -> bytes:
    """A PNG image; numbers and names are written where there are few enough classes to read them."""
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
    return png(figure)
