"""The GPUs' load, memory, power and energy on the metrics page, read through NVML.

A thread of its own reads every half of `--metrics-interval-ms` and hands the numbers to
the core; a scrape shows the latest and neither measures nor enters the interpreter.
Without the package nvidia-ml-py, a driver or a GPU there are no such series, and one
verbose line says why.

Names, units and the label gpu_uuid are the ecosystem's.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from argosy import _core

_log = logging.getLogger(__name__)
Line = tuple[str, str, str, list[tuple[str, str]], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuReading:
    """One GPU at one moment; None where it does not say. Energy is counted since some time before the start."""

    uuid: str
    utilization: float | None = None  # 0 to 1
    memory_total_bytes: int | None = None
    memory_used_bytes: int | None = None
    power_watts: float | None = None
    power_limit_watts: float | None = None
    energy_joules: float | None = None


class NoGpuMetrics(Exception):
    """Why there are none."""


class Nvml:
    """The driver's library. Thread: one at a time.

    Raises NoGpuMetrics with the reason when it cannot be used. `module`: pynvml, or what stands for it.
    """

    def __init__(self, module: Any = None, visible: str | None = None) -> None:
        self._nvml = module if module is not None else _pynvml()
        try:
            self._nvml.nvmlInit()
        except self._nvml.NVMLError as error:
            raise NoGpuMetrics(f"NVML does not start: {error}") from None
        try:
            handles = [self._nvml.nvmlDeviceGetHandleByIndex(at) for at in range(self._nvml.nvmlDeviceGetCount())]
            parts = [
                [(_text(self._nvml.nvmlDeviceGetUUID(part)), part) for part in self._parts(handle)]
                for handle in handles
            ]
        except self._nvml.NVMLError as error:
            self.close()
            raise NoGpuMetrics(f"NVML does not list its GPUs: {error}") from None
        chosen = visible_gpus([[uuid for uuid, _ in gpu] for gpu in parts], visible)
        self._gpus = [(uuid, part) for gpu in parts for uuid, part in gpu if uuid in chosen]
        if not self._gpus:
            self.close()
            raise NoGpuMetrics(f"no GPU is visible here, of {len(handles)} that NVML finds")

    def read(self) -> list[GpuReading]:
        """What each GPU says now; what one cannot say is left out."""
        return [self._read(uuid, handle) for uuid, handle in self._gpus]

    def close(self) -> None:
        self._nvml.nvmlShutdown()

    def _read(self, uuid: str, handle: Any) -> GpuReading:
        nvml = self._nvml
        memory = self._ask(nvml.nvmlDeviceGetMemoryInfo, handle)
        rates = self._ask(nvml.nvmlDeviceGetUtilizationRates, handle)
        return GpuReading(
            uuid=uuid,
            utilization=None if rates is None else rates.gpu / 100,
            memory_total_bytes=None if memory is None else memory.total,
            memory_used_bytes=None if memory is None else memory.used,
            power_watts=_thousandth(self._ask(nvml.nvmlDeviceGetPowerUsage, handle)),
            power_limit_watts=_thousandth(self._ask(nvml.nvmlDeviceGetPowerManagementLimit, handle)),
            energy_joules=_thousandth(self._ask(nvml.nvmlDeviceGetTotalEnergyConsumption, handle)),
        )

    def _parts(self, handle: Any) -> list[Any]:
        """The instances of a GPU that is partitioned (MIG), which says of them what it can; else the GPU itself."""
        nvml = self._nvml
        mode = self._ask(nvml.nvmlDeviceGetMigMode, handle)
        if mode is None or mode[0] != nvml.NVML_DEVICE_MIG_ENABLE:
            return [handle]
        most = self._ask(nvml.nvmlDeviceGetMaxMigDeviceCount, handle) or 0
        places = (self._ask(nvml.nvmlDeviceGetMigDeviceHandleByIndex, handle, at) for at in range(most))
        return [part for part in places if part is not None]

    def _ask(self, question: Callable[..., Any], *about: Any) -> Any:
        try:
            return question(*about)
        except self._nvml.NVMLError:
            return None


def visible_gpus(gpus: Sequence[Sequence[str]], visible: str | None) -> list[str]:
    """The GPUs that CUDA_VISIBLE_DEVICES leaves, by number or by the beginning of their uuid; all when it is None.

    `gpus`: the uuids of each GPU's parts, one of a whole GPU. A number stands for the first part, the only one that
    CUDA shows then. As in CUDA, what follows the first entry that is no GPU does not count.
    """
    if visible is None:
        return [parts[0] for parts in gpus if parts]
    chosen: list[str] = []
    for entry in filter(None, (part.strip() for part in visible.split(","))):
        if entry.isdecimal():
            found = list(gpus[int(entry)][:1]) if int(entry) < len(gpus) else []
        else:
            found = [uuid for parts in gpus for uuid in parts if uuid.startswith(entry)]
        if len(found) != 1:
            break
        chosen += found
    return chosen


def lines_of(readings: Iterable[GpuReading], energy_at_start: dict[str, float]) -> list[Line]:
    """The series of these readings; energy counts from the first reading, kept in `energy_at_start` by uuid."""
    made: list[Line] = []
    for reading in readings:
        energy = reading.energy_joules
        if energy is not None:
            energy -= energy_at_start.setdefault(reading.uuid, energy)
        values = (
            reading.utilization,
            reading.memory_total_bytes,
            reading.memory_used_bytes,
            reading.power_watts,
            reading.power_limit_watts,
            energy,
        )
        for (name, kind, text), value in zip(_FAMILIES, values, strict=True):
            if value is not None:
                made.append((name, kind, text, [("gpu_uuid", reading.uuid)], float(value)))
    return made


class GpuMetrics:
    """Reads every `interval_ms` / 2 until stop(). Thread: any; opening NVML and reading happen on its own."""

    def __init__(self, engine: _core.Engine, interval_ms: int, open_nvml: Callable[[], Nvml] | None = None) -> None:
        self._reported = _core.ReportedMetrics(engine)
        self._pause = max(interval_ms, 2) / 2000
        self._open = open_nvml or (lambda: Nvml(visible=os.environ.get("CUDA_VISIBLE_DEVICES")))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="gpu-metrics", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Takes the series off the page. Again is nothing."""
        self._stop.set()
        self._thread.join()
        self._reported.replace([])

    def _run(self) -> None:
        try:
            nvml = self._open()
        except NoGpuMetrics as reason:
            _log.debug("no GPU metrics: %s", reason)
            return
        energy_at_start: dict[str, float] = {}
        try:
            while True:
                self._reported.replace(lines_of(nvml.read(), energy_at_start))
                if self._stop.wait(self._pause):
                    return
        except Exception:
            _log.exception("reading GPU metrics failed; there are none from now on")
            self._reported.replace([])
        finally:
            nvml.close()


_FAMILIES = (
    ("nv_gpu_utilization", "gauge", "Share of the last sample period in which the GPU computed, 0.0 to 1.0"),
    ("nv_gpu_memory_total_bytes", "gauge", "Memory of the GPU, in bytes"),
    ("nv_gpu_memory_used_bytes", "gauge", "Memory of the GPU that is in use, by any process, in bytes"),
    ("nv_gpu_power_usage", "gauge", "Power that the GPU draws, in watts"),
    ("nv_gpu_power_limit", "gauge", "Power that the GPU may draw, in watts"),
    ("nv_energy_consumption", "counter", "Energy that the GPU has used since the server started, in joules"),
)


def _pynvml() -> Any:
    try:
        import pynvml
    except ImportError:
        raise NoGpuMetrics("the package nvidia-ml-py is not installed: pip install 'argosy[gpu]'") from None
    return pynvml


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _thousandth(value: int | None) -> float | None:
    return None if value is None else value / 1000
