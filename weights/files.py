"""Reads weight files without ever executing a pickle."""

from __future__ import annotations

import io
import re
import zipfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import safetensors

from weights.mxnet_files import MARK as MXNET_MARK
from weights.mxnet_files import read_mxnet
from weights.pickles import CheckpointError, PickleReader, WeightsReader, kind_of, plain_array, shown
from weights.torch_files import TorchTensor, from_bfloat16, is_legacy, read_torch_legacy, read_torch_zip

Arrays = dict[str, np.ndarray]

# More than any weights compress, but for files so small that it does not matter.
_MAX_COMPRESSION, _SMALL = 50, 2**24


@dataclass(frozen=True)
class Stored:
    """One set of weights in a file.

    Attributes:
        path: The file.
        key: The keys that lead to it, joined by dots; empty if the file is nothing but this set.
        averaged: Whether its place says that it is a moving average of weights.
        values: By the file's own names; beside arrays there may be whatever else stands there.
        is_plain_pickle: Whether Paddle may have written it, which keeps bfloat16 as uint16.
    """

    path: Path
    key: str
    averaged: bool
    values: Mapping[Any, Any]
    is_plain_pickle: bool

    @property
    def names(self) -> list[str]:
        """Of its arrays."""
        return [name for name, value in self.values.items() if type(name) is str and _is_array(value)]

    def of(self, names: Iterable[str], key: str) -> Stored:
        """A part of it as a set of its own, which stands under another key."""
        return replace(self, key=key, averaged=_is_average(key), values={name: self.values[name] for name in names})

    def arrays(self) -> Arrays:
        """By the file's own names, with the file's own order of axes, perhaps not writable; bfloat16 as float32.

        Raises:
            CheckpointError: Something else than arrays and plain data stands among them, or a tensor is damaged.
        """
        with _one_clear_error(self.path):
            arrays = _arrays_of(self.values, self.path)
        if not self.is_plain_pickle:
            return arrays
        return {name: from_bfloat16(array) if array.dtype == np.uint16 else array for name, array in arrays.items()}


def read_file(path: str | Path) -> Arrays:
    """Reads a weight file that holds one set of weights; see `read_sets` and `Stored.arrays`.

    Raises:
        CheckpointError: As they do, or the file holds several sets.
    """
    sets = read_sets(path)
    most = max(len(stored.names) for stored in sets)
    large = [stored for stored in sets if len(stored.names) * 10 > most]  # a score may be an array, too
    if len(large) > 1:
        raise CheckpointError(f"{path} holds {len(large)} sets of arrays: {', '.join(shown(s.key) for s in large)}")
    return large[0].arrays()


def read_sets(path: str | Path) -> list[Stored]:
    """Finds the sets of weights in a file; what it is its content says, whatever it is called.

    Formats: PyTorch's (the zip archive and the older one), safetensors, NumPy's `.npz`, MXNet's `.params`, and pickles
    of arrays, as Paddle's `.pdparams`.

    Raises:
        CheckpointError: The file is absent, truncated, of an unknown format, without arrays, or a pickle that asks for
            what no weights need (which is then not executed).
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"there is no weight file {path}")
    with _one_clear_error(path):
        reader = _reader_of(path)
        content = reader(path)
        found = [
            Stored(path, key, _is_average(key, content), values, reader is _read_pickle)
            for key, values in _dicts_of(content)
            if any(map(_is_array, values.values()))
        ]
    if not found:
        _complain(content, path)
    return found


def read_pickle(path: Path) -> Any:
    """Reads a pickle of arrays, numbers, strings and containers; raises CheckpointError as `read_file` does."""
    with _one_clear_error(path):
        content = path.read_bytes()
        return PickleReader(path, len(content)).load(io.BytesIO(content))


@contextmanager
def _one_clear_error(path: Path) -> Iterator[None]:
    """Turns whatever zipfile, zlib, struct or NumPy raise for a damaged file into one CheckpointError."""
    try:
        yield
    except CheckpointError:
        raise
    except Exception as error:
        reason = shown(error) or type(error).__name__
        raise CheckpointError(f"{path} is not a whole weight file: {reason}") from error


def _reader_of(path: Path) -> Callable[[Path], Any]:
    """What reads a file, by its first bytes, or by what an archive holds."""
    with path.open("rb") as file:
        head = file.read(512)
    if head.startswith(b"PK"):
        with zipfile.ZipFile(path) as archive:
            return _read_npz if all(name.endswith(".npy") for name in archive.namelist()) else read_torch_zip
    if head.startswith(MXNET_MARK):
        return read_mxnet
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 2**27:  # the length of its header
        return _read_safetensors
    if is_legacy(head):
        return read_torch_legacy
    if head[:1] in _FIRST_STEPS:
        return _read_pickle
    what = next((what for start, what in _OTHERS.items() if head.startswith(start)), f"it begins with {head[:8]!r}")
    raise CheckpointError(
        f"{path}: the weight formats are PyTorch's, safetensors, .npz, and Paddle's .pdparams; "
        f"{what if head else 'the file is empty'}"
    )


# The first byte of a pickle of today, and of a dict, a list or a name in the oldest.
_FIRST_STEPS = (b"\x80", b"(", b"}", b"]", b"c")
# How files begin that are given for weights.
_OTHERS = {
    b"\x89HDF": "this is HDF5: save the arrays by numpy.savez",
    b"version https://git-lfs": "this is a pointer of Git LFS: fetch the file itself by git lfs pull",
    b"\x1f\x8b": "this is compressed by gzip: unpack it",
    b"BZh": "this is compressed by bzip2: unpack it",
    b"7z": "this is a 7z archive: unpack it",
    b"\0\0\0\0": "of an exported graph, as in Paddle's .pdiparams, take the weights it was made of",
    b"<": "this is a web page, not the file that it links to",
}  # fmt: skip


def _read_pickle(path: Path) -> Any:
    content = path.read_bytes()
    return WeightsReader(path, len(content)).load(io.BytesIO(content))


def _read_npz(path: Path) -> Arrays:
    with zipfile.ZipFile(path) as archive:
        if sum(member.file_size for member in archive.infolist()) > path.stat().st_size * _MAX_COMPRESSION + _SMALL:
            raise ValueError(f"its arrays are more than {_MAX_COMPRESSION} times larger than the file")
        return {member.filename.removesuffix(".npy"): _read_npy(archive, member) for member in archive.infolist()}


def _read_npy(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError("a compression that NumPy does not use")
    with archive.open(member) as packed:
        content = packed.read(member.file_size)  # without the number, a wrong size would unpack without an end
    file = io.BytesIO(content)
    headers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    shape, fortran, dtype = headers[np.lib.format.read_magic(file)](file)
    return plain_array(dtype.str, shape, fortran, content[file.tell() :])


_SAFETENSORS_DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "<i1",
    "U8": "<u1", "BOOL": "?",
}  # fmt: skip


def _read_safetensors(path: Path) -> Arrays:
    arrays = {}
    for name, tensor in safetensors.deserialize(path.read_bytes()):
        if tensor["dtype"] not in _SAFETENSORS_DTYPES:
            known = ", ".join(_SAFETENSORS_DTYPES)
            raise CheckpointError(f"{path}: {shown(name)} is of type {tensor['dtype']}; the known types are {known}")
        data = np.frombuffer(tensor["data"], _SAFETENSORS_DTYPES[tensor["dtype"]])
        arrays[name] = (from_bfloat16(data) if tensor["dtype"] == "BF16" else data).reshape(tensor["shape"])
    return arrays


# How many keys may lead to a set of weights.
_DEPTH = 4


def _dicts_of(content: Any) -> Iterator[tuple[str, Mapping[Any, Any]]]:
    """Each dict of a file once, with the keys, and places in lists, that lead to it; the outer ones first."""
    places: deque[tuple[tuple[str, ...], Any]] = deque([((), content)])
    seen = set()
    while places:
        keys, value = places.popleft()
        if type(value) not in (dict, list, tuple) or id(value) in seen:
            continue
        seen.add(id(value))
        if type(value) is dict:
            yield ".".join(keys), value
        if len(keys) < _DEPTH:
            inside = value.items() if type(value) is dict else zip(map(str, range(len(value))), value, strict=True)
            places += [((*keys, key), inner) for key, inner in inside if type(key) is str]


def _is_average(key: str, content: Any = None) -> bool:
    """Whether a key is that of a moving average, by its words, or by what else the file holds."""
    for mark, raw in _SWAPPED.items():
        if isinstance(content, dict) and mark in content and raw in content and key in ("state_dict", raw):
            return key != raw
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", key)
    return any(word.lower() in ("ema", "swa", "average", "averaged") for word in words)


# Programs that put the average where the weights were, and the weights elsewhere: a key of their files -> that place.
# Source: mmengine 0.10 hooks/ema_hook.py, lightning 2.6 callbacks/weight_averaging.py.
_SWAPPED = {"message_hub": "ema_state_dict", "averaging_state": "current_model_state"}


def _is_array(value: Any) -> bool:
    is_pair = isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str)  # Paddle 2: (name, array)
    return isinstance(value[1] if is_pair else value, np.ndarray | TorchTensor)


def _arrays_of(values: Mapping[Any, Any], path: Path) -> Arrays:
    arrays = {}
    left = path.stat().st_size * _MAX_COMPRESSION + _SMALL  # an array may stand under many names, and be built for each
    for name, value in values.items():
        array = _array_of(name, value, path)
        if array is not None:
            arrays[name] = array
            left -= array.nbytes * (2 if array.dtype == np.uint16 else 1)  # bfloat16 becomes float32
        if left < 0:
            raise CheckpointError(f"{path}: its arrays are more than {_MAX_COMPRESSION} times larger than the file")
    return arrays


_PLAIN = (bool, int, float, complex, str, bytes, bytearray, list, tuple, dict, type(None), np.generic)


def _array_of(name: Any, value: Any, path: Path) -> np.ndarray | None:
    """The array of a pair of a dict; None for plain data, as an epoch, or what Paddle adds."""
    if not isinstance(name, str) or not name.isprintable():
        raise CheckpointError(f"{path} names an array {shown(getattr(name, 'name', name))!r}: names are printable text")
    if _is_array(value):
        value = value[1] if isinstance(value, tuple) else value
        return value.numpy() if isinstance(value, TorchTensor) else value
    if not isinstance(value, _PLAIN):
        raise CheckpointError(f"{path}: {shown(name)} is a {kind_of(value)}, not an array{_WAY_OUT}")
    return None


_WAY_OUT = "; of a whole model save its state_dict()"


def _complain(content: Any, path: Path) -> NoReturn:
    """Raises CheckpointError for a file without arrays, with what it holds instead."""
    if not isinstance(content, dict | list | tuple):
        raise CheckpointError(f"{path} holds a {kind_of(content)}, not arrays by name{_WAY_OUT}")
    for _, values in _dicts_of(content):
        _arrays_of(values, path)
    raise CheckpointError(f"{path} holds no arrays")
