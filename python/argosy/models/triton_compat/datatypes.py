"""Data types under their three names (number, configuration text, numpy type), and BYTES elements as one string."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import numpy.typing as npt

from argosy.models.tensors import as_bytes
from argosy.models.triton_compat.errors import TritonModelException

_NAMES = (
    "BOOL",
    "UINT8",
    "UINT16",
    "UINT32",
    "UINT64",
    "INT8",
    "INT16",
    "INT32",
    "INT64",
    "FP16",
    "FP32",
    "FP64",
    "BYTES",
    "BF16",
)
NUMBERS = {name: number for number, name in enumerate(_NAMES, start=1)}

_NUMPY: dict[int, type[np.generic]] = {
    1: np.bool_,
    2: np.uint8,
    3: np.uint16,
    4: np.uint32,
    5: np.uint64,
    6: np.int8,
    7: np.int16,
    8: np.int32,
    9: np.int64,
    10: np.float16,
    11: np.float32,
    12: np.float64,
    13: np.object_,
}
TRITON_STRING_TO_NUMPY: dict[str, Any] = {
    "TYPE_BOOL": bool,
    **{f"TYPE_{_NAMES[number - 1]}": kind for number, kind in _NUMPY.items() if 1 < number < 13},
    "TYPE_STRING": np.object_,
}


def triton_to_numpy_type(data_type: int) -> type[np.generic] | None:
    """None for BF16 (14) and for what is no data type."""
    return _NUMPY.get(int(data_type))


def numpy_to_triton_type(data_type: npt.DTypeLike) -> int | None:
    """The number of a numpy type or dtype; bytes count as BYTES. None when there is none."""
    dtype = np.dtype(data_type)
    if dtype.kind == "S":
        return 13
    return next((number for number, kind in _NUMPY.items() if dtype == kind), None)


def triton_string_to_numpy(triton_type_string: str) -> Any:
    """The numpy type of a configuration's data type, as TYPE_FP32. Raises KeyError."""
    return TRITON_STRING_TO_NUMPY[triton_type_string]


def serialize_byte_tensor(input_tensor: npt.NDArray[Any]) -> Any:
    """Each element behind its length (4 bytes, little-endian), in C order.

    An empty array gives an empty tuple, and an array that holds no bytes or text gives None, as models expect.
    """
    if input_tensor.size == 0:
        return ()
    if input_tensor.dtype.kind not in "OS":
        return None
    parts: list[bytes] = []
    for item in as_bytes(input_tensor).ravel().tolist():
        parts += (struct.pack("<I", len(item)), item)
    return b"".join(parts)


def deserialize_bytes_tensor(encoded_tensor: Any) -> npt.NDArray[np.object_]:
    """The elements as a one-dimensional object array of bytes. Raises TritonModelException when a length runs over."""
    view = memoryview(encoded_tensor).cast("B")
    items: list[bytes] = []
    offset = 0
    while offset < len(view):
        if offset + 4 > len(view):
            raise TritonModelException(f"expected 4 bytes of length at byte {offset}, got {len(view) - offset}")
        (length,) = struct.unpack_from("<I", view, offset)
        start, offset = offset + 4, offset + 4 + length
        if offset > len(view):
            raise TritonModelException(
                f"expected {length} bytes of an element at byte {start}, got {len(view) - start}"
            )
        items.append(bytes(view[start:offset]))
    out = np.empty(len(items), dtype=object)
    out[:] = items
    return out
