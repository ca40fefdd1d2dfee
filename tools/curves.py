"""Draws the curves of a run, loss and accuracy by epoch, into its `curves.png`: `python -m tools.curves RUN`."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TypedDict

from runtime import command
from runtime.errors import UserError
from runtime.owned import Owned
from runtime.records import read_lines

NAME = "curves.png"
WORDS = ("轮 epoch", "训练损失 training loss", "训练准确率 training accuracy", "验证 top-1 validation top-1")


class Epoch(TypedDict):
    """What is read of a line of `metrics.jsonl`."""

    epoch: int
    loss: float
    train_acc: float
    top1_acc: float


def main(argv: list[str] | None = None) -> None:
    """Reads `metrics.jsonl` and writes the picture beside it."""
    parser = command.parser(__doc__ or "")
    parser.add_argument("run", type=Path, help="run directory of train.py")
    run = parser.parse_args(argv).run
    epochs: list[Epoch] = read_lines(run / "metrics.jsonl", Epoch)
    if not epochs:
        raise UserError(f"{run / 'metrics.jsonl'} holds no epoch yet: let train.py end its first one")
    with Owned(run).locked(f"another process writes into {run}"):
        Owned(run).write({NAME: draw(epochs)})
    command.say(f"{run / NAME}: {len(epochs)} epochs, best top-1 {max(epoch['top1_acc'] for epoch in epochs):.1%}")


def draw(epochs: list[Epoch]) -> bytes:
    """A PNG image; its words are in English alone where no font has Chinese."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    from tasks.fonts import families_for

    families = families_for(WORDS)
    words = WORDS if families else tuple(word.partition(" ")[2] for word in WORDS)
    look = {"fontfamily": families} if families else {}
    figure = Figure(figsize=(9, 3), layout="constrained")
    loss, accuracy = figure.subplots(1, 2)
    numbers = [epoch["epoch"] for epoch in epochs]
    loss.plot(numbers, [epoch["loss"] for epoch in epochs], marker=".")
    accuracy.plot(numbers, [epoch["train_acc"] for epoch in epochs], marker=".", label=words[2])
    accuracy.plot(numbers, [epoch["top1_acc"] for epoch in epochs], marker=".", label=words[3])
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
