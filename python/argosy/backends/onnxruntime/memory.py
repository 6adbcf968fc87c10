"""Memory of the device that an instance computes on, as ONNX Runtime names it, and copies within it.

`HostMemory` is the host as a device: copies happen at once. `CudaMemory` copies on the
instance's stream, for which it needs the package cuda-bindings; without copies nothing
of it is imported.

Thread: the instance's own.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any, Protocol

from argosy.backends.placement import Placement
from argosy.errors import Internal, InvalidArgument


class Memory(Protocol):
    """`device_type` and `ordinal` are what bindings are told; `waits`: whether a run has to end with a wait."""

    device_type: str
    ordinal: int
    waits: bool

    def prepare(self) -> None:
        """Before the first copy. Raises InvalidArgument saying what to install."""

    def copy(self, target: int, source: int, size: int) -> None:
        """Within the device, ordered with the session's work."""


class HostMemory:
    device_type, ordinal, waits = "cpu", 0, True

    def prepare(self) -> None: ...

    def copy(self, target: int, source: int, size: int) -> None:
        ctypes.memmove(target, source, size)


class CudaMemory:
    device_type, waits = "cuda", False

    def __init__(self, placement: Placement, load: Callable[[], Any] | None = None) -> None:
        self.ordinal, self._stream = placement.ordinal, placement.stream
        self._load = load or _cuda_runtime
        self._runtime: Any = None

    def prepare(self) -> None:
        self._runtime = self._load()

    def copy(self, target: int, source: int, size: int) -> None:
        """Raises Internal with CUDA's words."""
        runtime = self._runtime
        kind = runtime.cudaMemcpyKind.cudaMemcpyDeviceToDevice
        (error,) = runtime.cudaMemcpyAsync(target, source, size, kind, self._stream)
        if error != runtime.cudaError_t.cudaSuccess:
            _, text = runtime.cudaGetErrorString(error)
            raise Internal(f"cudaMemcpyAsync: {text.decode() if isinstance(text, bytes) else text}")


def _cuda_runtime() -> Any:
    try:
        from cuda.bindings import runtime
    except ImportError as error:
        raise InvalidArgument(
            "CUDA graphs of the onnxruntime backend need the package 'cuda-bindings': pip install 'argosy[onnx-gpu]'"
        ) from error
    return runtime
