"""CUDA graphs of one engine's instance: one per graph_spec, on memory and a context of its own.

A graph holds the addresses and the shapes it was captured with, and TensorRT's context
must stay as it was; so each has a context, and buffers that batches are copied into and
out of. Captured while the model loads, after one plain run, which TensorRT wants first.

Thread: made on a loader's, replayed and closed on the instance's own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from argosy.backends.graph_sizes import GraphSpec
from argosy.backends.placement import ELEMENT_BYTES
from argosy.backends.tensorrt.cuda import DeviceBuffer, checked
from argosy.backends.tensorrt.profiles import Profile, Shape, choose
from argosy.errors import Internal, InvalidArgument

Shapes: TypeAlias = Mapping[str, Shape]


def input_shapes(model: str, spec: GraphSpec, tensors: Sequence[Mapping[str, Any]]) -> dict[str, Shape]:
    """Complete shapes of the inputs for one graph.

    `tensors`: the configured inputs. Raises InvalidArgument naming an input whose dimensions nobody says.
    """
    made = {}
    for tensor in tensors:
        name = tensor["name"]
        configured = tensor["dims"] if tensor["reshape"] is None else tensor["reshape"]
        dims = tuple(spec.shapes.get(name, tuple(configured)))
        if any(dim < 1 for dim in dims):
            raise InvalidArgument(
                f"model '{model}', CUDA graph of batch size {spec.rows}: input '{name}' has the dimensions "
                f"{list(dims)}; say them in optimization.cuda.graph_spec.input, or remove graphs"
            )
        made[name] = (spec.rows, *dims) if spec.rows else dims
    unknown = sorted(set(spec.shapes) - set(made))
    if unknown:
        raise InvalidArgument(f"model '{model}', optimization.cuda.graph_spec.input: no input '{unknown[0]}'")
    return made


class EngineGraph:
    """One captured size. `shapes`: of inputs and outputs by name."""

    def __init__(
        self, runtime: Any, engine: Any, stream: int, profile: int, inputs: Shapes, spec: Mapping[str, Any]
    ) -> None:
        self._runtime, self._stream, self._model = runtime, stream, spec["name"]
        self._inputs = inputs
        self._context = engine.create_execution_context()
        if self._context is None or not self._context.set_optimization_profile_async(profile, stream):
            raise Internal(f"model '{self._model}': TensorRT made no execution context for a CUDA graph")
        for name, shape in inputs.items():
            if not self._context.set_input_shape(name, shape):
                raise InvalidArgument(
                    f"model '{self._model}', CUDA graph: TensorRT refuses shape {list(shape)} of '{name}'"
                )
        outputs = [engine.get_tensor_name(at) for at in range(engine.num_io_tensors)]
        outputs = [name for name in outputs if name not in inputs]
        self.shapes: dict[str, Shape] = dict(inputs)
        for name in outputs:
            self.shapes[name] = tuple(int(dim) for dim in self._context.get_tensor_shape(name))
        types = {tensor["name"]: tensor["dtype"] for tensor in (*spec["inputs"], *spec["outputs"])}
        self._bytes = {
            name: math.prod(shape)
            * (ELEMENT_BYTES[types[name]] if name in types else engine.get_tensor_dtype(name).itemsize)
            for name, shape in self.shapes.items()
        }
        self._buffers = {name: DeviceBuffer(runtime) for name in self.shapes}
        self._executable: Any = None
        try:
            for name, buffer in self._buffers.items():
                self._context.set_tensor_address(name, buffer.at_least(self._bytes[name]))
            self._executable = self._captured()
        except BaseException:
            self.close()
            raise

    def replay(self, addresses: Mapping[str, int]) -> None:
        """Takes the inputs from there and computes, on the stream."""
        for name in self._inputs:
            self._copy(self._buffers[name].address, addresses[name], self._bytes[name])
        checked(self._runtime, "cudaGraphLaunch", self._runtime.cudaGraphLaunch(self._executable, self._stream))

    def copy_out(self, addresses: Mapping[str, int]) -> None:
        """Puts these outputs there, on the stream: the next replay writes them anew."""
        for name, address in addresses.items():
            self._copy(address, self._buffers[name].address, self._bytes[name])

    def close(self) -> None:
        """After everything on the stream has run."""
        if self._executable is not None:
            self._runtime.cudaGraphExecDestroy(self._executable)
            self._executable = None
        self._context = None
        for buffer in self._buffers.values():
            buffer.close()

    def _captured(self) -> Any:
        runtime = self._runtime
        self._enqueue()
        checked(runtime, "cudaStreamSynchronize", runtime.cudaStreamSynchronize(self._stream))
        # Other instances go on calling CUDA while this one captures.
        mode = runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        checked(runtime, "cudaStreamBeginCapture", runtime.cudaStreamBeginCapture(self._stream, mode))
        try:
            self._enqueue()
        finally:  # a stream left in capture would take nothing else
            graph = checked(runtime, "cudaStreamEndCapture", runtime.cudaStreamEndCapture(self._stream))
        made = checked(runtime, "cudaGraphInstantiate", runtime.cudaGraphInstantiate(graph, 0))
        runtime.cudaGraphDestroy(graph)
        return made

    def _enqueue(self) -> None:
        if not self._context.execute_async_v3(self._stream):
            raise Internal(
                f"model '{self._model}': TensorRT could not run or capture a CUDA graph; its log says why; remove "
                "optimization { cuda }"
            )

    def _copy(self, target: int, source: int, size: int) -> None:
        if size:
            kind = self._runtime.cudaMemcpyKind.cudaMemcpyDeviceToDevice
            checked(
                self._runtime,
                "cudaMemcpyAsync",
                self._runtime.cudaMemcpyAsync(target, source, size, kind, self._stream),
            )


class EngineGraphs:
    """The graphs by the shapes of their inputs."""

    def __init__(
        self,
        runtime: Any,
        engine: Any,
        stream: int,
        profiles: Sequence[Profile],
        spec: Mapping[str, Any],
        allowed: Sequence[int],
        wanted: Sequence[GraphSpec],
    ) -> None:
        self._made: dict[tuple[tuple[str, Shape], ...], EngineGraph] = {}
        try:
            for one in wanted:
                shapes = input_shapes(spec["name"], one, spec["inputs"])
                profile = choose(profiles, shapes, allowed)
                self._made[_key(shapes)] = EngineGraph(runtime, engine, stream, profile, shapes, spec)
        except BaseException:
            self.close()
            raise

    def find(self, shapes: Shapes) -> EngineGraph | None:
        return self._made.get(_key(shapes)) if self._made else None

    def close(self) -> None:
        for one in self._made.values():
            one.close()
        self._made.clear()


def _key(shapes: Shapes) -> tuple[tuple[str, Shape], ...]:
    return tuple(sorted(shapes.items()))
