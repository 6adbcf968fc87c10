"""Large inputs of Python models: received into the model's own memory, and given back."""

from __future__ import annotations

import os
import queue
import signal
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import tritonclient.grpc as grpcclient
import tritonclient.http as httpclient
from serving import Server, serve
from serving.python_repository import answering, write_model
from serving.waiting import running, settles, until

FLOATS = 2_621_440  # 10 MB
MEGA = 1 << 20
KEPT = 64 * MEGA  # of free memory, for the next tensor of an instance
PATIENCE_S = 60.0

FACTS = """
input [ { name: "X" data_type: TYPE_FP32 dims: [ -1 ] } ]
output [
  { name: "Y" data_type: TYPE_FP32 dims: [ -1 ] },
  { name: "PLACE" data_type: TYPE_INT64 dims: [ 4 ] }
]
instance_group [ { count: 2 kind: KIND_CPU } ]
"""
# Where the input lies, and the input plus one, written over it. A held request waits for its gate.
TELL = """
def initialize(self, args):
    self.gate = os.path.join(args["model_repository"], "gate")

def execute(self, requests):
    answers = []
    for request in requests:
        while request.request_id().startswith("held") and not os.path.exists(self.gate):
            time.sleep(0.002)
        x = tensor(request)
        address = x.__array_interface__["data"][0]
        place = np.array([address % 64, address % 4096, x.flags.aligned and x.flags.writeable, os.getpid()], np.int64)
        x += 1
        answers.append(pb_utils.InferenceResponse([pb_utils.Tensor("Y", x), pb_utils.Tensor("PLACE", place)]))
    return answers
"""
TWO = """
input [ { name: "X" data_type: TYPE_FP32 dims: [ -1 ] } ]
output [ { name: "Y" data_type: TYPE_FP32 dims: [ -1 ] } ]
instance_group [ { count: 2 kind: KIND_CPU } ]
"""
# Calls a model with its input, and answers its input and the answer's last number.
CALLS = """
def execute(self, requests):
    answers = []
    for request in requests:
        x = tensor(request)
        called = "itself" if request.request_id() == "outer" else "adds"
        if called == "itself" or request.request_id() == "adds":
            call = pb_utils.InferenceRequest(
                model_name=called, request_id="inner", requested_output_names=["Y"], inputs=[pb_utils.Tensor("X", x)]
            )
            reply = call.exec()
            assert not reply.has_error(), reply.error().message()
            y = pb_utils.get_output_tensor_by_name(reply, "Y").as_numpy()
            answers.append(response(np.concatenate([x, y[-1:]])))
        else:
            x += 1
            answers.append(pb_utils.InferenceResponse([pb_utils.Tensor("Y", x)]))
    return answers
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("large") / "models"


@pytest.fixture
def gate(root: Path) -> Iterator[Path]:
    """Held requests of `tells` wait until this file is there."""
    file = root / "tells" / "gate"
    yield file
    file.unlink(missing_ok=True)


@pytest.fixture(scope="module")
def server(root: Path) -> Iterator[Server]:
    write_model(root, "tells", TELL, io=FACTS)
    write_model(root, "adds", answering("x.__iadd__(1)"))
    write_model(root, "itself", CALLS, io=TWO)
    write_model(root, "keeps", "kept = []\n" + answering("(self.kept.append(x), [os.getpid(), len(self.kept)])[1]"))
    with serve(root) as running:
        yield running


def ask_grpc(server: Server, model: str, x: np.ndarray, request_id: str = "") -> Any:
    with grpcclient.InferenceServerClient(server.grpc) as client:
        return client.infer(model, [tensor(grpcclient, x)], request_id=request_id)


def ask_http(server: Server, model: str, x: np.ndarray, request_id: str = "") -> Any:
    with httpclient.InferenceServerClient(server.http, network_timeout=PATIENCE_S) as client:
        return client.infer(model, [tensor(httpclient, x)], request_id=request_id)


def ask_stream(server: Server, model: str, x: np.ndarray, request_id: str = "") -> Any:
    answers: queue.Queue[Any] = queue.Queue()
    with grpcclient.InferenceServerClient(server.grpc) as client:
        client.start_stream(lambda result, error: answers.put(error or result))
        client.async_stream_infer(model, [tensor(grpcclient, x)], request_id=request_id)
        got = answers.get(timeout=PATIENCE_S)
    assert not isinstance(got, Exception), got
    return got


WAYS: dict[str, Callable[..., Any]] = {"grpc": ask_grpc, "stream": ask_stream, "http": ask_http}


def tensor(module: Any, x: np.ndarray) -> Any:
    one = module.InferInput("X", list(x.shape), "FP32")
    one.set_data_from_numpy(x)
    return one


def numbers(seed: int, size: int = FLOATS) -> np.ndarray:
    return np.random.default_rng(seed).random(size, np.float32)


def shared_bytes(server: Server, model: str) -> int:
    """Memory that the arena of a model's inputs takes now."""
    folder = Path(f"/proc/{server.pid}/fd")
    for one in folder.iterdir():
        try:
            if os.readlink(one).startswith(f"/memfd:argosy:{model}:inputs"):
                return one.stat().st_blocks * 512
        except FileNotFoundError:
            continue  # closed meanwhile
    raise AssertionError(f"model '{model}' has no arena")


@pytest.mark.parametrize("way", WAYS)
def test_a_large_input_is_received_where_the_model_reads_it(server: Server, gate: Path, way: str) -> None:
    def one(x: np.ndarray, request_id: str = "") -> int:
        result = WAYS[way](server, "tells", x, request_id)
        assert (result.as_numpy("Y") == x + 1).all()
        behind_alignment, inside_page, fit, process = result.as_numpy("PLACE").tolist()
        assert fit and behind_alignment == 0
        # Behind the head of its message: a copy would begin on a page of its own.
        assert inside_page != 0
        return int(process)

    inputs = [numbers(seed) for seed in range(6)]
    with ThreadPoolExecutor(6) as pool:
        # One instance is held, so the other answers.
        held = pool.submit(one, inputs[0], "held")
        until(lambda: running(server, "tells") == 1)
        others = set(map(one, inputs[1:]))
        gate.touch()
        assert len(others) == 1 and held.result() not in others
        list(pool.map(one, inputs))


@pytest.mark.parametrize("size", [20_000, 200_001])
def test_inputs_of_any_large_size_are_right_on_every_way(server: Server, size: int) -> None:
    x = numbers(size, size)
    for ask in WAYS.values():
        result = ask(server, "tells", x)
        assert (result.as_numpy("Y") == x + 1).all()
        assert result.as_numpy("PLACE")[0] == 0


def test_a_called_model_that_writes_to_its_input_writes_to_a_copy(server: Server) -> None:
    x = numbers(5)
    for request_id in ("outer", "adds"):  # another process of the same model, and another model
        y = ask_grpc(server, "itself", x, request_id).as_numpy("Y")
        assert (y[:-1] == x).all(), request_id
        assert y[-1] == x[-1] + 1, request_id


@pytest.mark.timeout(300)
def test_memory_is_back_at_its_level_after_many_requests(server: Server) -> None:
    process = psutil.Process(server.pid)
    x = numbers(1)

    def level() -> int:
        with grpcclient.InferenceServerClient(server.grpc) as client, ThreadPoolExecutor(4) as pool:
            for done in [pool.submit(client.infer, "tells", [tensor(grpcclient, x)]) for _ in range(50)]:
                done.result()
        until(lambda: shared_bytes(server, "tells") <= 2 * KEPT + MEGA)
        return int(process.memory_info().rss)

    # How many are under way at a time, and so what a round leaves for the next, is the machine's affair.
    settles(level, 20 * MEGA)


def test_a_process_that_is_killed_gives_back_what_it_held(server: Server) -> None:
    x = numbers(2)
    answers = [ask_grpc(server, "keeps", x).as_numpy("Y").tolist() for _ in range(12)]
    (worker,) = {int(process) for process, _ in answers}
    assert answers[-1][1] == answers[0][1] + 11
    assert shared_bytes(server, "keeps") > 120 * 1_000_000
    os.kill(worker, signal.SIGKILL)
    until(lambda: shared_bytes(server, "keeps") <= KEPT + MEGA)
    process, count = ask_grpc(server, "keeps", x).as_numpy("Y").tolist()
    assert (int(process) != worker, count) == (True, 1)


def test_a_client_that_stops_half_way_leaves_nothing_behind(server: Server) -> None:
    head = (
        "POST /v2/models/adds/infer HTTP/1.1\r\nHost: x\r\n"
        "Inference-Header-Content-Length: 100\r\nContent-Length: 300000000\r\n\r\n"
    )
    half = bytes(150_000_000)
    with socket.create_connection(("127.0.0.1", server.ports["http"])) as client:
        client.sendall(head.encode())
        client.sendall(half)
        until(lambda: shared_bytes(server, "adds") > KEPT + 50 * MEGA)  # more than an idle one has
    until(lambda: shared_bytes(server, "adds") <= KEPT + MEGA)
    x = numbers(3)
    assert (ask_http(server, "adds", x).as_numpy("Y") == x + 1).all()
