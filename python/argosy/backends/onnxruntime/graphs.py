"""CUDA graphs of one session: batches of certain sizes run on memory that stays where it is.

ONNX Runtime captures a graph in the first runs of a size and replays it afterwards, on
the addresses of then. So every size has a binding with inputs and outputs of its own;
the rows of a batch are copied in and out on the session's stream. A larger batch than
the largest size runs without a graph.

Thread: made on a loader's, run on the instance's own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import onnxruntime as ort

from argosy.backends.onnxruntime.memory import Memory
from argosy.backends.onnxruntime.session import run_options
from argosy.backends.onnxruntime.types import element_type
from argosy.backends.placement import ELEMENT_BYTES
from argosy.errors import Unsupported

if TYPE_CHECKING:
    from argosy.backends.contract import DeviceBatch


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    name: str
    dtype: str
    shape: tuple[int, ...]
    value: ort.OrtValue

    @property
    def size(self) -> int:
        return math.prod(self.shape) * ELEMENT_BYTES[self.dtype]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Size:
    binding: Any
    inputs: list[_Place]
    outputs: list[_Place]
    options: Any


class BoundSizes:
    """Runs each size once, so that no request waits for a capture. `rows`: ascending; [0] without batching.

    Raises Unsupported naming a tensor whose dimensions besides the batch are not in the model or configuration.
    """

    def __init__(
        self,
        session: ort.InferenceSession,
        spec: Mapping[str, Any],
        memory: Memory,
        rows: Sequence[int],
        parameters: Mapping[str, str],
    ) -> None:
        self._session, self._spec, self._memory = session, spec, memory
        self.rows = tuple(count for count in rows if count > 0)
        own = {value.name: value.shape for value in (*session.get_inputs(), *session.get_outputs())}
        self._sizes = {count: self._bound(count, at, own, parameters) for at, count in enumerate(rows)}
        for at, count in enumerate(rows):
            waits = run_options(parameters, graph=at)
            session.run_with_iobinding(self._sizes[count].binding, waits)

    def run(self, batch: DeviceBatch, places: Sequence[tuple[int, tuple[int, ...]] | None]) -> bool:
        """False, and nothing is done, for a batch of another size or without all inputs."""
        size = self._sizes.get(batch.rows if self.rows else 0)
        if size is None:
            return False
        for target, place in zip(size.inputs, places, strict=True):
            if place is None or tuple(place[1]) != target.shape:
                return False
        for target, place in zip(size.inputs, places, strict=True):
            assert place is not None
            self._memory.copy(target.value.data_ptr(), place[0], target.size)
        self._session.run_with_iobinding(size.binding, size.options)
        wanted = [output for output, asked in zip(size.outputs, batch.wanted, strict=True) if asked]
        if wanted:
            addresses = batch.reserve_outputs([(output.name, output.dtype, output.shape) for output in wanted])
            for output, address in zip(wanted, addresses, strict=True):
                self._memory.copy(address, output.value.data_ptr(), output.size)
        return True

    def _bound(self, rows: int, graph: int, own: Mapping[str, Any], parameters: Mapping[str, str]) -> _Size:
        binding = self._session.io_binding()
        inputs = [self._place(tensor, rows, own) for tensor in self._spec["inputs"]]
        outputs = [self._place(tensor, rows, own) for tensor in self._spec["outputs"]]
        for place in inputs:
            binding.bind_ortvalue_input(place.name, place.value)
        for place in outputs:
            binding.bind_ortvalue_output(place.name, place.value)
        options = run_options(parameters, waits=self._memory.waits, graph=graph)
        return _Size(binding=binding, inputs=inputs, outputs=outputs, options=options)

    def _place(self, tensor: Mapping[str, Any], rows: int, own: Mapping[str, Any]) -> _Place:
        name, dtype = tensor["name"], tensor["dtype"]
        shape = static_shape(own[name], tensor["dims"] if tensor["reshape"] is None else tensor["reshape"], rows)
        if any(dim < 1 for dim in shape):
            raise Unsupported(
                f"model '{self._spec['name']}', enable_cuda_graph: '{name}' has a dynamic dimension besides the batch "
                f"({list(shape)}); remove enable_cuda_graph"
            )
        value = ort.OrtValue.ortvalue_from_shape_and_type(
            list(shape), element_type(dtype), self._memory.device_type, self._memory.ordinal
        )
        return _Place(name=name, dtype=dtype, shape=shape, value=value)


def static_shape(own: Sequence[Any], configured: Sequence[int], rows: int) -> tuple[int, ...]:
    """The shape with `rows` rows (0: no batch dimension), -1 where neither model nor configuration knows it.

    `own`: the model's dimensions, text or None where dynamic. `configured`: without the batch dimension.
    """
    complete = [rows, *configured] if rows else list(configured)
    dims = [dim if isinstance(dim, int) and dim >= 0 else -1 for dim in own]
    if len(complete) != len(dims):
        return tuple(dims)
    return tuple(asked if asked >= 0 else dim for asked, dim in zip(complete, dims, strict=True))
