"""A worker for engines with outputs whose size only a run tells: a stream and device memory of its own.

Bytes go from where they were received to the device and results into the memory that
the responses are cut from, ordered by the stream; the host waits for the run, because
what to copy back is known only then. Other engines run as `device.DeviceInstance`.

Thread: execute() and close() on the instance's own; a context is never in two threads.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from argosy.backends.contract import Batch
from argosy.backends.placement import ELEMENT_BYTES
from argosy.backends.tensorrt.cuda import DeviceBuffer, Stream, checked
from argosy.backends.tensorrt.engine import make_context, names, select_profile
from argosy.backends.tensorrt.profiles import Profile, Shape, choose
from argosy.config import model_inputs
from argosy.errors import Internal


class TensorRtInstance:
    """Runs batches on the profile that fits them. `allowed`: profiles of its instance group, all when empty."""

    def __init__(
        self,
        trt: Any,
        runtime: Any,
        engine: Any,
        profiles: Sequence[Profile],
        spec: Mapping[str, Any],
        slot: Mapping[str, Any],
        allowed: Sequence[int],
    ) -> None:
        self._trt, self._runtime, self._engine = trt, runtime, engine
        self._profiles, self._allowed = profiles, allowed
        self._model, self._name, self._max_rows = spec["name"], slot["name"], spec["max_batch_size"]
        self._device = int(slot["device"])
        self._inputs = [(tensor.name, tensor.dtype) for tensor in model_inputs(spec)]
        self._outputs = [(tensor["name"], tensor["dtype"]) for tensor in spec["outputs"]]
        checked(runtime, "cudaSetDevice", runtime.cudaSetDevice(self._device))
        self._stream = Stream(runtime)
        self._buffers = {name: DeviceBuffer(runtime) for name, _ in self._inputs}
        self._context = make_context(engine, self._model)
        self._profile = -1
        self._results = {name: _result_memory(trt, runtime) for name in names(trt, engine, inputs=False)}
        for name, memory in self._results.items():
            self._context.set_output_allocator(name, memory)

    def execute(self, batch: Batch) -> None:
        if 0 < self._max_rows < batch.rows:
            raise Internal(f"batch size {batch.rows} for '{self._name}', max allowed is {self._max_rows}")
        # The current device belongs to the thread, and loaders made this object.
        checked(self._runtime, "cudaSetDevice", self._runtime.cudaSetDevice(self._device))
        places = self._places(batch)
        profile = choose(self._profiles, {name: shape for name, _, shape in places}, self._allowed)
        self._profile = select_profile(self._context, self._model, profile, self._profile, self._stream.handle)
        try:
            for (name, address, shape), (_, dtype) in zip(places, self._inputs, strict=True):
                size = math.prod(shape) * ELEMENT_BYTES[dtype]
                target = self._buffers[name].at_least(size)
                self._stream.to_device(target, address, size)
                if not (self._context.set_input_shape(name, shape) and self._context.set_tensor_address(name, target)):
                    raise Internal(f"model '{self._model}', input '{name}': TensorRT refuses shape {list(shape)}")
            if not self._context.execute_async_v3(self._stream.handle):
                raise Internal(f"model '{self._model}': TensorRT could not run the batch; its log says why")
        finally:
            # Also after a failure: the received bytes may go as soon as this returns.
            self._stream.wait()
        self._give(batch)

    def close(self) -> None:
        self._context = None
        for buffer in (*self._buffers.values(), *(memory.buffer for memory in self._results.values())):
            buffer.close()
        self._stream.close()

    def _places(self, batch: Batch) -> list[tuple[str, int, Shape]]:
        found = []
        for at, (name, _) in enumerate(self._inputs):
            place = batch.input_memory(at)
            if place is None:
                raise Internal(f"model '{self._model}', input '{name}': an engine has no optional inputs")
            found.append((name, place[0], tuple(place[1])))
        return found

    def _give(self, batch: Batch) -> None:
        try:
            for (name, dtype), wanted in zip(self._outputs, batch.wanted, strict=True):
                if not wanted:
                    continue
                memory = self._results[name]
                shape = memory.shape
                self._stream.to_host(
                    batch.allocate_output(name, dtype, shape),
                    memory.buffer.address,
                    math.prod(shape) * ELEMENT_BYTES[dtype],
                )
        finally:
            # Also when there is no memory for the last one: that of the others goes back at once.
            self._stream.wait()


def _result_memory(trt: Any, runtime: Any) -> Any:
    class ResultMemory(trt.IOutputAllocator):  # type: ignore[misc]
        """Device memory of one output, sized when the engine knows how large it is."""

        def __init__(self) -> None:
            trt.IOutputAllocator.__init__(self)
            self.buffer = DeviceBuffer(runtime)
            self.shape: Shape = ()

        def reallocate_output_async(self, name: str, memory: int, size: int, alignment: int, stream: int) -> int:
            # Called while a batch is enqueued: what ran before on the stream has been waited for.
            return self.buffer.at_least(size)

        def reallocate_output(self, name: str, memory: int, size: int, alignment: int) -> int:
            return self.buffer.at_least(size)

        def notify_shape(self, name: str, shape: Any) -> None:
            self.shape = tuple(int(dim) for dim in shape)

    return ResultMemory()
