"""A batch in device memory, as the engine gives it to enqueue(), over blocks of the host.

What is enqueued may run as late as collect(): outputs are read and their owners let go
of only then, and the inputs' memory is poisoned afterwards. Calls after enqueue() has
returned raise, as the engine's do.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from argosy.backends.placement import ELEMENT_BYTES

_NUMPY = {
    "BOOL": np.bool_,
    "FP16": np.float16,
    "BF16": np.uint16,
    "FP32": np.float32,
    "FP64": np.float64,
    **{f"{sign}INT{bits}": np.dtype(f"{sign.lower()}int{bits}") for sign in ("", "U") for bits in (8, 16, 32, 64)},
}


class DeviceBatch:
    """`stream`: what the instance is given as its stream."""

    def __init__(self, *arrays: np.ndarray | None, wanted: Sequence[bool] = (True,), stream: int = 0) -> None:
        self._blocks = [
            None if array is None else ctypes.create_string_buffer(array.tobytes(), max(array.nbytes, 1))
            for array in arrays
        ]
        self._shapes = [None if array is None else array.shape for array in arrays]
        self.rows = next(array.shape[0] if array.ndim else 1 for array in arrays if array is not None)
        self.requests, self.wanted, self.stream = 1, list(wanted), stream
        self.owners: list[Any] = []
        self._reserved: list[Any] | None = None
        self._device: dict[str, tuple[str, tuple[int, ...], int]] = {}
        self._host: dict[str, np.ndarray] = {}
        self._open = True

    @property
    def cancelled(self) -> bool:
        return False

    def input_memory(self, index: int) -> tuple[int, tuple[int, ...]] | None:
        self._check()
        block, shape = self._blocks[index], self._shapes[index]
        return None if block is None or shape is None else (ctypes.addressof(block), shape)

    def reserve_outputs(self, outputs: list[tuple[str, str, tuple[int, ...]]]) -> list[int]:
        self._check()
        assert self._reserved is None, "outputs are reserved once a batch, all together"
        assert outputs
        sizes = [max(math.prod(shape) * ELEMENT_BYTES[dtype], 1) for _, dtype, shape in outputs]
        self._reserved = [ctypes.create_string_buffer(b"\xee" * size, size) for size in sizes]
        addresses = [ctypes.addressof(block) for block in self._reserved]
        for (name, dtype, shape), address in zip(outputs, addresses, strict=True):
            self._give(name, dtype, shape, address)
        return addresses

    def set_device_output(self, name: str, dtype: str, shape: tuple[int, ...], address: int, owner: object) -> None:
        self._check()
        assert owner is not None
        self.owners.append(owner)
        self._give(name, dtype, shape, address)

    def set_output(self, name: str, array: np.ndarray) -> None:
        self._check()
        assert name not in self._device | self._host
        self._host[name] = np.array(array)

    def run(self, enqueue: Callable[[Any], None]) -> DeviceBatch:
        """Enqueues, and ends the time in which the batch may be asked."""
        try:
            enqueue(self)
        finally:
            self._open = False
        return self

    def collect(self) -> dict[str, np.ndarray]:
        """The outputs; after that nothing of the batch is left."""
        made = {name: self._read(*place) for name, place in self._device.items()}
        self.owners.clear()
        self._device.clear()
        for block in (*self._blocks, *(self._reserved or ())):
            if block is not None:
                ctypes.memset(block, 0xEE, len(block))
        return made | self._host

    def input_bytes(self, index: int) -> bytes:
        block = self._blocks[index]
        assert block is not None
        return block.raw

    def inside_input(self, name: str) -> bool:
        address = self._device[name][2]
        return any(
            block is not None and ctypes.addressof(block) <= address < ctypes.addressof(block) + len(block)
            for block in self._blocks
        )

    def reserved(self, name: str) -> bool:
        return any(ctypes.addressof(block) == self._device[name][2] for block in self._reserved or ())

    @staticmethod
    def _read(dtype: str, shape: tuple[int, ...], address: int) -> np.ndarray:
        content = ctypes.string_at(address, math.prod(shape) * ELEMENT_BYTES[dtype])
        return np.frombuffer(content, dtype=_NUMPY[dtype]).reshape(shape)

    def _give(self, name: str, dtype: str, shape: tuple[int, ...], address: int) -> None:
        assert name not in self._device | self._host, f"'{name}' is given twice"
        assert all(isinstance(dim, int) for dim in shape) and isinstance(address, int)
        self._device[name] = (dtype, tuple(shape), address)

    def _check(self) -> None:
        assert self._open, "the batch is used after enqueue() has returned"
