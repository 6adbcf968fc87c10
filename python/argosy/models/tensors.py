"""numpy arrays to tensors of the wire, and back.

A tensor of the wire is in C order and of the machine's byte order; BYTES are object
arrays of `bytes`. Arrays that already are so are taken as they are, without a copy.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from argosy.errors import InvalidArgument
from argosy.worker.host import NUMPY_TYPES, Array, TensorValue

# BF16 has no numpy type of its own and is told by its name only.
_WIRE_NAMES: dict[np.dtype[Any], str] = {kind: name for name, kind in NUMPY_TYPES.items() if name != "BF16"}


def wire_name(dtype: np.dtype[Any]) -> str:
    """The wire's name, as FP32 for float32; object, bytes and text are BYTES. Raises InvalidArgument for others."""
    name = _WIRE_NAMES.get(dtype)
    if name is not None:
        return name
    if dtype.kind in "SU":
        return "BYTES"
    name = _WIRE_NAMES.get(dtype.newbyteorder("="))
    if name is None:
        raise InvalidArgument(f"numpy type '{dtype}' has no tensor type; expected one of {', '.join(NUMPY_TYPES)}")
    return name


def tensor_value(name: str, data: npt.ArrayLike, dtype: str = "") -> TensorValue:
    """A tensor of `data`. `dtype` converts to that type, or says BF16 for uint16 bits.

    Raises InvalidArgument naming the tensor when the data has no tensor type or cannot be converted.
    """
    try:
        array = data if isinstance(data, np.ndarray) else _asarray(data, dtype)
        found = wire_name(array.dtype)
        if dtype and dtype != found and not (dtype == "BF16" and found == "UINT16"):
            array = _converted(array, found, dtype)
        elif found == "BYTES":
            array = as_bytes(array)
        return TensorValue(name, dtype or found, array.shape, plain(array))
    except InvalidArgument as error:
        raise InvalidArgument(f"tensor '{name}': {error}") from None


def plain(array: Array) -> Array:
    """The same values in C order and the machine's byte order; the array itself when it is so already."""
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    # ascontiguousarray would turn a scalar into a vector; a scalar is contiguous.
    return array if array.flags.c_contiguous else np.ascontiguousarray(array)


def as_bytes(array: Array) -> Array:
    """Object array of `bytes`, same shape: text is encoded as UTF-8, anything else is written as text first."""
    flat = array.ravel().tolist()
    if array.dtype == object and all(type(item) is bytes for item in flat):
        return array
    out = np.empty(len(flat), dtype=object)
    for index, item in enumerate(flat):
        out[index] = bytes(item) if isinstance(item, (bytes, bytearray, memoryview, np.bytes_)) else str(item).encode()
    return out.reshape(array.shape)


def _asarray(data: npt.ArrayLike, dtype: str) -> Array:
    if isinstance(data, (str, bytes, bytearray)) or dtype == "BYTES":
        return np.asarray(data, dtype=object)
    try:
        array = np.asarray(data)
    except ValueError as error:  # nested lists of unequal length
        raise InvalidArgument(f"not a rectangular array: {error}") from None
    if array.dtype.kind in "SU":
        return np.asarray(data, dtype=object)  # numpy's own text types drop trailing zero bytes
    return array


def _converted(array: Array, found: str, dtype: str) -> Array:
    wanted = NUMPY_TYPES.get(dtype)
    if wanted is None:
        raise InvalidArgument(f"unknown type '{dtype}'; expected one of {', '.join(NUMPY_TYPES)}")
    if dtype == "BYTES":
        return as_bytes(array)
    if found == "BYTES" or dtype == "BF16":
        raise InvalidArgument(f"expected {dtype}, got {found} {list(array.shape)}")
    if array.size and wanted.kind in "iu":
        limits = np.iinfo(wanted)
        lossless = array.dtype.kind in "iub" and limits.min <= int(array.min()) and int(array.max()) <= limits.max
        if not lossless:
            raise InvalidArgument(f"expected {dtype}, got {found} with values that it cannot hold")
    return array.astype(wanted)
