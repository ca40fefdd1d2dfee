"""Reads weight files without ever executing a pickle."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import safetensors

from weights.layouts import LAYOUTS
from weights.pickles import CheckpointError, PickleReader, kind_of, plain_array, shown
from weights.torch_files import TorchTensor, from_bfloat16, read_torch

Arrays = dict[str, np.ndarray]

# More than any weights compress, but for files so small that it does not matter.
_MAX_COMPRESSION, _SMALL = 50, 2**24


def read_file(path: str | Path) -> Arrays:
    """Reads `.pdparams`, `.npz`, `.safetensors`, and PyTorch's `.pt`, `.pth`, `.tar` files.

    Returns:
        Arrays by the file's own names, with the file's own order of axes, perhaps not writable; bfloat16 comes back as
        float32.

    Raises:
        CheckpointError: The file is absent, truncated, of an unknown format, or a pickle that asks for anything but
            arrays (which is then not executed).
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"there is no weight file {path}")
    readers: dict[str, Callable[[Path], Any]] = {
        ".pdparams": _read_paddle, ".npz": _read_npz, ".safetensors": _read_safetensors,
        ".pt": read_torch, ".pth": read_torch, ".tar": read_torch,
    }  # fmt: skip
    if path.suffix not in readers:
        raise CheckpointError(f"{path}: the weight formats are {', '.join(readers)}, got {path.suffix or 'no suffix'}")
    with _one_clear_error(path):
        arrays = _arrays_in(readers[path.suffix](path), path)
        if path.suffix != ".pdparams":
            return arrays
        # Paddle writes bfloat16 as uint16.
        return {name: from_bfloat16(array) if array.dtype == np.uint16 else array for name, array in arrays.items()}


def read_pickle(path: Path) -> Any:
    """Reads a pickle of arrays, numbers, strings and containers; raises CheckpointError as `read_file` does."""
    with _one_clear_error(path):
        return _read_paddle(path)


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


def _read_paddle(path: Path) -> Any:
    content = path.read_bytes()
    return PickleReader(path, len(content)).load(io.BytesIO(content))


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


def _arrays_in(content: Any, path: Path) -> Arrays:
    own = (layout.key for layout in LAYOUTS.values() if layout.key)
    for key in dict.fromkeys(("state_dict", "model_state", "model", *own)):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds a {kind_of(content)}, not arrays by name")
    arrays = {}
    left = path.stat().st_size * _MAX_COMPRESSION + _SMALL  # an array may stand under many names, and be built for each
    for name, value in content.items():
        array = _array_of(name, value, path)
        if array is not None:
            arrays[name] = array
            left -= array.nbytes * (2 if array.dtype == np.uint16 else 1)  # bfloat16 becomes float32
        if left < 0:
            raise CheckpointError(f"{path}: its arrays are more than {_MAX_COMPRESSION} times larger than the file")
    if not arrays:
        raise CheckpointError(f"{path} holds no arrays")
    return arrays


def _array_of(name: Any, value: Any, path: Path) -> np.ndarray | None:
    """The array of a pair of a dict; None for the one that Paddle adds."""
    if not isinstance(name, str) or not name.isprintable():
        raise CheckpointError(f"{path} names an array {shown(getattr(name, 'name', name))!r}: names are printable text")
    value = value.numpy() if isinstance(value, TorchTensor) else value
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], np.ndarray):
        value = value[1]  # Paddle 2 wrote (name, array)
    if isinstance(value, np.ndarray):
        return value
    if name != "StructuredToParameterName@@":
        raise CheckpointError(f"{path}: {shown(name)} is a {kind_of(value)}, not an array")
    return None
