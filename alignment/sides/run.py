"""A model as the stages use it: a private copy in one precision, run with every sublayer's output in view.

The two frameworks differ in names and hooks only; `Run` holds what they share.
"""

from __future__ import annotations

import contextlib
import functools
import re
import types
import zlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from alignment.sides.pair import OUTPUT, IncomparableError, Optimization, copied, explained, one_line, optimization_of
from alignment.sides.parameters import NO_LAYERS, Layers, Part, parts, rules_of
from alignment.sides.state import all_layers, assign, named_layers, read_weights

# Called with the name and the value of a tensor; what it returns, if anything, takes the tensor's place.
Listener = Callable[[str, np.ndarray], np.ndarray | None]

SLOTS = {"momentum_buffer": "velocity", "exp_avg": "moment1", "exp_avg_sq": "moment2"}  # PyTorch's names: Paddle's


def single(value: float) -> float:
    """The nearest number that float32 holds."""
    return float(np.float32(value))


class Run(ABC):
    """A copy of a model in one precision.

    Attributes:
        side: `reference` or `candidate`, for messages.
        framework: The module torch or paddle.
        precision: `float32` or `float64`.
        model: The copy; the caller's model is never touched.
        layers: The model's layers by the reference's paths; the model itself is not among them.
        watched: Those of them whose outputs the listeners see.
        inputs_of: Set to a path, the inputs of that layer are kept in `seen_inputs` during the next forward pass.
    """

    side: str
    framework: Any
    dropouts: Any  # the framework's layers that drop out, for isinstance
    hook_after: str  # method of a layer that takes what is to be called after its forward
    skips_repeats: bool  # whether an output that two layers return in turn is shown once
    optimization: Optimization  # left by `build_optimizer`

    def __init__(
        self,
        model: Any,
        precision: str,
        seed: int,
        rename: Mapping[str, str],
        opaque: Sequence[str] = (),
        layers: Layers = NO_LAYERS,
    ) -> None:
        self.precision = precision
        self.seed = seed
        self.model = copied(model, self.side)
        self._rename = rename
        self._layers = layers
        self._cast()
        self._rules = rules_of(all_layers(self.model), layers)
        self.layers = {rename.get(path, path): layer for path, layer in named_layers(self.model) if path}
        self.watched = {path: layer for path, layer in self.layers.items() if not _inside(path, opaque)}
        self.inputs_of = ""
        self.seen_inputs: list[np.ndarray] = []
        self._calls: Counter[str] = Counter()
        self._open: list[str] = []  # paths of the layers that are running
        for path, layer in self.layers.items():
            if isinstance(layer, self.dropouts) and type(layer).__module__.partition(".")[0] in ("torch", "paddle"):
                self._inject_masks(path, layer)
        self._initial = self.weights()
        self._parameter_names = dict(self.parameter_parts()).keys()
        self._noise: np.random.Generator | None = None  # of the outputs of layers, see `perturb`
        self._halves = 0
        self._changed: set[str] = set()  # names of weights that may differ from the initial ones

    # -----------------------------------------------------------------------------------------------------------------
    # What a framework supplies

    @abstractmethod
    def _cast(self) -> None:
        """Brings the copy to its precision and switches off what a comparison cannot stand."""

    @abstractmethod
    def tensor(self, array: np.ndarray, gradient: bool = False) -> Any:
        """An array as a tensor, floats in the run's precision."""

    @abstractmethod
    def named_parameters(self) -> dict[str, Any]:
        """Trainable parameters by the model's own names."""

    @abstractmethod
    def clear_gradients(self) -> None:
        """Drops all gradients."""

    @abstractmethod
    def step(self, index: int) -> float:
        """One step of the optimizer with the gradients that are there; returns the first group's learning rate."""

    @abstractmethod
    def slots(self) -> dict[str, np.ndarray]:
        """The optimizer's state by `<parameter> <Paddle's name of the slot>`, in Paddle's layout."""

    def context(self) -> contextlib.AbstractContextManager:
        """What must hold around everything that the run computes."""
        return contextlib.nullcontext()

    # -----------------------------------------------------------------------------------------------------------------
    # What stages call

    def forward(
        self,
        inputs: tuple[np.ndarray, ...],
        listener: Listener | None = None,
        *,
        train: bool = False,
        gradients: bool = False,
        gradient_listener: Listener | None = None,
    ) -> Any:
        """One pass in which the listener sees each layer's output in the order of execution, the model's own last.

        Args:
            inputs: Positional arguments.
            listener: See Listener.
            train: Mode.
            gradients: Whether a backward pass may follow.
            gradient_listener: Sees the gradient of each output in the order of the backward pass, which may follow.

        Returns:
            What the model returns.

        Raises:
            IncomparableError: The model raises.
        """
        self.model.train() if train else self.model.eval()
        if train:
            self._changed |= self._initial.keys() - self._parameter_names
        self._calls.clear()
        self.seen_inputs, self._last = [], None
        self._open.clear()
        gradients = gradients or gradient_listener is not None
        handles: list[Any] = []
        for path, layer in self.watched.items():
            before = functools.partial(self._enter, path)
            after = functools.partial(self._leave, path, listener, gradient_listener)
            handles += [layer.register_forward_pre_hook(before), getattr(layer, self.hook_after)(after)]
        try:
            with self.context(), self.framework.set_grad_enabled(gradients):
                tensors = [self.tensor(array, gradient_listener is not None) for array in inputs]
                if gradient_listener is not None:
                    for i, tensor in enumerate(tensors):
                        self._watch_gradient(f"input {i}", tensor, gradient_listener)
                output = self.model(*tensors)
                self._last = None
                replaced = self._visit(OUTPUT, output, listener, gradient_listener)
                return output if replaced is None else replaced
        except IncomparableError:
            raise
        except Exception as error:
            place = f"in layer {self._open[-1]}" if self._open else "outside of its layers"
            shapes = ", ".join(str(list(array.shape)) for array in inputs)
            raise IncomparableError(
                f"the {self.side} raises {place} for inputs of shape {shapes}: {one_line(error)}"
            ) from error
        finally:
            for handle in handles:
                handle.remove()
            self._last = None  # with it this run would hold the graph, whose hooks hold this run: never freed

    def array(self, tensor: Any) -> np.ndarray:
        """A copy of a tensor."""
        return np.array(tensor.detach().cpu().numpy())

    def first_array(self, output: Any) -> np.ndarray:
        """The first tensor in what a model returns."""
        tensors = self.tensors_in(output)
        if not tensors:
            raise IncomparableError(f"the {self.side} returns no float tensor but {type(output).__name__}")
        return self.array(tensors[0])

    def with_first(self, output: Any, tensor: Any) -> Any:
        """What a model returns with another first tensor."""
        return self._rebuilt(output, iter([tensor, *self.tensors_in(output)[1:]]))

    def loss(self, function: Callable, output: Any, labels: np.ndarray) -> Any:
        """The scalar that the side's own loss function makes of the model's output."""
        with self.context(), self.framework.set_grad_enabled(True), explained(f"the {self.side}'s loss raises"):
            return function(output, self.tensor(labels))

    def backward(self, loss: Any) -> None:
        """Computes the gradients of a loss."""
        with self.context(), self.framework.set_grad_enabled(True), explained(f"the {self.side} raises in backward"):
            loss.backward()

    def gradients(self) -> dict[str, np.ndarray | None]:
        """The gradients of trainable parameters in Paddle's layout; None for one that received none."""
        return {name: self._in_layout(part, part.tensor.grad) for name, part in self.parameter_parts()}

    def parameter_parts(self) -> Iterator[tuple[str, Part]]:
        """Trainable parameters, or the parts of them, by the reference's names in Paddle's form."""
        for part in parts(self.named_parameters(), self._rules):
            yield self._rename.get(part.name, part.name), part

    def _in_layout(self, part: Part, tensor: Any) -> np.ndarray | None:
        """A copy of what belongs to a part of a parameter, in Paddle's layout; None of None."""
        return None if tensor is None else np.ascontiguousarray(part.view(self.array(tensor)))

    def build_optimizer(self, factory: Callable) -> None:
        """Makes the run's optimizer from the caller's function of the model."""
        with self.context():
            self.optimization = optimization_of(factory, self.model, self.side)

    def weights(self) -> dict[str, np.ndarray]:
        """Copies of parameters and statistics, by the reference's names in Paddle's form and layout."""
        return {self._rename.get(name, name): array for name, array in read_weights(self.model, self._layers).items()}

    def set_weights(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Puts arrays by the reference's names into the model, until `reset`; weights that are not named stay."""
        back = {new: old for old, new in self._rename.items()}
        dtype = np.dtype(self.precision)
        cast = {back.get(name, name): a.astype(dtype) if a.dtype.kind == "f" else a for name, a in arrays.items()}
        assign(self.model, cast, self._layers)
        self._changed |= arrays.keys()

    def reset(self) -> None:
        """Brings weights and statistics back to what they were when the run was made; drops gradients."""
        self.set_weights({name: self._initial[name] for name in self._changed})
        self._changed.clear()
        self._noise = None
        self.clear_gradients()

    def perturb(self, seed: int, halves: int) -> None:
        """Moves each weight and each layer's output up or down by so many halves of epsilon, until `reset`."""
        self._noise = np.random.default_rng([self.seed, seed, 1])
        self._halves = halves
        rng = np.random.default_rng([self.seed, seed])
        floats = {name: array.astype(np.float64) for name, array in self._initial.items() if array.dtype.kind == "f"}
        self.set_weights({name: array * self._factors(array.shape, rng) for name, array in floats.items()})

    # -----------------------------------------------------------------------------------------------------------------
    # Hooks

    def _enter(self, path: str, _layer: Any, inputs: Any) -> None:
        self._open.append(path)
        if path == self.inputs_of and not self.seen_inputs:
            self.seen_inputs = [self.array(t) for t in self.tensors_in(inputs)]

    def _leave(
        self, path: str, listener: Listener | None, gradients: Listener | None, _l: Any, _i: Any, out: Any
    ) -> Any:
        self._open.pop()
        self._calls[path] += 1
        calls = self._calls[path]
        return self._visit(path if calls == 1 else f"{path} (call {calls})", out, listener, gradients)

    def _visit(self, name: str, output: Any, listener: Listener | None, gradients: Listener | None) -> Any:
        """Shows an output to the listeners; returns it with what the first one replaced, or None."""
        named = self._named_tensors(output)
        if self.skips_repeats and len(named) == 1 and named[0][1] is self._last:
            return None  # a container that returns its last layer's output
        replaced = False
        shown = []
        for suffix, tensor in named:
            # A layer's first output is the layer's: PyTorch's attention returns its weights too, Paddle's does not.
            key = f"{name} {suffix if name == OUTPUT else suffix.removeprefix('[0]')}".rstrip()
            answer = listener(key, self.array(tensor)) if listener else None
            if answer is not None:
                tensor, replaced = self.tensor(answer), True
            elif self._noise is not None:
                tensor, replaced = tensor * self.tensor(self._factors(tensor.shape, self._noise)), True
            if gradients is not None:
                self._watch_gradient(key, tensor, gradients)
            shown.append(tensor)
        self._last = shown[0] if len(shown) == 1 else None
        return self._rebuilt(output, iter(shown)) if replaced else None

    def _factors(self, shape: Sequence[int], noise: np.random.Generator) -> np.ndarray:
        """Factors a few roundings above or below 1; of an output they move the gradient on the way back too."""
        step = self._halves * np.finfo(self.precision).eps / 2
        return 1 + step * (noise.integers(2, size=tuple(shape), dtype=np.int8) * 2 - 1)

    def _watch_gradient(self, name: str, tensor: Any, listener: Listener) -> None:
        """Nothing if none flows there; Paddle's tensors have `requires_grad` since 3.1 only."""
        if not tensor.stop_gradient if hasattr(tensor, "stop_gradient") else tensor.requires_grad:
            tensor.register_hook(lambda gradient: listener(name, self.array(gradient)) and None)

    def _is_tensor(self, value: Any) -> bool:
        return isinstance(value, self.framework.Tensor) and value.is_floating_point()

    def tensors_in(self, value: Any) -> list[Any]:
        """The float tensors in nested tuples, lists and dicts."""
        return [tensor for _, tensor in self._named_tensors(value)]

    def _named_tensors(self, value: Any) -> list[tuple[str, Any]]:
        """The same with their places, such as `[1]` or `['logits']`; a tensor by itself has none."""
        if self._is_tensor(value):
            return [("", value)]
        items = (
            value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, (tuple, list)) else ()
        )
        return [(f"[{key!r}]{place}", tensor) for key, inner in items for place, tensor in self._named_tensors(inner)]

    def _rebuilt(self, value: Any, tensors: Iterator[Any]) -> Any:
        """The same nest with other tensors."""
        if self._is_tensor(value):
            return next(tensors)
        if isinstance(value, dict):
            return {key: self._rebuilt(inner, tensors) for key, inner in value.items()}
        if isinstance(value, (tuple, list)):
            inner = [self._rebuilt(part, tensors) for part in value]
            return type(value)(*inner) if hasattr(value, "_fields") else type(value)(inner)
        return value

    def _inject_masks(self, path: str, layer: Any) -> None:
        """Makes a dropout layer draw its mask from seed, path and call, so that both sides draw the same."""
        calls = self._calls

        def forward(layer: Any, x: Any) -> Any:
            key = [self.seed, zlib.crc32(path.encode()), calls[path]]
            return self._dropped(layer, x, np.random.default_rng(key).random(tuple(x.shape)))

        layer.forward = types.MethodType(forward, layer)

    def _dropped(self, layer: Any, x: Any, draws: np.ndarray) -> Any:
        """What a dropout layer makes of x in its present mode when chance draws these numbers from [0, 1)."""
        upscale = getattr(layer, "mode", "upscale_in_train") == "upscale_in_train"  # PyTorch has no other
        kept_part = 1 - single(layer.p)
        if not layer.training:
            return x if upscale else x * kept_part
        kept = self.tensor((_dropout_draws(layer, draws) >= layer.p).astype(self.precision))
        return x * kept / kept_part if upscale else x * kept


def _inside(path: str, opaque: Sequence[str]) -> bool:
    """Whether a layer lies within one whose path matches a pattern."""
    parents = [path[: match.start()] for match in re.finditer(r"\.", path)]
    return any(re.fullmatch(pattern, parent) for pattern in opaque for parent in parents)


def _dropout_draws(layer: Any, draws: np.ndarray) -> np.ndarray:
    """Draws for each element, for each channel in a dropout of whole maps, or along Paddle's argument `axis`."""
    whole_maps = type(layer).__name__.lower() in ("dropout1d", "dropout2d", "dropout3d")
    channel = -1 if str(getattr(layer, "data_format", "NCHW")).endswith("C") else 1
    axis = (0, channel) if whole_maps else getattr(layer, "axis", None)
    if axis is None:
        return draws
    kept = [i % draws.ndim for i in (axis if isinstance(axis, (tuple, list)) else (axis,))]
    one_draw = draws[tuple(slice(None) if i in kept else slice(0, 1) for i in range(draws.ndim))]
    return np.broadcast_to(one_draw, draws.shape)
