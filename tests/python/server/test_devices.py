"""Backends that enqueue: the device path of a whole server, with the host standing for a GPU."""

from __future__ import annotations

import ctypes
import logging
import re
import threading
import time
import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import argosy
import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from argosy.errors import ArgosyError, Internal, InvalidArgument, Unavailable
from argosy.gpus import capabilities_here, capabilities_of
from argosy.options import Endpoint, ServerOptions
from serving import add_model, identity_config
from serving.packages import install_backends
from serving.waiting import until
from tritonclient.utils import InferenceServerException

WAIT_S = 60.0
CONFIG = """
backend: "triples"
max_batch_size: 8
input {{ name: "x" data_type: {dtype} dims: -1 }}
output {{ name: "y" data_type: {dtype} dims: -1 }}
instance_group {{ kind: KIND_GPU }}
parameters {{ key: "way" value {{ string_value: "{way}" }} }}
{more}
"""


def array_at(address: int, shape: tuple[int, ...]) -> np.ndarray:
    """FP32 memory as an array."""
    size = int(np.prod(shape))
    memory = (ctypes.c_float * size).from_address(address) if size else []
    return np.frombuffer(memory, np.float32).reshape(shape) if size else np.zeros(shape, np.float32)


class Instance:
    """y = 3 x, put where the model's parameter `way` says. Says no to a batch that begins with -13."""

    def __init__(self, way: str, slot: Mapping[str, Any]) -> None:
        self.way, self.slot = way, dict(slot)
        self.rows: list[int] = []
        self.inputs: list[np.ndarray] = []
        self.owners: list[weakref.ref[np.ndarray]] = []
        self.seen: list[Exception] = []
        self.kept: Any = None
        self.closed_after = -1
        self.door: threading.Event | None = None
        if way == "padded":
            self.allowed_rows = (4, 8)
        if way == "rows descend":
            self.allowed_rows = (8, 4)
        if way == "too deep":
            self.depth = 65
        if way == "no method":
            self.enqueue = None  # type: ignore[assignment]

    def enqueue(self, batch: Any) -> None:
        if self.door is not None:
            assert self.door.wait(WAIT_S)
        place = batch.input_memory(0)
        assert place is not None
        address, shape = place
        assert shape[0] == batch.rows and batch.stream == self.slot["stream"] and not batch.cancelled
        assert batch.wanted == [True] and batch.requests >= 1
        x = array_at(address, shape)
        self.rows.append(batch.rows)
        self.inputs.append(x.copy())
        if x.size and x.flat[0] == -13:
            raise InvalidArgument("-13 is not served")
        if x.size and x.flat[0] == -14:
            raise ValueError("surprise")
        if self.way == "owner":
            own = 3 * x
            self.owners.append(weakref.ref(own))
            batch.set_device_output("y", "FP32", shape, own.ctypes.data, own)
        elif self.way == "host":
            batch.set_output("y", 3 * x)
        else:
            (target,) = batch.reserve_outputs([("y", "FP32", shape)])
            array_at(target, shape)[...] = 3 * x
        if self.way == "twice":
            with pytest.raises(InvalidArgument, match="reserved once a batch") as error:
                batch.reserve_outputs([("y", "FP32", shape)])
            self.seen.append(error.value)
            with pytest.raises(InvalidArgument, match="no fixed size for 'BYTES'"):
                batch.set_device_output("z", "BYTES", (1,), 0, None)
            with pytest.raises(InvalidArgument, match="at address 0"):
                batch.set_device_output("z", "FP32", (1,), 0, None)
            with pytest.raises(IndexError):
                batch.input_memory(1)
        self.kept = batch

    def execute(self, batch: Any) -> None:
        self.rows.append(-batch.rows)
        batch.set_output("y", batch.input(0))

    def close(self) -> None:
        self.closed_after = len(self.rows)


class Backend:
    """Keeps what it made, for the test to look at."""

    instances: list[Instance]
    loads: int

    def __init__(self) -> None:
        Backend.instances, Backend.loads = [], 0

    def load(self, spec: Mapping[str, Any], slot: Mapping[str, Any]) -> Backend:
        Backend.loads += 1
        self.way = spec["parameters"]["way"]
        return self

    def make_instance(self, slot: Mapping[str, Any]) -> Instance:
        Backend.instances.append(Instance(self.way, slot))
        return Backend.instances[-1]


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The backend "triples" as an installed package has it."""
    install_backends(monkeypatch, tmp_path / "site", "triples", triples=Backend)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return tmp_path / "models"


def config(way: str, more: str = "", dtype: str = "TYPE_FP32") -> str:
    return CONFIG.format(way=way, more=more, dtype=dtype)


def served(repository: Path, way: str, more: str = "", **options: Any) -> argosy.Server:
    add_model(repository, "m", config(way, more))
    return argosy.Server(repository, devices="host", **options)


def three(server: argosy.Server, *rows: list[float]) -> np.ndarray:
    return server.infer("m", {"x": np.array(rows, np.float32)})["y"]


@pytest.fixture(params=["http", "grpc"])
def client(request: pytest.FixtureRequest, repository: Path) -> Iterator[Any]:
    add_model(repository, "m", config("reserve", "dynamic_batching {}"))
    free = Endpoint(port=0)
    options = ServerOptions(repositories=(str(repository),), devices="host", http=free, grpc=free, metrics=free)
    with argosy.Server(options=options, listen=True) as server:
        module = tritonclient.http if request.param == "http" else tritonclient.grpc
        with module.InferenceServerClient(f"127.0.0.1:{server.ports[request.param]}") as made:
            made.module = module
            yield made


def ask(client: Any, array: np.ndarray) -> np.ndarray:
    x = client.module.InferInput("x", list(array.shape), "FP32")
    x.set_data_from_numpy(array)
    answer: np.ndarray = client.infer("m", [x]).as_numpy("y")
    return answer


def test_the_official_clients_are_answered_through_the_device(client: Any) -> None:
    random = np.random.default_rng(1)
    for rows, width in ((1, 1), (3, 5), (8, 1000), (2, 20_000)):
        array = random.random((rows, width), np.float32)
        np.testing.assert_array_equal(ask(client, array), 3 * array)
    (instance,) = Backend.instances
    assert instance.rows == [1, 3, 8, 2]
    assert (instance.slot["kind"], instance.slot["device"], instance.slot["stream"]) == ("gpu", 0, 0)


def test_an_exception_fails_its_own_batch_alone(client: Any) -> None:
    for bad, text in ((-13, "-13 is not served"), (-14, "surprise")):
        with pytest.raises(InferenceServerException, match=text):
            ask(client, np.array([[bad]], np.float32))
        assert ask(client, np.array([[2.0]], np.float32)).tolist() == [[6.0]]


@pytest.mark.parametrize("way", ["reserve", "owner", "host", "padded"])
def test_a_request_that_cannot_run_fails_alone_in_its_batch(repository: Path, way: str) -> None:
    with served(repository, way, "dynamic_batching {}") as server:
        (instance,) = Backend.instances
        instance.door = threading.Event()
        sent = [1.0, -13.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]
        futures = [server.submit("m", {"x": np.array([[sent[0]]], np.float32)})]
        until(lambda: '\nargosy_requests_running{model="m",version="1"} 1\n' in server.metrics())
        futures += [server.submit("m", {"x": np.array([[value]], np.float32)}) for value in sent[1:]]
        instance.door.set()
        with pytest.raises(InvalidArgument, match=r"^-13 is not served$"):
            futures[1].result(WAIT_S)
        for value, future in zip(sent, futures, strict=True):
            if value > 0:
                assert future.result(WAIT_S)["y"].tolist() == [[3 * value]]
        assert len(instance.rows) < 2 * len(sent)


@pytest.mark.parametrize("way", ["reserve", "owner", "host"])
def test_outputs_may_lie_in_reserved_in_own_and_in_host_memory(repository: Path, way: str) -> None:
    with served(repository, way) as server:
        for rows in ([[1.0, 2.0]], [[5.0], [6.0], [7.0]]):
            assert three(server, *rows).tolist() == [[3 * value for value in row] for row in rows]


def test_an_owner_is_released_when_its_output_was_copied_out(repository: Path) -> None:
    with served(repository, "owner") as server:
        for value in range(20):
            three(server, [float(value)])
        owners = list(Backend.instances[0].owners)
        assert len(owners) == 20

        def released() -> bool:
            # By the next thread that holds the interpreter lock, and an answer may be there before its owner is let go.
            three(server, [1.0])
            return all(owner() is None for owner in owners)

        until(released, WAIT_S)


def test_results_that_are_kept_keep_no_pinned_memory(repository: Path) -> None:
    with served(repository, "reserve", pinned_memory_pool_bytes=64 << 10) as server:
        kept = [three(server, [float(value)] * 1000) for value in range(100)]
        assert [result[0, 0] for result in kept] == [3 * value for value in range(100)]
        # The last batch is answered before its memory is back.
        until(lambda: "\nnv_pinned_memory_pool_used_bytes 0\n" in server.metrics(), WAIT_S)


def test_batches_are_padded_with_zero_rows_that_nobody_gets(repository: Path) -> None:
    with served(repository, "padded") as server:
        assert three(server, [1.0], [2.0], [3.0]).tolist() == [[3.0], [6.0], [9.0]]
        assert three(server, *[[float(n)] for n in range(5)]).shape == (5, 1)
    (instance,) = Backend.instances
    assert instance.rows == [4, 8]
    assert instance.inputs[0].tolist() == [[1.0], [2.0], [3.0], [0.0]]
    assert instance.inputs[1][5:].tolist() == [[0.0]] * 3


def test_each_caller_gets_its_own_rows(repository: Path) -> None:
    with served(repository, "reserve", "dynamic_batching { max_queue_delay_microseconds: 2000 }") as server:
        (instance,) = Backend.instances
        instance.door = threading.Event()
        asked = [np.full((1 + n % 3, 7), n, np.float32) for n in range(300)]
        futures = [server.submit("m", {"x": array}) for array in asked]
        instance.door.set()  # all but the first have come by then
        for array, future in zip(asked, futures, strict=True):
            np.testing.assert_array_equal(future.result(WAIT_S)["y"], 3 * array)
    assert len(instance.rows) < 300


def test_what_a_batch_does_not_allow_is_said(repository: Path) -> None:
    with served(repository, "twice") as server:
        assert three(server, [1.0]).tolist() == [[3.0]]
    instance = Backend.instances[0]
    assert len(instance.seen) == 1
    with pytest.raises(Internal, match=r"after enqueue\(\) returned"):
        instance.kept.input_memory(0)


@pytest.mark.parametrize(
    ("way", "text"),
    [("rows descend", r"allowed_rows must be ascending .* got \(8, 4\)"), ("too deep", r"depth must be in 1\.\.64")],
)
def test_an_instance_that_asks_for_the_impossible_is_not_loaded(repository: Path, way: str, text: str) -> None:
    with pytest.raises(ArgosyError, match=text), served(repository, way):
        pass


def test_without_enqueue_an_instance_is_executed(repository: Path) -> None:
    with served(repository, "no method") as server:
        assert three(server, [4.0]).tolist() == [[4.0]]
    assert Backend.instances[0].rows == [-1]


def test_strings_are_executed_because_no_device_reads_them(repository: Path) -> None:
    add_model(repository, "m", config("reserve", dtype="TYPE_STRING"))
    with argosy.Server(repository, devices="host") as server:
        asked = np.array([[b"a", b"bc"]], object)
        assert server.infer("m", {"x": asked})["y"].tolist() == asked.tolist()
    assert Backend.instances[0].rows == [-1]


def test_instances_share_one_loaded_model(repository: Path) -> None:
    add_model(repository, "m", config("reserve").replace("KIND_GPU", "KIND_GPU count: 3"))
    with argosy.Server(repository, devices="host") as server:
        assert three(server, [1.0]).tolist() == [[3.0]]
    assert (Backend.loads, len(Backend.instances)) == (1, 3)


def test_close_comes_after_the_last_batch(repository: Path) -> None:
    server = served(repository, "reserve", control_mode=argosy.ControlMode.EXPLICIT).start()
    try:
        server.load("m")
        (instance,) = Backend.instances
        instance.door = threading.Event()
        futures = [server.submit("m", {"x": np.array([[n]], np.float32)}) for n in range(5)]
        server.unload("m")
        assert instance.closed_after == -1
        instance.door.set()
        assert [future.result(WAIT_S)["y"].item() for future in futures] == [0, 3, 6, 9, 12]
    finally:
        server.stop()
    assert instance.closed_after == len(instance.rows) == 5


def test_the_pools_are_on_the_page_of_metrics(repository: Path) -> None:
    sizes = {"pinned_memory_pool_bytes": 1 << 20, "cuda_memory_pool_bytes": {0: 5 << 20}}
    with served(repository, "reserve", **sizes) as server:
        page = server.metrics()
        (gpu,) = server.engine.gpus()
    assert "\nnv_pinned_memory_pool_total_bytes 1048576\n" in page
    assert '\nargosy_device_memory_pool_total_bytes{gpu="0"} 5242880\n' in page
    assert (gpu["device"], gpu["name"], gpu["pool_bytes"]) == (0, "host", 5 << 20)


def test_a_batch_larger_than_the_pool_is_refused_by_the_pools_name(repository: Path) -> None:
    with served(repository, "reserve", cuda_memory_pool_bytes={0: 64 << 10}) as server:
        text = "model 'm': device memory pool of 'host': no room for 400000 bytes"
        with pytest.raises(ArgosyError, match=f"{text}.*--cuda-memory-pool-byte-size=0:<bytes> sets the limit"):
            three(server, [0.0] * 100_000)
        assert three(server, [1.0]).tolist() == [[3.0]]


def test_without_pinned_memory_batches_are_slower_and_counted(repository: Path) -> None:
    with served(repository, "reserve", pinned_memory_pool_bytes=0) as server:
        for value in (1.0, 2.0):
            assert three(server, [value] * 1000).tolist() == [[3 * value] * 1000]
        assert "\nargosy_pinned_memory_pool_fallbacks_total 4\n" in server.metrics()


def test_a_pool_for_a_gpu_that_is_not_there_is_refused(repository: Path) -> None:
    with pytest.raises(InvalidArgument, match="set for GPU 3, and this server has 1 GPU"):
        served(repository, "reserve", cuda_memory_pool_bytes={3: 1 << 20})
    with pytest.raises(InvalidArgument, match="devices: expected 'cuda' or 'host', got 'tpu'"):
        argosy.Server(repository, devices="tpu")


def test_a_machine_without_a_gpu_serves_as_before_and_says_why_not(
    repository: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A server keeps its lines to itself.
    monkeypatch.setattr(logging.getLogger("argosy"), "handlers", [caplog.handler])
    add_model(repository, "cpu", identity_config())
    with argosy.Server(repository, cuda_memory_pool_bytes={0: 1 << 20}) as server:
        if server.engine.gpus():
            pytest.skip("this machine has a GPU")
        assert "memory_pool" not in server.metrics()
        assert server.config("cpu")["instance_group"][0]["kind"] == "KIND_CPU"
    add_model(repository, "m", config("reserve"))
    with pytest.raises(ArgosyError, match="failed to load 'm'"), argosy.Server(repository):
        pass
    assert re.search(r"KIND_GPU but .*(built without CUDA|no GPUs are available)", caplog.text)
    assert "--cuda-memory-pool-byte-size has no effect: this server has no GPU" in caplog.text


def test_check_judges_with_what_a_server_here_would_have(repository: Path) -> None:
    add_model(repository, "cpu", identity_config())
    with argosy.Server(repository) as server:
        assert capabilities_here() == capabilities_of(server.engine, server.options)


def test_a_queued_request_expires_while_batches_are_under_way(repository: Path) -> None:
    with served(repository, "reserve") as server:
        (instance,) = Backend.instances
        instance.door = threading.Event()
        first = server.submit("m", {"x": np.ones((1, 1), np.float32)})
        late = server.submit("m", {"x": np.ones((1, 1), np.float32)}, timeout_us=1000)
        begun = time.monotonic()
        with pytest.raises(Unavailable):
            late.result(WAIT_S)
        assert time.monotonic() - begun < WAIT_S
        instance.door.set()
        assert first.result(WAIT_S)["y"].item() == 3
