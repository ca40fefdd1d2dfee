"""Draws the curves of runs, loss and figures by epoch: `python -m tools.plot RUN...`.

Of one run into its `curves.png`; several runs side by side into the file that --output names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from engine.runs import read_epochs
from runtime import command
from runtime.errors import UserError
from runtime.html_page import png
from runtime.owned import Owned
from tasks import titles

NAME = "curves.png"
WORDS = ("轮 epoch", "训练损失 training loss", "训练准确率 training accuracy", "验证 {0} validation {0}")
Epochs = Sequence[Mapping[str, Any]]


def main(argv: list[str] | None = None) -> None:
    """Reads each `metrics.jsonl` and writes the picture."""
    parser = command.parser(__doc__ or "")
    parser.add_argument("run", type=Path, nargs="+", help="run directories of train.py")
    parser.add_argument("--output", type=Path, help=f"picture to write (default: {NAME} in the run, if it is one)")
    args = parser.parse_args(argv)
    if len(args.run) > 1 and args.output is None:
        raise UserError("several runs need a place for their picture: add --output curves.png")
    output = args.output or args.run[0] / NAME
    runs = {_title(run, args.run): epochs_of(run) for run in args.run}
    metric = next((name for name in titles() if all(_has(epochs, name) for epochs in runs.values())), "")
    if not metric:
        places = ", ".join(str(run / "metrics.jsonl") for run in args.run)
        raise UserError(f"{places}: none of {', '.join(titles())} is in each epoch of all of them")
    with Owned(output.parent).locked(f"another process writes into {output.parent}"):
        Owned(output.parent).write({output.name: draw(runs, metric)})
    for name, epochs in runs.items():
        best = max(epoch[metric] for epoch in epochs)
        where = output if len(runs) == 1 else name
        command.say(f"{where}: {len(epochs)} epochs, best {titles()[metric]} {best:.1%}")


def epochs_of(run: Path) -> list[dict[str, Any]]:
    """The epochs of a run, one at least."""
    epochs = read_epochs(run)
    if not epochs:
        raise UserError(f"{run / 'metrics.jsonl'} holds no epoch yet: let train.py end its first one")
    return epochs


def _title(run: Path, runs: Sequence[Path]) -> str:
    """The last part of a path, and all of it where that is not enough."""
    names = [other.resolve().name for other in runs]
    return run.resolve().name if names.count(run.resolve().name) == 1 else str(run)


def _has(epochs: Epochs, name: str) -> bool:
    return all(isinstance(epoch.get(name), float) for epoch in epochs)


def draw(runs: Mapping[str, Epochs], metric: str) -> bytes:
    """A PNG image of runs with a metric of theirs; its words are in English alone where no font has Chinese."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    from tasks.fonts import families_for

    families = families_for((*WORDS, *runs))
    words = [(word if families else word.partition(" ")[2]).format(titles()[metric]) for word in WORDS]
    look = {"fontfamily": families} if families else {}
    figure = Figure(figsize=(9, 3), layout="constrained")
    loss, accuracy = figure.subplots(1, 2)
    for index, (name, epochs) in enumerate(runs.items()):
        numbers, color = [epoch["epoch"] for epoch in epochs], f"C{2 * index}"
        before = f"{name}: " if len(runs) > 1 else ""
        loss.plot(numbers, [epoch["loss"] for epoch in epochs], marker=".", color=color)
        shown = ((epochs, "train_acc", words[2], f"C{2 * index}"), (epochs, metric, words[3], f"C{2 * index + 1}"))
        for rows, key, word, own in shown:
            accuracy.plot(numbers, [row[key] for row in rows], marker=".", color=own, label=before + word)
    accuracy.set_ylim(0, 1)
    loss.set_title(words[1], **look)
    accuracy.legend(prop={"family": families} if families else None)
    for axes in (loss, accuracy):
        axes.set_xlabel(words[0], **look)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.grid(alpha=0.3)
    return png(figure)


if __name__ == "__main__":
    with command.clear_errors():
        main()
