"""What there is to say of the weight files of one public source: `Layout`, and `Kind` for its framework."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from weights.tables import Table

Fields = Mapping[str, Any]  # names of recipe fields -> their values

COUNTER = "num_batches_tracked"


@dataclass(frozen=True)
class Kind:
    """How a framework names the statistics of a norm, and in which order it keeps the axes of an array.

    Attributes:
        words: Our last part of a name -> theirs.
        to_ours: (their name, their array) -> our array.
        to_theirs: (their name, our array) -> their array.
        moved: What `to_ours` does to the axes, in words.
        mark: An end of a name that only this kind of file has.
        counter: Last part of the name of a counter that stands beside the statistics; empty if there is none.
        spelled: Their name -> the one of several spellings that the tables have.
        written: A name of the tables -> the spelling of its authors' own files.
    """

    words: Mapping[str, str]
    to_ours: Callable[[str, np.ndarray], np.ndarray]
    to_theirs: Callable[[str, np.ndarray], np.ndarray]
    moved: str
    mark: str
    counter: str = ""
    spelled: Callable[[str], str] = str
    written: Callable[[str], str] = str

    @property
    def ours(self) -> dict[str, str]:
        """Their last part of a name -> ours."""
        return {theirs: ours for ours, theirs in self.words.items()}


def _transpose_matrix(name: str, array: np.ndarray) -> np.ndarray:
    return array.T if array.ndim == 2 else array  # of these networks' weights only the classifier's is a matrix


def torch_with_pointwise(pattern: str) -> Kind:
    """PyTorch's, where classifiers whose names match are convolutions of 1x1x1 and not matrices."""

    def to_ours(name: str, array: np.ndarray) -> np.ndarray:
        return array.reshape(array.shape[:2]).T if re.fullmatch(pattern, name) else _transpose_matrix(name, array)

    def to_theirs(name: str, array: np.ndarray) -> np.ndarray:
        return array.T[..., None, None, None] if re.fullmatch(pattern, name) else _transpose_matrix(name, array)

    return dataclasses.replace(TORCH, to_ours=to_ours, to_theirs=to_theirs)


_WORDS = {"_mean": "running_mean", "_variance": "running_var"}
PADDLE = Kind({}, lambda _, array: array, lambda _, array: array, "", "._mean")
TORCH = Kind(_WORDS, _transpose_matrix, _transpose_matrix, "[out, in] to [in, out]", ".running_mean", COUNTER)


@dataclass(frozen=True)
class Layout:
    """The names and arrays of the weight files of one source, and what its code takes for granted.

    A function takes recipe fields as one flat mapping, `model` and `num_segments` among them.

    Attributes:
        kind: Its framework.
        tables: One for each kind of network.
        table_of: Our arrays -> the number of the table that they are written by, where our names alone fit several;
            else None.
        wraps: Whether a name shows that a temporal module wraps its layer.
        hides: Whether its files, which do not mark wrapped layers, may be of a network with temporal shifts.
        keeps: Name -> whether it is one of ours that the layout has, too, so that no table is asked.
        has_recipe: Whether `recipe.json` and class names lie beside its files, which are those that we train.
        axes: Of the kernels of its convolutions, where its names are also those of a layout with other ones.
        prefix: What stands before every name in its authors' files.
        key: Where its authors' files of PyTorch keep the weights; empty if they are all of the file.
        left_out: Patterns of names that a file may hold and no model of ours has -> why.
        network: Fields without which the weights mean something else.
        protocol: Fields of its authors' way to sample and test.
        network_in_name, protocol_in_name: Patterns of file names, whose named groups are fields of the one and of the
            other kind.
        network_of, protocol_of: Path of a file -> what else it says of the network, and of the way to sample and test.
        options: Fields that the tensors show -> those of them that may be believed.
        follows: Fields of a recipe -> fields of the network that the source's code derives from them.
        built_in: Fields of a recipe -> fields that the source's code leaves no choice of, beyond epsilon and padding.
        refuses: Fields of a recipe -> why the source's code cannot compute the same network; empty if it can.
        implied: Our arrays -> further ones, which its network has as constants and its files leave out.
        refuses_file: Name of a file -> why the network is none of ours although its tensors fit; empty if it may be.
        unused: (our name of a tensor that the model lacks, unmarked names of the model) -> why the network does not use
            it; empty if it does.
    """

    kind: Kind
    tables: tuple[Table, ...]
    table_of: Callable[[Mapping[str, np.ndarray]], int | None] = lambda _: None
    wraps: bool = False
    hides: bool = False
    keeps: Callable[[str], bool] = lambda _: False
    has_recipe: bool = False
    axes: int = 0
    prefix: str = ""
    key: str = ""
    left_out: Mapping[str, str] = field(default_factory=dict)
    network: Fields = field(default_factory=dict)
    protocol: Fields = field(default_factory=dict)
    network_in_name: tuple[str, ...] = ()
    protocol_in_name: tuple[str, ...] = ()
    network_of: Callable[[str], Fields] = lambda _: {}
    protocol_of: Callable[[str], Fields] = lambda _: {}
    options: Callable[[Fields], Fields] = dict
    follows: Callable[[Fields], Fields] = lambda _: {}
    built_in: Callable[[Fields], Fields] = lambda _: {}
    refuses: Callable[[Fields], str] = lambda _: ""
    implied: Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]] = lambda _: {}
    refuses_file: Callable[[str], str] = lambda _: ""
    unused: Callable[[str, Collection[str]], str] = lambda *_: ""
