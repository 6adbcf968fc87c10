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
from serving.waiting import until
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

statement = pytest.mark.statement
INPUTS = [{"name": "INPUT0", "shape": [1, 1], "datatype": "FP32", "data": [1]}]


class Request(threading.Thread):
    """One inference in the background; `answer` or `error` when it is over."""

    def __init__(self, server: Server) -> None:
        super().__init__()
        self.server, self.answer, self.error = server, None, None
        self.start()
        until(lambda: "m" in self._busy())

    def _busy(self) -> str:
        rows = self.server.metrics().splitlines()
        busy = [row for row in rows if "running" in row and not row.startswith("#") and not row.endswith(" 0")]
        return " ".join(busy)

    def run(self) -> None:
        try:
            self.answer = self.server.infer("m", INPUTS)
        except OSError as error:
            self.error = error


@statement("T337")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_runs_is_finished_and_the_exit_code_is_0(tmp_path: Path, number: int) -> None:
    add_model(tmp_path, "m", identity_config(delay_ms=1000))
    with serve(tmp_path) as server:
        request = Request(server)
        server.send_signal(number)
        assert server.wait() == 0
        request.join()
        assert request.answer is not None and request.answer.status == 200


@statement("T337", "T205")
def test_grpc_calls_are_finished_and_new_ones_refused(tmp_path: Path) -> None:
    add_model(tmp_path, "m", identity_config(delay_ms=1500))
    with serve(tmp_path) as server, rpc.insecure_channel(server.grpc) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        message = pb.ModelInferRequest(model_name="m", raw_input_contents=[b"\0" * 4])
        message.inputs.add(name="INPUT0", datatype="FP32", shape=[1, 1])
        running = stub.ModelInfer.future(message, timeout=60)
        until(lambda: "running" in server.metrics() and _pending_or_running(server))
        server.send_signal()
        until(lambda: _refused(stub))
        assert running.result().raw_output_contents[0] == b"\0" * 4
        assert server.wait() == 0


def _pending_or_running(server: Server) -> bool:
    rows = [row for row in server.metrics().splitlines() if "running" in row and not row.startswith("#")]
    return any(not row.endswith(" 0") for row in rows)


def _refused(stub: Any) -> bool:
    try:
        stub.ServerReady(pb.ServerReadyRequest(), timeout=30)
    except rpc.RpcError as error:
        return error.code() == rpc.StatusCode.UNAVAILABLE
    return False


@statement("T338")
def test_an_expired_exit_timeout_is_exit_code_1(tmp_path: Path) -> None:
    add_model(tmp_path, "m", identity_config(delay_ms=60_000))
    with serve(tmp_path, "--exit-timeout-secs=0.2") as server:
        request = Request(server)
        start = time.monotonic()
        server.send_signal()
        assert server.wait() == 1
        assert time.monotonic() - start < 20
        request.join()


@statement("T337")
def test_a_second_signal_exits_at_once(tmp_path: Path) -> None:
    add_model(tmp_path, "m", identity_config(delay_ms=60_000))
    with serve(tmp_path) as server:
        request = Request(server)
        server.send_signal()
        until(lambda: "stopping" in server.log)
        start = time.monotonic()
        server.send_signal()
        assert server.wait() == 1
        assert time.monotonic() - start < 10
        request.join()


@statement("T337")
def test_the_drain_delay_serves_on_but_is_not_ready(tmp_path: Path) -> None:
    add_model(tmp_path, "m", identity_config())
    with serve(tmp_path, "--drain-delay=3") as server:
        idle = socket.create_connection(("127.0.0.1", server.ports["http"]))
        server.send_signal()
        until(lambda: server.ask("GET", "/v2/health/ready").status != 200)
        assert server.infer("m", INPUTS).status == 200
        assert server.wait() == 0
        idle.settimeout(30)
        assert idle.recv(1) == b""
        idle.close()


def test_an_idle_server_stops_promptly(tmp_path: Path) -> None:
    add_model(tmp_path, "m", identity_config())
    with serve(tmp_path) as server:
        port = server.ports["http"]
        start = time.monotonic()
        server.send_signal()
        assert server.wait() == 0
        assert time.monotonic() - start < 10
        with pytest.raises(OSError):
            ask(port, "GET", "/v2/health/live")
