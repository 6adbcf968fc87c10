"""One worker of an ONNX model whose batches lie in device memory.

Inputs are bound at the batch's addresses. Outputs of known shape are bound at memory of
the batch; the others are put by ONNX Runtime where it likes on the device, and handed
over with the value that owns them. The session computes on the instance's stream and
nothing here waits for it: what ONNX Runtime lets go of, it uses again behind that work,
on the same stream.

Thread: enqueue() on the instance's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import onnxruntime as ort

from argosy.backends.onnxruntime.graphs import BoundSizes
from argosy.backends.onnxruntime.memory import Memory
from argosy.backends.onnxruntime.session import outputs_of, run_options
from argosy.backends.onnxruntime.types import element_type
from argosy.config import model_inputs
from argosy.errors import Internal

if TYPE_CHECKING:
    from argosy.backends.contract import DeviceBatch


class DeviceInstance:
    """`sizes`: CUDA graphs, where the model asks for them."""

    def __init__(
        self,
        session: ort.InferenceSession,
        parameters: Mapping[str, str],
        spec: Mapping[str, Any],
        name: str,
        memory: Memory,
        sizes: BoundSizes | None = None,
    ) -> None:
        self._session, self._name, self._memory, self._sizes = session, name, memory, sizes
        self._run_options = run_options(parameters, waits=memory.waits, graph=None if sizes is None else -1)
        self._batches, self._max_rows = spec["max_batch_size"] > 0, spec["max_batch_size"]
        self._inputs = [(tensor.name, tensor.dtype) for tensor in model_inputs(spec)]
        self._outputs = outputs_of(session, spec)
        # Kept from batch to batch, and filled anew each time; with which inputs and outputs.
        self._binding = session.io_binding()
        self._bound: tuple[tuple[bool, ...], tuple[bool, ...]] = ((), ())
        self.allowed_rows: tuple[int, ...] = () if sizes is None else sizes.rows

    def enqueue(self, batch: DeviceBatch) -> None:
        """Raises ArgosyError, or what ONNX Runtime raises, for this batch alone."""
        if self._batches and batch.rows > self._max_rows:
            raise Internal(f"batch size {batch.rows} for '{self._name}', max allowed is {self._max_rows}")
        places = [batch.input_memory(index) for index in range(len(self._inputs))]
        if self._sizes is not None and self._sizes.run(batch, places):
            return
        parts = (tuple(place is not None for place in places), tuple(batch.wanted))
        if parts != self._bound:  # a name cannot be taken out again
            self._binding, self._bound = self._session.io_binding(), parts
        self._bind_inputs(places)
        unknown = self._bind_outputs(batch)
        self._session.run_with_iobinding(self._binding, self._run_options)
        if any(unknown):
            for target, value in zip(unknown, self._binding.get_outputs(), strict=True):
                if target is not None:
                    batch.set_device_output(*target, tuple(value.shape()), value.data_ptr(), value)

    def _bind_inputs(self, places: list[tuple[int, tuple[int, ...]] | None]) -> None:
        where = (self._memory.device_type, self._memory.ordinal)
        for (name, dtype), place in zip(self._inputs, places, strict=True):
            if place is None:
                continue
            address, shape = place
            if 0 in shape:  # nothing to point at: a tensor without elements cannot be bound by address
                empty = ort.OrtValue.ortvalue_from_shape_and_type(list(shape), element_type(dtype), *where)
                self._binding.bind_ortvalue_input(name, empty)
            else:
                self._binding.bind_input(name, *where, element_type(dtype), shape, address)

    def _bind_outputs(self, batch: DeviceBatch) -> list[tuple[str, str] | None]:
        """Per output in the binding's order: its name and type; None: it is in its place already."""
        where = (self._memory.device_type, self._memory.ordinal)
        wanted = [output for output, asked in zip(self._outputs, batch.wanted, strict=True) if asked]
        shapes = [None if dims is None else (batch.rows, *dims[1:]) if self._batches else dims for _, _, dims in wanted]
        known = [(name, dtype, shape) for (name, dtype, _), shape in zip(wanted, shapes, strict=True) if shape]
        addresses = iter(batch.reserve_outputs(known) if known else ())
        unknown: list[tuple[str, str] | None] = []
        for (name, dtype, _), shape in zip(wanted, shapes, strict=True):
            if shape:
                self._binding.bind_output(name, *where, element_type(dtype), shape, next(addresses))
                unknown.append(None)
            else:
                self._binding.bind_output(name, *where)
                unknown.append((name, dtype))
        return unknown
