"""SIGTERM: what runs is finished, exit codes tell how it went, a second signal does not wait."""

from __future__ import annotations

import signal
import socket
import threading
import time
from pathlib import Path
from typing import Any

import grpc as rpc
import pytest
from serving import Server, add_model, ask, identity_config, serve
from serving.http import TIMEOUT_S
from serving.python_repository import gated, write_model
from serving.waiting import running, until
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

statement = pytest.mark.statement
INPUTS = [{"name": "INPUT0", "shape": [1, 1], "datatype": "FP32", "data": [1]}]
HELD = [{"name": "X", "shape": [1], "datatype": "FP32", "data": [1]}]
TEN_MINUTES_MS = 600_000


class Request(threading.Thread):
    """One inference in the background, running when this is made; `answer` or `error` when it is over."""

    def __init__(self, server: Server, inputs: list[dict[str, Any]] = INPUTS) -> None:
        super().__init__()
        self.server, self.inputs, self.answer, self.error = server, inputs, None, None
        self.start()
        until(lambda: running(server, "m") == 1)

    def run(self) -> None:
        try:
            self.answer = self.server.infer("m", self.inputs)
        except OSError as error:
            self.error = error


def add_gated(tmp_path: Path) -> Path:
    """The model "m", which answers when the file that is returned is there."""
    write_model(tmp_path / "models", "m", gated(tmp_path / "gate"))
    return tmp_path / "gate"


def no_longer_listens(server: Server) -> bool:
    try:
        socket.create_connection(("127.0.0.1", server.ports["http"]), TIMEOUT_S).close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:
        pass
    return False


@statement("T337")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_runs_is_finished_and_the_exit_code_is_0(tmp_path: Path, number: int) -> None:
    gate = add_gated(tmp_path)
    with serve(tmp_path / "models") as server:
        request = Request(server, HELD)
        server.send_signal(number)
        until(lambda: no_longer_listens(server))
        gate.touch()
        assert server.wait() == 0
        request.join()
        assert request.answer is not None and request.answer.status == 200


@statement("T337", "T205")
def test_grpc_calls_are_finished_and_new_ones_refused(tmp_path: Path) -> None:
    gate = add_gated(tmp_path)
    with serve(tmp_path / "models") as server, rpc.insecure_channel(server.grpc) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        message = pb.ModelInferRequest(model_name="m", raw_input_contents=[b"\0" * 4])
        message.inputs.add(name="X", datatype="FP32", shape=[1])
        call = stub.ModelInfer.future(message, timeout=60)
        until(lambda: running(server, "m") == 1)
        server.send_signal()
        until(lambda: _refused(stub))
        gate.touch()
        assert call.result().raw_output_contents[0] == b"\0" * 4
        assert server.wait() == 0


def _refused(stub: Any) -> bool:
    try:
        stub.ServerReady(pb.ServerReadyRequest(), timeout=30)
    except rpc.RpcError as error:
        return error.code() == rpc.StatusCode.UNAVAILABLE
    return False


@statement("T338")
def test_an_expired_exit_timeout_is_exit_code_1(tmp_path: Path) -> None:
    add_model(tmp_path, "m", identity_config(delay_ms=TEN_MINUTES_MS))
    with serve(tmp_path, "--exit-timeout-secs=0.2") as server:
        request = Request(server)
        server.send_signal()
        assert server.wait() == 1  # within a minute, or it is an error
        request.join()


@statement("T337")
def test_a_second_signal_exits_at_once(tmp_path: Path) -> None:
    add_model(tmp_path, "m", identity_config(delay_ms=TEN_MINUTES_MS))
    with serve(tmp_path, "--exit-timeout-secs=600") as server:
        request = Request(server)
        server.send_signal()
        until(lambda: "stopping" in server.log)
        server.send_signal()
        assert server.wait() == 1  # within a minute, or it is an error
        request.join()


@statement("T337")
def test_the_drain_delay_serves_on_but_is_not_ready(tmp_path: Path) -> None:
    add_model(tmp_path, "m", identity_config())
    with serve(tmp_path, "--drain-delay=600") as server:
        server.send_signal()
        until(lambda: server.ask("GET", "/v2/health/ready").status != 200)
        assert server.infer("m", INPUTS).status == 200


@statement("T337")
def test_after_the_drain_delay_idle_connections_are_closed(tmp_path: Path) -> None:
    add_model(tmp_path, "m", identity_config())
    with (
        serve(tmp_path, "--drain-delay=0.2") as server,
        socket.create_connection(("127.0.0.1", server.ports["http"]), TIMEOUT_S) as idle,
    ):
        idle.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: a\r\n\r\n")
        assert idle.recv(4096).startswith(b"HTTP/1.1 200")
        server.send_signal()
        assert server.wait() == 0
        assert idle.recv(1) == b""


def test_an_idle_server_stops_promptly(tmp_path: Path) -> None:
    add_model(tmp_path, "m", identity_config())
    with serve(tmp_path) as server:
        port = server.ports["http"]
        start = time.monotonic()
        server.send_signal()
        assert server.wait() == 0
        assert time.monotonic() - start < 20
        with pytest.raises(OSError):
            ask(port, "GET", "/v2/health/live")
