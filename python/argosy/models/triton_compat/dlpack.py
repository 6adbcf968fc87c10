"""Tensors of other frameworks, through DLPack, without a copy; host memory only.

numpy's own DLPack knows neither BF16 nor (before 2.1) read-only arrays, and inputs are
both at times, so the structures are read and written here.

Invariant: an exported array lives until its consumer calls the deleter, or the capsule dies unused.
"""

from __future__ import annotations

import ctypes
import itertools
import weakref
from typing import Any

import numpy as np

from argosy.models.triton_compat.errors import TritonModelException
from argosy.worker.host import NUMPY_TYPES, Array

CPU = 1
_PINNED = 3
_CODES = {"i": 0, "u": 1, "f": 2, "b": 6}
_BFLOAT = 4
_DTYPES = {(6, 8): "BOOL", (_BFLOAT, 16): "BF16"}
_DTYPES.update({(0, bits): f"INT{bits}" for bits in (8, 16, 32, 64)})
_DTYPES.update({(1, bits): f"UINT{bits}" for bits in (8, 16, 32, 64)})
_DTYPES.update({(2, bits): f"FP{bits}" for bits in (16, 32, 64)})


class _Tensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


_Deleter = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class _Managed(ctypes.Structure):
    _fields_ = (("tensor", _Tensor), ("context", ctypes.c_void_p), ("deleter", _Deleter))


_api = ctypes.pythonapi
_Destructor = ctypes.PYFUNCTYPE(None, ctypes.c_void_p)
_new = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, _Destructor)(("PyCapsule_New", _api))
_is_valid = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p)(("PyCapsule_IsValid", _api))
_pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)(("PyCapsule_GetPointer", _api))
_set_name = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object, ctypes.c_char_p)(("PyCapsule_SetName", _api))

# Address of the exported structure -> what it points into. The consumer owns the entry.
_exported: dict[int, tuple[Any, ...]] = {}
# A capsule keeps only a pointer to its name.
_NAME, _USED = b"dltensor", b"used_dltensor"


def _forget(managed: int) -> None:
    _exported.pop(managed, None)


def _forget_unused(capsule: int) -> None:
    # Consumed capsules were renamed; this one was not.
    if _is_valid(capsule, _NAME):
        _exported.pop(_pointer(capsule, _NAME), None)


_release = _Deleter(_forget)
_destroy = _Destructor(_forget_unused)


def export(array: Array, dtype: str) -> Any:
    """A DLPack capsule over a C-contiguous array. `dtype` is the wire's name. Raises TritonModelException for BYTES."""
    if dtype == "BYTES":
        raise TritonModelException("DLPack does not have support for string tensors.")
    shape = (ctypes.c_int64 * max(array.ndim, 1))(*array.shape)
    managed = _Managed()
    tensor = managed.tensor
    tensor.data = array.ctypes.data
    tensor.device_type, tensor.device_id = CPU, 0
    tensor.ndim = array.ndim
    tensor.code = _BFLOAT if dtype == "BF16" else _CODES[array.dtype.kind]
    tensor.bits, tensor.lanes = array.dtype.itemsize * 8, 1
    tensor.shape = ctypes.cast(shape, ctypes.POINTER(ctypes.c_int64))
    managed.deleter = _release
    address = ctypes.addressof(managed)
    _exported[address] = (managed, shape, array)
    return _new(address, _NAME, _destroy)


def take(source: Any) -> tuple[Array, str]:
    """The array and wire type of a capsule, or of an object with `__dlpack__`; its memory is shared, not copied.

    Raises TritonModelException for memory that is not the host's, not C-contiguous, or of another type.
    """
    if not _is_capsule(source):
        if not hasattr(source, "__dlpack__") or not hasattr(source, "__dlpack_device__"):
            raise TritonModelException(
                "Provided tensor is not supported. Tensor must be a DLPack capsule or have `__dlpack__` and "
                "`__dlpack_device__` attributes"
            )
        _check_device(int(source.__dlpack_device__()[0]))
        source = source.__dlpack__()
    if not _is_valid(id(source), _NAME):
        raise TritonModelException("expected an unused DLPack capsule ('dltensor'), got one that was taken already")
    address = _pointer(id(source), _NAME)
    tensor = _Managed.from_address(address).tensor
    _check_device(tensor.device_type)
    dtype = _DTYPES.get((tensor.code, tensor.bits)) if tensor.lanes == 1 else None
    if dtype is None:
        raise TritonModelException(f"DLPack type code {tensor.code} with {tensor.bits} bits has no tensor type")
    shape = tuple(tensor.shape[axis] for axis in range(tensor.ndim))
    if tensor.strides and not _contiguous(shape, [tensor.strides[axis] for axis in range(tensor.ndim)]):
        raise TritonModelException(
            "DLPack tensor is not contiguous. Only contiguous DLPack tensors that are stored in C-Order are supported."
        )
    _set_name(source, _USED)
    return _adopted(address, tensor, shape, NUMPY_TYPES[dtype]), dtype


def _adopted(address: int, tensor: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    if size == 0:
        _delete(address)
        return np.empty(shape, dtype)
    memory = (ctypes.c_char * size).from_address(tensor.data + tensor.byte_offset)
    # numpy holds on to `memory`, so the producer's memory lives as long as any view of the array.
    weakref.finalize(memory, _delete, address)
    array: Array = np.frombuffer(memoryview(memory), dtype=dtype).reshape(shape)
    return array


def _delete(address: int) -> None:
    deleter = _Managed.from_address(address).deleter
    if deleter:
        deleter(address)


def _check_device(kind: int) -> None:
    if kind not in (CPU, _PINNED):
        raise TritonModelException(f"DLDevice type {kind} is not supported: expected host memory (1 or 3)")


def _contiguous(shape: tuple[int, ...], strides: list[int]) -> bool:
    if 0 in shape:
        return True
    steps = itertools.accumulate(reversed(shape[1:]), lambda step, dim: step * dim, initial=1)
    return all(dim == 1 or stride == step for dim, stride, step in zip(reversed(shape), reversed(strides), steps))


def _is_capsule(source: Any) -> bool:
    return type(source).__name__ == "PyCapsule"
