"""CUDA shared memory of clients in a whole server, with the host standing for the GPU."""

from __future__ import annotations

import base64
import ctypes
import fcntl
import json
import mmap
import os
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import argosy
import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from argosy.bench import find_generator
from argosy.gpus import capabilities_here
from argosy.options import Endpoint, ServerOptions
from serving import Tensor, add_model, identity_config
from serving.packages import install_backends
from serving.waiting import until
from tritonclient.utils import InferenceServerException

PAGE = 4096
WIDTH = 25_000
CONFIG = """
backend: "mirrors"
max_batch_size: 8
input { name: "x" data_type: TYPE_UINT8 dims: -1 }
output { name: "y" data_type: TYPE_UINT8 dims: -1 }
dynamic_batching { }
instance_group { kind: KIND_GPU }
"""


class Instance:
    """y = x, enqueued."""

    rows = 0

    def enqueue(self, batch: Any) -> None:
        address, shape = batch.input_memory(0)
        (target,) = batch.reserve_outputs([("y", "UINT8", shape)])
        ctypes.memmove(target, address, int(np.prod(shape)))
        Instance.rows += shape[0]

    def execute(self, batch: Any) -> None:
        raise AssertionError("executed on the host")


class Backend:
    def load(self, spec: Mapping[str, Any], slot: Mapping[str, Any]) -> Backend:
        return self

    def make_instance(self, slot: Mapping[str, Any]) -> Instance:
        return Instance()


class Block:
    """What a client has on its "GPU": sealed pages, and the handle that names them."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.descriptor = os.memfd_create("block", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(self.descriptor, size)
        fcntl.fcntl(self.descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
        self.pages = mmap.mmap(self.descriptor, size)
        handle = struct.pack("<16siiQ", b"argosy-host-mem", os.getpid(), self.descriptor, size)
        self.handle = base64.b64encode(handle.ljust(64, b"\0"))

    def close(self) -> None:
        self.pages.close()
        os.close(self.descriptor)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[argosy.Server]:
    install_backends(monkeypatch, tmp_path / "site", "mirrors", mirrors=Backend)
    Instance.rows = 0
    repository = tmp_path / "models"
    add_model(repository, "on_gpu", CONFIG)
    tensors = ((Tensor("x", "UINT8"),), (Tensor("y", "UINT8"),))
    add_model(repository, "on_cpu", identity_config(*tensors))
    add_model(repository, "slow", identity_config(*tensors, delay_ms=200))
    free = Endpoint(port=0)
    options = ServerOptions(
        repositories=(str(repository),), devices="host", allow_client_shm=True, http=free, grpc=free, metrics=free
    )
    with argosy.Server(options=options, listen=True) as running:
        yield running


@pytest.fixture(params=["http", "grpc"])
def client(request: pytest.FixtureRequest, server: argosy.Server) -> Iterator[Any]:
    module = tritonclient.http if request.param == "http" else tritonclient.grpc
    with module.InferenceServerClient(f"127.0.0.1:{server.ports[request.param]}") as made:
        made.module = module
        yield made


@pytest.fixture
def block() -> Iterator[Block]:
    made = Block(16 * PAGE)
    yield made
    made.close()


def infer(client: Any, model: str, rows: int, width: int, *, to: int | None = None, room: int | None = None) -> Any:
    """From the start of the region "r" into the answer, or to `room` bytes at the offset `to` of the region."""
    x = client.module.InferInput("x", [rows, width], "UINT8")
    x.set_shared_memory("r", rows * width)
    y = client.module.InferRequestedOutput("y")
    if to is not None:
        y.set_shared_memory("r", rows * width if room is None else room, to)
    answer = client.infer(model, [x], outputs=[y])
    return answer.as_numpy("y") if to is None else None


def registered(client: Any) -> list[str]:
    status = client.get_cuda_shared_memory_status()
    return [row["name"] for row in status] if isinstance(status, list) else sorted(status.regions)


def gone(client: Any) -> None:
    """Until nothing is registered: an answer may be there a moment before its request lets go of the region."""
    until(lambda: registered(client) == [])


@pytest.mark.parametrize("model", ["on_gpu", "on_cpu"])
def test_tensors_go_from_region_to_region(client: Any, block: Block, model: str) -> None:
    sent = bytes(range(1, 201))
    block.pages[:200] = sent
    client.register_cuda_shared_memory("r", block.handle, 0, block.size)
    assert infer(client, model, 2, 100).tobytes() == sent
    infer(client, model, 2, 100, to=5000)
    assert block.pages[5000:5200] == sent
    assert Instance.rows == (4 if model == "on_gpu" else 0)
    client.unregister_cuda_shared_memory("r")
    gone(client)
    with pytest.raises(InferenceServerException, match="Unable to find shared memory region: 'r'"):
        infer(client, model, 2, 100)


def test_what_does_not_hold_is_refused_by_name(client: Any, block: Block) -> None:
    failed = "failed to register .*shared memory region.* 'r'"
    for handle, device, size, text in (
        (base64.b64encode(bytes(64)), 0, PAGE, f"{failed}: device 'host': no handle of this kind"),
        (block.handle, 1, PAGE, f"{failed}, there is no GPU 1 that this server uses"),
        (block.handle, 0, block.size + 1, f"{failed}: invalid args"),
    ):
        with pytest.raises(InferenceServerException, match=text):
            client.register_cuda_shared_memory("r", handle, device, size)
    client.register_cuda_shared_memory("r", block.handle, 0, PAGE)
    with pytest.raises(InferenceServerException, match="Invalid offset \\+ byte size"):
        infer(client, "on_gpu", 1, PAGE + 1)
    with pytest.raises(InferenceServerException, match=r"\(9 bytes\) should be at least 10 bytes"):
        infer(client, "on_gpu", 1, 10, to=100, room=9)
    assert registered(client) == ["r"]


def load_generator(server: argosy.Server, protocol: str, *words: str, front: bool = True) -> subprocess.Popen[str]:
    """`argosy bench`, or what it starts."""
    command = [sys.executable, "-m", "argosy", "bench", "--json", "-"] if front else [str(find_generator())]
    command += ["-i", protocol, "-u", f"127.0.0.1:{server.ports[protocol]}", "--shape", f"x:{WIDTH}"]
    command += ["--shared-memory", "cuda", "--cuda-device", "host", "--output-shared-memory-size", str(WIDTH), *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("model", ["on_gpu", "on_cpu"])
@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_the_load_generator_shares_memory_and_checks_what_comes_there(
    server: argosy.Server, protocol: str, model: str
) -> None:
    words = ("-m", model, "--request-count", "50", "--concurrency-range", "4", "--expect", "echo")
    out, errors = load_generator(server, protocol, *words).communicate(timeout=120)
    line = json.loads(out.splitlines()[0]) if out else {}
    assert line, errors
    assert (line["n"], line["failed"], line["errors"]) == (50, 0, {})
    assert (line["parameters"]["shared_memory"], line["parameters"]["cuda_device"]) == ("cuda", "host")
    with tritonclient.http.InferenceServerClient(f"127.0.0.1:{server.ports['http']}") as client:
        gone(client)


def test_the_load_generator_sees_a_wrong_output(server: argosy.Server, tmp_path: Path) -> None:
    (tmp_path / "expected").write_bytes(b"\x01" * WIDTH)
    words = ("-m", "on_gpu", "--request-count", "5", "--input-data", "zero", "--expect", str(tmp_path / "expected"))
    child = load_generator(server, "http", *words)
    out, _ = child.communicate(timeout=120)
    line = json.loads(out.splitlines()[0])
    assert (line["n"], line["failed"], child.returncode) == (0, 5, 1)
    assert "first difference at byte 0" in next(iter(line["errors"]))


# A hang-up ends the front at once; what it started runs on and ends by itself.
@pytest.mark.parametrize(
    ("front", "ending"),
    [
        (True, signal.SIGINT),
        (True, signal.SIGTERM),
        (False, signal.SIGINT),
        (False, signal.SIGTERM),
        (False, signal.SIGHUP),
    ],
)
def test_an_interrupted_load_generator_unregisters(server: argosy.Server, front: bool, ending: signal.Signals) -> None:
    with tritonclient.http.InferenceServerClient(f"127.0.0.1:{server.ports['http']}") as client:
        # Its warm-up does not end by itself.
        child = load_generator(server, "grpc", "-m", "slow", "--warm-up", "3600000", front=front)
        until(lambda: len(registered(client)) == 1)
        child.send_signal(ending)
        child.communicate(timeout=60)
        gone(client)


def test_without_a_gpu_the_load_generator_says_so(server: argosy.Server) -> None:
    if capabilities_here().gpus:
        pytest.skip("this machine has a GPU")
    child = load_generator(server, "http", "-m", "on_gpu", "--request-count", "1", "--cuda-device", "0")
    out, errors = child.communicate(timeout=60)
    assert (out, child.returncode) == ("", 1)
    assert "argosy bench: argosy-load: --shared-memory cuda: " in errors and "use system or none" in errors
