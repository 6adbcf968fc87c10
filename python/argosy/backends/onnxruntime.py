"""ONNX models on ONNX Runtime's CPU provider.

One session per model, shared by its instances (a session is thread-safe and its
weights exist once). Inputs are bound where the requests' bytes are, outputs of
known shape are written straight into the memory that the responses are sliced
from. Thread counts come from the server's budget unless the model sets them.

Format: ONNX (onnx.ai), opset as the installed ONNX Runtime supports.
"""

from __future__ import annotations

import ctypes
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from argosy.backends.contract import Batch
from argosy.config import ArtifactSignature, TensorSignature, mismatch
from argosy.errors import Internal, InvalidArgument, Unsupported

try:
    import onnxruntime as ort
except ImportError as error:
    raise InvalidArgument(
        "the onnxruntime backend needs the package 'onnxruntime': pip install 'argosy[onnx]'"
    ) from error

_DTYPES = {
    "tensor(bool)": "BOOL",
    "tensor(uint8)": "UINT8",
    "tensor(uint16)": "UINT16",
    "tensor(uint32)": "UINT32",
    "tensor(uint64)": "UINT64",
    "tensor(int8)": "INT8",
    "tensor(int16)": "INT16",
    "tensor(int32)": "INT32",
    "tensor(int64)": "INT64",
    "tensor(float16)": "FP16",
    "tensor(bfloat16)": "BF16",
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    "tensor(string)": "BYTES",
}
# ONNX TensorProto.DataType numbers, which bind_input takes where numpy has no type.
_ONNX_TYPE = {"BF16": 16}
_NUMPY: dict[str, Any] = {
    "BOOL": np.bool_,
    "UINT8": np.uint8,
    "UINT16": np.uint16,
    "UINT32": np.uint32,
    "UINT64": np.uint64,
    "INT8": np.int8,
    "INT16": np.int16,
    "INT32": np.int32,
    "INT64": np.int64,
    "FP16": np.float16,
    "FP32": np.float32,
    "FP64": np.float64,
}
_LEVELS = {
    "0": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
    "-1": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "1": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "2": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
}
_GPU_ONLY = ("cudnn_conv_algo_search", "gpu_mem_limit", "arena_extend_strategy", "do_copy_in_default_stream")


class OnnxRuntimeBackend:
    """The backend `onnxruntime`."""

    def __init__(self) -> None:
        ort.disable_telemetry_events()
        self._options: Mapping[str, str] = {}

    def configure(self, options: Mapping[str, str]) -> None:
        """Server-wide defaults: intra_op_thread_count, inter_op_thread_count."""
        self._options = options

    def inspect(self, artifact: Path, parameters: Mapping[str, str]) -> ArtifactSignature:
        """The model's own inputs and outputs. Raises InvalidArgument when ONNX Runtime refuses the file."""
        options = _session_options(parameters, 1)
        # Reading the signature needs no optimised graph.
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        return _signature(_open(artifact, options), str(artifact))

    def load(self, spec: Mapping[str, Any], slot: Mapping[str, Any]) -> _Model:
        """Raises InvalidArgument when file, parameters and configuration do not fit each other."""
        artifact = Path(spec["path"]) / spec["artifact"]
        if artifact.is_dir():
            artifact = artifact / "model.onnx"
        if not artifact.exists():
            raise InvalidArgument(f"unable to find '{artifact}' for model instance '{slot['name']}'")
        if slot["kind"] == "gpu":
            raise Unsupported(f"model '{spec['name']}': this ONNX Runtime adapter runs on CPU; use kind: KIND_CPU")
        parameters = {**_defaults(self._options), **spec["parameters"]}
        session = _open(artifact, _session_options(parameters, slot["cpu_threads"]))
        problem = mismatch(spec, _signature(session, str(artifact)))
        if problem:
            raise InvalidArgument(problem)
        return _Model(session, spec, parameters)


class _Model:
    def __init__(self, session: ort.InferenceSession, spec: Mapping[str, Any], parameters: Mapping[str, str]) -> None:
        self._session, self._spec = session, spec
        # None where nothing is asked for: with any options, a bound run takes 60 us longer.
        self._run_options: ort.RunOptions | None = None
        shrink = parameters.get("memory.enable_memory_arena_shrinkage", "")
        if shrink:
            self._run_options = ort.RunOptions()
            self._run_options.add_run_config_entry("memory.enable_memory_arena_shrinkage", shrink)

    def make_instance(self, slot: Mapping[str, Any]) -> _Instance:
        return _Instance(self._session, self._run_options, self._spec, slot["name"])


class _Instance:
    """Binds and runs. Thread: its runner's; the session underneath is shared."""

    def __init__(
        self, session: ort.InferenceSession, run_options: ort.RunOptions | None, spec: Mapping[str, Any], name: str
    ) -> None:
        self._session, self._run_options, self._name = session, run_options, name
        self._batches = spec["max_batch_size"] > 0
        self._max_rows = spec["max_batch_size"]
        self._inputs = [(tensor["name"], tensor["dtype"]) for tensor in spec["inputs"]]
        known = {output.name: output for output in session.get_outputs()}
        self._outputs = [
            (tensor["name"], tensor["dtype"], self._fixed_dims(known[tensor["name"]])) for tensor in spec["outputs"]
        ]
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
                binding.bind_input(name, "cpu", 0, _ONNX_TYPE.get(dtype, _NUMPY.get(dtype)), shape, address)
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
            binding.bind_output(name, "cpu", 0, _ONNX_TYPE.get(dtype, _NUMPY.get(dtype)), shape, address)
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
            if dtype in _ONNX_TYPE:
                held.append(np.ascontiguousarray(array))
                value = ort.OrtValue.ortvalue_from_numpy_with_onnx_type(held[-1], _ONNX_TYPE[dtype])
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
        if any(dtype in _ONNX_TYPE for _, dtype, *_ in (*self._inputs, *self._outputs)):
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

    def _fixed_dims(self, output: Any) -> tuple[int, ...] | None:
        """The output's dimensions when all but the batch dimension are known before the run."""
        dims = tuple(dim if isinstance(dim, int) else -1 for dim in output.shape)
        rest = dims[1:] if self._batches else dims
        return dims if all(dim > 0 for dim in rest) and (dims or not self._batches) else None


def _give(batch: Batch, name: str, dtype: str, value: Any) -> None:
    """Hands an output over; a copy only for types that numpy has not."""
    if dtype not in _ONNX_TYPE:
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


def _open(artifact: Path, options: ort.SessionOptions) -> ort.InferenceSession:
    try:
        return ort.InferenceSession(str(artifact), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime raises a class of its own per status code
        raise InvalidArgument(f"ONNX Runtime cannot load '{artifact}': {error}") from None


def _signature(session: ort.InferenceSession, where: str) -> ArtifactSignature:
    def tensors(values: Any) -> tuple[TensorSignature, ...]:
        out = []
        for value in values:
            dtype = _DTYPES.get(value.type)
            if dtype is None:
                raise Unsupported(f"'{where}', tensor '{value.name}': type {value.type} cannot be served")
            dims = tuple(dim if isinstance(dim, int) and dim >= 0 else -1 for dim in value.shape)
            out.append(TensorSignature(name=value.name, dtype=dtype, dims=dims))
        return tuple(out)

    return ArtifactSignature(inputs=tensors(session.get_inputs()), outputs=tensors(session.get_outputs()))


def _defaults(options: Mapping[str, str]) -> dict[str, str]:
    return {key: options[key] for key in ("intra_op_thread_count", "inter_op_thread_count") if key in options}


def _session_options(parameters: Mapping[str, str], budget: int) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = _count(parameters, "intra_op_thread_count") or budget
    options.inter_op_num_threads = _count(parameters, "inter_op_thread_count") or 1
    # Threads that spin between batches take the cores that decode the next requests.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    if parameters.get("execution_mode") == "1":
        options.execution_mode = ort.ExecutionMode.ORT_PARALLEL
    options.enable_cpu_mem_arena = parameters.get("enable_mem_arena", "1") != "0"
    options.enable_mem_pattern = parameters.get("enable_mem_pattern", "1") != "0"
    device_initializers = parameters.get("session.use_device_allocator_for_initializers")
    if device_initializers:
        options.add_session_config_entry("session.use_device_allocator_for_initializers", device_initializers)
    level = parameters.get("optimization.graph.level", "0")
    if level not in _LEVELS:
        raise InvalidArgument(f"optimization.graph.level: expected -1, 0, 1 or 2, got '{level}'")
    options.graph_optimization_level = _LEVELS[level]
    for key in _GPU_ONLY:
        if key in parameters:
            raise Unsupported(f"parameter '{key}' is for the CUDA provider; this model runs on CPU")
    for library in json.loads(parameters.get("op_library_filenames", "[]")):
        options.register_custom_ops_library(library)
    return options


def _count(parameters: Mapping[str, str], key: str) -> int:
    text = parameters.get(key, "0")
    if not text.isdigit():
        raise InvalidArgument(f"parameter '{key}': expected a number of threads (0: the server's share), got '{text}'")
    return int(text)
