"""One worker of an ONNX model whose batches lie in host memory.

Inputs are bound where the requests' bytes are; outputs of known shape are written
straight into the memory that the responses are sliced from. Strings, which do not live
in plain memory, and on a GPU the models that have them, go through run().

Thread: its runner's; the session underneath may be shared.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnxruntime as ort

from argosy.backends.contract import Batch
from argosy.backends.onnxruntime.session import outputs_of
from argosy.backends.onnxruntime.types import ONNX_NUMBER, element_type
from argosy.config import model_inputs
from argosy.errors import Internal, InvalidArgument


class HostInstance:
    """Binds and runs."""

    any_thread = True

    def __init__(
        self, session: ort.InferenceSession, run_options: ort.RunOptions | None, spec: Mapping[str, Any], name: str
    ) -> None:
        self._session, self._run_options, self._name = session, run_options, name
        self._batches = spec["max_batch_size"] > 0
        self._max_rows = spec["max_batch_size"]
        self._inputs = [(tensor.name, tensor.dtype) for tensor in model_inputs(spec)]
        self._outputs = outputs_of(session, spec)
        # Kept from batch to batch, and filled anew each time; with which inputs and outputs.
        self._binding = session.io_binding()
        self._bound: tuple[tuple[bool, ...], tuple[bool, ...]] = ((), ())
        # Strings do not live in plain memory: such models go through run().
        self._bindable = all(dtype != "BYTES" for _, dtype in self._inputs) and all(
            dtype != "BYTES" for _, dtype, _ in self._outputs
        )

    def execute(self, batch: Batch) -> None:
        if self._batches and batch.rows > self._max_rows:
            raise Internal(f"batch size {batch.rows} for '{self._name}', max allowed is {self._max_rows}")
        memory = [batch.input_memory(index) for index in range(len(self._inputs))] if self._bindable else []
        # Nothing to point at: a tensor without elements cannot be bound by address.
        if self._bindable and all(one is None or 0 not in one[1] for one in memory):
            self._execute_bound(batch, memory)
        else:
            self._execute_plain(batch)

    def _execute_bound(self, batch: Batch, memory: list[tuple[int, tuple[int, ...]] | None]) -> None:
        parts = (tuple(one is not None for one in memory), tuple(batch.wanted))
        if parts != self._bound:  # a name cannot be taken out again
            self._binding, self._bound = self._session.io_binding(), parts
        binding = self._binding
        for (name, dtype), place in zip(self._inputs, memory, strict=True):
            if place is not None:
                address, shape = place
                binding.bind_input(name, "cpu", 0, element_type(dtype), shape, address)
        bound: list[tuple[str, str] | None] = []  # per output in the binding's order; None: in its place already
        for (name, dtype, dims), wanted in zip(self._outputs, batch.wanted, strict=True):
            if not wanted:
                continue
            if dims is None:
                binding.bind_output(name, "cpu")
                bound.append((name, dtype))
                continue
            bound.append(None)
            shape = (batch.rows, *dims[1:]) if self._batches else dims
            address = batch.allocate_output(name, dtype, shape)
            binding.bind_output(name, "cpu", 0, element_type(dtype), shape, address)
        self._session.run_with_iobinding(binding, self._run_options)
        if any(bound):
            for target, value in zip(bound, binding.get_outputs(), strict=True):
                if target is not None:
                    _give(batch, *target, value)

    def _execute_values(self, batch: Batch) -> None:
        """For element types that numpy has not."""
        binding = self._session.io_binding()
        held: list[Any] = []  # a value points into its array
        for index, (name, dtype) in enumerate(self._inputs):
            array = batch.input(index)
            if array is None:
                continue
            if dtype in ONNX_NUMBER:
                held.append(np.ascontiguousarray(array))
                value = ort.OrtValue.ortvalue_from_numpy_with_onnx_type(held[-1], ONNX_NUMBER[dtype])
                binding.bind_ortvalue_input(name, value)
            else:
                binding.bind_cpu_input(name, _to_text(array, name) if dtype == "BYTES" else array)
        wanted = [(name, dtype) for (name, dtype, _), asked in zip(self._outputs, batch.wanted, strict=True) if asked]
        for name, _ in wanted:
            binding.bind_output(name, "cpu")
        self._session.run_with_iobinding(binding, self._run_options)
        for (name, dtype), value in zip(wanted, binding.get_outputs(), strict=True):
            _give(batch, name, dtype, value)

    def _execute_plain(self, batch: Batch) -> None:
        if any(dtype in ONNX_NUMBER for _, dtype, *_ in (*self._inputs, *self._outputs)):
            self._execute_values(batch)
            return
        feed: dict[str, Any] = {}
        for index, (name, dtype) in enumerate(self._inputs):
            array = batch.input(index)
            if array is None:
                continue
            # ONNX Runtime's strings are text; the wire's are bytes.
            feed[name] = _to_text(array, name) if dtype == "BYTES" else array
        names = [name for (name, _, _), wanted in zip(self._outputs, batch.wanted, strict=True) if wanted]
        for name, value in zip(names, self._session.run(names, feed, self._run_options), strict=True):
            batch.set_output(name, value)


def _give(batch: Batch, name: str, dtype: str, value: Any) -> None:
    """Hands an output over; a copy only for types that numpy has not."""
    if dtype not in ONNX_NUMBER:
        batch.set_output(name, value.numpy())
        return
    shape = tuple(value.shape())
    address = batch.allocate_output(name, dtype, shape)
    if value.tensor_size_in_bytes():
        ctypes.memmove(address, value.data_ptr(), value.tensor_size_in_bytes())


def _to_text(array: Any, name: str) -> Any:
    try:
        flat = [item.decode() if isinstance(item, bytes) else item for item in array.ravel()]
    except UnicodeDecodeError as error:
        raise InvalidArgument(
            f"input '{name}': ONNX Runtime takes strings as UTF-8 text, and an element is not: {error}"
        ) from None
    out = np.empty(array.size, dtype=object)
    out[:] = flat
    return out.reshape(array.shape)
