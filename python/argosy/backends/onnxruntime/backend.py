"""The backend `onnxruntime`: a session per model on the CPU, a session per instance on a GPU.

On the CPU instances share one session, so weights exist once. On a GPU each has its own,
because a session computes on one stream; its weights are its own, too. Thread counts
come from the server's budget unless the model sets them.

Format: ONNX (onnx.ai), opset as the installed ONNX Runtime supports.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnxruntime as ort

from argosy.backends.graph_sizes import check_not_ragged, graph_rows
from argosy.backends.onnxruntime.device import DeviceInstance
from argosy.backends.onnxruntime.graphs import BoundSizes
from argosy.backends.onnxruntime.instance import HostInstance
from argosy.backends.onnxruntime.memory import CudaMemory, HostMemory, Memory
from argosy.backends.onnxruntime.providers import (
    MODEL_KEYS,
    GpuProviders,
    check_available,
    check_started,
    gpu_providers,
)
from argosy.backends.onnxruntime.session import open_session, run_options, session_options, signature_of
from argosy.backends.placement import placement_of
from argosy.config import ArtifactSignature, mismatch
from argosy.config.lower import CUDA_GRAPHS
from argosy.errors import InvalidArgument, Unsupported

_log = logging.getLogger(__name__)
_DEFAULTS = ("intra_op_thread_count", "inter_op_thread_count")


class OnnxRuntimeBackend:
    """The backend `onnxruntime`."""

    known_options = _DEFAULTS
    takes_ragged_batches = True

    def __init__(self) -> None:
        ort.disable_telemetry_events()
        self._options: Mapping[str, str] = {}

    def configure(self, options: Mapping[str, str]) -> None:
        """Server-wide defaults: intra_op_thread_count, inter_op_thread_count."""
        self._options = options

    def inspect(self, artifact: Path, parameters: Mapping[str, str]) -> ArtifactSignature:
        """The model's own inputs and outputs. Raises InvalidArgument when ONNX Runtime refuses the file."""
        options = session_options(parameters, 1)
        # Reading the signature needs no optimised graph.
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        return signature_of(open_session(artifact, options), str(artifact))

    def load(self, spec: Mapping[str, Any], slot: Mapping[str, Any]) -> _Model:
        """Raises InvalidArgument when file, parameters and configuration do not fit each other."""
        artifact = Path(spec["path"]) / spec["artifact"]
        if artifact.is_dir():
            artifact = artifact / "model.onnx"
        if not artifact.exists():
            raise InvalidArgument(f"unable to find '{artifact}' for model instance '{slot['name']}'")
        defaults = {key: self._options[key] for key in _DEFAULTS if key in self._options}
        model = _Model(artifact, spec, {**defaults, **spec["parameters"]})
        model.check(slot)
        return model


class _Model:
    """What its instances have in common. Thread: any; loaders ask for instances at once."""

    def __init__(self, artifact: Path, spec: Mapping[str, Any], parameters: Mapping[str, str]) -> None:
        self._artifact, self._spec, self._parameters = artifact, spec, parameters
        self._lock = threading.Lock()
        self._shared: ort.InferenceSession | None = None

    def check(self, slot: Mapping[str, Any]) -> None:
        """Opens what can be opened before there is an instance, so that a bad model fails early."""
        if slot["kind"] == "gpu":
            gpu_providers(self._spec["name"], self._parameters)
        else:
            self._on_cpu(slot)

    def make_instance(self, slot: Mapping[str, Any]) -> HostInstance | DeviceInstance:
        if slot["kind"] != "gpu":
            return HostInstance(self._on_cpu(slot), run_options(self._parameters), self._spec, slot["name"])
        providers = gpu_providers(self._spec["name"], self._parameters)
        placement = placement_of(slot)
        if placement is not None and placement.on_host:
            session = self._checked(open_session(self._artifact, self._session_options(slot)))
        else:
            stream = 0 if placement is None else placement.stream
            session = self._on_gpu(providers, slot, int(slot["device"]), stream)
        tensors = (*self._spec["inputs"], *self._spec["outputs"])
        if placement is None or any(tensor["dtype"] == "BYTES" for tensor in tensors):
            return HostInstance(session, run_options(self._parameters), self._spec, slot["name"])
        memory: Memory = HostMemory() if placement.on_host else CudaMemory(placement)
        sizes = None
        if providers.graphs:
            check_not_ragged(self._spec, "enable_cuda_graph")
            memory.prepare()
            sizes = BoundSizes(session, self._spec, memory, graph_rows(self._spec["max_batch_size"]), self._parameters)
        elif self._parameters.get(CUDA_GRAPHS):
            _log.warning(
                "model '%s': optimization.cuda.graphs has no effect on this backend; set enable_cuda_graph of the "
                "gpu_execution_accelerator 'cuda'",
                self._spec["name"],
            )
        return DeviceInstance(session, self._parameters, self._spec, slot["name"], memory, sizes)

    def _on_cpu(self, slot: Mapping[str, Any]) -> ort.InferenceSession:
        for key in MODEL_KEYS:
            if key in self._parameters:
                raise Unsupported(f"parameter '{key}' is for the CUDA provider; this model runs on CPU")
        with self._lock:
            if self._shared is None:
                self._shared = self._checked(open_session(self._artifact, self._session_options(slot)))
            return self._shared

    def _on_gpu(
        self, providers: GpuProviders, slot: Mapping[str, Any], device: int, stream: int
    ) -> ort.InferenceSession:
        model = self._spec["name"]
        wanted = [name for name, _ in providers.options]
        check_available(model, wanted, ort.get_available_providers(), ort.__version__)
        if hasattr(ort, "preload_dlls"):
            ort.preload_dlls()  # CUDA's libraries may be in Python packages beside this one
        made = providers.sessions(device, stream)
        session = self._checked(open_session(self._artifact, self._session_options(slot), made))
        check_started(model, wanted, session.get_providers(), ort.__version__)
        return session

    def _session_options(self, slot: Mapping[str, Any]) -> ort.SessionOptions:
        return session_options(self._parameters, int(slot["cpu_threads"]))

    def _checked(self, session: ort.InferenceSession) -> ort.InferenceSession:
        problem = mismatch(self._spec, signature_of(session, str(self._artifact)))
        if problem:
            raise InvalidArgument(problem)
        return session
