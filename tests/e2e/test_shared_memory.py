"""What shared memory must withstand: clients that die or take their memory away, and large tensors."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import shared_memory
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.http as httpclient
from serving import Server, Tensor, add_model, identity_config, serve
from serving.python_repository import gated, write_model
from serving.waiting import pending, running, until
from tritonclient.utils import InferenceServerException

MB = 1 << 20


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model `gated` answers once this file is there."""
    return tmp_path_factory.mktemp("gate") / "open"


@pytest.fixture(scope="module")
def sharing(tmp_path_factory: pytest.TempPathFactory, gate: Path) -> Iterator[Server]:
    repository = tmp_path_factory.mktemp("repository")
    bytes_in, bytes_out = (Tensor("INPUT0", "UINT8"),), (Tensor("OUTPUT0", "UINT8"),)
    add_model(repository, "echo", identity_config(bytes_in, bytes_out, batch=0))
    add_model(repository, "endless", identity_config(bytes_in, bytes_out, batch=0, delay_ms=600_000))
    together = "dynamic_batching { preferred_batch_size: [ 2 ] max_queue_delay_microseconds: 300000000 }\n"
    add_model(repository, "together", identity_config(bytes_in, bytes_out, batch=2, more=together))
    io = bytes_in[0].text("input") + bytes_out[0].text("output")
    write_model(repository, "gated", gated(gate, "INPUT0", "OUTPUT0"), io=io)
    with serve(repository, "--allow-client-shm=true") as running:
        yield running


@pytest.fixture
def client(sharing: Server) -> Iterator[httpclient.InferenceServerClient]:
    with httpclient.InferenceServerClient(sharing.http, network_timeout=120.0) as made:
        yield made
        made.unregister_system_shared_memory()
        # What a request used is gone a moment after its answer, and only then its name is free.
        until(lambda: made.get_system_shared_memory_status() == [])


@pytest.fixture
def memory(request: pytest.FixtureRequest) -> Iterator[shared_memory.SharedMemory]:
    made = shared_memory.SharedMemory(create=True, size=request.param)
    yield made
    made.close()
    made.unlink()


def infer(
    client: httpclient.InferenceServerClient, model: str, size: int, offset: int, shape: list[int] | None = None
) -> None:
    """`size` bytes from the start of the region "r" to `offset` of it."""
    tensor = httpclient.InferInput("INPUT0", shape or [size], "UINT8")
    tensor.set_shared_memory("r", size)
    wanted = httpclient.InferRequestedOutput("OUTPUT0")
    wanted.set_shared_memory("r", size, offset)
    client.infer(model, [tensor], outputs=[wanted])


def infer_alone(server: Server, *arguments: Any) -> None:
    """The same for a thread: a client belongs to the one that made it."""
    with httpclient.InferenceServerClient(server.http, network_timeout=120.0) as client:
        infer(client, *arguments)


def private_bytes(pid: int) -> int:
    """Memory of a process that it does not share by name: anonymous pages."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no RssAnon")


def peak_anonymous(pid: int, stop: threading.Event, found: list[int]) -> None:
    while not stop.is_set():
        found[0] = max(found[0], private_bytes(pid))


@pytest.mark.parametrize("memory", [200 * MB], indirect=True)
def test_100_mb_pass_without_a_copy_in_the_servers_own_memory(
    sharing: Server, client: httpclient.InferenceServerClient, memory: shared_memory.SharedMemory
) -> None:
    size = 100 * MB
    view = np.ndarray([2 * size], np.uint8, memory.buf)
    view[:size] = np.resize(np.arange(251, dtype=np.uint8), size)
    client.register_system_shared_memory("r", memory.name, memory.size)
    infer(client, "echo", 1, 2 * size - 1)
    before = private_bytes(sharing.pid)
    stop, peak = threading.Event(), [0]
    watcher = threading.Thread(target=peak_anonymous, args=(sharing.pid, stop, peak))
    watcher.start()
    for _ in range(3):
        infer(client, "echo", size, size)
    stop.set()
    watcher.join()
    np.testing.assert_array_equal(view[size:], view[:size])
    assert peak[0] - before < 20 * MB
    del view


@pytest.mark.parametrize("memory", [1024 * MB], indirect=True)
def test_a_region_of_1_gb_costs_only_what_is_touched(
    sharing: Server, client: httpclient.InferenceServerClient, memory: shared_memory.SharedMemory
) -> None:
    client.register_system_shared_memory("r", memory.name, memory.size)
    memory.buf[:4] = b"abcd"
    infer(client, "echo", 4, memory.size - 4)
    assert bytes(memory.buf[-4:]) == b"abcd"
    assert os.stat(f"/dev/shm/{memory.name}").st_blocks * 512 < MB


@pytest.mark.parametrize("memory", [8 * MB], indirect=True)
def test_a_client_that_truncates_its_memory_does_not_end_the_server(
    sharing: Server, client: httpclient.InferenceServerClient, memory: shared_memory.SharedMemory
) -> None:
    client.register_system_shared_memory("r", memory.name, memory.size)
    infer(client, "echo", 4 * MB, 4 * MB)
    os.truncate(f"/dev/shm/{memory.name}", 4096)
    with pytest.raises(InferenceServerException, match="has 4096 bytes now"):
        infer(client, "echo", 4 * MB, 4 * MB)
    assert client.is_server_live()


@pytest.mark.parametrize("memory", [8 * MB], indirect=True)
def test_memory_that_goes_while_the_request_runs_fails_that_request_alone(
    sharing: Server, client: httpclient.InferenceServerClient, memory: shared_memory.SharedMemory, gate: Path
) -> None:
    client.register_system_shared_memory("r", memory.name, memory.size)
    gate.unlink(missing_ok=True)
    with ThreadPoolExecutor(1) as other:
        torn = other.submit(infer_alone, sharing, "gated", 4 * MB, 4 * MB)
        until(lambda: running(sharing, "gated") == 1)
        os.truncate(f"/dev/shm/{memory.name}", 0)
        gate.touch()
        with pytest.raises(InferenceServerException, match="lost pages while it was in use"):
            torn.result()
    answer = sharing.infer("echo", [{"name": "INPUT0", "datatype": "UINT8", "shape": [2], "data": [1, 2]}])
    assert answer.json["outputs"][0]["data"] == [1, 2]


@pytest.mark.parametrize("memory", [8 * MB], indirect=True)
def test_memory_that_goes_before_its_batch_runs_fails_its_request_alone(
    sharing: Server, client: httpclient.InferenceServerClient, memory: shared_memory.SharedMemory
) -> None:
    client.register_system_shared_memory("r", memory.name, memory.size)
    before = sharing.stats("together")["execution_count"]
    with ThreadPoolExecutor(1) as other:
        torn = other.submit(infer_alone, sharing, "together", 4 * MB, 4 * MB, [1, 4 * MB])
        until(lambda: pending(sharing, "together") == 1)
        os.truncate(f"/dev/shm/{memory.name}", 0)
        sent = np.resize(np.arange(251, dtype=np.uint8), (1, 4 * MB))
        whole = httpclient.InferInput("INPUT0", list(sent.shape), "UINT8")
        whole.set_data_from_numpy(sent)
        np.testing.assert_array_equal(client.infer("together", [whole]).as_numpy("OUTPUT0"), sent)
        with pytest.raises(InferenceServerException, match="lost pages while it was in use"):
            torn.result()
    assert sharing.stats("together")["execution_count"] == before + 1


def test_a_client_that_is_killed_leaves_a_server_that_serves(
    sharing: Server, client: httpclient.InferenceServerClient
) -> None:
    script = """
import sys, threading
from multiprocessing import shared_memory
import tritonclient.http as c
memory = shared_memory.SharedMemory(name=sys.argv[2], create=True, size=1 << 20)
client = c.InferenceServerClient(sys.argv[1])
client.register_system_shared_memory("r", memory.name, memory.size)
tensor = c.InferInput("INPUT0", [1000], "UINT8")
tensor.set_shared_memory("r", 1000)
wanted = c.InferRequestedOutput("OUTPUT0")
wanted.set_shared_memory("r", 1000, 4096)
print("registered", flush=True)
client.infer("endless", [tensor], outputs=[wanted])
"""
    name = f"argosy-test-{uuid.uuid4()}"
    child = subprocess.Popen(
        [sys.executable, "-c", script, sharing.http, name], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert child.stdout is not None and child.stdout.readline() == "registered\n"
        until(lambda: running(sharing, "endless") == 1)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
    # Its tracker may have removed the object, or not; the registration is the server's own.
    Path(f"/dev/shm/{name}").unlink(missing_ok=True)
    assert [row["name"] for row in client.get_system_shared_memory_status()] == ["r"]
    infer(client, "echo", 1000, 8192)
    until(lambda: running(sharing, "endless") == 0)
    client.unregister_system_shared_memory("r")
    assert client.is_server_live()


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_the_load_generator_measures_through_shared_memory(sharing: Server, protocol: str) -> None:
    address = sharing.http if protocol == "http" else sharing.grpc
    before = set(os.listdir("/dev/shm"))
    words = ["-m", "echo", "-u", address, "-i", protocol, "--shape", "INPUT0:300000", "--request-count", "50"]
    words += ["--shared-memory", "system", "--output-shared-memory-size", "300000", "--expect", "echo", "--json", "-"]
    done = subprocess.run(
        [sys.executable, "-m", "argosy", "bench", *words], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    line = json.loads(done.stdout.splitlines()[0])
    assert (line["n"], line["failed"], line["parameters"]["shared_memory"]) == (50, 0, "system")
    assert sharing.ask("GET", "/v2/systemsharedmemory/status").json == []
    assert not [name for name in set(os.listdir("/dev/shm")) - before if name.startswith("argosy-load-")]


def test_the_load_generator_says_what_the_server_does_not_allow(tmp_path: Path) -> None:
    add_model(tmp_path, "echo", identity_config(batch=0))
    with serve(tmp_path) as plain:
        words = ["-m", "echo", "-u", plain.http, "--shape", "INPUT0:4", "--shared-memory", "system"]
        done = subprocess.run(
            [sys.executable, "-m", "argosy", "bench", *words], capture_output=True, text=True, timeout=120
        )
    assert done.returncode == 1
    assert "registering shared memory: " in done.stderr and "--allow-client-shm=true" in done.stderr
