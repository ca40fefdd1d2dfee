"""Reads a pickle as data: an interpreter of its steps that can build containers and arrays, and calls nothing.

Python's own unpickler imports and calls whatever a file names; here a name is only text, looked up in a table of
our own functions. Each step costs constant memory and time, and their number is bounded, so that a small file
cannot occupy the machine.

Source: the documentation of Python's `pickletools`, whose decoder of single steps is used; the array's state is that
of `numpy.ndarray.__reduce__`.
"""

from __future__ import annotations

import math
import pickletools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from runtime.errors import UserError


class CheckpointError(UserError):
    """A weight file that cannot be read, or that does not belong to the model."""


_CODES = {"f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"}
_ORDERS = {"<", ">", "|", "="}
# A checkpoint of a network with 1000 tensors and its optimizer has about 100 000.
_MAX_STEPS = 1_000_000
_MAX_SIZE = 2**48


def are_sizes(numbers: Any) -> bool:
    """Whether these are the lengths (or strides) of an array: few, whole, not negative, and of plain Python type."""
    return len(numbers) <= 32 and all(type(n) is int and 0 <= n < _MAX_SIZE for n in numbers)


def shown(text: object) -> str:
    """Text of a file as it may stand in a message: on one line, without control characters, not long."""
    return "".join(letter if letter.isprintable() else "?" for letter in str(text)[:200])


def kind_of(value: Any) -> str:
    """The name of a value's type for messages."""
    return shown(getattr(value, "name", type(value).__name__))


def same_tuple(items: Any) -> tuple[Any, ...]:
    """The tuple itself; raises ValueError for another container, as copying it would cost its length each time."""
    if type(items) is not tuple:
        raise ValueError(f"a tuple from a {kind_of(items)}")
    return items


def plain_array(code: str, shape: tuple[int, ...], fortran: bool, data: bytes | bytearray) -> np.ndarray:
    """An array over its bytes, in the byte order of this machine; `fortran`: its first axis varies fastest.

    Raises:
        ValueError: NumPy's `code`, as `<f4`, is not of numbers, or the shape needs more or fewer bytes.
    """
    if code[:1] not in _ORDERS or code[1:] not in _CODES:
        raise ValueError(f"an array of type {code!r} holds no weights")
    dtype = np.dtype(code)
    if type(shape) is not tuple or not are_sizes(shape) or math.prod(shape) * dtype.itemsize != len(data):
        raise ValueError(f"an array of {len(data)} bytes does not have the shape that is written beside it")
    array = np.ndarray(shape, dtype, buffer=data, order="F" if fortran else "C")
    return array.astype(dtype.newbyteorder("="), copy=False)


class Inert:
    """Stands for an object that a file holds beside its weights: takes any state, and does nothing."""

    def __init__(self, name: str) -> None:
        self.name = name


class _Name:
    """A name of the table, with the function of ours that is called in its place, if it may be called."""

    def __init__(self, name: str, call: Callable[..., Any] | None) -> None:
        self.name, self.call = name, call


class _Dtype:
    name = "numpy.dtype"

    def __init__(self, code: Any, *_: Any) -> None:
        self.code, self.order = code, "|"


class _Array:
    """An array between the step that announces it and the one that brings its content."""

    name = "array without content"
    value: np.ndarray | Inert | None = None


class PickleReader:
    """One pass over one pickle, with nothing kept between two.

    Args:
        path: The file, for messages.
        size: Its bytes: arrays of more bytes than that together are refused.
    """

    # Whether what the table does not have is `Inert` instead of refused
    takes_others = False

    def __init__(self, path: Path, size: int) -> None:
        self._path, self._bytes_left, self._steps_left = path, size, _MAX_STEPS
        self._stack: list[Any] = []
        self._marked: list[list[Any]] = []
        self._memo: dict[int, Any] = {}
        self._encoded: dict[str, bytes] = {}
        self.names: dict[str, Callable[..., Any] | None] = {
            "collections.OrderedDict": self._dict,
            "numpy.ndarray": None,
            "numpy.dtype": _Dtype,
            "_codecs.encode": self._encode,
        }
        for core in ("numpy.core.multiarray", "numpy._core.multiarray"):
            self.names |= {f"{core}._reconstruct": lambda *_: _Array(), f"{core}.scalar": self._scalar}
        for core in ("numpy.core.numeric", "numpy._core.numeric"):  # protocol 5
            self.names[f"{core}._frombuffer"] = self._frombuffer
        for builtins in ("builtins", "__builtin__"):
            # How Paddle writes a tensor inside another container, and Python an empty bytes object
            self.names |= {f"{builtins}.tuple": same_tuple, f"{builtins}.bytes": lambda: b""}

    def load(self, file: BinaryIO) -> Any:
        """The content: dicts, lists, tuples, numbers, texts, arrays; `Inert` for what stands beside.

        Raises:
            CheckpointError: A name that is not in the table.
        """
        for step, argument, _ in pickletools.genops(file):
            self._spend(1)
            if step.name in _LITERALS:
                self._stack.append(argument)
            elif step.name in _STEPS:
                _STEPS[step.name](self, argument)
            else:
                raise ValueError(f"a pickle with the step {step.name}, which no weights need")
        return self._stack.pop()

    def persistent(self, identity: Any) -> Any:
        """What stands for an object that the file keeps outside the pickle."""
        raise ValueError("a pickle that refers to what is outside of it")

    def refuse(self, name: str) -> CheckpointError:
        return CheckpointError(
            f"{self._path} is a pickle that calls {shown(name)}; only arrays are read and nothing is executed: "
            "take the file from its authors as arrays (.npz), or do not use it"
        )

    def _spend(self, steps: int) -> None:
        self._steps_left -= steps
        if self._steps_left < 0:
            raise ValueError(f"a pickle of more than {_MAX_STEPS} steps holds more than weights")

    # The functions of the table

    def _dict(self, pairs: Any = ()) -> dict[Any, Any]:
        self._spend(len(pairs))
        return {_key(name): value for name, value in pairs}

    def _encode(self, text: str, codec: str) -> bytes:
        if type(text) is not str or type(codec) is not str or codec not in ("latin1", "latin-1"):
            raise ValueError("a pickle that encodes other text than the bytes of an array")
        if text not in self._encoded:  # once, as one text may be asked for a million times
            self._encoded[text] = text.encode("latin1")
        return self._encoded[text]

    def _scalar(self, dtype: _Dtype, data: Any = b"") -> Any:
        array = self._array((), dtype, False, data)
        return array[()] if isinstance(array, np.ndarray) else array

    def _frombuffer(self, data: Any, dtype: _Dtype, shape: Any, order: Any) -> np.ndarray | Inert:
        return self._array(shape, dtype, order == "F", data)

    def _array(self, shape: Any, dtype: _Dtype, fortran: Any, data: Any) -> np.ndarray | Inert:
        if type(dtype.code) is not str or type(dtype.order) is not str:
            raise ValueError("an array whose type is not named")
        if dtype.code not in _CODES:
            return Inert(f"NumPy array of type {dtype.code}")
        if type(data) is str:  # written by Python 2
            data = self._encode(data, "latin1")
        if type(data) not in (bytes, bytearray):
            raise ValueError("an array without its bytes")
        self._bytes_left -= len(data)
        if self._bytes_left < 0:
            raise ValueError("a pickle that makes larger arrays than it has bytes")
        return plain_array(dtype.order + dtype.code, shape, bool(fortran), data)

    # The steps that need more than a line

    def name(self, module: Any, name: Any) -> None:
        if type(module) is not str or type(name) is not str:
            raise ValueError("a pickle that calls what has no name")
        dotted = f"{module}.{name}"
        if dotted in self.names:
            self._stack.append(_Name(dotted, self.names[dotted]))
        elif self.takes_others and _is_harmless(dotted):
            self._stack.append(Inert(dotted))
        else:
            raise self.refuse(dotted)

    def call(self) -> None:
        arguments, called = self._stack.pop(), self._stack.pop()
        if isinstance(called, Inert):
            self._stack.append(Inert(called.name))
        elif isinstance(called, _Name) and called.call and type(arguments) is tuple:
            self._stack.append(called.call(*arguments))
        else:
            raise self.refuse(kind_of(called))

    def call_with_keywords(self) -> None:
        self._stack.pop()  # only an Inert may be called so, which has no use for them
        if not isinstance(self._stack[-2], Inert):
            raise self.refuse(kind_of(self._stack[-2]))
        self.call()

    def build(self) -> None:
        state, target = self._stack.pop(), self._stack[-1]
        if isinstance(target, _Array):
            target.value = self._stack[-1] = self._array(*state[-4:])
        elif isinstance(target, _Dtype):
            target.order = state[1]
        elif not isinstance(target, Inert | dict):  # an OrderedDict of PyTorch carries attributes
            raise self.refuse(f"{kind_of(target)}.__setstate__")

    def put(self, index: int) -> None:
        if not 0 <= index < 2**32:
            raise ValueError(f"a pickle with {index} remembered objects")
        self._memo[index] = self._stack[-1]

    def get(self, index: int) -> None:
        value = self._memo[index]
        self._stack.append(value.value if isinstance(value, _Array) and value.value is not None else value)

    def items(self, items: list[Any]) -> None:
        """Adds keys and values, one after the other, to the dict on the stack."""
        target = self._stack[-1]
        if type(target) is dict:
            target.update(zip(map(_key, items[::2]), items[1::2], strict=True))
        elif not isinstance(target, Inert):
            raise ValueError(f"a pickle that adds keys to a {type(target).__name__}")

    def elements(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if type(target) is list:
            target.extend(items)
        elif not isinstance(target, Inert):
            raise ValueError(f"a pickle that appends to a {type(target).__name__}")

    def mark(self) -> None:
        self._marked.append(self._stack)
        self._stack = []

    def pop(self) -> None:
        if self._stack:
            self._stack.pop()
        else:
            self.since_mark()

    def since_mark(self) -> list[Any]:
        items, self._stack = self._stack, self._marked.pop()
        return items

    def drop_since_mark(self) -> None:
        self.since_mark()

    def dict_since_mark(self) -> None:
        items = self.since_mark()
        self._stack.append({})
        self.items(items)

    def last(self, count: int) -> list[Any]:
        items = self._stack[-count:]
        del self._stack[-count:]
        return items

    def push(self, value: Any) -> None:
        self._stack.append(value)


class WeightsReader(PickleReader):
    """Reads the pickle of a weight file, beside whose weights objects of any class may stand.

    They are `Inert`: neither imported nor built. Whoever takes an array of the file refuses one by its name.
    """

    takes_others = True

    def __init__(self, path: Path, size: int) -> None:
        super().__init__(path, size)
        self.names |= dict.fromkeys(("builtins.getattr", "__builtin__.getattr"), self._getattr)
        self.names["collections.defaultdict"] = lambda *_: {}

    def _getattr(self, owner: Any, *_: Any) -> Inert:
        """`getattr` of an inert object, as in mmengine's HistoryBuffer and in an Enum; of any other it is refused."""
        if not isinstance(owner, Inert):
            raise self.refuse("builtins.getattr")
        return Inert(owner.name)


def _is_harmless(dotted: str) -> bool:
    """Whether a name may be of an object that a training script keeps; not if it is one that attacks need.

    Nothing is called in either case. A file that asks for these is not what it claims to be, and the next program that
    reads it may call them.
    """
    first, *others = dotted.split(".")
    if first in ("builtins", "__builtin__"):
        return len(others) == 1 and others[0] in _BUILTIN_CLASSES
    parts = {first, *others}
    return not parts & _ACTING and all(part.isidentifier() or part in ("<locals>", "<lambda>") for part in parts)


def _key(key: Any) -> Any:
    """The key itself if it is cheap to hash, as names, numbers and short tuples of them are; else a stand-in."""
    parts = key if type(key) is tuple and len(key) <= 4 else (key,)
    cheap = all(type(part) is str or (type(part) is int and abs(part) < _MAX_SIZE) for part in parts)
    return key if cheap else Inert(f"key of type {type(key).__name__}")


_BUILTIN_CLASSES = {
    "bool", "bytearray", "complex", "dict", "float", "frozenset", "int", "list", "object", "range", "set", "slice",
    "str", "type", "long", "unicode", "xrange",
}  # fmt: skip
# Modules that start programs, change files, open connections, or execute what they are given, and functions that do.
_ACTING = {
    "commands", "ctypes", "importlib", "nt", "os", "posix", "pty", "runpy", "shutil", "socket", "subprocess", "sys",
    "webbrowser", "eval", "exec", "open", "popen", "system",
}  # fmt: skip
_LITERALS = {
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "NONE", "STRING", "BINSTRING",
    "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "SHORT_BINBYTES", "BINBYTES",
    "BINBYTES8", "BYTEARRAY8",
}  # fmt: skip
_STEPS: Mapping[str, Callable[[PickleReader, Any], None]] = {
    **dict.fromkeys(("STOP", "PROTO", "FRAME"), lambda reader, _: None),
    "NEWTRUE": lambda reader, _: reader.push(True),
    "NEWFALSE": lambda reader, _: reader.push(False),
    "MARK": lambda reader, _: reader.mark(),
    "EMPTY_TUPLE": lambda reader, _: reader.push(()),
    "EMPTY_LIST": lambda reader, _: reader.push([]),
    "EMPTY_DICT": lambda reader, _: reader.push({}),
    "EMPTY_SET": lambda reader, _: reader.push(Inert("set")),
    "FROZENSET": lambda reader, _: reader.push(Inert("frozenset of " + str(len(reader.since_mark())))),
    "TUPLE": lambda reader, _: reader.push(tuple(reader.since_mark())),
    "LIST": lambda reader, _: reader.push(reader.since_mark()),
    "DICT": lambda reader, _: reader.dict_since_mark(),
    "TUPLE1": lambda reader, _: reader.push(tuple(reader.last(1))),
    "TUPLE2": lambda reader, _: reader.push(tuple(reader.last(2))),
    "TUPLE3": lambda reader, _: reader.push(tuple(reader.last(3))),
    "APPEND": lambda reader, _: reader.elements(reader.last(1)),
    **dict.fromkeys(("APPENDS", "ADDITEMS"), lambda reader, _: reader.elements(reader.since_mark())),
    "SETITEM": lambda reader, _: reader.items(reader.last(2)),
    "SETITEMS": lambda reader, _: reader.items(reader.since_mark()),
    "GLOBAL": lambda reader, dotted: reader.name(*dotted.split(" ", 1)),
    "STACK_GLOBAL": lambda reader, _: reader.name(*reader.last(2)),
    **dict.fromkeys(("REDUCE", "NEWOBJ"), lambda reader, _: reader.call()),
    "NEWOBJ_EX": lambda reader, _: reader.call_with_keywords(),
    "POP": lambda reader, _: reader.pop(),
    "POP_MARK": lambda reader, _: reader.drop_since_mark(),
    "BUILD": lambda reader, _: reader.build(),
    "MEMOIZE": lambda reader, _: reader.put(len(reader._memo)),
    "BINPERSID": lambda reader, _: reader.push(reader.persistent(reader.last(1)[0])),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), PickleReader.put),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), PickleReader.get),
}
