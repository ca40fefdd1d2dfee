"""Draws the curves of a run, loss and figures by epoch, into its `curves.png`: `python -m tools.curves RUN`."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, TypedDict

from runtime import command
from runtime.errors import UserError
from runtime.owned import Owned
from runtime.records import read_lines
from tasks import titles

NAME = "curves.png"
WORDS = ("轮 epoch", "训练损失 training loss", "训练准确率 training accuracy", "验证 {0} validation {0}")


class Epoch(TypedDict):
    """What is read of every line of `metrics.jsonl`; a metric of the task is beside it."""

    epoch: int
    loss: float
    train_acc: float


def main(argv: list[str] | None = None) -> None:
    """Reads `metrics.jsonl` and writes the picture beside it."""
    parser = command.parser(__doc__ or "")
    parser.add_argument("run", type=Path, help="run directory of train.py")
    run = parser.parse_args(argv).run
    epochs: list[dict[str, Any]] = read_lines(run / "metrics.jsonl", Epoch)
    if not epochs:
        raise UserError(f"{run / 'metrics.jsonl'} holds no epoch yet: let train.py end its first one")
    metric = next((name for name in titles() if all(isinstance(epoch.get(name), float) for epoch in epochs)), "")
    if not metric:
        raise UserError(f"{run / 'metrics.jsonl'} has none of {', '.join(titles())} in each epoch")
    with Owned(run).locked(f"another process writes into {run}"):
        Owned(run).write({NAME: draw(epochs, metric)})
    best = max(epoch[metric] for epoch in epochs)
    command.say(f"{run / NAME}: {len(epochs)} epochs, best {titles()[metric]} {best:.1%}")


def draw(epochs: list[dict[str, Any]], metric: str) -> bytes:
    """A PNG image of the epochs with a metric of theirs; its words are in English alone where no font has Chinese."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    from tasks.fonts import families_for

    families = families_for(WORDS)
    words = [(word if families else word.partition(" ")[2]).format(titles()[metric]) for word in WORDS]
    look = {"fontfamily": families} if families else {}
    figure = Figure(figsize=(9, 3), layout="constrained")
    loss, accuracy = figure.subplots(1, 2)
    numbers = [epoch["epoch"] for epoch in epochs]
    loss.plot(numbers, [epoch["loss"] for epoch in epochs], marker=".")
    accuracy.plot(numbers, [epoch["train_acc"] for epoch in epochs], marker=".", label=words[2])
    accuracy.plot(numbers, [epoch[metric] for epoch in epochs], marker=".", label=words[3])
    accuracy.set_ylim(0, 1)
    loss.set_title(words[1], **look)
    accuracy.legend(prop={"family": families} if families else None)
    for axes in (loss, accuracy):
        axes.set_xlabel(words[0], **look)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.grid(alpha=0.3)
    image = io.BytesIO()
    FigureCanvasAgg(figure).print_png(image)
    return image.getvalue()


if __name__ == "__main__":
    with command.clear_errors():
        main()
