"""The little of CUDA that an engine's instance needs: memory, copies, a stream, an event.

Stands on the package cuda-bindings. Every call's error becomes Internal in one place;
what is made here is freed by close(), in any order, once.

Thread: one at a time per object.
"""

from __future__ import annotations

from typing import Any

from argosy.errors import Internal, InvalidArgument, ResourceExhausted, Unsupported


def cuda_runtime() -> Any:
    """The module of the CUDA runtime. Raises InvalidArgument saying what to install."""
    try:
        from cuda.bindings import runtime
    except ImportError as error:
        raise InvalidArgument(
            "the tensorrt backend needs the package 'cuda-bindings' for device memory: pip install 'argosy[tensorrt]'"
        ) from error
    return runtime


def checked(runtime: Any, what: str, result: tuple[Any, ...]) -> Any:
    """The value of a CUDA call. Raises ResourceExhausted without memory, Internal with CUDA's words otherwise."""
    error, *values = result
    if error != runtime.cudaError_t.cudaSuccess:
        _, text = runtime.cudaGetErrorString(error)
        message = f"{what}: {text.decode() if isinstance(text, bytes) else text}"
        raise (
            ResourceExhausted(message) if error == runtime.cudaError_t.cudaErrorMemoryAllocation else Internal(message)
        )
    return values[0] if values else None


def gpu_name(runtime: Any, device: int) -> str:
    """Name and compute capability of a GPU, e.g. "NVIDIA H100 9.0". Raises Unsupported when there is no such GPU."""
    error, count = runtime.cudaGetDeviceCount()
    if error != runtime.cudaError_t.cudaSuccess or not count:
        _, text = runtime.cudaGetErrorString(error)
        raise Unsupported(
            f"TensorRT needs a GPU, and CUDA finds none: {text.decode() if isinstance(text, bytes) else text}"
        )
    if device >= count:
        raise Unsupported(f"GPU {device} was asked for, there are {count}")
    properties = checked(runtime, "cudaGetDeviceProperties", runtime.cudaGetDeviceProperties(device))
    name = properties.name.decode() if isinstance(properties.name, bytes) else properties.name
    return f"{name.rstrip(chr(0))} {properties.major}.{properties.minor}"


class Stream:
    """A stream that does not wait for the default one, and an event to wait for it without spinning."""

    def __init__(self, runtime: Any) -> None:
        self._runtime = runtime
        self.handle = int(
            checked(runtime, "cudaStreamCreate", runtime.cudaStreamCreateWithFlags(runtime.cudaStreamNonBlocking))
        )
        self._event = checked(
            runtime,
            "cudaEventCreate",
            runtime.cudaEventCreateWithFlags(runtime.cudaEventBlockingSync | runtime.cudaEventDisableTiming),
        )

    def to_device(self, target: int, source: int, size: int) -> None:
        self._copy(target, source, size, self._runtime.cudaMemcpyKind.cudaMemcpyHostToDevice)

    def to_host(self, target: int, source: int, size: int) -> None:
        self._copy(target, source, size, self._runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost)

    def wait(self) -> None:
        """Until everything given to the stream so far is done."""
        checked(self._runtime, "cudaEventRecord", self._runtime.cudaEventRecord(self._event, self.handle))
        checked(self._runtime, "cudaEventSynchronize", self._runtime.cudaEventSynchronize(self._event))

    def close(self) -> None:
        if self.handle:
            self._runtime.cudaEventDestroy(self._event)
            self._runtime.cudaStreamDestroy(self.handle)
            self.handle = 0

    def _copy(self, target: int, source: int, size: int, kind: Any) -> None:
        if size:
            checked(
                self._runtime,
                "cudaMemcpyAsync",
                self._runtime.cudaMemcpyAsync(target, source, size, kind, self.handle),
            )


class DeviceBuffer:
    """Device memory that only grows. An address is good until the next at_least()."""

    def __init__(self, runtime: Any) -> None:
        self._runtime = runtime
        self.address, self.size = 0, 0

    def at_least(self, size: int) -> int:
        """Nothing on the stream may still use the old address."""
        if size > self.size or not self.address:
            self.close()
            # TensorRT wants an address even for no elements.
            self.address = int(
                checked(self._runtime, f"cudaMalloc of {size} bytes", self._runtime.cudaMalloc(max(size, 256)))
            )
            self.size = max(size, 256)
        return self.address

    def close(self) -> None:
        if self.address:
            self._runtime.cudaFree(self.address)
            self.address, self.size = 0, 0


class KeptBuffer:
    """Device memory that grows while work under way still uses what it was: every address is good until close().

    Doubles at least, so that what is outgrown is never more than what is used.
    """

    def __init__(self, runtime: Any) -> None:
        self._runtime = runtime
        self._blocks = [DeviceBuffer(runtime)]

    def at_least(self, size: int) -> int:
        held = self._blocks[-1]
        if size <= held.size:
            return held.at_least(size)
        larger = DeviceBuffer(self._runtime)
        larger.at_least(max(size, 2 * held.size))
        self._blocks.append(larger)
        return larger.address

    def close(self) -> None:
        for block in self._blocks:
            block.close()
        self._blocks = [DeviceBuffer(self._runtime)]
