"""TensorRT and the CUDA runtime, simulated on the host, for what they do to an instance.

A stream keeps what it is given and does it only when an event is waited for, so that a
result read too early or memory let go too soon shows. The engine gives 2 * x.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np


class Runtime:
    """The functions of cuda.bindings.runtime that are used; device memory is host memory, poisoned."""

    cudaError_t = SimpleNamespace(cudaSuccess=0, cudaErrorMemoryAllocation=2)
    cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2)
    cudaStreamNonBlocking, cudaEventBlockingSync, cudaEventDisableTiming = 1, 1, 2

    def __init__(self, limit: int = 1 << 20) -> None:
        self.limit, self.memory, self.pending = limit, {}, []  # type: ignore[var-annotated]
        self.devices: list[int] = []

    def cudaGetDeviceCount(self) -> tuple[int, int]:
        return 0, 1

    def cudaSetDevice(self, device: int) -> tuple[int]:
        self.devices.append(device)
        return (0,)

    def cudaMalloc(self, size: int) -> tuple[int, int]:
        if size > self.limit:
            return 2, 0
        block = (ctypes.c_ubyte * size)(*b"\xee" * size)
        self.memory[ctypes.addressof(block)] = block
        return 0, ctypes.addressof(block)

    def cudaFree(self, address: int) -> tuple[int]:
        del self.memory[address]
        return (0,)

    def cudaStreamCreateWithFlags(self, flags: int) -> tuple[int, int]:
        return 0, 7

    def cudaEventCreateWithFlags(self, flags: int) -> tuple[int, int]:
        return 0, 9

    def cudaMemcpyAsync(self, target: int, source: int, size: int, kind: int, stream: int) -> tuple[int]:
        self.pending.append(lambda: ctypes.memmove(target, source, size))
        return (0,)

    def cudaEventRecord(self, event: int, stream: int) -> tuple[int]:
        return (0,)

    def cudaEventSynchronize(self, event: int) -> tuple[int]:
        while self.pending:
            self.pending.pop(0)()
        return (0,)

    def cudaEventDestroy(self, event: int) -> tuple[int]:
        return (0,)

    cudaStreamDestroy = cudaEventDestroy

    def cudaGetErrorString(self, error: int) -> tuple[int, bytes]:
        return 0, {2: b"out of memory"}.get(error, b"unknown")


class OutputAllocator:
    def __init__(self) -> None: ...


TENSORRT = SimpleNamespace(
    IOutputAllocator=OutputAllocator, TensorIOMode=SimpleNamespace(INPUT="input", OUTPUT="output")
)


class Context:
    """Doubles "x" [rows, n] FP32 into "y"; remembers which profiles it was given."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime, self.profiles = runtime, []  # type: ignore[var-annotated]
        self.fails = False

    def set_optimization_profile_async(self, profile: int, stream: int) -> bool:
        self.profiles.append(profile)
        return True

    def set_output_allocator(self, name: str, allocator: Any) -> None:
        self.allocator = allocator

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self.shape = shape
        return True

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.address = address
        return True

    def execute_async_v3(self, stream: int) -> bool:
        if self.fails:
            return False
        count = int(np.prod(self.shape))
        target = self.allocator.reallocate_output_async("y", 0, count * 4, 256, stream)
        self.allocator.notify_shape("y", self.shape)
        self.runtime.pending.append(self._doubled(self.address, target, count))
        return True

    @staticmethod
    def _doubled(source: int, target: int, count: int) -> Callable[[], None]:
        def work() -> None:
            read = (ctypes.c_float * count).from_address(source)
            written = (ctypes.c_float * count).from_address(target)
            for at in range(count):
                written[at] = 2 * read[at]

        return work


class Engine:
    num_io_tensors = 2

    def __init__(self, runtime: Runtime) -> None:
        self.context = Context(runtime)

    def create_execution_context(self) -> Context:
        return self.context

    def get_tensor_name(self, at: int) -> str:
        return "xy"[at]

    def get_tensor_mode(self, name: str) -> str:
        return "input" if name == "x" else "output"


class Batch:
    """A batch over one array, with outputs in memory of its own."""

    def __init__(self, array: np.ndarray) -> None:
        self.array, self.rows, self.wanted = np.ascontiguousarray(array), len(array), [True]
        self.outputs: dict[str, np.ndarray] = {}

    def input_memory(self, index: int) -> tuple[int, tuple[int, ...]]:
        return self.array.ctypes.data, self.array.shape

    def allocate_output(self, name: str, dtype: str, shape: tuple[int, ...]) -> int:
        assert dtype == "FP32"
        self.outputs[name] = np.full(shape, np.nan, np.float32)
        return self.outputs[name].ctypes.data
