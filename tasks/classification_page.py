"""The page of a test of a classifier: accuracies and what they are worth, classes, confusions, confidence, mistakes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from datasets import Dataset
from runtime.html_page import INK, bar, document, row, section, svg, table
from tasks.confusion_drawing import drawn
from tasks.outcome import Outcome
from tasks.report_page import PAIRED, Beside, against, curves, facts, figures, shown_share, thumbnail, title_of
from tasks.statistics import Bin

PAIRS = 20  # of classes that are taken for each other


def page(outcome: Outcome, summary: Mapping[str, Any], beside: Beside, dataset: Dataset) -> bytes:
    """The whole page.

    Args:
        outcome: Of the test.
        summary: Its metrics, and what else it says of itself.
        beside: What is shown beside.
        dataset: Has the samples.
    """
    parts = [
        section("Accuracy", figures([(name, summary[name], one) for name, one in outcome.intervals().items()]), WORTH),
        section("Against another run", against(outcome.is_right, beside), PAIRED),
        section("Training", curves(beside.epochs, tuple(outcome.intervals()))),
        section("Classes", classes(outcome), "The worst first; the line is the 95 % interval."),
        section("What is taken for what", confusions(outcome), MATRIX),
        section("Confidence", confidence(outcome), CALIBRATION),
        section("Worst mistakes", mistakes(outcome, beside.thumbnails, dataset), MISTAKES),
        section("Test", facts({**summary, "samples": len(outcome.labels)})),
    ]
    return document(title_of(summary), parts).encode()


WORTH = (
    "How far figures may be off because there are only so many samples: Wilson's interval, for the mean over classes "
    "from those of the classes. If the best epoch was chosen on these samples, the figures are optimistic besides."
)
MATRIX = "A row for each class, a column for what was predicted. Larger by the buttons; a cell says what it is."
CALIBRATION = (
    "A network that knows how sure it may be has its bars on the line; the expected calibration error is the mean "
    "distance from it. Bars without a fill have less than ten samples."
)
MISTAKES = "Wrong, and the surest of it first. Not seldom it is the label that is wrong."


def classes(outcome: Outcome) -> str:
    """A row for each class that has samples, the worst first."""
    accuracy = outcome.class_accuracy
    rows = []
    for label in np.argsort(np.nan_to_num(accuracy, nan=2.0), kind="stable"):
        share, counts = float(accuracy[label]), outcome.confusion[label]
        if math.isnan(share):
            continue
        interval = outcome.class_interval(int(label))
        shown = bar(share, *interval, shown_share(share, interval))
        cells = (outcome.classes[label], shown, f"{share:.1%}", f"{counts[label]} of {counts.sum()}")
        rows.append(row(cells, numeric=(2, 3)))
    return table(("class", "", "accuracy", "right"), rows)


def confusions(outcome: Outcome) -> str:
    """The matrix, and the pairs that happen most often."""
    rows = [
        row((outcome.classes[label], outcome.classes[other], count), numeric=(2,))
        for label, other, count in outcome.confused(PAIRS)
    ]
    pairs = table(("class", "is taken for", "times"), rows) if rows else "<p>Nothing is taken for anything else.</p>"
    return drawn(outcome.confusion.tolist(), outcome.classes) + pairs


def confidence(outcome: Outcome) -> str:
    """The reliability diagram and its error."""
    error = f"<p>Expected calibration error: {outcome.calibration_error:.4f}.</p>"
    return error + reliability(outcome.bins)


def reliability(bins: Sequence[Bin]) -> str:
    """Accuracy over probability."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(INK):
        figure = Figure(figsize=(4.6, 4.2), layout="constrained")
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color="#888", linewidth=1)
        for place, one in enumerate(bins):
            if one.samples:
                few = one.samples < 10
                axes.bar(
                    (place + 0.5) / len(bins), one.accuracy, 0.9 / len(bins), color="none" if few else "#7aa6e0",
                    edgecolor="#1f5fbf", linewidth=0.8,
                )  # fmt: skip
                axes.plot(one.confidence, one.accuracy, marker=".", color="#1b1b1f")
        axes.set(xlabel="probability of the prediction", ylabel="share that is right", xlim=(0, 1), ylim=(0, 1))
        return svg(figure)


def mistakes(outcome: Outcome, most: int, dataset: Dataset) -> str:
    """Pictures of the surest mistakes."""
    shown = []
    for index in outcome.mistakes(most):
        wanted, found = outcome.classes[outcome.labels[index]], outcome.classes[outcome.predicted[index]]
        words = f"{outcome.names[index]}: {wanted}, taken for {found}"
        picture = thumbnail(dataset.annotation.entries[index].path, dataset.limits, words)
        shown.append(
            row((picture, outcome.names[index], wanted, found, f"{outcome.probabilities[index]:.3f}"), numeric=(4,))
        )
    return table(("", "sample", "class", "taken for", "probability"), shown) if shown else ""
