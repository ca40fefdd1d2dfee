"""What the file of a family of networks provides, as one value named IMPLEMENTATION."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from paddle import nn

Arrays = Mapping[str, np.ndarray]


class Recognition(NamedTuple):
    """A network that a family finds in the tensors of a weight file.

    Attributes:
        variant: Variant of the family, such as `r50`.
        options: Options that the tensors show.
        open_question: What the tensors leave open, as the end of a sentence that begins with them; empty if nothing.
        answers: Options with their values, any of which answers the open question.
        alike: Other variants whose tensors are the same, for other clips.
    """

    variant: str
    options: Mapping[str, Any]
    open_question: str = ""
    answers: Mapping[str, tuple[Any, ...]] = {}
    alike: tuple[str, ...] = ()


def _nothing_recognized(arrays: Arrays, modules_hidden: bool) -> Recognition | None:
    return None


@dataclass(frozen=True)
class Implementation:
    """The functions of a family.

    Attributes:
        build: (options, number of classes, frames T of a view) -> network with random weights, which maps clips
            float32 [N, T, 3, H, W] to logits [N, K].
        recognize: (arrays by our names, whether the names hide temporal modules) -> what the family takes them for.
    """

    build: Callable[[Any, int, int], nn.Layer]
    recognize: Callable[[Arrays, bool], Recognition | None] = _nothing_recognized
