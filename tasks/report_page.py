"""What the pages of all tests have: figures with intervals, curves of training, another test, moving pictures."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from configs.limits import Limits
from datasets import DataError
from datasets.decode import open_source
from runtime.html_page import INK, Markup, moving, row, svg, table
from tasks.statistics import Interval, difference

FRAMES, SIDE, FRAME_MS = 8, 96, 250  # of a moving picture


@dataclass(frozen=True)
class Beside:
    """What a report shows beside the test itself.

    Attributes:
        epochs: Those of the training, as `metrics.jsonl` has them; none where they are not known.
        compare: What another run is called.
        other: The value of each sample there, [N], see `Task.value`; None where there is no other.
        thumbnails: How many of the worst samples are shown.
    """

    epochs: Sequence[Mapping[str, Any]] = ()
    compare: str = ""
    other: np.ndarray | None = None
    thumbnails: int = 12


def record_text(record: Mapping[str, Any], results: Sequence[Sequence[Any]]) -> bytes:
    """`test.json`: the record, then the result of each sample on a line of its own."""
    lines = ",\n".join(f"    {json.dumps(result)}" for result in results)
    return f'{json.dumps(record, indent=2)[:-2]},\n  "results": [\n{lines}\n  ]\n}}\n'.encode()


PAIRED = (
    "On the same samples, where only those count in which the two differ. p: how probable so large a difference is by "
    "chance; of right and wrong by McNemar's exact test."
)


def against(values: np.ndarray, beside: Beside) -> str:
    """This test and another one on the same samples; empty without another one."""
    if beside.other is None:
        return ""
    found = difference(values, beside.other)
    rows = (
        ("this run", f"{values.mean():.4f}"),
        (beside.compare, f"{beside.other.mean():.4f}"),
        ("difference, standard error", f"{found.mean:+.4f}, {found.standard_error:.4f}"),
        ("samples that are better here, there", f"{found.better}, {found.worse}"),
        ("p", f"{found.p_value:.3g}"),
    )
    return table(("", ""), (row(cells, numeric=(1,)) for cells in rows))


def figures(rows: Sequence[tuple[str, float, Interval]]) -> str:
    """A table of shares with their intervals."""
    cells = (
        row((name, f"{share:.4f}", f"{interval.low:.4f} to {interval.high:.4f}"), numeric=(1, 2))
        for name, share, interval in rows
    )
    return table(("", "", "95 % interval"), cells)


def title_of(summary: Mapping[str, Any]) -> str:
    """Of the page of a test."""
    return f"Test of {summary.get('model', summary.get('weights', 'a network'))}"


def facts(record: Mapping[str, Any]) -> str:
    """A table of what else a test says of itself."""
    return table(
        ("", ""), (row((name, value)) for name, value in record.items() if isinstance(value, str | int | float))
    )


def curves(epochs: Sequence[Mapping[str, Any]], metrics: Sequence[str]) -> str:
    """Loss and metrics over the epochs; empty where nothing is known of them."""
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    if not epochs:
        return ""
    numbers = [epoch["epoch"] for epoch in epochs]
    with matplotlib.rc_context(INK):
        figure = Figure(figsize=(9, 3), layout="constrained")
        left, right = figure.subplots(1, 2)
        left.plot(numbers, [epoch["loss"] for epoch in epochs], marker=".")
        left.set(title="training loss", xlabel="epoch")
        for name in ("train_acc", *metrics):
            if all(name in epoch for epoch in epochs):
                right.plot(numbers, [epoch[name] for epoch in epochs], marker=".", label=name)
        right.set(title="training and validation", xlabel="epoch", ylim=(0, 1))
        right.legend()
        for axes in (left, right):
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        return svg(figure)


def thumbnail(path: str, limits: Limits, words: str) -> Markup | str:
    """A small moving picture of a video or a folder of frames; a text where it cannot be read any more."""
    try:
        with open_source(path, limits=limits) as source:
            count = min(FRAMES, source.num_frames)
            indices = np.linspace(0, source.num_frames - 1, count).round().astype(int)
            by_index = {index: _small(frame) for index, frame in source.frames(indices)}
    except DataError as error:
        return str(error)
    frames = [by_index[index] for index in sorted(by_index)]
    still, animation = io.BytesIO(), io.BytesIO()
    frames[0].save(still, "WEBP", quality=50)
    frames[0].save(animation, "WEBP", save_all=True, append_images=frames[1:], duration=FRAME_MS, loop=0, quality=50)
    return moving(still.getvalue(), animation.getvalue(), words)


def _small(frame: np.ndarray) -> Image.Image:
    image = Image.fromarray(frame)
    image.thumbnail((2 * SIDE, SIDE))
    return image


def shown_share(share: float, interval: Interval) -> str:
    """A share and its interval in words; empty where there is none."""
    return "" if math.isnan(share) else f"{share:.1%}, {interval.low:.1%} to {interval.high:.1%}"
