"""Reads the two formats of PyTorch's files without PyTorch.

Both hold one pickle, whose tensors name their storages by "persistent" identities; in the zip format (1.6 and later)
each storage is a member of the archive, in the older one they follow the pickle.

Source: documentation of torch.save and of torch.serialization.
"""

from __future__ import annotations

import io
import math
import struct
import zipfile
from pathlib import Path
from typing import Any, Literal

import numpy as np

from weights.pickles import (
    CheckpointError,
    Inert,
    PickleReader,
    WeightsReader,
    are_sizes,
    kind_of,
    same_tuple,
)

_DTYPES = {
    "torch.DoubleStorage": "f8", "torch.FloatStorage": "f4", "torch.HalfStorage": "f2", "torch.LongStorage": "i8",
    "torch.IntStorage": "i4", "torch.ShortStorage": "i2", "torch.CharStorage": "i1", "torch.ByteStorage": "u1",
    "torch.BoolStorage": "?", "torch.BFloat16Storage": "bfloat16", "torch.ComplexFloatStorage": "c8",
    "torch.ComplexDoubleStorage": "c16",
}  # fmt: skip
_ORDERS: dict[bytes, Literal["<", ">"]] = {b"little": "<", b"big": ">"}
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C


def from_bfloat16(bits: np.ndarray) -> np.ndarray:
    """The float32 numbers whose upper halves are given as uint16, which is all that NumPy knows of bfloat16."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


class _Storage:
    def __init__(self, kind: str, size: int) -> None:
        self.kind, self.size = kind, size
        self.dtype = np.dtype("u2" if kind == "bfloat16" else kind)  # of the bytes in the file
        self.data = np.empty(0, np.float32)

    def fill(self, content: bytes, order: Literal["<", ">"] = "<") -> None:
        """Takes the bytes of the file; `order` is NumPy's sign of their byte order."""
        data = np.frombuffer(content, self.dtype.newbyteorder(order)).astype(self.dtype, copy=False)
        self.data = from_bfloat16(data) if self.kind == "bfloat16" else data


class TorchTensor:
    """A view of a storage, which is read after the pickle."""

    def __init__(self, storage: _Storage, offset: Any, shape: Any, stride: Any, *more: Any) -> None:
        if not isinstance(storage, _Storage) or {type(shape), type(stride)} != {tuple}:
            raise ValueError("a tensor without storage, shape and stride")
        if not are_sizes((offset,)) or not are_sizes(shape) or not are_sizes(stride) or len(shape) != len(stride):
            raise ValueError("a tensor whose offset, shape or stride is not a size")
        if len(more) > 2 and more[2]:  # after requires_grad and hooks
            raise ValueError("a tensor that is stored negated or conjugated: save its resolve_neg().resolve_conj()")
        self.storage, self.offset, self.shape, self.stride = storage, offset, shape, stride

    def numpy(self) -> np.ndarray:
        """The array, without a copy; raises ValueError if the storage does not hold that many elements."""
        data, count = self.storage.data, math.prod(self.shape)
        if count == 0:
            return np.empty(self.shape, data.dtype)
        if self.offset + sum((n - 1) * s for n, s in zip(self.shape, self.stride, strict=True)) >= len(data):
            raise ValueError("a tensor reaches past the end of its storage")
        if count > len(data):
            raise ValueError(f"an expanded tensor has {count} elements of {len(data)} numbers: save its contiguous()")
        item = data.itemsize
        return np.ndarray(self.shape, data.dtype, data, self.offset * item, tuple(s * item for s in self.stride))


class _TorchReader(WeightsReader):
    def __init__(self, path: Path, size: int) -> None:
        super().__init__(path, size)
        self.storages: dict[str, _Storage] = {}
        self.names |= {
            **dict.fromkeys(_DTYPES),
            **dict.fromkeys(("torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2"), _tensor),
            **dict.fromkeys(_TENSOR_FIRST, lambda tensor, *_: tensor),
            "torch._tensor._rebuild_from_type_v2": self._of_type,
            "torch.Size": same_tuple,
        }

    def _of_type(self, build: Any, _: Any, arguments: Any, *__: Any) -> Any:
        """A tensor that carries attributes, without them."""
        self._stack += [build, arguments]
        self.call()
        return self._stack.pop()

    def persistent(self, identity: Any) -> Any:
        """The storage of an identity; what has no numbers, as a whole module in old files, stays inert."""
        if type(identity) is tuple and len(identity) > 1 and identity[0] == "module":
            return Inert(kind_of(identity[1]))
        kind, named, key, _, size, *view = identity
        dtype = getattr(named, "name", None)
        if kind != "storage" or type(dtype) is not str or type(key) is not str or not are_sizes((size,)):
            raise ValueError("a tensor whose storage is not described")
        if dtype not in _DTYPES:
            if isinstance(named, Inert):
                return named
            raise ValueError("a tensor whose storage is not described")
        if any(part is not None for part in view):
            raise ValueError("a storage that is part of another: load and save the file with a newer PyTorch")
        storage = self.storages.setdefault(key, _Storage(_DTYPES[dtype], size))
        if (storage.kind, storage.size) != (_DTYPES[dtype], size):
            raise ValueError("one storage with two types or sizes")
        return storage


# Functions that are given a tensor, or the array of one (written on a TPU), and what else it carries.
_TENSOR_FIRST = (
    "torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state",
    "torch._utils._rebuild_device_tensor_from_numpy", "torch._utils._rebuild_xla_tensor",
)  # fmt: skip


def _tensor(storage: Any, *more: Any) -> TorchTensor | Inert:
    return Inert(f"tensor of {storage.name}") if isinstance(storage, Inert) else TorchTensor(storage, *more)


def is_legacy(head: bytes) -> bool:
    """Whether a file that begins so is of the older format."""
    return _LEGACY_MAGIC.to_bytes(10, "little") in head[:64]


def read_torch_zip(path: Path) -> Any:
    """What torch.save was given, with a `TorchTensor` for each tensor."""
    with zipfile.ZipFile(path) as archive:
        members = {member.filename: member for member in archive.infolist()}
        pickles = [name for name in members if name.rsplit("/", 1)[-1] == "data.pkl"]
        if len(pickles) != 1:
            raise CheckpointError(f"{path} is a zip archive but not one of PyTorch's: it holds {len(pickles)} data.pkl")
        if any(member.compress_type != zipfile.ZIP_STORED for member in members.values()):
            raise CheckpointError(f"{path} is compressed, which PyTorch's files are not: load and save it with PyTorch")
        if sum(member.file_size for member in members.values()) > path.stat().st_size:
            raise ValueError("its members are larger than the archive")
        folder = pickles[0].removesuffix("data.pkl")
        order = archive.read(f"{folder}byteorder") if f"{folder}byteorder" in members else b"little"
        reader = _TorchReader(path, members[pickles[0]].file_size)
        content = reader.load(io.BytesIO(archive.read(pickles[0])))
        for key, storage in reader.storages.items():
            storage.fill(archive.read(f"{folder}data/{key}"), _ORDERS[order])
    return content


def read_torch_legacy(path: Path) -> Any:
    """As `read_torch_zip`, from the format before PyTorch 1.6."""
    file = io.BytesIO(path.read_bytes())
    size = len(file.getbuffer())
    if PickleReader(path, size).load(file) != _LEGACY_MAGIC:
        raise CheckpointError(f"{path} is neither a zip archive nor a file of torch.save")
    _, system = (PickleReader(path, size).load(file) for _ in ("protocol version", "system"))
    if not system.get("little_endian", True):
        raise CheckpointError(f"{path} was written on a big-endian machine: load and save it there in the zip format")
    reader = _TorchReader(path, size)
    content = reader.load(file)
    for key in PickleReader(path, size).load(file):
        if type(key) is not str:
            raise ValueError("a storage without a name")
        storage = reader.storages[key]
        (count,) = struct.unpack("<q", file.read(8))
        if count != storage.size:
            raise ValueError(f"a storage has {count} elements where {storage.size} are declared")
        storage.fill(file.read(count * storage.dtype.itemsize))
        if len(storage.data) != count:
            raise ValueError(f"a storage ends after {len(storage.data)} of {count} elements")
    return content
