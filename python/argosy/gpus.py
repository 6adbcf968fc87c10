"""The GPUs of one server: opening them with the engine, and what the configuration may ask of them."""

from __future__ import annotations

import logging

from argosy import _core
from argosy.backends import cpu_only_backends
from argosy.config import Capabilities
from argosy.gpu_metrics import GpuMetrics
from argosy.options import ServerOptions, granted_memory_bytes

_log = logging.getLogger(__name__)


def open_engine(options: ServerOptions, cpu_threads: int) -> _core.Engine:
    """The core with the GPUs that may serve; logs which those are and why others may not.

    Raises InvalidArgument for a memory pool of a GPU that is not there.
    """
    engine = _core.Engine(
        max_queued_bytes=options.max_queued_bytes or granted_memory_bytes() // 4,
        cpu_threads=cpu_threads,
        devices=options.devices,
        pinned_bytes=options.pinned_memory_pool_bytes,
        device_bytes=options.cuda_memory_pool_bytes,
        least_compute=options.min_compute_capability,
        peer_access=options.peer_access,
    )
    for sentence in engine.gpus_left_alone():
        _log.warning("%s; it is left alone", sentence)
    for gpu in engine.gpus():
        _log.info(
            "GPU %d: %s, compute capability %s, %d bytes for batches",
            gpu["device"],
            gpu["name"],
            gpu["compute_capability"],
            gpu["pool_bytes"],
        )
    if options.cuda_memory_pool_bytes and not engine.gpus():
        _log.warning("--cuda-memory-pool-byte-size has no effect: this server has no GPU")
    return engine


def gpu_metrics_of(engine: _core.Engine, options: ServerOptions) -> GpuMetrics | None:
    """What reads the GPUs' own metrics until it is stopped; None, and a verbose line says why, where there are none."""
    why = _why_no_gpu_metrics(engine, options)
    if why:
        _log.debug("no GPU metrics: %s", why)
        return None
    return GpuMetrics(engine, options.metrics_interval_ms)


def _why_no_gpu_metrics(engine: _core.Engine, options: ServerOptions) -> str:
    if not options.gpu_metrics:
        return "switched off by --allow-gpu-metrics=false"
    if options.devices != "cuda":
        return f"the devices of this server are '{options.devices}', no GPUs"
    if engine.gpus():
        return ""
    if left_alone := engine.gpus_left_alone():
        return f"this server uses none of its GPUs: {left_alone[0]}"
    return "this server found no GPU" if _core.built_with_cuda() else "this server was built without CUDA"


def capabilities_of(engine: _core.Engine, options: ServerOptions) -> Capabilities:
    """What the engine's build and its GPUs can do."""
    return Capabilities(
        gpu_build=options.devices == "host" or _core.built_with_cuda(),
        gpus=tuple(gpu["device"] for gpu in engine.gpus()),
        gpus_left_alone=tuple(engine.gpus_left_alone()),
        cpu_only=cpu_only_backends(),
    )


def capabilities_here() -> Capabilities:
    """What a server with default options would have on this machine."""
    options = ServerOptions()
    engine = open_engine(options, 1)
    try:
        return capabilities_of(engine, options)
    finally:
        engine.stop(0.0)
