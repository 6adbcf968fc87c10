"""Sessions: how a model's parameters and the server's budget become one, and what it says about itself.

Thread: loaders'.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import onnxruntime as ort

from argosy.backends.onnxruntime.option_values import switch
from argosy.backends.onnxruntime.providers import CPU
from argosy.backends.onnxruntime.types import PROTOCOL
from argosy.config import ArtifactSignature, TensorSignature, is_ragged
from argosy.config.lower import GRAPH_LEVEL
from argosy.errors import InvalidArgument, Unsupported

_LEVELS = {
    "0": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
    "-1": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "1": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "2": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
}
_DEVICE_INITIALIZERS = "session.use_device_allocator_for_initializers"
_BOUNDED_SPIN = tuple(map(int, ort.__version__.split(".")[:2])) >= (1, 26)  # before, it was 50 ms or nothing
# Name, type, and the dimensions when all but the rows are known before the run.
Output: TypeAlias = tuple[str, str, tuple[int, ...] | None]
Providers = Sequence[tuple[str, dict[str, str]]]


def open_session(
    artifact: Path, options: ort.SessionOptions, providers: Providers = ((CPU, {}),)
) -> ort.InferenceSession:
    """Raises InvalidArgument with ONNX Runtime's reason. It never goes on with fewer providers in silence."""
    try:
        return ort.InferenceSession(str(artifact), options, providers=list(providers), enable_fallback=0)
    except Exception as error:  # ONNX Runtime raises a class of its own per status code
        raise InvalidArgument(f"ONNX Runtime cannot load '{artifact}': {error}") from None


def session_options(parameters: Mapping[str, str], budget: int) -> ort.SessionOptions:
    """`budget`: threads of one instance. Raises InvalidArgument naming the parameter."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = _count(parameters, "intra_op_thread_count") or budget
    options.inter_op_num_threads = _count(parameters, "inter_op_thread_count") or 1
    # Threads that spin between batches take the cores that decode the next requests; those that sleep between
    # the operators of one batch make it a tenth slower. Where the wait can be bounded it covers the latter only.
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if _BOUNDED_SPIN else "0")
    options.add_session_config_entry("session.intra_op.spin_duration_us", "20")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    if _switch(parameters, "execution_mode", "0"):
        options.execution_mode = ort.ExecutionMode.ORT_PARALLEL
    options.enable_cpu_mem_arena = _switch(parameters, "enable_mem_arena", "1")
    options.enable_mem_pattern = _switch(parameters, "enable_mem_pattern", "1")
    if _switch(parameters, _DEVICE_INITIALIZERS, "0"):
        options.add_session_config_entry(_DEVICE_INITIALIZERS, "1")
    level = parameters.get(GRAPH_LEVEL, "0")
    if level not in _LEVELS:
        raise InvalidArgument(f"optimization.graph.level: expected -1, 0, 1 or 2, got '{level}'")
    options.graph_optimization_level = _LEVELS[level]
    for library in json.loads(parameters.get("op_library_filenames", "[]")):
        options.register_custom_ops_library(library)
    return options


def run_options(parameters: Mapping[str, str], *, waits: bool = True, graph: int | None = None) -> Any:
    """None where nothing is asked for: with any options, a bound run takes 60 us longer.

    `waits`: a run returns when the device is done. `graph`: which CUDA graph it is, of those of its session.
    """
    entries = {}
    shrink = parameters.get("memory.enable_memory_arena_shrinkage", "")
    if shrink:
        entries["memory.enable_memory_arena_shrinkage"] = shrink
    if not waits:
        entries["disable_synchronize_execution_providers"] = "1"
    if graph is not None:
        entries["gpu_graph_id"] = str(graph)
    if not entries:
        return None
    options = ort.RunOptions()
    for key, value in entries.items():
        options.add_run_config_entry(key, value)
    return options


def signature_of(session: ort.InferenceSession, where: str) -> ArtifactSignature:
    """The session's inputs and outputs. Raises Unsupported for a type that requests cannot have."""

    def tensors(values: Any) -> tuple[TensorSignature, ...]:
        out = []
        for value in values:
            dtype = PROTOCOL.get(value.type)
            if dtype is None:
                raise Unsupported(f"'{where}', tensor '{value.name}': type {value.type} cannot be served")
            dims = tuple(dim if isinstance(dim, int) and dim >= 0 else -1 for dim in value.shape)
            out.append(TensorSignature(name=value.name, dtype=dtype, dims=dims))
        return tuple(out)

    return ArtifactSignature(inputs=tensors(session.get_inputs()), outputs=tensors(session.get_outputs()))


def outputs_of(session: ort.InferenceSession, spec: Mapping[str, Any]) -> list[Output]:
    """Those of the configuration, in its order. Of a ragged batch no shape is known before the run."""
    known = {output.name: output for output in session.get_outputs()}
    batches, ragged = spec["max_batch_size"] > 0, is_ragged(spec)
    return [
        (tensor["name"], tensor["dtype"], None if ragged else _fixed_dims(known[tensor["name"]], batches=batches))
        for tensor in spec["outputs"]
    ]


def _fixed_dims(output: Any, *, batches: bool) -> tuple[int, ...] | None:
    """An output's dimensions when all but the batch dimension are known before the run."""
    dims = tuple(dim if isinstance(dim, int) else -1 for dim in output.shape)
    rest = dims[1:] if batches else dims
    return dims if all(dim > 0 for dim in rest) and (dims or not batches) else None


def _switch(parameters: Mapping[str, str], key: str, default: str) -> bool:
    return switch(f"parameter '{key}'", parameters.get(key) or default) == "1"


def _count(parameters: Mapping[str, str], key: str) -> int:
    text = parameters.get(key, "0")
    if not text.isdigit():
        raise InvalidArgument(f"parameter '{key}': expected a number of threads (0: the server's share), got '{text}'")
    return int(text)
