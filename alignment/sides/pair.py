"""The two sides that are compared: live models, and what measures and trains them."""

from __future__ import annotations

import contextlib
import copy
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from alignment.sides.parameters import Layers
from alignment.sides.state import read_weights
from runtime.errors import UserError

OUTPUT = "output"  # name of what the whole model returns


class IncomparableError(UserError):
    """The two sides cannot be compared at all: they do not differ in a number but in kind, or one of them fails."""


class Sides(NamedTuple):
    """The same thing in both frameworks, mostly a function."""

    reference: Any
    candidate: Any


@dataclass
class Optimization:
    """One side's optimizer as its training loop uses it.

    Attributes:
        optimizer: torch.optim.Optimizer or paddle.optimizer.Optimizer.
        clip_norm: PyTorch only: largest norm of all gradients together, 0 for no clipping. Paddle's optimizer clips
            by itself. The rule is Paddle's: factor clip / max(norm, clip).
        rate: Learning rate of step i, set before the step: in Paddle by `set_lr`, in PyTorch in each group, times the
            group's own entry `factor` if it has one. None leaves the optimizer as it is.
        steps: Steps of a whole run, over which two such functions are compared.
    """

    optimizer: Any
    clip_norm: float = 0.0
    rate: Callable[[int], float] | None = None
    steps: int = 0


@dataclass
class Pair:
    """A PyTorch model and the Paddle model that should equal it.

    Attributes:
        reference: torch.nn.Module, float32.
        candidate: paddle.nn.Layer, float32.
        inputs: Positional arguments of both models, floats as float32.
        labels: int64 [N].
        losses: By name, functions (logits, labels) -> scalar. The first is what backward and train minimize.
        optimizer: Functions model -> Optimization (or a bare optimizer); None where nothing is trained.
        metric: Functions (scores float64 [N, K], labels int64 [N], both NumPy) -> dict of figures.
        names: Pairs (pattern, replacement) for re.sub that turn a path of the reference into the candidate's.
        layers: Classes of layers of either side -> what their parameters are, where `parameters.LAYERS` does not know.
        opaque: Patterns of the reference's paths of layers that both sides compute in different ways inside: their
            outputs are compared, those of the layers in them are not.
        carry: Whether the reference's weights are carried to the candidate first; if not, they must be equal already.
        title: What the report calls the pair.
    """

    reference: Any
    candidate: Any
    inputs: tuple[np.ndarray, ...]
    labels: np.ndarray
    losses: Mapping[str, Sides] = field(default_factory=dict)
    optimizer: Sides | None = None
    metric: Sides | None = None
    names: tuple[tuple[str, str], ...] = ()
    layers: Layers = field(default_factory=dict)
    opaque: tuple[str, ...] = ()
    carry: bool = True
    title: str = ""

    def candidate_name(self, name: str) -> str:
        """The candidate's name of a layer or weight, from the reference's."""
        for pattern, replacement in self.names:
            name = re.sub(pattern, replacement, name)
        return name

    def reference_weights(self) -> dict[str, np.ndarray]:
        """Copies of the reference's weights under the candidate's names, in Paddle's layout.

        Raises:
            IncomparableError: Two names become one.
        """
        found: dict[str, np.ndarray] = {}
        for name, array in read_weights(self.reference, self.layers).items():
            new = self.candidate_name(name)
            if new in found:
                raise IncomparableError(f"the renaming rules turn {name} into {new}, which another weight has taken")
            found[new] = array
        return found


def copied(model: Any, side: str) -> Any:
    """A deep copy of a model.

    Raises:
        IncomparableError: It cannot be copied.
    """
    with explained(f"the {side} cannot be copied"):
        return copy.deepcopy(model)


def optimization_of(factory: Callable, model: Any, side: str) -> Optimization:
    """What a caller's function makes of a model, as an Optimization.

    Raises:
        IncomparableError: The function raises.
    """
    with explained(f"the {side}'s optimizer cannot be built"):
        built = factory(model)
    optimization = built if isinstance(built, Optimization) else Optimization(built)
    _require_own(optimization.optimizer, model, side)
    return optimization


def _require_own(optimizer: Any, model: Any, side: str) -> None:
    """Raises IncomparableError unless the optimizer holds parameters of the model and nothing else."""
    if hasattr(optimizer, "param_groups"):
        held = [tensor for group in optimizer.param_groups for tensor in group["params"]]
    else:
        listed = getattr(optimizer, "_parameter_list", None) or []
        held = [t for entry in listed for t in (entry["params"] if isinstance(entry, dict) else [entry])]
    own = {id(parameter) for parameter in model.parameters()}
    if not held or any(id(tensor) not in own for tensor in held):
        raise IncomparableError(
            f"the {side}'s optimizer does not hold the parameters of the model that its function was given: "
            "build it as lambda model: Optimizer(..., parameters of model)"
        )


@contextlib.contextmanager
def explained(what: str) -> Iterator[None]:
    """Makes whatever is raised inside an IncomparableError of one line: what, and the error."""
    try:
        yield
    except Exception as error:
        raise IncomparableError(f"{what}: {one_line(error)}") from error


def one_line(error: Exception) -> str:
    """An error in one line; of a long message the line that names the error, as in Paddle's."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    wanted = [line for line in lines if "Error" in line] or lines[-1:] or [""]
    return f"{type(error).__name__}: {wanted[0]}"[:300]
