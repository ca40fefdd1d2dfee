"""Reads weight files without ever executing a pickle."""

from __future__ import annotations

import codecs
import collections
import io
import pickle
import struct
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import safetensors
from safetensors import SafetensorError

from configs.errors import UserError

Arrays = dict[str, np.ndarray]


class CheckpointError(UserError):
    """A weight file that cannot be read, or that does not belong to the model."""


# What the readers raise at a file that ends too early or is not what its suffix says.
_DAMAGE = (
    pickle.UnpicklingError, zipfile.BadZipFile, SafetensorError, EOFError, KeyError, ValueError, TypeError,
    AttributeError, IndexError, struct.error, OSError, MemoryError, ImportError, OverflowError,
)  # fmt: skip


def read_file(path: str | Path) -> Arrays:
    """Reads `.pdparams`, `.npz`, `.safetensors`, and PyTorch's `.pt`, `.pth`, `.tar` files.

    Returns:
        Arrays by the file's own names, in the file's own arrangement; bfloat16 comes back as float32.

    Raises:
        CheckpointError: The file is absent, truncated, of an unknown format, or a pickle that asks for anything but
            arrays (which is then not executed).
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"there is no weight file {path}")
    readers: dict[str, Callable[[Path], Any]] = {
        ".pdparams": read_pickle, ".npz": _read_npz, ".safetensors": _read_safetensors,
        ".pt": _read_torch, ".pth": _read_torch, ".tar": _read_torch,
    }  # fmt: skip
    if path.suffix not in readers:
        raise CheckpointError(f"{path}: the weight formats are {', '.join(readers)}, got {path.suffix or 'no suffix'}")
    try:
        return _arrays_in(readers[path.suffix](path), path)
    except CheckpointError:
        raise
    except _DAMAGE as error:
        raise CheckpointError(f"{path} is not a whole weight file: {error or type(error).__name__}") from error


def read_pickle(path: Path) -> Any:
    """Reads a pickle of arrays, numbers, strings and containers; anything else in it is refused, not executed."""
    with path.open("rb") as file:
        return _ArrayUnpickler(file, path).load()


class _ArrayUnpickler(pickle.Unpickler):
    """Knows the few constructors that an array needs and refuses every other name."""

    ALLOWED: Mapping[tuple[str, str], Any] = {
        ("collections", "OrderedDict"): collections.OrderedDict,
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        ("_codecs", "encode"): codecs.encode,
        **{(f"numpy.{core}.multiarray", "_reconstruct"): np.ndarray([]).__reduce__()[0] for core in ("core", "_core")},
        **{(f"numpy.{core}.multiarray", "scalar"): np.float64(0).__reduce__()[0] for core in ("core", "_core")},
    }

    def __init__(self, file: BinaryIO, path: Path, **options: Any) -> None:
        super().__init__(file, **options)
        self._path = path

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.ALLOWED:
            raise CheckpointError(
                f"{self._path} is a pickle that calls {module}.{name}; only arrays are read and nothing is executed: "
                "take the file from its authors as arrays (.npz), or do not use it"
            )
        return self.ALLOWED[module, name]


def _read_npz(path: Path) -> Arrays:
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


_SAFETENSORS_DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "<i1",
    "U8": "<u1", "BOOL": "?",
}  # fmt: skip


def _read_safetensors(path: Path) -> Arrays:
    arrays = {}
    for name, tensor in safetensors.deserialize(path.read_bytes()):
        data = np.frombuffer(tensor["data"], _SAFETENSORS_DTYPES[tensor["dtype"]])
        arrays[name] = (_from_bfloat16(data) if tensor["dtype"] == "BF16" else data).reshape(tensor["shape"])
    return arrays


def _from_bfloat16(bits: np.ndarray) -> np.ndarray:
    """The float32 numbers whose upper halves are given as uint16."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


# PyTorch's two formats. Both hold one pickle, whose tensors name their storages by "persistent" identities; in the
# zip format (1.6 and later) each storage is a member of the archive, in the older one they follow the pickle.
# Source: documentation of torch.save and of torch.serialization.
_TORCH_DTYPES = {
    "DoubleStorage": "<f8", "FloatStorage": "<f4", "HalfStorage": "<f2", "LongStorage": "<i8", "IntStorage": "<i4",
    "ShortStorage": "<i2", "CharStorage": "<i1", "ByteStorage": "<u1", "BoolStorage": "?", "BFloat16Storage": "<V2",
}  # fmt: skip
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C


@dataclass
class _Storage:
    dtype: np.dtype
    size: int
    data: np.ndarray = field(default_factory=lambda: np.empty(0))

    def fill(self, content: bytes) -> None:
        """Takes the bytes of the file; bfloat16, which NumPy does not have, is widened."""
        if self.dtype.kind == "V":
            self.data, self.dtype = _from_bfloat16(np.frombuffer(content, "<u2")), np.dtype("<f4")
        else:
            self.data = np.frombuffer(content, self.dtype)


@dataclass
class _TorchTensor:
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    def numpy(self) -> np.ndarray:
        last = self.offset + sum((n - 1) * s for n, s in zip(self.shape, self.stride, strict=True))
        data = self.storage.data
        if min((self.offset, *self.shape, *self.stride), default=0) < 0 or last >= max(len(data), 1):
            raise ValueError("a tensor reaches past the end of its storage")
        bytes_per_step = tuple(s * self.storage.dtype.itemsize for s in self.stride)
        if 0 in self.shape:
            return np.empty(self.shape, self.storage.dtype)
        return np.lib.stride_tricks.as_strided(data[self.offset :], self.shape, bytes_per_step).copy()


class _Ignored:
    """Stands for an object that a file holds beside its weights, and takes whatever state it had."""

    def __init__(self, *_: Any) -> None: ...


class _TorchUnpickler(_ArrayUnpickler):
    ALLOWED: Mapping[tuple[str, str], Any] = {
        **_ArrayUnpickler.ALLOWED,
        ("torch._utils", "_rebuild_tensor_v2"): lambda storage, offset, shape, stride, *_: _TorchTensor(
            storage, offset, tuple(shape), tuple(stride)
        ),
        ("torch._utils", "_rebuild_parameter"): lambda tensor, *_: tensor,
        ("torch", "Size"): tuple,
        # What mmengine and training scripts keep beside the weights: it is not read, so nothing has to be built.
        ("mmengine.logging.history_buffer", "HistoryBuffer"): _Ignored,
        ("argparse", "Namespace"): _Ignored,
        **{("torch", name): np.dtype(dtype) for name, dtype in _TORCH_DTYPES.items()},
    }

    def __init__(self, file: BinaryIO, path: Path) -> None:
        super().__init__(file, path, encoding="utf-8")
        self.storages: dict[str, _Storage] = {}

    def persistent_load(self, identity: Any) -> _Storage:
        _, dtype, key, _, size, *_ = identity
        return self.storages.setdefault(key, _Storage(dtype, size))


def _read_torch(path: Path) -> Any:
    return _read_torch_zip(path) if zipfile.is_zipfile(path) else _read_torch_legacy(path)


def _read_torch_zip(path: Path) -> Any:
    with zipfile.ZipFile(path) as archive:
        pickles = [name for name in archive.namelist() if name.rsplit("/", 1)[-1] == "data.pkl"]
        if len(pickles) != 1:
            raise CheckpointError(f"{path} is a zip archive but not one of PyTorch's: it holds {len(pickles)} data.pkl")
        unpickler = _TorchUnpickler(io.BytesIO(archive.read(pickles[0])), path)
        content = unpickler.load()
        folder = pickles[0].removesuffix("data.pkl")
        for key, storage in unpickler.storages.items():
            storage.fill(archive.read(f"{folder}data/{key}"))
    return content


def _read_torch_legacy(path: Path) -> Any:
    with path.open("rb") as file:
        if _ArrayUnpickler(file, path).load() != _LEGACY_MAGIC:
            raise CheckpointError(f"{path} is neither a zip archive nor a file of torch.save")
        for _ in ("protocol version", "system information"):
            _ArrayUnpickler(file, path).load()
        unpickler = _TorchUnpickler(file, path)
        content = unpickler.load()
        for key in _ArrayUnpickler(file, path).load():
            storage = unpickler.storages[key]
            (size,) = struct.unpack("<q", file.read(8))
            if size != storage.size:
                raise ValueError(f"storage {key} has {size} elements where {storage.size} are declared")
            storage.fill(file.read(size * storage.dtype.itemsize))
            if len(storage.data) != size:
                raise ValueError(f"storage {key} ends after {len(storage.data)} of {size} elements")
    return content


def _arrays_in(content: Any, path: Path) -> Arrays:
    for key in ("state_dict", "model_state", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path} holds a {type(content).__name__}, not arrays by name")
    arrays = {}
    for name, value in content.items():
        value = value.numpy() if isinstance(value, _TorchTensor) else value
        if isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], np.ndarray):
            value = value[1]  # Paddle 2 wrote (name, array)
        if isinstance(value, np.ndarray):
            arrays[str(name)] = value
        elif name != "StructuredToParameterName@@":
            raise CheckpointError(f"{path}: {name} is a {type(value).__name__}, not an array")
    if not arrays:
        raise CheckpointError(f"{path} holds no arrays")
    return arrays
