"""One worker of an engine whose batches lie in device memory.

Inputs are bound at the batch's addresses and outputs at memory of the batch, because
their shapes follow from those of the inputs; the engine's work is enqueued on the
instance's stream and nothing here waits for it. Outputs that nobody asks for go into
memory of the instance. Sizes with a CUDA graph are copied into and out of the graph's
own memory, on the stream.

Thread: enqueue() and close() on the instance's own; a context is never in two threads.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from argosy.backends.graph_sizes import GraphSpec, allowed_rows
from argosy.backends.placement import ELEMENT_BYTES, Placement
from argosy.backends.tensorrt.cuda import KeptBuffer, checked
from argosy.backends.tensorrt.engine import make_context, names, select_profile
from argosy.backends.tensorrt.graphs import EngineGraphs, Shapes
from argosy.backends.tensorrt.profiles import Profile, choose
from argosy.config import model_inputs
from argosy.errors import Internal

if TYPE_CHECKING:
    from argosy.backends.contract import DeviceBatch


class DeviceInstance:
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
        placement: Placement,
        graphs: Sequence[GraphSpec] = (),
    ) -> None:
        self._runtime, self._profiles, self._allowed = runtime, profiles, allowed
        self._placement = placement
        self._model, self._name, self._max_rows = spec["name"], slot["name"], spec["max_batch_size"]
        self._inputs = [(tensor.name, tensor.dtype) for tensor in model_inputs(spec)]
        self._outputs = [(tensor["name"], tensor["dtype"]) for tensor in spec["outputs"]]
        self._every_output = names(trt, engine, inputs=False)
        checked(runtime, "cudaSetDevice", runtime.cudaSetDevice(placement.ordinal))
        self._context = make_context(engine, self._model)
        self._profile = -1
        # Of outputs that a batch does not want, or the configuration does not name.
        self._unwanted = {name: KeptBuffer(runtime) for name in self._every_output}
        self._sizes = {name: engine.get_tensor_dtype(name).itemsize for name in self._every_output}
        self.allowed_rows = allowed_rows(graphs)
        self._graphs = EngineGraphs(runtime, engine, placement.stream, profiles, spec, allowed, graphs)

    def enqueue(self, batch: DeviceBatch) -> None:
        """Raises ArgosyError for this batch alone."""
        if 0 < self._max_rows < batch.rows:
            raise Internal(f"batch size {batch.rows} for '{self._name}', max allowed is {self._max_rows}")
        # The current device belongs to the thread, and loaders made this object.
        checked(self._runtime, "cudaSetDevice", self._runtime.cudaSetDevice(self._placement.ordinal))
        places = self._places(batch)
        shapes: Shapes = {name: shape for name, (_, shape) in places.items()}
        wanted = [output for output, asked in zip(self._outputs, batch.wanted, strict=True) if asked]
        graph = self._graphs.find(shapes)
        if graph is None:
            self._run(batch, places, shapes, wanted)
            return
        graph.replay({name: address for name, (address, _) in places.items()})
        addresses = _reserve(batch, [(name, dtype, graph.shapes[name]) for name, dtype in wanted])
        graph.copy_out(addresses)

    def close(self) -> None:
        self._graphs.close()
        self._context = None
        for buffer in self._unwanted.values():
            buffer.close()

    def _run(
        self,
        batch: DeviceBatch,
        places: Mapping[str, tuple[int, tuple[int, ...]]],
        shapes: Shapes,
        wanted: Sequence[tuple[str, str]],
    ) -> None:
        self._profile = select_profile(
            self._context,
            self._model,
            choose(self._profiles, shapes, self._allowed),
            self._profile,
            self._placement.stream,
        )
        for name, (address, shape) in places.items():
            if not (self._context.set_input_shape(name, shape) and self._context.set_tensor_address(name, address)):
                raise Internal(f"model '{self._model}', input '{name}': TensorRT refuses shape {list(shape)}")
        results = {name: _shape(self._context, name, self._model) for name in self._every_output}
        addresses = _reserve(batch, [(name, dtype, results[name]) for name, dtype in wanted])
        for name in self._every_output:
            address = addresses.get(name) or self._unwanted[name].at_least(math.prod(results[name]) * self._sizes[name])
            if not self._context.set_tensor_address(name, address):
                raise Internal(f"model '{self._model}', output '{name}': TensorRT refuses its address")
        if not self._context.execute_async_v3(self._placement.stream):
            raise Internal(f"model '{self._model}': TensorRT could not run the batch; its log says why")

    def _places(self, batch: DeviceBatch) -> dict[str, tuple[int, tuple[int, ...]]]:
        found = {}
        for at, (name, dtype) in enumerate(self._inputs):
            place = batch.input_memory(at)
            if place is None:
                raise Internal(f"model '{self._model}', input '{name}': an engine has no optional inputs")
            assert dtype in ELEMENT_BYTES
            found[name] = (place[0], tuple(place[1]))
        return found


def shapes_follow_inputs(
    trt: Any, engine: Any, model: str, profiles: Sequence[Profile], allowed: Sequence[int], stream: int
) -> bool:
    """Whether every output's shape is known before a run, on the first profile that may be used."""
    context = make_context(engine, model)
    first = allowed[0] if allowed else 0
    select_profile(context, model, first, -1, stream)
    for name, wanted in profiles[first].items():
        if not context.set_input_shape(name, wanted.optimum):
            return False
    return all(known_shape(context.get_tensor_shape(name)) for name in names(trt, engine, inputs=False))


def known_shape(dims: Sequence[int]) -> bool:
    return all(int(dim) >= 0 for dim in dims)


def _shape(context: Any, name: str, model: str) -> tuple[int, ...]:
    dims = tuple(int(dim) for dim in context.get_tensor_shape(name))
    if not known_shape(dims):
        raise Internal(f"model '{model}', output '{name}': TensorRT does not know its shape before the run: {dims}")
    return dims


def _reserve(batch: DeviceBatch, outputs: list[tuple[str, str, tuple[int, ...]]]) -> dict[str, int]:
    """Addresses by name; an output without elements has one of its own all the same."""
    if not outputs:
        return {}
    return dict(zip((name for name, _, _ in outputs), batch.reserve_outputs(outputs), strict=True))
