"""What goes into a graph and what comes out: named tensors, and states that flow from an output back to an input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from runtime.errors import UserError

CLIP_AXES, IMAGE_AXES = 4, 3  # of one clip (T, 3, H, W), of one image (3, H, W)


class SignatureError(UserError):
    """A signature that contradicts itself, or arrays that are not those that it names."""


@dataclass(frozen=True)
class TensorSpec:
    """A named input or output of a graph.

    Attributes:
        name: Of an input, its name in the graph; of an output, ours: graphs name outputs as their writers like.
        shape: Sizes of the axes; None where any size goes, as for the batch.
        dtype: As NumPy spells it.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str = "float32"

    def zeros(self, batch: int = 1) -> np.ndarray:
        """Zeros of this shape and dtype, with `batch` where any size goes."""
        return np.zeros([batch if size is None else size for size in self.shape], self.dtype)

    def array(self, values: np.ndarray) -> np.ndarray:
        """The values, contiguous and in this dtype; raises SignatureError for another shape."""
        shape = np.shape(values)
        if len(shape) != len(self.shape) or any(
            size not in (None, found) for size, found in zip(self.shape, shape, strict=True)
        ):
            raise SignatureError(f"the graph takes {self.name} of shape {list(self.shape)}, got {list(shape)}")
        return np.asarray(values, self.dtype, order="C")


@dataclass(frozen=True)
class Signature:
    """Inputs and outputs of a graph, in the order in which the traced model's `forward` takes and returns them.

    The states are its last inputs, and come as one list, see `arguments`.

    Attributes:
        inputs, outputs: One each at least.
        states: (output, input) by name: what comes out of a step goes in at the next one; zeros go in at the first.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    states: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        """Raises SignatureError for a name that occurs twice, and for a state that has no place to go."""
        for specs in (self.inputs, self.outputs):
            names = [spec.name for spec in specs]
            if not names or len(set(names)) < len(names):
                raise SignatureError(f"inputs and outputs need names of their own, got {names}")
        sources = {spec.name: (spec.shape, spec.dtype) for spec in self.outputs}
        targets = {spec.name: (spec.shape, spec.dtype) for spec in self.inputs}
        for output, target in self.states:
            if output not in sources or sources[output] != targets.get(target):
                raise SignatureError(f"state {output} -> {target}: both must exist, with one shape and dtype")

    @classmethod
    def of_clips(cls, clip_shape: Sequence[int], num_classes: int | None = None) -> Signature:
        """Clips float32 [N, *clip_shape] in, logits float32 [N, K] out."""
        return cls.of_views(clip_shape, (num_classes,))

    @classmethod
    def of_views(cls, view_shape: Sequence[int], output_shape: Sequence[int | None] = (None,)) -> Signature:
        """Clips float32 [N, T, 3, H, W], or images [N, 3, H, W], in, logits float32 [N, *output_shape] out."""
        name = "clips" if len(view_shape) == CLIP_AXES else "images"
        return cls((TensorSpec(name, (None, *view_shape)),), (TensorSpec("logits", (None, *output_shape)),))

    @classmethod
    def of_stream(
        cls, frame_shape: Sequence[int], states: Sequence[Sequence[int]], num_classes: int | None = None
    ) -> Signature:
        """Frames float32 [N, *frame_shape] and states in, logits float32 [N, K] and the next states out."""
        inputs = [TensorSpec(f"state_{i}", (None, *shape)) for i, shape in enumerate(states)]
        outputs = [TensorSpec(f"next_{spec.name}", spec.shape) for spec in inputs]
        return cls(
            (TensorSpec("frames", (None, *frame_shape)), *inputs),
            (TensorSpec("logits", (None, num_classes)), *outputs),
            tuple((output.name, target.name) for output, target in zip(outputs, inputs, strict=True)),
        )

    def arguments(self, values: Sequence[Any]) -> list[Any]:
        """Values of all inputs as `forward` of the model takes them: those of the states as one list at the end."""
        targets = dict(self.states).values()
        kept = [value for spec, value in zip(self.inputs, values, strict=True) if spec.name in targets]
        plain = [value for spec, value in zip(self.inputs, values, strict=True) if spec.name not in targets]
        return [*plain, kept] if kept else plain

    def with_batch(self, batch: int) -> Signature:
        """The same for batches of one size alone."""

        def fixed(spec: TensorSpec) -> TensorSpec:
            return replace(spec, shape=tuple(batch if size is None else size for size in spec.shape))

        return replace(self, inputs=tuple(map(fixed, self.inputs)), outputs=tuple(map(fixed, self.outputs)))

    @property
    def takes_views(self) -> bool:
        """Whether one batch of clips or images goes in, one batch of logits comes out, and nothing flows back."""
        is_single = len(self.inputs) == len(self.outputs) == 1 and not self.states
        return is_single and len(self.inputs[0].shape) - 1 in (CLIP_AXES, IMAGE_AXES)

    def arrays(self, given: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The arrays of all inputs as the graph takes them; raises SignatureError for other names or shapes."""
        names = [spec.name for spec in self.inputs]
        if set(given) != set(names):
            raise SignatureError(f"the graph takes {', '.join(names)}, got {', '.join(given) or 'nothing'}")
        return {spec.name: spec.array(given[spec.name]) for spec in self.inputs}

    def named(self, results: Sequence[Any]) -> dict[str, np.ndarray]:
        """A graph's results, in its order, under the names and in the dtypes of the outputs."""
        return {spec.name: np.asarray(found, spec.dtype) for spec, found in zip(self.outputs, results, strict=True)}

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Signature:
        """The inverse of `to_dict`, after JSON has turned tuples into lists."""
        inputs, outputs = (
            tuple(TensorSpec(spec["name"], tuple(spec["shape"]), spec["dtype"]) for spec in content[side])
            for side in ("inputs", "outputs")
        )
        return cls(inputs, outputs, tuple((output, target) for output, target in content["states"]))
