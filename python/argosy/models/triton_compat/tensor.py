"""Tensor: one input or output of a model.

BYTES are object arrays of `bytes`. BF16 has no numpy type; it comes and goes through DLPack.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from argosy.errors import InvalidArgument
from argosy.models.tensors import as_bytes, plain, wire_name
from argosy.models.triton_compat import dlpack
from argosy.models.triton_compat.datatypes import NUMBERS
from argosy.models.triton_compat.errors import TritonModelException
from argosy.worker.host import Array, TensorValue

# What a named tuple's own constructor does, without a Python function in between.
_new: Callable[[type[TensorValue], tuple[Any, ...]], TensorValue] = tuple.__new__


class Tensor:
    """`Tensor(name, numpy_array)`. The array is taken as it is when it is C-contiguous, else copied."""

    __slots__ = ("_array", "_dtype", "_name")

    def __init__(self, name: str, numpy_array: npt.ArrayLike) -> None:
        if type(name) is not str or not name:
            _check_name(name)
        array = np.asarray(numpy_array)
        try:
            # numpy's own text type is refused as it always was: it drops trailing zeros.
            self._dtype = "" if array.dtype.kind == "U" else wire_name(array.dtype)
        except InvalidArgument:
            self._dtype = ""
        if not self._dtype:
            raise TritonModelException(
                f"NumPy dtype is not supported. Tensor '{name}': got {array.dtype}, expected numbers, bool, or bytes "
                "in an array of objects"
            )
        self._name = name
        self._array = plain(array)

    @classmethod
    def of(cls, value: TensorValue) -> Tensor:
        """The server's tensor, without a copy."""
        tensor = cls.__new__(cls)
        tensor._name, tensor._dtype, _, tensor._array = value
        return tensor

    def value(self) -> TensorValue:
        """For the server; elements of BYTES become `bytes` here."""
        array = self._array
        if self._dtype == "BYTES":
            try:
                array = as_bytes(array)
            except UnicodeEncodeError as error:
                raise TritonModelException(f"Tensor '{self._name}': an element has no UTF-8 form: {error}") from None
        return _new(TensorValue, (self._name, self._dtype, array.shape, array))

    def name(self) -> str:
        return self._name

    def as_numpy(self) -> Array:
        """The array itself. Raises TritonModelException for BF16."""
        if self._dtype == "BF16":
            raise TritonModelException(
                "Tensor dtype is BF16 and cannot be converted to NumPy. Use to_dlpack() and from_dlpack() instead."
            )
        return self._array

    def triton_dtype(self) -> int:
        """The data type's number, as triton_to_numpy_type takes it."""
        return NUMBERS[self._dtype]

    def shape(self) -> list[int]:
        return list(self._array.shape)

    def is_cpu(self) -> bool:
        return True

    def to_dlpack(self) -> Any:
        """A DLPack capsule over the same memory. Raises TritonModelException for BYTES."""
        return dlpack.export(self._array, self._dtype)

    @staticmethod
    def from_dlpack(name: str, tensor: Any) -> Tensor:
        """A tensor over the memory of a capsule or of an object with `__dlpack__`; it must be C-contiguous."""
        if type(name) is not str or not name:
            _check_name(name)
        array, dtype = dlpack.take(tensor)
        return Tensor.of(TensorValue(name, dtype, array.shape, array))

    def __dlpack__(self, stream: Any = None, **later: Any) -> Any:
        """`stream` has no meaning for host memory; arguments of later protocol versions are not needed for it."""
        return self.to_dlpack()

    def __dlpack_device__(self) -> tuple[int, int]:
        return (dlpack.CPU, 0)

    def __repr__(self) -> str:
        return f"Tensor('{self._name}', {self._dtype}, {self.shape()})"


def _check_name(name: Any) -> None:
    if not isinstance(name, str):
        raise TypeError(f"Tensor: expected its name to be str, got {type(name)}")
    if not name:
        raise TritonModelException("Tensor name cannot be an empty string.")
