"""Networks of chosen descendants: for a moment in the original itself, or as copies of their own."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from paddle import nn

from models.temporal_module import find_layer, replace_layer
from runtime.errors import UserError
from runtime.owned import digest_of
from scaling.derive import rebuilt
from scaling.extract import Block
from scaling.store import read_manifest
from weights.files import read_file

Choice = tuple[float, ...]  # the sparsity of each block, in the order of the blocks; 0 is the original's block


class Descendants:
    """The trained descendants of a job, each read from its file when it is first asked for.

    Args:
        model: The original.
        blocks: Its blocks.
        folder: Of the job.

    Attributes:
        multiple: See `derive`.
    """

    def __init__(self, model: nn.Layer, blocks: Sequence[Block], folder: Path) -> None:
        self.model = model
        self.blocks = blocks
        self.folder = folder
        manifest = read_manifest(folder)
        self.multiple: int = manifest["facts"]["multiple"]
        self._files = {(one["block"], one["sparsity"]): one for one in manifest["descendants"]}
        self._layers: dict[tuple[str, float], nn.Layer] = {}

    def of(self, choice: Choice) -> dict[str, nn.Layer]:
        """What takes the place of each block that a choice does not leave as it is, by path; in eval mode.

        Raises:
            UserError: There is no such descendant, or its file is damaged.
        """
        self.check(choice)
        return {
            block.path: self.of_block(block, sparsity)
            for block, sparsity in zip(self.blocks, choice, strict=True)
            if sparsity
        }

    def of_block(self, block: Block, sparsity: float) -> nn.Layer:
        """What takes the place of one block, for 0 the original's own; raises UserError as `of` does."""
        return self._layer(block, sparsity) if sparsity else find_layer(self.model, block.path)

    def check(self, choice: Choice) -> None:
        """Raises UserError unless a choice has a sparsity for each block."""
        if len(choice) != len(self.blocks):
            raise UserError(f"a choice names a sparsity for each of {len(self.blocks)} blocks, got {len(choice)}")

    def read(self, block: Block, sparsity: float) -> nn.Layer:
        """A descendant from its file, in eval mode; raises UserError as `of` does."""
        key = (block.path, sparsity)
        if key not in self._files:
            known = ", ".join(f"{one:g}" for path, one in self._files if path == block.path)
            raise UserError(f"{self.folder} has no descendant of {block.path} at {sparsity:g}: there are {known}")
        file = self.folder / self._files[key]["file"]
        own = find_layer(self.model, block.path)
        is_there = file.is_file() and digest_of(file) == self._files[key]["sha256"]
        layer = rebuilt(own, block.groups, sparsity, self.multiple, read_file(file)) if is_there else None
        if layer is None:
            raise UserError(f"{file} is missing or was changed: python -m scaling --output {self.folder} makes it")
        layer.eval()
        return layer

    def _layer(self, block: Block, sparsity: float) -> nn.Layer:
        key = (block.path, sparsity)
        if key not in self._layers:
            self._layers[key] = self.read(block, sparsity)
        return self._layers[key]


@contextmanager
def exchanged(model: nn.Layer, layers: Mapping[str, nn.Layer]) -> Iterator[nn.Layer]:
    """The model with other layers at these paths, while it is open; they are not copied."""
    before = {path: find_layer(model, path) for path in layers}
    try:
        for path, layer in layers.items():
            replace_layer(model, path, layer)
        yield model
    finally:
        for path, layer in before.items():
            replace_layer(model, path, layer)


def grafted(model: nn.Layer, layers: Mapping[str, nn.Layer]) -> nn.Layer:
    """A network that shares all with the model but the layers at these paths; neither sees the other change."""
    made = copy.copy(model)
    made._sub_layers = type(model._sub_layers)(model._sub_layers)
    below: dict[str, dict[str, nn.Layer]] = {}
    for path, layer in layers.items():
        name, _, rest = path.partition(".")
        below.setdefault(name, {})[rest] = layer
    for name, inner in below.items():
        made._sub_layers[name] = inner[""] if "" in inner else grafted(model._sub_layers[name], inner)
    return made


def composed(model: nn.Layer, layers: Mapping[str, nn.Layer]) -> nn.Layer:
    """A copy of the model with copies of these layers at these paths, in eval mode."""
    with exchanged(model, layers):
        made = copy.deepcopy(model)
    made.eval()
    return made


def size_bytes(layer: nn.Layer) -> int:
    """Bytes of all that a layer keeps: weights, and the statistics of norms."""
    return sum(int(tensor.size) * tensor.element_size() for tensor in layer.state_dict().values())
