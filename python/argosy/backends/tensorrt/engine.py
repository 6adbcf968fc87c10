"""Engines: built from ONNX files, read from plans, and what they say about themselves.

Thread: loaders'. TensorRT's logger and builder may be used by several at once.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

from argosy.backends.tensorrt.flavour import Flavour
from argosy.backends.tensorrt.profiles import Profile, Range, max_rows, to_build
from argosy.backends.tensorrt.settings import BuildSettings
from argosy.config import ArtifactSignature, TensorSignature
from argosy.errors import Internal, InvalidArgument, Unsupported

_log = logging.getLogger(__name__)
WIRE_TYPES = {
    "FLOAT": "FP32",
    "HALF": "FP16",
    "BF16": "BF16",
    "INT8": "INT8",
    "UINT8": "UINT8",
    "INT32": "INT32",
    "INT64": "INT64",
    "BOOL": "BOOL",
}


def make_logger(trt: Any) -> Any:
    """TensorRT's log into ours, and the last error kept: its calls return None without a reason."""

    class Log(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.last_error = ""

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
                self.last_error = message
                _log.error("TensorRT: %s", message)
            elif severity == trt.ILogger.Severity.WARNING:
                _log.warning("TensorRT: %s", message)
            else:
                _log.debug("TensorRT: %s", message)

    return Log()


class OnnxSource:
    """A parsed ONNX file, before it is built. Needs no GPU."""

    def __init__(self, flavour: Flavour, logger: Any, artifact: Path) -> None:
        if not flavour.builds:
            raise Unsupported(
                f"'{artifact}' is an ONNX model, and {flavour.name} {flavour.version} only runs engines: install "
                "tensorrt or tensorrt-rtx, or serve a model.plan built with this version"
            )
        trt = flavour.module
        self._flavour, self._logger, self._artifact = flavour, logger, artifact
        self._builder = trt.Builder(logger)
        self._network = self._builder.create_network(0)
        self._parser = trt.OnnxParser(self._network, logger)  # owns the weights that the network points to
        if not self._parser.parse_from_file(str(artifact)):
            reasons = "; ".join(str(self._parser.get_error(at)).strip() for at in range(self._parser.num_errors))
            raise InvalidArgument(f"{flavour.name} {flavour.version} cannot read '{artifact}': {reasons}")

    def signature(self) -> ArtifactSignature:
        network = self._network
        return ArtifactSignature(
            inputs=tuple(
                self._tensor(tensor) for tensor in (network.get_input(at) for at in range(network.num_inputs))
            ),
            outputs=tuple(
                self._tensor(tensor) for tensor in (network.get_output(at) for at in range(network.num_outputs))
            ),
        )

    def build(
        self, settings: BuildSettings, rows: int, timings: bytes, capability: str = "", *, flat: Collection[str] = ()
    ) -> tuple[bytes, bytes]:
        """The engine and the timings as bytes. `capability` names another GPU than this machine's (RTX only);
        `flat`: inputs whose first dimension is not the batch.

        Raises InvalidArgument with TensorRT's reason, or naming the setting that this version has not.
        """
        trt = self._flavour.module
        config = self._builder.create_builder_config()
        self._set_precision(config, settings.precision)
        if settings.workspace_bytes:
            config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, settings.workspace_bytes)
        if settings.level >= 0:
            config.builder_optimization_level = settings.level
        if capability:
            config.num_compute_capabilities = 1
            config.set_compute_capability(trt.ComputeCapability.__members__[capability], 0)
        self._add_profile(config, settings, rows, flat)
        # TensorRT for RTX measures nothing while it builds, and warns when asked to keep it.
        cache = None if self._flavour.name == "tensorrt_rtx" else config.create_timing_cache(timings)
        if cache is not None:
            config.set_timing_cache(cache, ignore_mismatch=False)
        config.progress_monitor = _progress(trt, str(self._artifact))
        started = time.monotonic()
        _log.info("building an engine of '%s' with %s %s", self._artifact, self._flavour.name, self._flavour.version)
        plan = self._builder.build_serialized_network(self._network, config)
        if plan is None:
            raise InvalidArgument(f"{self._flavour.name} cannot build '{self._artifact}': {self._logger.last_error}")
        _log.info("built '%s' in %.1f s, %d bytes", self._artifact, time.monotonic() - started, plan.nbytes)
        kept = None if cache is None else config.get_timing_cache()
        return bytes(plan), bytes(kept.serialize()) if kept is not None else b""

    def _set_precision(self, config: Any, precision: str) -> None:
        if precision == "FP32":
            return
        flag = self._flavour.module.BuilderFlag.__members__.get(precision)
        if flag is None:
            raise Unsupported(
                f"parameter 'precision_mode' {precision}: {self._flavour.name} {self._flavour.version} computes in the "
                f"types of the ONNX model; convert '{self._artifact.name}' to {precision} instead"
            )
        config.set_flag(flag)

    def _add_profile(self, config: Any, settings: BuildSettings, rows: int, flat: Collection[str]) -> None:
        dims = {tensor.name: tensor.dims for tensor in self.signature().inputs}
        profile = self._builder.create_optimization_profile()
        for name, wanted in to_build(dims, rows, settings.shapes, flat).items():
            profile.set_shape(name, wanted.minimum, wanted.optimum, wanted.maximum)
        if config.add_optimization_profile(profile) < 0:
            raise InvalidArgument(f"'{self._artifact}': TensorRT refuses the profile: {self._logger.last_error}")

    def _tensor(self, tensor: Any) -> TensorSignature:
        return tensor_signature(str(self._artifact), tensor.name, tensor.dtype.name, tuple(tensor.shape))


def tensor_signature(where: str, name: str, dtype: str, dims: tuple[int, ...]) -> TensorSignature:
    """Raises Unsupported for a type that requests cannot have (FP8, INT4, ...)."""
    if dtype not in WIRE_TYPES:
        raise Unsupported(f"'{where}', tensor '{name}': type {dtype} cannot be served")
    return TensorSignature(name=name, dtype=WIRE_TYPES[dtype], dims=tuple(int(dim) for dim in dims))


def names(trt: Any, engine: Any, *, inputs: bool) -> list[str]:
    mode = trt.TensorIOMode.INPUT if inputs else trt.TensorIOMode.OUTPUT
    every = (engine.get_tensor_name(at) for at in range(engine.num_io_tensors))
    return [name for name in every if engine.get_tensor_mode(name) == mode]


def make_context(engine: Any, model: str) -> Any:
    """Raises Internal when TensorRT makes none."""
    context = engine.create_execution_context()
    if context is None:
        raise Internal(f"model '{model}': TensorRT made no execution context; is there device memory left?")
    return context


def select_profile(context: Any, model: str, profile: int, current: int, stream: int) -> int:
    """The profile that is set afterwards. Raises Internal when TensorRT refuses it."""
    if profile != current and not context.set_optimization_profile_async(profile, stream):
        raise Internal(f"model '{model}': TensorRT refuses optimization profile {profile}")
    return profile


def profiles_of(trt: Any, engine: Any) -> list[Profile]:
    """The ranges of every input in every profile. Raises Unsupported for shape tensors."""
    made: list[Profile] = []
    for at in range(engine.num_optimization_profiles):
        ranges = {}
        for name in names(trt, engine, inputs=True):
            if engine.is_shape_inference_io(name):
                raise Unsupported(f"input '{name}' of the engine is a shape tensor, which is not served yet")
            low, best, high = (tuple(int(dim) for dim in one) for one in engine.get_tensor_profile_shape(name, at))
            ranges[name] = Range(minimum=low, optimum=best, maximum=high)
        made.append(ranges)
    return made


def signature_of(trt: Any, engine: Any, where: str) -> ArtifactSignature:
    """The engine's tensors, and the largest batch of its profiles."""

    def tensors(*, inputs: bool) -> tuple[TensorSignature, ...]:
        return tuple(
            tensor_signature(where, name, engine.get_tensor_dtype(name).name, tuple(engine.get_tensor_shape(name)))
            for name in names(trt, engine, inputs=inputs)
        )

    made = ArtifactSignature(inputs=tensors(inputs=True), outputs=tensors(inputs=False))
    if not made.batches:
        return made
    rows = max_rows(profiles_of(trt, engine))
    return ArtifactSignature(inputs=made.inputs, outputs=made.outputs, max_rows=rows)


def _progress(trt: Any, what: str) -> Any:
    class Progress(trt.IProgressMonitor):  # type: ignore[misc]
        """One line per top-level phase: a build may take minutes."""

        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def phase_start(self, name: str, parent: str | None, steps: int) -> None:
            if parent is None:
                _log.info("building '%s': %s, %d steps", what, name, steps)

        def step_complete(self, name: str, step: int) -> bool:
            return True

        def phase_finish(self, name: str) -> None:
            _log.debug("building '%s': %s is done", what, name)

    return Progress()
