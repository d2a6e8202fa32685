"""Reads a pickle of plain data, and refuses any other pickle.

Plain data are None, bool, int, float, complex, str, bytes, list, tuple, dict, set, and numpy
scalars and arrays of these. Every permitted name maps to a function of this module; nothing is
imported. With a forged dtype, numpy's own functions would use bytes of the file as addresses.
"""

from __future__ import annotations

import io
import math
import pickle
import re
import struct
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from fv2es_prep.errors import CorpusError
from fv2es_prep.types import plain_text

_HINT = "use the published meta.pkl, and do not load this file with other programs"
_DTYPE = re.compile(r"[?biufcSUO]\d{0,6}")
_LONGEST_NAME = 100


def read_plain_pickle(path: Path) -> Any:
    """Read a pickle of plain data.

    Raises:
        CorpusError: it names a function or class that is not plain data, or is damaged.
        OSError: the file cannot be read.
    """
    try:
        return _PlainUnpickler(path.name, path.read_bytes()).load()
    except CorpusError:
        raise
    # A damaged pickle calls permitted functions with arbitrary arguments and fails in many ways.
    except (
        *(pickle.UnpicklingError, EOFError, ValueError, TypeError, AttributeError),
        *(LookupError, OverflowError, MemoryError, ImportError, RecursionError),
        *(struct.error, AssertionError),
    ) as error:
        raise CorpusError(
            f"{path.name} is a damaged pickle: {error}", "download it again"
        ) from error


class _Name:
    """A permitted name: calls one function of this module, and cannot be changed."""

    __slots__ = ("_make",)

    def __init__(self, make: Callable[..., Any]) -> None:
        self._make = make

    def __call__(self, *args: Any) -> Any:
        return self._make(*args)

    def __setstate__(self, state: object) -> NoReturn:
        raise pickle.UnpicklingError("it sets the state of a function")


# The Python version: the compiled one allocates memory for any memo index in a damaged file.
class _PlainUnpickler(pickle._Unpickler):
    def __init__(self, name: str, data: bytes) -> None:
        super().__init__(io.BytesIO(data))
        self._file = name

    def find_class(self, module: str, name: str) -> _Name:
        """Return our function for a permitted name."""
        # Protocols 0 to 2 use the names of Python 2.
        known = (
            "builtins" if module == "__builtin__" else module.replace("numpy._core", "numpy.core")
        )
        make = _ADMITTED.get(f"{known}.{name}")
        if make is None:
            self._refuse(f"{module}.{name}")
        return _Name(make)

    def persistent_load(self, pid: object) -> NoReturn:
        """Refuse it: it refers to something outside the file."""
        self._refuse(f"the persistent id {pid!r}")

    def _refuse(self, found: str) -> NoReturn:
        found = plain_text(found.encode("utf-8", "backslashreplace").decode())[:_LONGEST_NAME]
        raise CorpusError(
            f"{self._file} holds {found}, which is not plain data; none of it was executed", _HINT
        )


class _Dtype:
    """A dtype of plain values, in place of numpy's, whose state can be forged."""

    __slots__ = ("plain",)

    def __init__(self, text: str, *_: object) -> None:
        if not isinstance(text, str) or not _DTYPE.fullmatch(text):
            raise pickle.UnpicklingError(f"an array has the type {text!r}")
        self.plain = np.dtype(text)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        order, parts = state[1], state[2:5]
        if order not in ("<", ">", "|", "=") or any(part is not None for part in parts):
            raise pickle.UnpicklingError("an array is not of plain values")
        self.plain = self.plain.newbyteorder(order)


class _Array(np.ndarray[Any, Any]):
    """An array that accepts only a valid state."""

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        shape, dtype, fortran, values = state[-4:]
        _check_shape(shape)
        objects = dtype.plain.hasobject
        kind, size = (list, 1) if objects else (bytes, dtype.plain.itemsize)
        if type(values) is not kind or len(values) != math.prod(shape) * size:
            raise pickle.UnpicklingError(f"an array of {shape} has the wrong number of values")
        state = (1, shape, dtype.plain, bool(fortran), values)
        super().__setstate__(state)  # type: ignore[arg-type]


def _empty_array(*_: object) -> _Array:
    """An array that ``__setstate__`` fills."""
    return _Array((0,), np.int8)


def _buffer_array(buffer: bytes | bytearray, dtype: _Dtype, shape: Any, order: str) -> Any:
    _check_shape(shape)
    if dtype.plain.hasobject or order not in ("C", "F"):
        raise pickle.UnpicklingError("an array has no plain values")
    return np.frombuffer(bytes(buffer), dtype.plain).reshape(shape, order=order)  # type: ignore[call-overload]


def _scalar(dtype: _Dtype, data: bytes) -> Any:
    if dtype.plain.hasobject or type(data) is not bytes or len(data) != dtype.plain.itemsize:
        raise pickle.UnpicklingError("a number has the wrong number of bytes")
    return np.frombuffer(data, dtype.plain)[0]


def _check_shape(shape: Any) -> None:
    if type(shape) is not tuple or not all(type(side) is int and side >= 0 for side in shape):
        raise pickle.UnpicklingError(f"an array has the shape {shape!r}")


def _encode(text: str, encoding: str) -> bytes:
    """Bytes, as protocols below 3 write them."""
    if encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"bytes are encoded in {encoding!r}")
    return text.encode("latin1")


def _bytearray(*args: Any) -> bytearray:
    # Refuse a number, which would allocate as many bytes.
    return bytearray(_encode(*args) if len(args) == 2 else b"".join(args))


def _no_bytes() -> bytes:
    return b""


def _no_call(*_: object) -> NoReturn:
    raise pickle.UnpicklingError("it calls numpy.ndarray")


_ADMITTED: dict[str, Callable[..., Any]] = {
    "builtins.set": set,
    "builtins.frozenset": frozenset,
    "builtins.complex": complex,
    "builtins.bytearray": _bytearray,
    "builtins.bytes": _no_bytes,
    "collections.OrderedDict": OrderedDict,
    "_codecs.encode": _encode,
    "numpy.dtype": _Dtype,
    "numpy.ndarray": _no_call,
    "numpy.core.multiarray._reconstruct": _empty_array,
    "numpy.core.multiarray.scalar": _scalar,
    "numpy.core.numeric._frombuffer": _buffer_array,
}
