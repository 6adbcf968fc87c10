"""Bytes that no client means: the server answers or hangs up, stays live, and keeps nothing."""

from __future__ import annotations

import json
import os
import random
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from serving import Server, add_model, identity_config, serve
from serving.http import TIMEOUT_S
from serving.waiting import settles, until
from tritonclient.grpc import service_pb2 as pb

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("repository")
    add_model(root, "m", identity_config())
    add_model(root, "slow", identity_config(batch=1, delay_ms=20))
    with serve(root) as running:
        yield running


@pytest.fixture(autouse=True)
def _alive(server: Server) -> Iterator[None]:
    yield
    assert server.process.poll() is None
    tensor = {"name": "INPUT0", "shape": [1, 1], "datatype": "FP32", "data": [1]}
    assert server.infer("m", [tensor]).status == 200


def say(server: Server, port: str, data: bytes) -> bytes:
    """Sends, says goodbye, and returns all that came."""
    with socket.create_connection(("127.0.0.1", server.ports[port]), TIMEOUT_S) as raw:
        got = b""
        try:
            raw.sendall(data)
            raw.shutdown(socket.SHUT_WR)
            while part := raw.recv(65536):
                got += part
        except (ConnectionResetError, BrokenPipeError, OSError):
            pass
        return got


def post(body: bytes, *fields: bytes, path: bytes = b"/v2/models/m/infer") -> bytes:
    head = b"".join(field + b"\r\n" for field in (b"Host: a", b"Content-Length: %d" % len(body), *fields))
    return b"POST " + path + b" HTTP/1.1\r\n" + head + b"\r\n" + body


MALFORMED_HTTP = {
    "empty line": b"\r\n\r\n\r\n",
    "no version": b"GET /v2\r\n\r\n",
    "http 9": b"GET /v2 HTTP/9.9\r\nHost: a\r\n\r\n",
    "tls hello": bytes.fromhex("1603010200010001fc0303") + b"\x00" * 64,
    "http2 preface": PREFACE + b"\0" * 64,
    "two lengths": b"POST /v2/models/m/infer HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
    "length and chunked": b"POST /v2/models/m/infer HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "negative length": b"POST /v2/models/m/infer HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    "huge length": b"POST /v2/models/m/infer HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n",
    "bad chunk": b"POST /v2/models/m/infer HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
    "huge chunk": b"POST /v2/models/m/infer HTTP/1.1\r\nHost: a\r\n"
    b"Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\n",
    "nul in head": b"GET /v2 HTTP/1.1\r\nHost: a\x00b\r\n\r\n",
    "endless field": b"GET /v2 HTTP/1.1\r\nHost: " + b"a" * 2_000_000,
    "endless fields": b"GET /v2 HTTP/1.1\r\n" + b"".join(b"x%d: y\r\n" % n for n in range(100_000)),
    "endless path": b"GET /" + b"a" * 2_000_000,
}


@pytest.mark.parametrize("port", ["http", "metrics", "grpc"])
@pytest.mark.parametrize("name", MALFORMED_HTTP)
def test_malformed_http_is_refused_on_every_port(server: Server, port: str, name: str) -> None:
    got = say(server, port, MALFORMED_HTTP[name])
    if port != "grpc":
        assert got == b"" or got.startswith((b"HTTP/1.1 4", b"HTTP/1.1 5", b"HTTP/1.0 4")), got[:200]


@pytest.mark.parametrize(
    "body",
    [
        b'{"inputs":' + b"[" * 100_000,
        b'{"inputs":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b'{"inputs":[{"name":"INPUT0","shape":[1,1],"datatype":"FP32","data":'
        + b"[" * 100_000
        + b"]" * 100_000
        + b"}]}",
        b'{"parameters":' + b'{"p":' * 100_000 + b"1" + b"}" * 100_000 + b"}",
    ],
    ids=["open", "closed", "objects", "data", "parameters"],
)
@pytest.mark.parametrize("path", ["/v2/models/m/infer", "/v2/repository/index", "/v2/logging", "/v2/models/m/generate"])
def test_json_nested_100000_deep_is_refused(server: Server, path: str, body: bytes) -> None:
    answer = server.ask("POST", path, body)
    assert answer.status in ({200, 400} if path.endswith("index") else {400, 501}), answer.body[:200]


@pytest.mark.parametrize(
    "shape",
    [[2**62], [1, 2**62], [2**32, 2**32], [2**62, 4], [2**63 - 1, 2**63 - 1], [4, 2**62 + 1], [2**31, 2**31, 4]],
    ids=str,
)
def test_shapes_that_overflow_are_refused_whatever_they_bring(server: Server, shape: list[int]) -> None:
    product = 1
    for dim in shape:
        product *= dim
    size = (product * 4) % 2**64  # what a multiplication that wraps would expect
    for told in {min(size, 64), 4, 16}:
        tensor = {"name": "INPUT0", "shape": shape, "datatype": "FP32", "parameters": {"binary_data_size": told}}
        head = json.dumps({"inputs": [tensor]}).encode()
        fields = {"Inference-Header-Content-Length": str(len(head))}
        answer = server.ask("POST", "/v2/models/m/infer", head + b"\0" * told, fields)
        assert answer.status == 400, answer.body
        message = pb.ModelInferRequest(model_name="m", raw_input_contents=[b"\0" * told])
        message.inputs.add(name="INPUT0", datatype="FP32", shape=shape)
        assert grpc_status(server, message.SerializeToString()) == 3
    tensor = {"name": "INPUT0", "shape": shape, "datatype": "FP32", "data": [1]}
    assert server.infer("m", [tensor]).status == 400


def grpc_status(server: Server, message: bytes) -> int:
    import grpc as rpc

    with rpc.insecure_channel(server.grpc) as channel:
        call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer", lambda m: m, lambda data: data)
        try:
            call(message, timeout=60)
        except rpc.RpcError as error:
            return int(error.code().value[0])
    return 0


@pytest.mark.parametrize(
    "message",
    [b"\xff" * 50, b"\x0a\xff\xff\xff\xff\x0f", b"\x2a\x80\x80\x80\x80\x08", b"\x2a" * 1000, b"\x0b" * 5000, b"\x08"],
)
def test_protobuf_that_is_none_is_an_invalid_argument(server: Server, message: bytes) -> None:
    assert grpc_status(server, message) in (3, 13)


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


MALFORMED_HTTP2 = {
    "nothing": b"",
    "preface only": PREFACE,
    "half a preface": PREFACE[:10],
    "http 1": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "data on no stream": PREFACE + frame(4, 0, 0, b"") + frame(0, 0, 1, b"x" * 100),
    "bad hpack": PREFACE + frame(4, 0, 0, b"") + frame(1, 4, 1, b"\xff" * 200),
    "huge frame": PREFACE + frame(4, 0, 0, b"") + b"\xff\xff\xff\x00\x00\x00\x00\x00\x01",
    "continuation": PREFACE + frame(4, 0, 0, b"") + frame(9, 4, 1, b"abc"),
    "settings flood": PREFACE + frame(4, 0, 0, b"") * 20_000,
    "ping flood": PREFACE + frame(4, 0, 0, b"") + frame(6, 0, 0, b"12345678") * 20_000,
    "rst flood": PREFACE + frame(4, 0, 0, b"") + b"".join(frame(3, 0, n, b"\0\0\0\1") for n in range(1, 9999, 2)),
    "window overflow": PREFACE + frame(4, 0, 0, b"") + frame(8, 0, 0, b"\x7f\xff\xff\xff") * 3,
    "unknown frames": PREFACE + frame(4, 0, 0, b"") + frame(200, 255, 77, b"z" * 1000) * 100,
}


@pytest.mark.parametrize("name", MALFORMED_HTTP2)
def test_malformed_http2_is_refused(server: Server, name: str) -> None:
    say(server, "grpc", MALFORMED_HTTP2[name])


@pytest.mark.parametrize("port", ["http", "grpc", "metrics"])
def test_noise_is_refused(server: Server, port: str) -> None:
    source = random.Random(7)
    for _ in range(200):
        noise = source.randbytes(source.randrange(1, 400))
        say(server, port, noise if port != "grpc" or source.random() < 0.3 else PREFACE + noise)


def memory(process: psutil.Process) -> int:
    return int(process.memory_info().rss)


@pytest.mark.slow
@pytest.mark.parametrize("port", ["http", "grpc"])
def test_thousands_of_dropped_connections_with_requests_in_flight_leave_nothing(server: Server, port: str) -> None:
    data = (
        _http2_request()
        if port == "grpc"
        else post(
            json.dumps(
                {"inputs": [{"name": "INPUT0", "shape": [1, 64], "datatype": "FP32", "data": [1.0] * 64}]}
            ).encode(),
            path=b"/v2/models/slow/infer",
        )
    )

    def drop(count: int) -> None:
        for number in range(count):
            if number % 100 == 0:  # how many wait to be accepted is not left to the machine
                taken()
            raw = socket.create_connection(("127.0.0.1", server.ports[port]), TIMEOUT_S)
            raw.sendall(data)
            if number % 2:  # a reset instead of a goodbye
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            raw.close()

    def taken() -> None:
        # Connections are accepted in the order in which they came, so this is the last of them.
        assert say(server, port, hello)
        until(lambda: _idle(server))

    def level() -> int:
        drop(1500)
        taken()
        until(lambda: process.num_fds() <= files + 2)
        return memory(process)

    process = psutil.Process(server.pid)
    hello = PREFACE + frame(4, 0, 0, b"") if port == "grpc" else b"GET /v2/health/live HTTP/1.1\r\nHost: a\r\n\r\n"
    taken()
    files = process.num_fds()
    settles(level, 24 * 2**20)


def _idle(server: Server) -> bool:
    rows = [row for row in server.metrics().splitlines() if '"slow"' in row and not row.startswith("#")]
    gauges = [row for row in rows if "pending" in row or "running" in row]
    assert gauges
    return all(float(row.split()[-1]) == 0 for row in gauges)


def _http2_request() -> bytes:
    """A ModelInfer call by hand: literal header fields, one message, the stream left open or ended."""
    message = pb.ModelInferRequest(model_name="slow", raw_input_contents=[b"\0" * 256])
    message.inputs.add(name="INPUT0", datatype="FP32", shape=[1, 64])
    body = message.SerializeToString()
    fields = [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", b"/inference.GRPCInferenceService/ModelInfer"),
        (b":authority", b"a"),
        (b"content-type", b"application/grpc"),
        (b"te", b"trailers"),
    ]
    block = b"".join(b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value for name, value in fields)
    data = frame(0, 1, 1, b"\0" + struct.pack(">I", len(body)) + body)
    return PREFACE + frame(4, 0, 0, b"") + frame(1, 4, 1, block) + data


def test_a_slow_head_does_not_hold_up_others(server: Server) -> None:
    held = [socket.create_connection(("127.0.0.1", server.ports["http"]), TIMEOUT_S) for _ in range(50)]
    for raw in held:
        raw.sendall(b"POST /v2/models/m/infer HTTP/1.1\r\nContent-Length: 100000\r\n")
    assert server.ask("GET", "/v2/health/ready").status == 200
    for raw in held:
        raw.close()


@pytest.mark.parametrize(
    "text", ["{", "[" * 100_000, 'input { name: "\\xff" }', "\x00\x01\x02", "name: " + '"' * 99999]
)
def test_a_broken_configuration_is_refused_with_its_place(tmp_path: Path, text: str) -> None:
    import subprocess
    import sys

    add_model(tmp_path, "m", text)
    done = subprocess.run(
        [sys.executable, "-m", "argosy", "check", str(tmp_path)], capture_output=True, text=True, env=os.environ
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr + done.stdout
    assert "config.pbtxt" in done.stdout
