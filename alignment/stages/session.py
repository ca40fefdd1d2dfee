"""One comparison under way: the runs of both sides that the stages share."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from alignment.sides.paddle_run import PaddleRun, paddle_variance_is_biased
from alignment.sides.pair import OUTPUT, IncomparableError, Pair, Sides
from alignment.sides.parameters import rules_of, shared_path
from alignment.sides.run import Listener, Run
from alignment.sides.state import all_layers, named_layers, read_weights
from alignment.sides.torch_run import TorchRun
from alignment.verdicts.difference import measure
from alignment.verdicts.judge import RERUNS, Judge
from alignment.verdicts.record import Record

SAME_AGAIN = {"float64": 1e-9, "float32": 1e-3}  # of the output's scale, between two passes of one model
Pass = Callable[..., None]


class Session:
    """The runs of a pair: the reference in float64 and, where that is asked for, in float32, and the candidate.

    Attributes:
        pair: What is compared.
        precision: `float32` or `float64`.
        train_steps: Steps of the optimizer in the stage `train`.
        reference64: The float64 reference, which everything is measured against.
        reference32: The float32 reference, whose error is the yardstick; None in float64.
        fresh: The weights of both models as they were given, by the candidate's names.
        tensors: What the report keeps, by `<stage>/<name>`: the reference's array and the candidate's.
        biased_variance: Paddle's rule for the running variance on this device.
    """

    def __init__(self, pair: Pair, precision: str, seed: int = 0, train_steps: int = 3) -> None:
        self.pair = pair
        self.precision = precision
        self.seed = seed
        self.train_steps = train_steps
        self.tensors: dict[str, Sides] = {}
        self.biased_variance = paddle_variance_is_biased()
        self.gradients: Judge | None = None  # of the parameters, left by the stage backward
        self.activation_gradients: Judge | None = None
        self.activations: Judge | None = None  # in evaluation, left by the stage forward
        self._logits: Sides | None = None
        self._started = False
        self.fresh = Sides(pair.reference_weights(), read_weights(pair.candidate, pair.layers))

    def start(self) -> None:
        """Copies the models, once; comes after their weights have been brought together."""
        if self._started:
            return
        self._started = True
        pair, seed, biased = self.pair, self.seed, self.biased_variance
        self.reference64 = TorchRun(pair.reference, "float64", seed, pair.opaque, biased, pair.layers)
        self.reference32 = None
        if self.precision == "float32":
            self.reference32 = TorchRun(pair.reference, "float32", seed, pair.opaque, biased, pair.layers)
        self.candidate = PaddleRun(pair.candidate, self.precision, seed, self._names_back, pair.opaque, pair.layers)

    @property
    def reference(self) -> TorchRun:
        """The reference in the candidate's precision."""
        return self.reference32 or self.reference64

    def compare(self, kind: str, each: Pass) -> Judge:
        """As `each`, for passes that show tensors of one kind."""
        return self.each(each, [kind])[0]

    def each(self, each: Pass, kinds: Sequence[str], keep: str = "", reference_runs: int = 1) -> list[Judge]:
        """Lets all runs do the same and judges what their listeners hear.

        Args:
            each: Called with a run, reset, and one listener for each kind, which it must show its tensors to.
            kinds: See Record.
            reference_runs: Runs of the float32 reference, from the second on with perturbed weights: where an error
                jumps, as at a ReLU that opens for one side and not for the other, one run shows too little of it.
                Before a difference that rounding might explain counts, RERUNS with larger perturbations follow; in
                float64 these are the only ones.
            keep: Stage under which the tensors of the first kind go into the report; empty keeps none.
        """
        judges = [Judge(kind, self.precision) for kind in kinds]
        kept: dict[str, dict[str, np.ndarray]] = {"reference": {}, "candidate": {}}

        def turn(run: Run, listeners: Sequence[Listener], keeping: bool) -> None:
            first = _keeping(kept[run.side], listeners[0]) if keeping and keep else listeners[0]
            each(run, first, *listeners[1:])
            run.reset()

        def calibrate(index: int, halves: int) -> None:
            if index:
                self.reference.perturb(index, halves)
            turn(self.reference, [judge.calibrate for judge in judges], index == 0)

        turn(self.reference64, [judge.learn for judge in judges], self.reference32 is None)
        for index in range(reference_runs if self.reference32 else 0):
            calibrate(index, halves=1)
        turn(self.candidate, judges, True)
        if any(judge.doubtful for judge in judges):
            for index in range(RERUNS if reference_runs > 1 or self.reference32 is None else 0):
                calibrate(reference_runs + index, halves=8 if self.reference32 else 2)
            for judge in judges:
                judge.judge_again()
        for name, array in kept["candidate"].items():
            if name in kept["reference"]:
                self.tensors[f"{keep}/{name}"] = Sides(kept["reference"][name], array)
        return judges

    def logits(self) -> Sides:
        """The first output of both models in evaluation, in the candidate's precision."""
        if self._logits is None:
            outputs = (self.output(run, train=False) for run in (self.reference, self.candidate))
            self._logits = self.tensors.get("forward/eval") or Sides(*outputs)  # the stage forward has kept them
        return self._logits

    def output(self, run: Run, train: bool) -> np.ndarray:
        """What a whole model returns for the pair's inputs; of several tensors the first."""
        run.reset()
        return run.first_array(run.forward(self.pair.inputs, train=train))

    def losses(self) -> Mapping[str, Sides]:
        """The pair's losses; raises IncomparableError if it has none or no labels."""
        if not self.pair.losses:
            raise IncomparableError("this stage needs loss=(reference, candidate), two functions (output, labels)")
        return self.pair.losses

    def objective(self) -> Sides:
        """The loss that is minimized: the first."""
        return next(iter(self.losses().values()))

    def training_loss(self, run: Run, **options: Any) -> Any:
        """The scalar that a run minimizes, of a pass in training mode; options: See `Run.forward`."""
        output = run.forward(self.pair.inputs, train=True, **options)
        return run.loss(getattr(self.objective(), run.side), output, self.pair.labels)

    def require_repeatable(self) -> None:
        """Raises IncomparableError, with the layer's name, if a model gives other values at a second pass."""
        for run in (self.reference, self.candidate):
            if not self._same(self.output(run, train=True), self.output(run, train=True)):
                first, second = self._activations(run), self._activations(run)
                layer = next((name for name in first if not self._same(first[name], second[name])), OUTPUT)
                raise IncomparableError(
                    f"the {run.side} gives other values at a second pass, first in layer {layer}: "
                    "take the chance out of it (nn.Dropout is handled, other random layers are not)"
                )
            run.reset()

    def _activations(self, run: Run) -> dict[str, np.ndarray]:
        """Outputs of all layers of one pass in train mode."""
        found: dict[str, np.ndarray] = {}
        run.reset()
        run.forward(self.pair.inputs, found.__setitem__, train=True)
        return found

    def _same(self, first: np.ndarray, second: np.ndarray) -> bool:
        if not np.isfinite(first).all() or not np.isfinite(second).all():
            return True  # the judge will say so
        difference = measure(first, second)
        return not difference.problem and difference.rel_max <= SAME_AGAIN[self.precision]

    def around(self, weight: str) -> Iterator[str]:
        """The layers of the candidate that a weight lies in, by the reference's names, the innermost first."""
        path = self.pair.candidate_name(weight).rpartition(".")[0]
        while path:
            yield self._names_back.get(path, path)
            path = path.rpartition(".")[0]

    @functools.cached_property
    def _names_back(self) -> dict[str, str]:
        """From the candidate's names of layers and weights to the reference's, in Paddle's form."""
        pair = self.pair
        rules = rules_of(all_layers(pair.reference), pair.layers)
        back = {pair.candidate_name(shared_path(path, rules)): path for path, _ in named_layers(pair.reference)}
        back |= {pair.candidate_name(name): name for name in read_weights(pair.reference, pair.layers)}
        return {new: old for new, old in back.items() if new != old}


def layer_of(name: str) -> str:
    """The path in the name of a record: `layer1.0 (call 2) [1]` -> `layer1.0`."""
    return name.split(" ")[0]


def first_failure(records: list[Record]) -> Record | None:
    """The first record that did not pass."""
    return next((record for record in records if not record.passed), None)


def _keeping(store: dict[str, np.ndarray], listener: Listener) -> Listener:
    """The listener, with what it hears written down; of two runs of one side the later counts."""

    def listen(name: str, array: np.ndarray) -> np.ndarray | None:
        store[name] = array
        return listener(name, array)

    return listen
