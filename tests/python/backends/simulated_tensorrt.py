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
    cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2, cudaMemcpyDeviceToDevice=3)
    cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeThreadLocal=1)
    cudaStreamNonBlocking, cudaEventBlockingSync, cudaEventDisableTiming = 1, 1, 2

    def __init__(self, limit: int = 1 << 20) -> None:
        self.limit, self.memory, self.pending = limit, {}, []  # type: ignore[var-annotated]
        self.devices: list[int] = []
        self.capturing: list[Callable[[], None]] | None = None
        self.graphs, self.launches = 0, 0

    def give(self, work: Callable[[], None]) -> None:
        """To the stream: into the graph while it captures."""
        (self.pending if self.capturing is None else self.capturing).append(work)

    def cudaGetDeviceCount(self) -> tuple[int, int]:
        return 0, 1

    def cudaSetDevice(self, device: int) -> tuple[int]:
        self.devices.append(device)
        return (0,)

    def cudaMalloc(self, size: int) -> tuple[int, int]:
        assert self.capturing is None, "a graph cannot hold an allocation"
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
        self.give(lambda: ctypes.memmove(target, source, size) and None)
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

    def cudaStreamSynchronize(self, stream: int) -> tuple[int]:
        assert self.capturing is None, "a graph cannot hold a wait"
        return self.cudaEventSynchronize(0)

    def cudaStreamBeginCapture(self, stream: int, mode: int) -> tuple[int]:
        self.capturing = []
        return (0,)

    def cudaStreamEndCapture(self, stream: int) -> tuple[int, Any]:
        graph, self.capturing = self.capturing, None
        return 0, graph

    def cudaGraphInstantiate(self, graph: Any, flags: int) -> tuple[int, Any]:
        self.graphs += 1
        return 0, list(graph)

    def cudaGraphLaunch(self, executable: Any, stream: int) -> tuple[int]:
        self.launches += 1
        self.pending.extend(executable)
        return (0,)

    def cudaGraphDestroy(self, graph: Any) -> tuple[int]:
        return (0,)

    def cudaGraphExecDestroy(self, executable: Any) -> tuple[int]:
        self.graphs -= 1
        return (0,)

    def cudaGetErrorString(self, error: int) -> tuple[int, bytes]:
        return 0, {2: b"out of memory"}.get(error, b"unknown")


class OutputAllocator:
    def __init__(self) -> None: ...


TENSORRT = SimpleNamespace(
    IOutputAllocator=OutputAllocator, TensorIOMode=SimpleNamespace(INPUT="input", OUTPUT="output")
)


class Context:
    """Doubles "x" [rows, n] FP32 into "y"; remembers which profiles it was given.

    `tells`: whether y's shape is known before the run.
    """

    def __init__(self, runtime: Runtime, *, tells: bool = False) -> None:
        self.runtime, self.tells, self.profiles = runtime, tells, []  # type: ignore[var-annotated]
        self.fails, self.addresses = False, {}  # type: ignore[var-annotated]

    def set_optimization_profile_async(self, profile: int, stream: int) -> bool:
        self.profiles.append(profile)
        return True

    def set_output_allocator(self, name: str, allocator: Any) -> None:
        self.allocator = allocator

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self.shape = tuple(shape)
        return True

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self.shape if self.tells or name == "x" else (-1, *self.shape[1:])

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.addresses[name] = address
        return True

    def execute_async_v3(self, stream: int) -> bool:
        if self.fails:
            return False
        count = int(np.prod(self.shape))
        target = self.addresses.get("y")
        if target is None:
            target = self.allocator.reallocate_output_async("y", 0, count * 4, 256, stream)
            self.allocator.notify_shape("y", self.shape)
        self.runtime.give(self._doubled(self.addresses["x"], target, count))
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

    def __init__(self, runtime: Runtime, *, tells: bool = False) -> None:
        self.runtime, self.tells = runtime, tells
        self.contexts: list[Context] = []

    @property
    def context(self) -> Context:
        return self.contexts[0]

    def create_execution_context(self) -> Context:
        self.contexts.append(Context(self.runtime, tells=self.tells))
        return self.contexts[-1]

    def get_tensor_name(self, at: int) -> str:
        return "xy"[at]

    def get_tensor_mode(self, name: str) -> str:
        return "input" if name == "x" else "output"

    def get_tensor_dtype(self, name: str) -> Any:
        return SimpleNamespace(itemsize=4)


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
