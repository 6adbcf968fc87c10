"""Example values of every data type of the protocol, as the bytes on the wire."""

from __future__ import annotations

import struct

import numpy as np

# Protocol name -> numpy type of its bytes; BF16 travels as the upper half of FP32.
NUMPY = {
    "BOOL": "?",
    "UINT8": "<u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
    "INT8": "<i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
}
PACK = (*NUMPY, "BF16", "BYTES")
_WORDS = (b"", b"a", "é".encode(), b"\xff\x00\xfe", b"x" * 300, b"last")


def values(dtype: str, count: int) -> np.ndarray:
    """`count` values in a row: the extremes of the type first. BYTES as an object array of bytes."""
    if dtype == "BYTES":
        out = np.empty(count, dtype=object)
        out[:] = [_WORDS[i % len(_WORDS)] for i in range(count)]
        return out
    if dtype == "BF16":
        return np.resize(np.array([0.0, 1.0, -2.5, 3.0, 1e30, -1e-30], np.float32), count)
    kind = np.dtype(NUMPY[dtype])
    if kind.kind == "b":
        return np.resize(np.array([True, False, False]), count)
    if kind.kind == "f":
        top = np.finfo(kind).max
        return np.resize(np.array([0.0, -0.0, top, -top, 0.5, 1.0], kind), count)
    info = np.iinfo(kind)
    return np.resize(np.array([info.min, info.max, 0, 1, 7, 42], dtype=kind), count)


def encode(dtype: str, array: np.ndarray) -> bytes:
    if dtype == "BYTES":
        return b"".join(struct.pack("<I", len(one)) + one for one in array.ravel())
    if dtype == "BF16":
        return (np.ascontiguousarray(array, np.float32).view(np.uint32) >> 16).astype("<u2").tobytes()
    return np.ascontiguousarray(array, NUMPY[dtype]).tobytes()


def sample(dtype: str, count: int) -> bytes:
    return encode(dtype, values(dtype, count))
