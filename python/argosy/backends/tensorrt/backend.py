"""The backend `tensorrt`: an engine per model and GPU, shared by its instances.

A plan is read as it is; an ONNX file is built into an engine while it loads, unless
the engine cache has one for this file, GPU, version and settings.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from argosy.backends.graph_sizes import check_not_ragged, graph_specs
from argosy.backends.placement import placement_of
from argosy.backends.tensorrt.cache import BuildIdentity, CacheDirectory, digest_of
from argosy.backends.tensorrt.cuda import checked, cuda_runtime, gpu_name
from argosy.backends.tensorrt.device import DeviceInstance, shapes_follow_inputs
from argosy.backends.tensorrt.engine import OnnxSource, make_logger, profiles_of, signature_of
from argosy.backends.tensorrt.flavour import Flavour, find_flavour
from argosy.backends.tensorrt.instance import TensorRtInstance
from argosy.backends.tensorrt.settings import BuildSettings, settings_from
from argosy.config import ArtifactSignature, mismatch, model_inputs
from argosy.config.lower import CUDA_GRAPHS
from argosy.errors import InvalidArgument, Unsupported

_log = logging.getLogger(__name__)


class TensorRtBackend:
    """`tensorrt`. The package is looked for when the first model needs it, so its options count."""

    known_options = ("package", "trt_engine_cache_path")
    takes_ragged_batches = True

    def __init__(self) -> None:
        self._wanted, self._cache = "", ""
        self._lock = threading.Lock()
        self._made: tuple[Flavour, Any] | None = None

    def configure(self, options: Mapping[str, str]) -> None:
        """Server-wide: package (tensorrt, tensorrt_rtx, tensorrt_lean), trt_engine_cache_path."""
        self._wanted, self._cache = options.get("package", ""), options.get("trt_engine_cache_path", "")

    def inspect(self, artifact: Path, parameters: Mapping[str, str]) -> ArtifactSignature:
        """The model's own tensors. A plan needs a GPU to be read, an ONNX file does not."""
        flavour, logger = self._tools()
        if artifact.suffix == ".onnx":
            return OnnxSource(flavour, logger, artifact).signature()
        return signature_of(flavour.module, self._read(artifact.read_bytes(), str(artifact), 0), str(artifact))

    def load(self, spec: Mapping[str, Any], slot: Mapping[str, Any]) -> _Model:
        """Raises InvalidArgument when file and configuration do not fit, Unsupported without a GPU."""
        artifact = Path(spec["path"]) / spec["artifact"]
        if not artifact.exists():
            raise InvalidArgument(f"unable to find '{artifact}' for model instance '{slot['name']}'")
        if slot["kind"] != "gpu":
            raise Unsupported(
                f"model '{spec['name']}': TensorRT runs on GPUs only, and instance '{slot['name']}' is on the CPU; "
                'serve the ONNX file with backend: "onnxruntime" there'
            )
        settings = settings_from({"trt_engine_cache_path": self._cache, **spec["parameters"]})
        if graph_specs(spec["name"], spec["max_batch_size"], spec["parameters"]):  # a bad one fails before a build
            check_not_ragged(spec, CUDA_GRAPHS)
        model = _Model(self, spec, settings, artifact)
        engine = model.engine_on(int(slot["device"]))
        problem = mismatch(spec, signature_of(self._tools()[0].module, engine, str(artifact)))
        if problem:
            raise InvalidArgument(problem)
        return model

    def engine(
        self, artifact: Path, settings: BuildSettings, rows: int, device: int, flat: Collection[str] = ()
    ) -> Any:
        """Reads or builds, for one GPU. `flat`: inputs whose first dimension is not the batch."""
        flavour, logger = self._tools()
        runtime = cuda_runtime()
        gpu = gpu_name(runtime, device)
        checked(runtime, "cudaSetDevice", runtime.cudaSetDevice(device))
        if artifact.suffix != ".onnx":
            return self._read(artifact.read_bytes(), str(artifact), device)
        cache = CacheDirectory(settings.cache)
        identity = BuildIdentity(
            model_digest=digest_of(artifact),
            gpu=gpu,
            package=flavour.name,
            version=flavour.version,
            max_rows=rows,
            settings=settings.identity(),
        )
        kept = cache.read(identity.engine_name())
        if kept is not None:
            try:
                engine = self._read(kept, str(Path(cache.path) / identity.engine_name()), device)
            except InvalidArgument as error:
                _log.warning("%s; it is built anew", error)
            else:
                _log.info("engine of '%s' comes from the cache: %s", artifact, identity.engine_name())
                return engine
        timings = cache.read(identity.timing_name()) or b""
        plan, timings = OnnxSource(flavour, logger, artifact).build(settings, rows, timings, flat=flat)
        try:
            cache.write(identity.engine_name(), plan)
            if timings:
                cache.write(identity.timing_name(), timings)
        except OSError as error:
            _log.warning("the engine of '%s' is not kept for the next start: %s", artifact, error)
        return self._read(plan, str(artifact), device)

    def instance(
        self, engine: Any, spec: Mapping[str, Any], slot: Mapping[str, Any], allowed: tuple[int, ...]
    ) -> TensorRtInstance | DeviceInstance:
        """One that enqueues, unless an output's size is known only after a run."""
        trt, runtime = self._tools()[0].module, cuda_runtime()
        profiles, placement = profiles_of(trt, engine), placement_of(slot)
        graphs = graph_specs(spec["name"], spec["max_batch_size"], spec["parameters"])
        if placement is not None and shapes_follow_inputs(
            trt, engine, spec["name"], profiles, allowed, placement.stream
        ):
            return DeviceInstance(trt, runtime, engine, profiles, spec, slot, allowed, placement, graphs)
        if graphs:
            raise Unsupported(
                f"model '{spec['name']}', {CUDA_GRAPHS}: an output's size is known only after a run; remove "
                "optimization { cuda }"
            )
        return TensorRtInstance(trt, runtime, engine, profiles, spec, slot, allowed)

    def _tools(self) -> tuple[Flavour, Any]:
        with self._lock:
            if self._made is None:
                flavour = find_flavour(self._wanted)
                self._made = flavour, make_logger(flavour.module)
                _log.info("TensorRT is %s %s", flavour.name, flavour.version)
            return self._made

    def _read(self, plan: bytes, where: str, device: int) -> Any:
        flavour, logger = self._tools()
        gpu_name(cuda_runtime(), device)  # a sentence of ours when there is no GPU
        engine = flavour.module.Runtime(logger).deserialize_cuda_engine(plan)
        if engine is None:
            raise InvalidArgument(
                f"{flavour.name} {flavour.version} cannot read the engine '{where}': {logger.last_error}; plans are "
                "good for the version and the kind of GPU they were built with"
            )
        return engine


class _Model:
    """One engine per GPU. Thread: any; loaders ask for instances at once."""

    def __init__(
        self, backend: TensorRtBackend, spec: Mapping[str, Any], settings: BuildSettings, artifact: Path
    ) -> None:
        self._backend, self._spec, self._settings, self._artifact = backend, spec, settings, artifact
        self._engines: dict[int, Any] = {}
        self._lock = threading.Lock()

    def engine_on(self, device: int) -> Any:
        with self._lock:
            if device not in self._engines:
                flat = [tensor.name for tensor in model_inputs(self._spec) if tensor.flat]
                self._engines[device] = self._backend.engine(
                    self._artifact, self._settings, self._spec["max_batch_size"], device, flat
                )
            return self._engines[device]

    def make_instance(self, slot: Mapping[str, Any]) -> TensorRtInstance | DeviceInstance:
        group = str(slot["name"]).rpartition("_")[0]
        allowed = self._settings.group_profiles.get(group, ())
        return self._backend.instance(self.engine_on(int(slot["device"])), self._spec, slot, allowed)
