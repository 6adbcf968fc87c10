"""Deadlines, bounds and cancellation while the only instance is busy."""

from __future__ import annotations

import http.client
import json
import queue
import select
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc as rpc
import numpy as np
import pytest
import tritonclient.grpc as grpcclient
import tritonclient.http as httpclient
from serving import Server, Tensor, add_model, identity_config, serve
from serving.http import TIMEOUT_S, connect
from serving.waiting import PATIENCE_S, pending, running, until
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

statement = pytest.mark.statement
BLOCK_MS = 600_000  # longer than any test: who occupies an instance leaves when its test is done with it
FOREVER_US = 300_000_000
ATTEMPTS = 20
ONE = "instance_group { count: 1 kind: KIND_CPU }\n"


def batching(body: str = "") -> str:
    return f"dynamic_batching {{ {body} }}\n" + ONE


def value(number: float) -> list[dict[str, Any]]:
    return [{"name": "INPUT0", "shape": [1, 1], "datatype": "FP32", "data": [number]}]


def ask_raw(server: Server, model: str, number: float) -> socket.socket:
    """A request whose client leaves when its socket is closed."""
    body = json.dumps({"inputs": value(number)}).encode()
    head = b"POST /v2/models/%s/infer HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (model.encode(), len(body))
    raw = socket.create_connection(("127.0.0.1", server.ports["http"]), TIMEOUT_S)
    raw.sendall(head + body)
    return raw


def hold(server: Server, model: str = "m") -> socket.socket:
    """Occupies the only instance until the socket is closed."""
    raw = ask_raw(server, model, -1)
    until(lambda: running(server, model) == 1 and pending(server, model) == 0)
    return raw


@statement("T236", "T238")
@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_timeout_of_one_second_is_answered_after_one_second_though_the_instance_is_busy(
    tmp_path: Path, protocol: str
) -> None:
    add_model(tmp_path, "m", identity_config(delay_ms=BLOCK_MS, more=batching()))
    ask = _timed_out_over_http if protocol == "http" else _timed_out_over_grpc
    took: list[float] = []
    with serve(tmp_path) as server:
        blocker = hold(server)
        # What the client and a busy machine add differs from try to try; the server is never early,
        # and where it were late by itself it would be late in every one.
        while len(took) < ATTEMPTS and not any(seconds <= 1.005 for seconds in took):
            took.append(ask(server))
        blocker.close()
    assert min(took) >= 0.995, took
    assert min(took) <= 1.005, took


def _timed_out_over_http(server: Server) -> float:
    """Seconds until the answer to a request with a timeout of one second."""
    connection = connect(server.ports["http"])
    body = json.dumps({"inputs": value(1), "parameters": {"timeout": 1_000_000}})
    connection.request("GET", "/v2/health/live")
    connection.getresponse().read()
    start = time.monotonic()
    connection.request("POST", "/v2/models/m/infer", body)
    got = connection.getresponse()
    took = time.monotonic() - start
    assert got.status in (503, 504)
    assert "Request timeout expired" in got.read().decode()
    connection.close()
    return took


def _timed_out_over_grpc(server: Server) -> float:
    """Seconds until the answer to a request with a timeout of one second."""
    with rpc.insecure_channel(server.grpc) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        stub.ServerLive(pb.ServerLiveRequest(), timeout=30)
        ask = pb.ModelInferRequest(model_name="m", raw_input_contents=[b"\0" * 4])
        ask.inputs.add(name="INPUT0", datatype="FP32", shape=[1, 1])
        ask.parameters["timeout"].int64_param = 1_000_000
        start = time.monotonic()
        with pytest.raises(rpc.RpcError) as caught:
            stub.ModelInfer(ask, timeout=60)
        took = time.monotonic() - start
    assert caught.value.code() in (rpc.StatusCode.UNAVAILABLE, rpc.StatusCode.DEADLINE_EXCEEDED)
    return took


@statement("T235", "T311")
@pytest.mark.parametrize("bound", [1, 7])
def test_exactly_as_many_requests_wait_as_the_queue_may_hold(tmp_path: Path, bound: int) -> None:
    add_model(
        tmp_path,
        "m",
        identity_config(
            batch=1, delay_ms=BLOCK_MS, more=batching(f"default_queue_policy {{ max_queue_size: {bound} }}")
        ),
    )
    with serve(tmp_path) as server:
        blocker = hold(server)
        gate = threading.Barrier(64)

        def race(number: int) -> socket.socket:
            gate.wait()
            return ask_raw(server, "m", number)

        with ThreadPoolExecutor(64) as clients:
            sockets = list(clients.map(race, range(64)))
        until(lambda: len(answered(sockets)) == 64 - bound and pending(server, "m") == bound)
        refused = answered(sockets)
        assert len(refused) == 64 - bound
        for raw in refused:
            answer = http.client.HTTPResponse(raw)
            answer.begin()
            assert answer.status == 503 and "Exceeds maximum queue size" in json.loads(answer.read())["error"]
        # Who was not refused waits, and leaves.
        for raw in (*sockets, blocker):
            raw.close()
        until(lambda: pending(server, "m") == 0 and running(server, "m") == 0)


def answered(sockets: list[socket.socket]) -> list[socket.socket]:
    return select.select(sockets, [], [], 0)[0]


@statement("T076", "T189", "T244", "T310")
@pytest.mark.parametrize("how", ["http", "grpc"])
def test_a_client_that_leaves_frees_its_place_at_once(tmp_path: Path, how: str) -> None:
    add_model(
        tmp_path,
        "m",
        identity_config(delay_ms=BLOCK_MS, batch=1, more=batching("default_queue_policy { max_queue_size: 1 }")),
    )
    with serve(tmp_path, "--exit-timeout-secs=0") as server:
        blocker = hold(server)
        if how == "http":
            second = ask_raw(server, "m", 2)
            until(lambda: pending(server, "m") == 1)
            second.close()
        else:
            client = grpcclient.InferenceServerClient(server.grpc)
            tensor = grpcclient.InferInput("INPUT0", [1, 1], "FP32")
            tensor.set_data_from_numpy(np.zeros((1, 1), np.float32))
            got: list[Any] = []
            call = client.async_infer("m", [tensor], lambda result, error: got.append(error))
            until(lambda: pending(server, "m") == 1)
            call.cancel()
            until(lambda: len(got) == 1)
            client.close()
        until(lambda: pending(server, "m") == 0)
        # The running one is told as well: its instance is free long before its ten minutes are over.
        blocker.close()
        until(lambda: running(server, "m") == 0)


@statement("T228", "T229", "T232", "T233", "T234", "T309")
def test_requests_of_one_moment_run_together(tmp_path: Path) -> None:
    body = f"max_queue_delay_microseconds: {FOREVER_US} preferred_batch_size: [ 4 ]"
    add_model(tmp_path, "m", identity_config(batch=8, more=batching(body)))
    with serve(tmp_path) as server, ThreadPoolExecutor(4) as clients:
        answers = clients.map(lambda number: server.infer("m", value(number)), range(4))
        # All four are needed to reach the preferred size; the delay never ends.
        got = [one.json["outputs"][0]["data"] for one in answers]
        assert got == [[float(number)] for number in range(4)]
        stats = server.stats("m")
        assert (stats["inference_count"], stats["execution_count"]) == (4, 1)
        assert [row["batch_size"] for row in stats["batch_stats"]] == [4]


@statement("T228", "T229", "T230", "T234", "T242")
def test_batches_hold_only_what_fits_together(tmp_path: Path) -> None:
    optional = (Tensor("INPUT0"), Tensor("B", more="optional: true"))
    outputs = (Tensor("OUTPUT0"), Tensor("Y1"))
    # A batch leaves when it is full or when the next request does not fit; the delay never ends here.
    policy = batching(f"max_queue_delay_microseconds: {FOREVER_US}")
    add_model(tmp_path, "m", identity_config(optional, outputs, batch=4, more=policy))
    # How many requests in a row, how wide, with the optional input or without; no two neighbours fit together.
    rows = [(4, 1, True), (1, 2, True), (3, 2, False), (2, 1, False), (6, 1, True), (2, 1, False), (4, 2, False)]
    sent = [(width, both) for times, width, both in rows for _ in range(times)]
    answers: queue.Queue[Any] = queue.Queue()
    with serve(tmp_path) as server, grpcclient.InferenceServerClient(server.grpc) as client:
        # One stream, because its requests arrive in the order they were sent in.
        client.start_stream(lambda result, error: answers.put(error or result))
        for number, (width, both) in enumerate(sent):
            inputs = [
                grpcclient.InferInput(name, [1, width], "FP32") for name in (["INPUT0", "B"] if both else ["INPUT0"])
            ]
            for tensor in inputs:
                tensor.set_data_from_numpy(np.full((1, width), number, np.float32))
            wanted = [grpcclient.InferRequestedOutput("OUTPUT0")]
            client.async_stream_infer("m", inputs, outputs=wanted, request_id=str(number))
        got = [answers.get(timeout=PATIENCE_S) for _ in sent]
        assert {int(one.get_response().id): one.as_numpy("OUTPUT0").tolist() for one in got} == {
            number: [[float(number)] * width] for number, (width, _) in enumerate(sent)
        }
        stats = server.stats("m")
        assert stats["inference_count"] == len(sent)
        executed = {row["batch_size"]: row["compute_infer"]["count"] for row in stats["batch_stats"]}
        assert executed == {1: 1, 2: 3, 3: 1, 4: 3}


@statement("T231")
def test_an_idle_instance_does_not_wait(tmp_path: Path) -> None:
    add_model(tmp_path, "m", identity_config(more=batching()))
    with serve(tmp_path) as server:
        client = httpclient.InferenceServerClient(server.http)
        tensor = httpclient.InferInput("INPUT0", [1, 1], "FP32")
        tensor.set_data_from_numpy(np.zeros((1, 1), np.float32))
        waited, until_now = [], 0
        for _ in range(20):
            client.infer("m", [tensor])
            queued = server.stats("m")["inference_stats"]["queue"]["ns"]
            waited.append(queued - until_now)
            until_now = queued
        client.close()
        stats = server.stats("m")
        assert (stats["inference_count"], stats["execution_count"]) == (20, 20)
        # A busy machine may hold up many of them; a server that waits for more requests, all.
        assert min(waited) < 20e6, waited


@statement("T275", "T276")
def test_instances_and_models_run_side_by_side(tmp_path: Path) -> None:
    two = "instance_group { count: 2 kind: KIND_CPU }\n"
    add_model(tmp_path, "m", identity_config(batch=1, delay_ms=BLOCK_MS, more=two))
    add_model(tmp_path, "other", identity_config(batch=1, delay_ms=BLOCK_MS, more=ONE))
    with serve(tmp_path) as server:
        clients = [ask_raw(server, "m", 1), ask_raw(server, "m", 2), ask_raw(server, "other", 3)]
        until(lambda: running(server, "m") == 2 and running(server, "other") == 1)
        clients.append(ask_raw(server, "m", 4))
        until(lambda: pending(server, "m") == 1)
        assert running(server, "m") == 2
        for client in clients:
            client.close()
        until(lambda: running(server, "m") == 0 and running(server, "other") == 0)
