"""Puts weights into a model by name: whole, or without the parts that the caller names, or not at all."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from weights.layouts import LAYOUTS
from weights.pickles import CheckpointError
from weights.translation import Translation, folded

if TYPE_CHECKING:
    from paddle import nn

# What may be left as initialized, by the name under which a caller allows it.
PARTS = {
    "head": "the classifier",
    "modules": "the temporal modules",
    "frames": "what the network has beyond the one of images whose weights these are",
    "marks": "the marks of wrapped layers (.net)",
}


@dataclass
class Coverage:
    """What became of each tensor of the file and of the model.

    Attributes:
        layout: The file's.
        taken: Which part of the file was read, see `Translation`.
        loaded: Our names -> what was done to the array.
        new: Our names that were left as initialized -> the reason.
        skipped: The file's names that were left out -> the reason.
        unmarked: Our names of layers that a temporal module wraps and that the file, against its habit, does not mark.
    """

    layout: str
    taken: str = ""
    loaded: dict[str, str] = field(default_factory=dict)
    new: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    unmarked: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        parts = [self.taken] if self.taken else []
        parts += [f"{len(self.loaded)} tensors loaded (layout {self.layout})"]
        parts += [f"{len(names)} left as initialized: {reason}" for reason, names in _by_reason(self.new)]
        parts += [f"{len(names)} skipped: {reason}" for reason, names in _by_reason(self.skipped)]
        if self.unmarked:
            parts.append(f"the file does not show the temporal modules around {len(self.unmarked)} layers")
        return "; ".join(parts)

    def table(self) -> str:
        """A line for each thing that became of tensors: how many, why, and the first of them."""
        lines = [self.taken] if self.taken else []
        for title, reasons in (
            ("matched", self.loaded), ("only in the file", self.skipped), ("only in the model", self.new),
        ):  # fmt: skip
            for reason, names in _by_reason(reasons) or [("", [])]:
                example = f" ({names[0]}{', ...' if len(names) > 1 else ''})" if names else ""
                lines.append(f"{title:<18}{len(names):>5}  {reason}{example}".rstrip())
        if self.unmarked:
            lines.append(f"{'not shown':<18}{len(self.unmarked):>5}  temporal modules around ({self.unmarked[0]}, ...)")
        return "\n".join(lines)


def _by_reason(reasons: Mapping[str, str]) -> list[tuple[str, list[str]]]:
    groups: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        groups.setdefault(reason, []).append(name)
    return list(groups.items())


def assign(model: nn.Layer, found: Translation, partial: Collection[str] = ()) -> Coverage:
    """Puts weights into a model by name; nothing is assigned unless everything fits.

    Args:
        model: A recognizer whose parts are `backbone` and `cls_head`.
        found: As `translate` gives it.
        partial: Keys of PARTS. `head`: the file may lack the classifier, or have one of another size; `modules`: it may
            lack the tensors of temporal modules; `frames`: it may be of an image network, whose kernels are inflated
            (Carreira and Zisserman, CVPR 2017, section 2.4.2); `marks`: it may be silent about which layers temporal
            modules wrap. What is left out is named in the result.

    Raises:
        CheckpointError: A tensor of the model is absent from the file, one of the file is unknown to the model, a
            shape differs, or other layers are wrapped, beyond what `partial` accepts.
    """
    target = {folded(name): (name, tensor) for name, tensor in model.state_dict().items()}
    source = {folded(name): (name, array) for name, array in found.arrays.items()}
    inflated: dict[str, str] = {}
    if "frames" in partial:
        source, inflated = _inflated(source, {key: tensor.shape for key, (_, tensor) in target.items()}, model)
    coverage = Coverage(found.layout, found.taken, skipped=dict(found.dropped))
    for key, (name, tensor) in target.items():
        theirs, array = source.get(key, ("", None))
        shape = list(tensor.shape)
        if array is None:
            coverage.new[name] = _left_out(found, model, name, f"the file lacks {name} {shape}", partial)
        elif list(array.shape) != shape:
            why = f"{name} is {list(array.shape)} in the file and {shape} in the model"
            part = _left_out(found, model, name, why, partial)
            coverage.new[name] = coverage.skipped[found.names[theirs]] = f"{part} of another size: {why}"
        else:
            if key not in inflated:
                _check_marks(coverage, found, theirs, name, partial)
            coverage.loaded[name] = inflated.get(key) or found.reshaped.get(theirs, "as they are")
    for key in [key for key in source if key not in target]:
        coverage.skipped[found.names[source[key][0]]] = _why_unused(found, key, source[key][0], target)
    for name in coverage.loaded:
        tensor, (_, array) = target[folded(name)][1], source[folded(name)]
        tensor.set_value(array.astype(str(tensor.dtype).rpartition(".")[2]))
    return coverage


def _why_unused(found: Translation, key: str, theirs: str, target: Collection[str]) -> str:
    """Why a tensor of the file has no place in the model; raises CheckpointError if it should have one."""
    if why := LAYOUTS[found.layout].unused(key, target):
        return why
    raise _misfit(found, f"the file holds {found.names[theirs]}, which the model does not have")


def _inflated(
    source: Mapping[str, tuple[str, np.ndarray]], shapes: Mapping[str, Sequence[int]], model: nn.Layer
) -> tuple[dict[str, tuple[str, np.ndarray]], dict[str, str]]:
    """The tensors of an image network as those of a network over clips, which sees a still picture as the first did.

    A kernel is repeated over the frames, each with its share; channels that are joined to its input from elsewhere get
    zeros. A network that has the image network as one of its pathways says so by `image_prefix` of its backbone.

    Returns:
        Key -> name and array, and key -> what was done, for those that are not as they were.
    """
    prefix = "backbone." + getattr(model.backbone, "image_prefix", "")
    result, done = {}, {}
    for key, (name, array) in source.items():
        renamed = prefix + key.removeprefix("backbone.") if key.startswith("backbone.") and key not in shapes else key
        shape = list(shapes.get(renamed, ()))
        if renamed != key:
            done[renamed] = "as they are"
        if array.ndim == 4 and len(shape) == 5 and array.shape[0] == shape[0] and array.shape[1] <= shape[1]:
            kernel = np.zeros(shape, array.dtype)
            kernel[:, : array.shape[1]] = array[:, :, None] / shape[2]
            array, done[renamed] = kernel, f"inflated over frames, a share of 1 / {shape[2]} each"
        result[renamed] = (name, array)
    return result, done


def _left_out(found: Translation, model: nn.Layer, name: str, why: str, partial: Collection[str]) -> str:
    """What a tensor belongs to that stays as initialized; raises CheckpointError if it must not."""
    part = "head" if name.startswith("cls_head.") else "modules" if _is_of_module(name, model) else ""
    if not part and getattr(model.backbone, "image_prefix", "") not in name.partition(".")[2]:
        part = "frames"  # of another pathway than that of the image network
    if part not in partial:
        raise _misfit(found, why, part)
    return PARTS[part]


def _check_marks(coverage: Coverage, found: Translation, theirs: str, ours: str, partial: Collection[str]) -> None:
    """Notes a layer that a temporal module wraps in the model only; raises CheckpointError if that must not be."""
    if theirs == ours or not found.wraps:
        return
    if theirs != folded(theirs):
        raise _misfit(found, f"a temporal module stands at {theirs} in the file, and not there in the model")
    if "marks" not in partial:
        raise _misfit(found, f"a temporal module wraps {ours} in the model, and not in the file", "marks")
    coverage.unmarked.append(ours)


def _misfit(found: Translation, why: str, part: str = "") -> CheckpointError:
    looks = f" (by its names it is {' or '.join(found.models)})" if found.models and part != "head" else ""
    way_out = f"; {PARTS[part]} may be left out where training starts, or by --partial {part}" if part else ""
    return CheckpointError(f"{found.origin} does not fit the model: {why}{looks}{way_out}")


def _is_of_module(name: str, model: nn.Layer) -> bool:
    """Whether a tensor belongs to a temporal module itself and not to the layer that the module wraps."""
    layer: Any = model
    for part in name.split(".")[:-1]:
        inside = hasattr(layer, "net")
        layer = getattr(layer, part) if hasattr(layer, part) else layer[int(part)]
        if inside and part != "net":
            return True
    return False
