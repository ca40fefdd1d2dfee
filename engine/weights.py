"""Loads weights into a model by name, whole or not at all, whatever of the known layouts the file has."""

from __future__ import annotations

import collections
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from paddle import nn

from engine.weight_files import Arrays, CheckpointError, read_weights


@dataclass
class Coverage:
    """What became of each tensor of the file and of the model."""

    loaded: list[str] = field(default_factory=list)
    new: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        parts = [f"{len(self.loaded)} tensors loaded"]
        if self.new:
            kinds = collections.Counter(name.split(".")[0] for name in self.new)
            parts.append("left as initialized: " + ", ".join(f"{count} of {kind}" for kind, count in kinds.items()))
        parts += [f"skipped {name}: {reason}" for name, reason in self.skipped.items()]
        return "; ".join(parts)


def load_weights(model: nn.Layer, path: str | Path, *, finetune: bool = False) -> Coverage:
    """Reads a weight file and assigns it to a model: `read_named`, then `assign`, whose errors and result it has."""
    return assign(model, read_named(path), path, finetune=finetune)


def assign(model: nn.Layer, source: Arrays, path: str | Path, *, finetune: bool = False) -> Coverage:
    """Puts arrays into a model by name; nothing is assigned unless everything fits.

    Args:
        model: A recognizer whose parts are `backbone` and `cls_head`.
        source: As `read_named` gives them.
        path: The file that they come from, for messages.
        finetune: Accept a file without temporal modules, and without the classifier or with one of another size; what
            is left out is named in the result.

    Raises:
        CheckpointError: A tensor of the model is absent from the file, one of the file is unknown to the model, or a
            shape differs, beyond what `finetune` accepts.
    """
    target = {_canonical(name): (name, tensor) for name, tensor in model.state_dict().items()}
    coverage = Coverage()
    for key, array in source.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise CheckpointError(f"{path}: {key} holds values that are not finite; take an earlier checkpoint")
    matched = [key for key in target if key in source and list(source[key].shape) == list(target[key][1].shape)]
    for key in (key for key in target if key not in matched):
        name, tensor = target[key]
        is_head, is_module = name.startswith("cls_head."), _is_temporal(name, model)
        if not (finetune and (is_head or (is_module and key not in source))):
            raise CheckpointError(f"{path} does not fit the model: {_why(name, tensor, source.get(key))}")
        coverage.new.append(name)
        if key in source:
            coverage.skipped[key] = f"{list(source[key].shape)} where the model has {list(tensor.shape)}"
    for key in (key for key in source if key not in target):
        if not (finetune and key.startswith("cls_head.")):
            raise CheckpointError(f"{path} does not fit the model: it holds {key}, which the model does not have")
        coverage.skipped[key] = "the model's classifier has another name or size"
    for key in matched:
        name, tensor = target[key]
        tensor.set_value(source[key].astype(str(tensor.dtype).rpartition(".")[2]))
        coverage.loaded.append(name)
    return coverage


def classes_in(source: Arrays, path: str | Path) -> int:
    """Classes of the classifier among the arrays that `read_named` gives of a file.

    Raises:
        CheckpointError: The file holds no classifier.
    """
    if "cls_head.new_fc.bias" not in source:
        raise CheckpointError(f"{path} holds no classifier (cls_head.new_fc): train from it first")
    return len(source["cls_head.new_fc.bias"])


_PREFIXES = ("module.", "base_model.", "backbone.")
_STATISTICS = {"running_mean": "_mean", "running_var": "_variance"}
# The first that fits counts, so a name stands before its own beginning.
_HEADS = ("cls_head.fc_cls.", "classifier.1.", "classifier.", "head.fc.", "new_fc.", "fc.")


def read_named(path: str | Path) -> Arrays:
    """Reads a weight file and folds the known variations of names into one.

    They are DataParallel's `module.`, a missing `backbone.`, the `.net` of a wrapped convolution, PyTorch's names of
    BatchNorm's statistics, other names of the classifier, and MobileNetV2's blocks as one flat Sequential.

    Raises:
        CheckpointError: The file cannot be read, or two of its tensors have one name.
    """
    arrays = read_weights(path)
    renamed: Arrays = {}
    expanded = {match[1] for name in arrays if (match := re.match(r"(.*features\.\d+\.conv\.)7\.", name))}
    for name, value in arrays.items():
        if name.endswith("num_batches_tracked"):
            continue
        key = _canonical(_nested_mobilenet_name(name, expanded))
        if key in renamed:
            raise CheckpointError(f"{path} holds {key} twice, once as {name}")
        renamed[key] = value
    return renamed


# MobileNetV2's blocks as one flat Sequential (MIT, and torchvision before 0.3), by torchvision's nested names.
_FLAT_BLOCK = {"0": "0.0", "1": "0.1", "3": "1.0", "4": "1.1", "6": "2", "7": "3"}
_FLAT_BLOCK_WITHOUT_EXPANSION = {"0": "0.0", "1": "0.1", "3": "1", "4": "2"}


def _nested_mobilenet_name(name: str, expanded: set[str]) -> str:
    match = re.match(r"(.*features\.\d+\.conv\.)(\d+)\.((?:net\.)?\D+)$", name)
    if not match or not expanded:
        return name
    stem, index, last = match.groups()
    names = _FLAT_BLOCK if stem in expanded else _FLAT_BLOCK_WITHOUT_EXPANSION
    return f"{stem}{names[index]}.{last}" if index in names else name


def _canonical(name: str) -> str:
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    stem, dot, last = name.rpartition(".")
    name = f"{stem}{dot}{_STATISTICS.get(last, last)}".replace(".net.", ".")
    for head in _HEADS:
        if name.startswith(head):
            return "cls_head.new_fc." + name.removeprefix(head)
    return name if name.startswith("cls_head.") else "backbone." + name


def _is_temporal(name: str, model: nn.Layer) -> bool:
    """Whether a tensor belongs to a temporal module itself and not to the layer that the module wraps."""
    layer: Any = model
    for part in name.split(".")[:-1]:
        inside = hasattr(layer, "net")
        layer = getattr(layer, part) if hasattr(layer, part) else layer[int(part)]
        if inside and part != "net":
            return True
    return False


def _why(name: str, tensor: Any, found: np.ndarray | None) -> str:
    if found is None:
        return f"it lacks {name} {list(tensor.shape)}"
    return f"{name} is {list(found.shape)} in the file and {list(tensor.shape)} in the model"
