"""A worker whose batches lie in device memory: it gives work to the engine's stream and waits for nothing.

Inputs are tensors over the batch's own memory. Results are handed over where PyTorch put
them, and kept until the engine has copied them out. PyTorch's allocator knows what it
gave out by stream: what is let go of here is used again only behind the work that read
it, on the same stream. Results of a CUDA graph are written anew by its next replay, so
they are copied, on the stream, into memory of the batch.

Thread: enqueue() on the instance's own; the constructor and close() on a loader's or
the engine's. Order: at most one enqueue() at a time; what it gives stays on one stream.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import TYPE_CHECKING, Any

import torch

from argosy.backends.placement import Placement
from argosy.backends.torch.graphs import RowGraphs
from argosy.backends.torch.instance import Worker
from argosy.backends.torch.plan import InputPlace, OutputPlace, Plan
from argosy.backends.torch.program import Program
from argosy.backends.torch.settings import Settings
from argosy.backends.torch.values import checked_tensor, device_tensor, host_array, host_texts

if TYPE_CHECKING:
    from argosy.backends.contract import DeviceBatch


def takes_device_memory(plan: Plan) -> bool:
    """Whether every argument is a tensor; strings and numbers have to be read on the host."""
    return all(place.input < 0 or place.kind == "tensor" for place in plan.inputs)


class DeviceInstance(Worker):
    """Follows the plan for every batch in the memory of `device` ("cuda:N", or "cpu": the host stands for it)."""

    def __init__(
        self,
        plan: Plan,
        program: Program,
        settings: Settings,
        slot: Mapping[str, Any],
        *,
        placement: Placement,
        device: str,
        graphs: RowGraphs | None = None,
    ) -> None:
        super().__init__(plan, program, settings, slot)
        self._device = torch.device(device)
        self._stream = None if placement.on_host else external_stream(placement, self._device)
        self._graphs = graphs
        self.allowed_rows: tuple[int, ...] = () if graphs is None else graphs.sizes

    def enqueue(self, batch: DeviceBatch) -> None:
        """Raises ArgosyError with the program's reason; nothing of a failed batch is handed over."""
        self.begin(batch.rows)
        with self._on_stream(), self.mode():
            values = [self._value(batch, place) for place in self._plan.inputs]
            replayed = None if self._graphs is None else self._graphs.replay(values, batch.rows)
            if replayed is not None:
                self._copy_out(batch, replayed)
            else:
                self._hand_over(batch, values, self.call(values))
        if self._settings.cache_cleaning and self._stream is not None:
            torch.cuda.empty_cache()

    def close(self) -> None:
        """Gives unused memory of this instance's stream back: no other stream could use it."""
        self._graphs = None
        if self._stream is not None:
            torch.cuda.empty_cache()

    def _on_stream(self) -> AbstractContextManager[Any]:
        if self._stream is None:
            return nullcontext()
        stack = ExitStack()
        stack.enter_context(torch.cuda.device(self._device))
        stack.enter_context(torch.cuda.stream(self._stream))
        return stack

    def _value(self, batch: DeviceBatch, place: InputPlace) -> Any:
        memory = None if place.input < 0 else batch.input_memory(place.input)
        if memory is None:
            return None
        tensor = device_tensor(memory[0], memory[1], place.dtype, self._device)
        # A client may have put its input there, and others may read it too; and it is the next batch's soon, which
        # a program that keeps what it was given does not know.
        return tensor.clone() if place.written or self._program.stateful else tensor

    def _copy_out(self, batch: DeviceBatch, results: list[torch.Tensor]) -> None:
        wanted = [
            (output, self._checked(output, result))
            for output, result, asked in zip(self._plan.outputs, results, batch.wanted, strict=True)
            if asked
        ]
        if not wanted:
            return
        places = batch.reserve_outputs([(output.name, output.dtype, tuple(value.shape)) for output, value in wanted])
        for (output, value), address in zip(wanted, places, strict=True):
            device_tensor(address, tuple(value.shape), output.dtype, self._device).copy_(value, non_blocking=True)

    def _hand_over(self, batch: DeviceBatch, values: list[Any], results: list[Any]) -> None:
        # The batch's memory is the engine's: a result that lies in it has no owner that would keep it.
        borrowed = {_storage(value) for value in values if isinstance(value, torch.Tensor)}
        given: list[tuple[OutputPlace, Any]] = []
        for output, value, wanted in zip(self._plan.outputs, results, batch.wanted, strict=True):
            if not wanted:
                continue
            if output.dtype == "BYTES":
                texts = host_texts(self._plan.model, output.name, value, batched=self._plan.max_rows > 0)
                given.append((output, texts))
                continue
            tensor = self._checked(output, value)
            kept = not self._program.stateful and _storage(tensor) not in borrowed
            given.append((output, tensor.contiguous() if kept else tensor.clone(memory_format=torch.contiguous_format)))
        for output, value in given:
            if isinstance(value, torch.Tensor) and value.device == self._device:
                batch.set_device_output(output.name, output.dtype, tuple(value.shape), value.data_ptr(), value)
            else:
                ready = host_array(value, output.dtype) if isinstance(value, torch.Tensor) else value
                batch.set_output(output.name, ready)

    def _checked(self, output: OutputPlace, value: Any) -> torch.Tensor:
        return checked_tensor(self._plan.model, output.name, output.dtype, value)


def external_stream(placement: Placement, device: torch.device) -> Any:
    """PyTorch's view of the engine's stream; it is the engine's to destroy."""
    return torch.cuda.ExternalStream(placement.stream, device=device)


def _storage(tensor: torch.Tensor) -> int:
    return int(tensor.untyped_storage().data_ptr())
