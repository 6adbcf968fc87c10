"""GPU metrics: what is shown of which GPU, and that nothing is shown, and said once, without one."""

from __future__ import annotations

import logging
import re
import threading
from types import SimpleNamespace
from typing import Any

import pytest
from argosy import _core
from argosy.errors import InvalidArgument
from argosy.gpu_metrics import GpuMetrics, GpuReading, NoGpuMetrics, Nvml, lines_of, visible_gpus
from argosy.gpus import gpu_metrics_of
from argosy.options import ServerOptions

UUIDS = ["GPU-aaaa-1", "GPU-aabb-2", "GPU-cccc-3"]


@pytest.mark.parametrize(
    ("visible", "chosen"),
    [
        (None, UUIDS),
        ("", []),
        ("1", UUIDS[1:2]),
        ("2,0", [UUIDS[2], UUIDS[0]]),
        ("GPU-cc", UUIDS[2:]),
        ("GPU-aa", []),  # of two
        ("0,9,1", UUIDS[:1]),
        ("-1", []),
        ("0, GPU-aabb", UUIDS[:2]),
    ],
)
def test_the_gpus_are_those_that_cuda_would_see(visible: str | None, chosen: list[str]) -> None:
    assert visible_gpus([[uuid] for uuid in UUIDS], visible) == chosen


@pytest.mark.parametrize(
    ("visible", "chosen"),
    [(None, ["MIG-1", "GPU-b"]), ("MIG-2", ["MIG-2"]), ("0", ["MIG-1"]), ("1,MIG-2", ["GPU-b", "MIG-2"]), ("2", [])],
)
def test_of_a_partitioned_gpu_the_parts_are_seen(visible: str | None, chosen: list[str]) -> None:
    assert visible_gpus([["MIG-1", "MIG-2"], ["GPU-b"], []], visible) == chosen


def test_lines_have_the_ecosystems_names_and_units() -> None:
    reading = GpuReading(
        uuid="GPU-a",
        utilization=0.25,
        memory_total_bytes=100,
        memory_used_bytes=40,
        power_watts=120.5,
        power_limit_watts=700,
        energy_joules=1000,
    )
    start: dict[str, float] = {}
    lines_of([reading], start)
    later = lines_of([GpuReading(uuid="GPU-a", energy_joules=1012.5), reading], start)
    assert [(name, kind, labels, value) for name, kind, _, labels, value in later] == [
        ("nv_energy_consumption", "counter", [("gpu_uuid", "GPU-a")], 12.5),
        ("nv_gpu_utilization", "gauge", [("gpu_uuid", "GPU-a")], 0.25),
        ("nv_gpu_memory_total_bytes", "gauge", [("gpu_uuid", "GPU-a")], 100),
        ("nv_gpu_memory_used_bytes", "gauge", [("gpu_uuid", "GPU-a")], 40),
        ("nv_gpu_power_usage", "gauge", [("gpu_uuid", "GPU-a")], 120.5),
        ("nv_gpu_power_limit", "gauge", [("gpu_uuid", "GPU-a")], 700),
        ("nv_energy_consumption", "counter", [("gpu_uuid", "GPU-a")], 0),
    ]


class NVMLError(Exception):
    pass


def driver(gpus: int = 2) -> Any:
    """A driver with GPUs that say all but their power limit."""

    def no_limit(handle: int) -> int:
        raise NVMLError("Not Supported")

    return SimpleNamespace(
        NVMLError=NVMLError,
        nvmlInit=lambda: None,
        nvmlShutdown=lambda: None,
        nvmlDeviceGetCount=lambda: gpus,
        nvmlDeviceGetHandleByIndex=lambda at: at,
        NVML_DEVICE_MIG_ENABLE=1,
        nvmlDeviceGetMigMode=lambda handle: [0, 0],
        nvmlDeviceGetUUID=lambda handle: UUIDS[handle].encode(),
        nvmlDeviceGetMemoryInfo=lambda handle: SimpleNamespace(total=80 << 30, used=handle << 30),
        nvmlDeviceGetUtilizationRates=lambda handle: SimpleNamespace(gpu=50 + handle, memory=0),
        nvmlDeviceGetPowerUsage=lambda handle: 200_500,
        nvmlDeviceGetPowerManagementLimit=no_limit,
        nvmlDeviceGetTotalEnergyConsumption=lambda handle: 5_000,
    )


def test_parts_of_a_gpu_say_what_they_can() -> None:
    nvml = driver()

    def part(handle: int, at: int) -> str:
        if at == 1:
            raise NVMLError("Not Found")
        return f"MIG-{at}"

    def of_whole_gpus_only(handle: Any) -> Any:
        if isinstance(handle, str):
            raise NVMLError("Not Supported")
        return SimpleNamespace(gpu=50, memory=0)

    nvml.nvmlDeviceGetMigMode = lambda handle: [1 - handle, 0]
    nvml.nvmlDeviceGetMaxMigDeviceCount = lambda handle: 3
    nvml.nvmlDeviceGetMigDeviceHandleByIndex = part
    nvml.nvmlDeviceGetUUID = lambda handle: handle if isinstance(handle, str) else UUIDS[handle]
    nvml.nvmlDeviceGetMemoryInfo = lambda handle: SimpleNamespace(total=10 << 30, used=1 << 30)
    nvml.nvmlDeviceGetUtilizationRates = of_whole_gpus_only
    only, whole = Nvml(nvml, "MIG-2,1").read()
    assert (only.uuid, only.memory_used_bytes, only.utilization) == ("MIG-2", 1 << 30, None)
    assert (whole.uuid, whole.utilization) == (UUIDS[1], 0.5)


def test_what_a_gpu_does_not_say_is_left_out() -> None:
    first, second = Nvml(driver()).read()
    assert first == GpuReading(
        uuid=UUIDS[0],
        utilization=0.5,
        memory_total_bytes=80 << 30,
        memory_used_bytes=0,
        power_watts=200.5,
        energy_joules=5,
    )
    assert (second.uuid, second.utilization) == (UUIDS[1], 0.51)
    assert [one.uuid for one in Nvml(driver(), visible="1").read()] == UUIDS[1:2]
    with pytest.raises(NoGpuMetrics, match="no GPU is visible here, of 2 that NVML finds"):
        Nvml(driver(), visible="7")


@pytest.fixture(autouse=True)
def heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server of an earlier test has kept the package's lines to itself."""
    monkeypatch.setattr(logging.getLogger("argosy"), "propagate", True)


@pytest.fixture
def engine() -> Any:
    made = _core.Engine(max_queued_bytes=1 << 20, cpu_threads=1)
    yield made
    made.stop()


def test_series_are_on_the_page_until_they_are_stopped(engine: Any) -> None:
    read = threading.Semaphore(0)

    class Counted(Nvml):
        def read(self) -> list[GpuReading]:
            read.release()
            return super().read()

    metrics = GpuMetrics(engine, 10, lambda: Counted(driver()))
    try:
        for _ in range(2):  # the second reading begins when the first is on the page
            assert read.acquire(timeout=60)
        page = engine.metrics_text()
    finally:
        metrics.stop()
    assert 'nv_gpu_utilization{gpu_uuid="GPU-aabb-2"} 0.51\n' in page
    assert f'nv_gpu_memory_total_bytes{{gpu_uuid="GPU-aaaa-1"}} {80 << 30}\n' in page
    assert "# TYPE nv_energy_consumption counter\n" in page and "# HELP nv_gpu_power_usage " in page
    assert "nv_gpu_power_limit" not in page
    assert "nv_gpu" not in engine.metrics_text()


def test_without_a_gpu_there_are_no_series_and_one_verbose_line_says_why(
    engine: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def none() -> Nvml:
        raise NoGpuMetrics("NVML does not start: no driver")

    with caplog.at_level("DEBUG", "argosy"):
        metrics = GpuMetrics(engine, 2000, none)
        metrics.stop()
    assert [(line.levelname, line.getMessage()) for line in caplog.records] == [
        ("DEBUG", "no GPU metrics: NVML does not start: no driver")
    ]
    assert "nv_gpu" not in engine.metrics_text()


class _Engine:
    def __init__(self, gpus: int = 0, left_alone: tuple[str, ...] = ()) -> None:
        self._gpus, self._left_alone = gpus, left_alone

    def gpus(self) -> list[dict[str, Any]]:
        return [{}] * self._gpus

    def gpus_left_alone(self) -> list[str]:
        return list(self._left_alone)


@pytest.mark.parametrize(
    ("engine_with", "options", "why"),
    [
        (_Engine(gpus=1), ServerOptions(gpu_metrics=False), "switched off by --allow-gpu-metrics=false"),
        (_Engine(gpus=1), ServerOptions(devices="host"), "the devices of this server are 'host', no GPUs"),
        (_Engine(left_alone=("GPU 0 is old",)), ServerOptions(), "this server uses none of its GPUs: GPU 0 is old"),
        (_Engine(), ServerOptions(), "this server (found no GPU|was built without CUDA)"),
    ],
)
def test_a_verbose_line_says_why_nobody_reads_gpu_metrics(
    engine_with: Any, options: ServerOptions, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("DEBUG", "argosy"):
        assert gpu_metrics_of(engine_with, options) is None
    assert [line.levelname for line in caplog.records] == ["DEBUG"]
    assert re.fullmatch(f"no GPU metrics: {why}", caplog.records[0].getMessage())


def test_a_driver_that_fails_later_is_logged_and_its_series_go(engine: Any, caplog: pytest.LogCaptureFixture) -> None:
    class Lost(Nvml):
        def read(self) -> list[GpuReading]:
            raise RuntimeError("GPU is lost")

    metrics = GpuMetrics(engine, 2, lambda: Lost(driver()))
    metrics._thread.join(60)
    assert "reading GPU metrics failed" in caplog.text and "GPU is lost" in caplog.text
    metrics.stop()


def test_the_real_library_without_a_driver_is_a_reason_not_a_failure() -> None:
    pynvml = pytest.importorskip("pynvml", reason="nvidia-ml-py is not installed: pip install 'argosy[gpu]'")
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        pass
    else:
        pynvml.nvmlShutdown()
        pytest.skip("this machine has a driver")
    with pytest.raises(NoGpuMetrics, match="NVML does not start: NVML Shared Library Not Found"):
        Nvml()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (("9a", "gauge", "", [], 1.0), "'9a' is not a metric name"),
        (("a", "gauge", "", [("b-c", "")], 1.0), "metric 'a': 'b-c' is not a label name"),
        (("a", "histogram", "", [], 1.0), "a reported metric is a counter or a gauge, not a 'histogram'"),
    ],
)
def test_lines_that_are_none_are_refused(engine: Any, line: Any, said: str) -> None:
    with pytest.raises(InvalidArgument, match=said):
        _core.ReportedMetrics(engine).replace([line])
