"""What shared memory must withstand: clients that die or take their memory away, and large tensors."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from multiprocessing import shared_memory
from pathlib import Path

import numpy as np
import pytest
import tritonclient.http as httpclient
from serving import Server, Tensor, add_model, identity_config, serve
from serving.waiting import running, until
from tritonclient.utils import InferenceServerException

MB = 1 << 20


@pytest.fixture(scope="module")
def sharing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    repository = tmp_path_factory.mktemp("repository")
    bytes_in, bytes_out = (Tensor("INPUT0", "UINT8"),), (Tensor("OUTPUT0", "UINT8"),)
    add_model(repository, "echo", identity_config(bytes_in, bytes_out, batch=0))
    add_model(repository, "slow", identity_config(bytes_in, bytes_out, batch=0, delay_ms=500))
    with serve(repository, "--allow-client-shm=true") as running:
        yield running


@pytest.fixture
def client(sharing: Server) -> Iterator[httpclient.InferenceServerClient]:
    with httpclient.InferenceServerClient(sharing.http, network_timeout=120.0) as made:
        yield made
        made.unregister_system_shared_memory()


@pytest.fixture
def memory(request: pytest.FixtureRequest) -> Iterator[shared_memory.SharedMemory]:
    made = shared_memory.SharedMemory(create=True, size=request.param)
    yield made
    made.close()
    made.unlink()


def infer(client: httpclient.InferenceServerClient, model: str, size: int, offset: int) -> None:
    """`size` bytes from the start of the region "r" to `offset` of it."""
    tensor = httpclient.InferInput("INPUT0", [size], "UINT8")
    tensor.set_shared_memory("r", size)
    wanted = httpclient.InferRequestedOutput("OUTPUT0")
    wanted.set_shared_memory("r", size, offset)
    client.infer(model, [tensor], outputs=[wanted])


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
    sharing: Server, client: httpclient.InferenceServerClient, memory: shared_memory.SharedMemory
) -> None:
    client.register_system_shared_memory("r", memory.name, memory.size)
    errors: list[str] = []

    def work() -> None:
        with httpclient.InferenceServerClient(sharing.http, network_timeout=60.0) as other:
            try:
                infer(other, "slow", 4 * MB, 4 * MB)
            except InferenceServerException as error:
                errors.append(error.message())

    thread = threading.Thread(target=work)
    thread.start()
    until(lambda: running(sharing, "slow") == 1)
    os.truncate(f"/dev/shm/{memory.name}", 0)
    thread.join()
    assert len(errors) == 1 and "lost pages while it was in use" in errors[0]
    answer = sharing.infer("echo", [{"name": "INPUT0", "datatype": "UINT8", "shape": [2], "data": [1, 2]}])
    assert answer.json["outputs"][0]["data"] == [1, 2]


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
client.infer("slow", [tensor], outputs=[wanted])
"""
    name = f"argosy-test-{os.getpid()}-killed"
    child = subprocess.Popen(
        [sys.executable, "-c", script, sharing.http, name], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert child.stdout is not None and child.stdout.readline() == "registered\n"
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
    # Its tracker may have removed the object, or not; the registration is the server's own.
    Path(f"/dev/shm/{name}").unlink(missing_ok=True)
    assert [row["name"] for row in client.get_system_shared_memory_status()] == ["r"]
    infer(client, "echo", 1000, 8192)
    client.unregister_system_shared_memory("r")
    assert client.is_server_live()


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_the_load_generator_measures_through_shared_memory(sharing: Server, protocol: str) -> None:
    address = sharing.http if protocol == "http" else sharing.grpc
    words = ["-m", "echo", "-u", address, "-i", protocol, "--shape", "INPUT0:300000", "--request-count", "50"]
    words += ["--shared-memory", "system", "--output-shared-memory-size", "300000", "--expect", "echo", "--json", "-"]
    done = subprocess.run(
        [sys.executable, "-m", "argosy", "bench", *words], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    line = json.loads(done.stdout.splitlines()[0])
    assert (line["n"], line["failed"], line["parameters"]["shared_memory"]) == (50, 0, "system")
    assert sharing.ask("GET", "/v2/systemsharedmemory/status").json == []
    assert not [name for name in os.listdir("/dev/shm") if name.startswith("argosy-load-")]


def test_the_load_generator_says_what_the_server_does_not_allow(tmp_path: Path) -> None:
    add_model(tmp_path, "echo", identity_config(batch=0))
    with serve(tmp_path) as plain:
        words = ["-m", "echo", "-u", plain.http, "--shape", "INPUT0:4", "--shared-memory", "system"]
        done = subprocess.run(
            [sys.executable, "-m", "argosy", "bench", *words], capture_output=True, text=True, timeout=120
        )
    assert done.returncode == 1
    assert "registering shared memory: " in done.stderr and "--allow-client-shm=true" in done.stderr
