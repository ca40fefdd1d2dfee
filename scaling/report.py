"""The page of a job: what each size of the network costs, estimated and measured, and what it is held against."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from runtime.html_page import INK, document, row, section, svg, table, text
from runtime.owned import Owned
from scaling.front import Measurements, Selector, read_measurements
from scaling.profile import Profile
from scaling.store import Manifest, read_manifest
from scaling.tuning import read_tuned

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FILE = "report.html"
MEGABYTE = 2**20
GIGA = 1e9
OWN, SAME, TUNED, PRUNED, FIRST = "#1f5fbf", "#8a8a8a", "#1a7f37", "#c05a00", "#111111"


class Mark(NamedTuple):
    """A network of the page.

    Attributes:
        name: What it is.
        color, shape: Of its mark.
        accuracy, error: Measured, with its standard error over the samples.
        latency_ms: Measured.
        size_bytes: Of its weights.
        others: Cells of the table: estimated drop and time, GFLOPs, memory; empty where that is not known.
    """

    name: str
    color: str
    shape: str
    accuracy: float
    error: float
    latency_ms: float
    size_bytes: int
    others: tuple[str, str, str, str]


def write(folder: Path) -> Path:
    """Writes `report.html` of a job whose front is measured; raises UserError if a part is missing."""
    manifest, selector, found = read_manifest(folder), Selector(folder), read_measurements(folder)
    profile = selector.table.profile
    marks = marks_of(folder, selector, found)
    parts = [
        section("Accuracy for time and for size", drawing(selector, marks), LEGEND),
        section("Networks, measured as wholes", networks(marks, profile)),
        section("How far estimates are off", estimates(selector, found), HELD_OUT),
        section("Blocks", blocks(manifest, profile), BLOCKS),
        section("Job", facts(manifest, profile)),
    ]
    Owned(folder).write({FILE: document(f"Block scaling of {manifest['facts']['model']}", parts).encode()})
    return folder / FILE


LEGEND = (
    "The line: what the best choice of blocks is expected to keep, corrected by the networks that were measured. Dots: "
    "measured, with one standard error of an accuracy over so many samples; differences between networks on the same "
    "samples are surer than that. Crosses: drawn at random. Gray: one sparsity in all blocks, trained block by block. "
    "Diamonds have learned from labels as wholes: orange pruned by one sparsity, green a choice of trained blocks."
)
HELD_OUT = "Measured minus estimated, where the correction was fitted without that network."
BLOCKS = (
    "Error: mean squared difference from the original's block on held-out training samples, in units of its variance, "
    "as cut and trained. Accuracy drop: mean over the contexts. Divergence: in the original."
)


def marks_of(folder: Path, selector: Selector, found: Measurements) -> list[Mark]:
    """All measured networks, the slowest first."""
    profile = selector.table.profile
    samples, whole = profile["samples"], profile["accuracy"]
    marks, measured_ms = [], {}
    for point in found["points"]:
        measured, estimated = point["measured"], point["estimated"]
        is_original = set(point["choice"]) == {0.0}
        measured_ms[tuple(point["choice"])] = measured["latency_ms"]
        expected = selector.corrected(estimated)
        cells = (
            f"{expected.accuracy_drop:+.3f}", f"{expected.latency_ms:.2f}", f"{measured['multiply_adds'] / GIGA:.3f}",
            f"{measured['memory_bytes'] / MEGABYTE:.0f}",
        )  # fmt: skip
        accuracy = whole - measured["accuracy_drop"]
        color, shape = (FIRST, "s") if is_original else (SAME, "o") if point["uniform"] else (OWN, "o")
        shape = "x" if point["unseen"] else shape
        name, error = shown_choice(point["choice"]), standard_error(accuracy, samples)
        time, size = measured["latency_ms"], measured["size_bytes"]
        marks.append(Mark(name, color, shape, accuracy, error, time, size, cells))
    for one in read_tuned(folder):
        expected = selector.corrected(selector.table.estimate(tuple(one["choice"])))
        time = measured_ms.get(tuple(one["choice"]), expected.latency_ms)
        how = "trained, then" if one["trained"] else "cut, then"
        name = f"{shown_choice(one['choice'])}, {how} fine-tuned {one['epochs']} epochs"
        accuracy = one["metrics"][profile["metric"]]
        color, cells = TUNED if one["trained"] else PRUNED, ("", f"{expected.latency_ms:.2f}", "", "")
        error = standard_error(accuracy, samples)
        marks.append(Mark(name, color, "D", accuracy, error, time, one["size_bytes"], cells))
    return sorted(marks, key=lambda mark: -mark.latency_ms)


def standard_error(accuracy: float, samples: int) -> float:
    """Of a share of independent samples."""
    share = min(max(accuracy, 0.0), 1.0)
    return math.sqrt(share * (1 - share) / samples)


def shown_choice(choice: Sequence[float]) -> str:
    """A choice in few letters: the sparsity of each block, without its leading zero, one behind the other."""
    if len(set(choice)) == 1:
        return f"all blocks at {choice[0]:g}" if choice[0] else "the original"
    return " ".join(f"{level:g}".removeprefix("0") or "0" for level in choice)


def drawing(selector: Selector, marks: Sequence[Mark]) -> str:
    """Two panels: accuracy over milliseconds, and over megabytes."""
    whole = selector.table.profile["accuracy"]
    _, times, sizes = selector.front.costs.T
    kept = whole - selector.drops
    with matplotlib.rc_context(INK):
        figure = Figure(figsize=(10, 4.2), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True)
        _draw(left, times, kept, marks, [mark.latency_ms for mark in marks])
        _draw(right, sizes / MEGABYTE, kept, marks, [mark.size_bytes / MEGABYTE for mark in marks])
        engine = selector.table.profile["engine"]
        left.set(xlabel=f"milliseconds for a clip, {engine}", ylabel=selector.table.profile["metric"], xlim=(0, None))
        right.set(xlabel="MiB of weights", xlim=(0, None))
        return svg(figure)


def _draw(axes: Axes, costs: np.ndarray, kept: np.ndarray, marks: Sequence[Mark], places: Sequence[float]) -> None:
    order = np.argsort(costs, kind="stable")
    axes.step(costs[order], np.maximum.accumulate(kept[order]), where="post", color=OWN, linewidth=1, alpha=0.6)
    for mark, place in zip(marks, places, strict=True):
        axes.errorbar(
            place, mark.accuracy, mark.error, fmt=mark.shape, color=mark.color, markersize=5, linewidth=0.8,
            capsize=2,
        )  # fmt: skip


def networks(marks: Sequence[Mark], profile: Profile) -> str:
    """The table of all marks."""
    head = (
        "network", profile["metric"], "standard error", "drop, expected", "ms", "ms, expected", "MiB",
        "G multiply-adds", "MiB of process",
    )  # fmt: skip
    rows = []
    for mark in marks:
        drop, time, operations, memory = mark.others
        cells = (
            mark.name, f"{mark.accuracy:.4f}", f"{mark.error:.4f}", drop, f"{mark.latency_ms:.2f}", time,
            f"{mark.size_bytes / MEGABYTE:.2f}", operations, memory,
        )  # fmt: skip
        rows.append(row(cells, numeric=range(1, len(cells))))
    return table(head, rows)


def estimates(selector: Selector, found: Measurements) -> str:
    """How far corrected estimates are off on networks that the correction has not seen."""
    latencies = [point["measured"]["latency_ms"] for point in found["points"] if not point["unseen"]]
    rows = []
    for name, line in found["corrections"].items():
        off = np.abs(line["held_out"])
        cells = [name, f"{line['scale']:.3f}", f"{line['offset']:.3f}", f"{off.mean():.3f}", f"{off.max():.3f}"]
        shares = off / latencies if name == "latency_ms" else None
        cells.append("" if shares is None else f"{shares.mean():.1%}, at most {shares.max():.1%}")
        rows.append(row(cells, numeric=range(1, len(cells))))
    lines = "".join(f'<p class="small">{text(line)}</p>' for line in unseen_lines(selector, found))
    head = ("", "scale", "offset", "off by, mean", "at most", "of the network's own")
    return (table(head, rows) if rows else "") + lines


def unseen_lines(selector: Selector, found: Measurements) -> list[str]:
    """What corrected estimates are off by on networks that were drawn at random."""
    points = [point for point in found["points"] if point["unseen"]]
    if not points:
        return []
    profile = selector.table.profile
    expected = [selector.corrected(point["estimated"]) for point in points]
    times = np.array([point["measured"]["latency_ms"] for point in points])
    drops = np.array([point["measured"]["accuracy_drop"] for point in points])
    late = np.abs(np.array([one.latency_ms for one in expected]) / times - 1)
    lost = np.abs(np.array([one.accuracy_drop for one in expected]) - drops)
    errors = np.array([standard_error(profile["accuracy"] - drop, profile["samples"]) for drop in drops])
    return [
        f"{len(points)} networks drawn at random: latency is off by {late.mean():.1%} on average, {late.max():.1%} at "
        f"most; the accuracy drop by {lost.mean():.4f}, {lost.max():.4f}, {(lost <= errors).sum()} of them within the "
        "standard error of their accuracy"
    ]


def blocks(manifest: Manifest, profile: Profile) -> str:
    """A row for each descendant."""
    errors = {(one["block"], one["sparsity"]): one["errors"] for one in manifest["descendants"]}
    rows = []
    for block in profile["blocks"]:
        for one in block["rows"][1:]:
            own = errors[block["path"], one["sparsity"]]
            cells = (
                block["path"], f"{one['sparsity']:g}", f"{own[0]:.4f}", f"{min(own):.4f}",
                f"{np.mean(one['accuracy_drops']):+.4f}", f"{one['divergences'][0]:.4f}",
                f"{(1 - one['latency_share']) * profile['latency_ms']:.2f}",
                f"{one['size_bytes'] / MEGABYTE:.3f}", f"{one['multiply_adds'] / GIGA:.4f}",
            )  # fmt: skip
            rows.append(row(cells, numeric=range(1, len(cells))))
    head = ("block", "sparsity", "error as cut", "trained", "accuracy drop", "divergence", "ms saved", "MiB",
            "G multiply-adds")  # fmt: skip
    return table(head, rows)


def facts(manifest: Manifest, profile: Profile) -> str:
    """What the job is of."""
    own: dict[str, Any] = {name: manifest["facts"][name] for name in sorted(manifest["facts"]) if name != "recipe"}
    own |= {"engine": profile["engine"], "threads": profile["threads"], "validation samples": profile["samples"]}
    return table(("", ""), [row((name, value)) for name, value in own.items()])
