"""Finds a learning rate: `python -m tools.find_lr --dataset_root DIR --preset NAME [--pretrained FILE]`.

Trains for some batches while the rate grows from too small to too large, draws the loss over the rate, and names a
tenth of the rate with the smallest loss; where the loss falls fastest moves more from seed to seed. Nothing is kept of
the training.

Source: Smith, "Cyclical learning rates for training neural networks", WACV 2017, section 3.3; the smoothing, the tenth,
and where the curve ends, are fastai's.
"""

from __future__ import annotations

import argparse
import contextlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from configs import cli
from runtime import command
from runtime.errors import UserError
from runtime.html_page import png

SMOOTHING = 0.9  # how much of the mean before stays at each batch
PART = 0.1  # of the rate with the smallest loss, which is at the edge of what works
ENDS_AT = 4.0  # times the smallest loss
SURE, LEAST_FALL = 3.0, 0.05  # that the loss falls by: standard deviations of its noise, and a part of itself
LEAST = 10  # batches that a curve has


class Curve(NamedTuple):
    """What the training said.

    Attributes:
        rates: Of each batch.
        losses: Smoothed, of each batch.
        raw: As they came.
    """

    rates: list[float]
    losses: list[float]
    raw: list[float]

    @property
    def steepest(self) -> float:
        """The rate at which the loss falls fastest per factor of the rate; the first batches only say where it begins.

        Raises:
            UserError: It falls by no more than chance moves it.
        """
        import numpy as np

        begin, lowest = len(self.losses) // 10, int(np.argmin(self.losses))
        first = float(np.mean(self.losses[:begin]))
        falls = first - self.losses[lowest]
        # Of a mean with this smoothing, by how far batches are from it before the loss is smallest.
        away = np.subtract(self.raw, self.losses)[: max(lowest, begin)]
        noise = float(np.sqrt((away**2).mean())) * math.sqrt((1 - SMOOTHING) / (1 + SMOOTHING))
        least = max(SURE * noise, LEAST_FALL * first)
        if falls < least or lowest <= begin:
            raise UserError(
                f"the loss falls by {max(falls, 0.0):.3g} at most, and less than {least:.2g} says nothing (chance "
                f"moves it by {noise:.2g}): more --batches than {len(self.losses)}, 300 or so, or does the data not "
                "fit the network?"
            )
        slopes = np.gradient(self.losses, np.log(self.rates))
        steady = np.convolve(slopes, np.full(begin, 1 / begin), "same")[begin : lowest + 1]  # not a dip of one batch
        return self.rates[begin + int(steady.argmin())]

    @property
    def best(self) -> float:
        """The rate with the smallest loss."""
        return self.rates[self.losses.index(min(self.losses))]


class Sweep:
    """Takes the loss of each batch, smoothed without a bias towards zero, until it is far above its smallest."""

    def __init__(self, rates: Sequence[float]) -> None:
        self.curve = Curve([], [], [])
        self._rates, self._mean = rates, 0.0

    def batch(self, loss: float) -> bool:
        """Takes a loss; whether the curve goes on."""
        done = len(self.curve.losses)
        self._mean = SMOOTHING * self._mean + (1 - SMOOTHING) * loss
        smoothed = self._mean / (1 - SMOOTHING ** (done + 1))
        self.curve.raw.append(loss)
        self.curve.rates.append(self._rates[done])
        self.curve.losses.append(smoothed)
        return smoothed <= ENDS_AT * min(self.curve.losses)


class _OverError(Exception):
    """The curve has ended."""


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Flags of the command."""
    parser = command.parser(__doc__ or "", "python -m tools.find_lr --dataset_root DIR [flags]")
    run = parser.add_argument_group("run")
    run.add_argument("--dataset_root", required=True, help="folder of a data set")
    run.add_argument("--train_list", default="", help="list file of the training videos, instead of the one found")
    run.add_argument("--pretrained", default="", help="weights to start from, as train.py takes them")
    cli.add_weights_flag(run)
    run.add_argument("--batches", type=command.positive, default=100, help="from the lowest to the highest rate")
    run.add_argument("--lowest", type=float, default=1e-6, help="rate of the first batch")
    run.add_argument("--highest", type=float, default=10.0, help="rate of the last batch")
    run.add_argument("--num_workers", type=command.count, default=2, help="processes that read videos; 0: none")
    run.add_argument("--output", type=command.file_ending(".png"), default=Path("find_lr.png"), help="picture to write")
    cli.add_limit_flags(parser)
    cli.add_recipe_flags(parser)
    cli.add_device_flags(parser)
    args = parser.parse_args(argv)
    if not 0 < args.lowest < args.highest < math.inf:
        raise UserError(f"--lowest must be above 0 and below --highest, got {args.lowest:g} and {args.highest:g}")
    if args.batches < LEAST:
        raise UserError(f"--batches must be {LEAST} at least, got {args.batches}")
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Trains, says what it found, and draws it."""
    args = parse_args(argv)
    from runtime import preparation
    from runtime.owned import create

    preparation.prepare(args.device, args.threads, tune=not args.no_tune)
    recipe = cli.asked(args).recipe()
    preparation.check_precision(recipe.training.amp)
    step = math.log(args.highest / args.lowest) / (args.batches - 1)
    rates = [args.lowest * math.exp(step * number) for number in range(args.batches)]
    curve = trained(args, rates)
    if len(curve.losses) < LEAST:
        raise UserError(f"the loss explodes within {len(curve.losses)} batches: lower --lowest")
    for number in range(0, len(curve.rates), max(1, len(curve.rates) // 20)):
        command.say(f"rate {curve.rates[number]:.1e}  loss {curve.losses[number]:.4f}")
    found = PART * curve.best
    create(args.output, drawn(curve, found), overwrite=True)
    command.say(str(args.output))
    steepest = curve.steepest
    factor = recipe.training.lr / recipe.training.scaled_lr  # from a rate to the flag that leads to it
    command.say(
        f"the loss falls fastest at {steepest:.1e}, is smallest at {curve.best:.1e}, and the curve ends at "
        f"{curve.rates[-1]:.1e}",
        f"--lr {found * factor:.2g}" + f" (which is {found:.2g} for this batch)" * (factor != 1),
    )


def trained(args: argparse.Namespace, rates: Sequence[float]) -> Curve:
    """The losses of a training with these rates, up to where they explode."""
    from engine.checkpoint import Sources
    from engine.objective import DivergenceError
    from engine.start import start_of
    from engine.trainer import Trainer
    from engine.watch import Watch
    from runtime.owned import temporary_folder

    sweep = Sweep(rates)

    class Watching(Watch):
        def batch(self, loss: float) -> None:
            if not sweep.batch(loss):
                raise _OverError

    sources = Sources(args.dataset_root, args.train_list, "", args.pretrained)
    begin = start_of(sources, cli.asked(args).recipe(), cli.asked(args).options, args.weights)
    with begin.loaders(cli.limits_of(args), args.num_workers) as (train_loader, _), temporary_folder() as folder:
        epochs = math.ceil(len(rates) / max(1, len(train_loader)))
        recipe = begin.recipe.with_(max_epochs=max(epochs, begin.recipe.training.max_epochs))
        trainer = Trainer(
            recipe, begin.network(), train_loader, train_loader, Path(folder), log_iters=len(rates) + 1,
            max_iters=len(rates), watch=Watching(), rate=lambda number: rates[number],
        )  # fmt: skip
        with contextlib.suppress(DivergenceError, _OverError):
            trainer.fit(begin.notes)
    return sweep.curve


def drawn(curve: Curve, found: float) -> bytes:
    """The loss over the rate, as PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(curve.rates, curve.losses)
    axes.axvline(found, color="C1", linestyle="--", label=f"a tenth of the best: {found:.1e}")
    axes.set(xscale="log", xlabel="learning rate", ylabel="training loss, smoothed")
    top = max(curve.losses[: len(curve.losses) // 2 + 1])
    axes.set_ylim(min(curve.losses) * 0.95, top * 1.5)
    axes.grid(alpha=0.3)
    axes.legend()
    return png(figure)


if __name__ == "__main__":
    with command.clear_errors():
        main()
