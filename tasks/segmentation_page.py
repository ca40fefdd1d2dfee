"""The page of a test of masks: how well regions and their borders are met, in all pixels and image by image."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from runtime.html_page import INK, bar, document, picture, row, section, svg, table
from tasks.mask_metrics import Figures, iou
from tasks.report_page import PAIRED, Beside, against, curves, facts, title_of
from tasks.statistics import Z

METRICS = ("miou", "pixel_acc", "boundary_f")


def page(
    found: Sequence[Figures], names: Sequence[str], class_names: Sequence[str], summary: Mapping[str, Any],
    beside: Beside, sheet: bytes,
) -> bytes:  # fmt: skip
    """The whole page.

    Args:
        found: Of each image.
        names: Of the images.
        class_names: K names.
        summary: The metrics, and what else the test says of itself.
        beside: What is shown beside.
        sheet: A PNG of the worst images.
    """
    worst = picture(sheet, "png", "the worst images, their masks, and those that were predicted")
    parts = [
        section("Masks", _figures(summary), MEANS),
        section("Against another run", against(np.array([one.iou for one in found]), beside), PAIRED),
        section("Training", curves(beside.epochs, METRICS)),
        section("Classes", _classes(found, class_names), "Intersection over union of all pixels."),
        section("Images", _images(found, names)),
        section("Worst images", worst, "The picture, its mask over it, the predicted one."),
        section("Test", facts({**summary, "samples": len(found)})),
    ]
    return document(title_of(summary), parts).encode()


MEANS = "miou, pixel_acc: of all pixels; image_miou: mean over the images, of which the standard error stands beside."


def _figures(summary: Mapping[str, Any]) -> str:
    low, high = (summary["image_miou"] + sign * Z * summary["image_miou_se"] for sign in (-1, 1))
    rows = [row((name, f"{summary[name]:.4f}", ""), numeric=(1, 2)) for name in METRICS]
    rows.append(row(("image_miou", f"{summary['image_miou']:.4f}", f"{low:.4f} to {high:.4f}"), numeric=(1, 2)))
    return table(("", "", "95 % interval"), rows)


def _classes(found: Sequence[Figures], class_names: Sequence[str]) -> str:
    shares = iou(np.sum([figures.confusion for figures in found], axis=0))
    rows = [
        row((name, bar(share, share, share, f"{share:.1%}"), f"{share:.4f}"), numeric=(2,))
        for name, share in zip(class_names, shares, strict=True)
        if not math.isnan(share)
    ]
    return table(("class", "", "IoU"), rows)


def _images(found: Sequence[Figures], names: Sequence[str]) -> str:
    import matplotlib
    from matplotlib.figure import Figure

    ious = np.array([figures.iou for figures in found])
    with matplotlib.rc_context(INK):
        figure = Figure(figsize=(6, 2.6), layout="constrained")
        axes = figure.subplots()
        axes.hist(ious, bins=20, range=(0, 1), color="#7aa6e0", edgecolor="#1f5fbf")
        axes.set(xlabel="mean IoU of an image", ylabel="images", xlim=(0, 1))
        drawn = svg(figure)
    order = np.argsort(ious, kind="stable")[:20]
    rows = [row((names[k], f"{ious[k]:.4f}", f"{found[k].boundary:.4f}"), numeric=(1, 2)) for k in order]
    return drawn + table(("the worst", "mean IoU", "boundary F"), rows)
