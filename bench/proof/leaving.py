"""Clients that leave while a Python model works for them, and when the model sees it.

The models note the time at which is_cancelled() first said so; CLOCK_MONOTONIC is the
same for all processes of a machine, so the client's own time can be taken from it.

Used by the proof `cancel` and by tests/e2e/test_python_cancel.py.
Needs: numpy, tritonclient[grpc]
"""

from __future__ import annotations

import json
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import tritonclient.grpc as client

PATIENCE_S = 60.0

_CONFIG = """backend: "python"
input { name: "NOTE" data_type: TYPE_STRING dims: 1 }
output { name: "SEEN" data_type: TYPE_BOOL dims: 1 }
instance_group { count: 1 kind: KIND_CPU }
"""
_SOURCE = """
import os, time
import numpy as np
import triton_python_backend_utils as pb_utils


def wait(request, cancelled):
    note = pb_utils.get_input_tensor_by_name(request, "NOTE").as_numpy()[0].decode()
    open(note + ".begun", "w").close()
    until = time.monotonic() + 60
    while time.monotonic() < until:
        if cancelled():
            with open(note + ".part", "w") as file:
                file.write(repr(time.monotonic()))
            os.rename(note + ".part", note)
            return True
        time.sleep(0.0002)
    return False


class TritonPythonModel:
    def execute(self, requests):
"""
_BY_REQUEST = """
        return [
            pb_utils.InferenceResponse([pb_utils.Tensor("SEEN", np.array([wait(request, request.is_cancelled)]))])
            for request in requests
        ]
"""
_BY_SENDER = """
        for request in requests:
            sender = request.get_response_sender()
            wait(request, sender.is_cancelled)
            sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
"""


def write_repository(root: Path) -> None:
    """`by_request` asks its request, `by_sender`, decoupled, its response sender."""
    for name, source, config in (
        ("by_request", _BY_REQUEST, ""),
        ("by_sender", _BY_SENDER, "model_transaction_policy { decoupled: true }\n"),
    ):
        (root / name / "1").mkdir(parents=True)
        (root / name / "config.pbtxt").write_text(_CONFIG + config, encoding="utf-8")
        (root / name / "1" / "model.py").write_text(_SOURCE + source, encoding="utf-8")


@contextmanager
def _http(address: str, path: str, body: object) -> Iterator[Callable[[], None]]:
    host, _, port = address.rpartition(":")
    data = json.dumps(body).encode()
    with socket.create_connection((host, int(port)), timeout=PATIENCE_S) as connection:
        connection.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data)
        yield connection.close


@contextmanager
def http_infer(http: str, grpc: str, note: Path) -> Iterator[Callable[[], None]]:
    row = {"name": "NOTE", "datatype": "BYTES", "shape": [1], "data": [str(note)]}
    with _http(http, "/v2/models/by_request/infer", {"inputs": [row]}) as leave:
        yield leave


@contextmanager
def http_stream(http: str, grpc: str, note: Path) -> Iterator[Callable[[], None]]:
    with _http(http, "/v2/models/by_sender/generate_stream", {"NOTE": str(note)}) as leave:
        yield leave


def _tensor(note: Path) -> list[client.InferInput]:
    tensor = client.InferInput("NOTE", [1], "BYTES")
    tensor.set_data_from_numpy(np.array([str(note).encode()], dtype=object))
    return [tensor]


@contextmanager
def grpc_infer(http: str, grpc: str, note: Path) -> Iterator[Callable[[], None]]:
    answers: queue.Queue[object] = queue.Queue()
    with client.InferenceServerClient(grpc) as server:
        call = server.async_infer("by_request", _tensor(note), callback=lambda result, error: answers.put(error))
        yield call.cancel
        answers.get(timeout=PATIENCE_S)


@contextmanager
def grpc_connection(http: str, grpc: str, note: Path) -> Iterator[Callable[[], None]]:
    server = client.InferenceServerClient(grpc)
    server.async_infer("by_request", _tensor(note), callback=lambda result, error: None)
    yield server.close


@contextmanager
def grpc_stream(http: str, grpc: str, note: Path) -> Iterator[Callable[[], None]]:
    with client.InferenceServerClient(grpc) as server:
        server.start_stream(callback=lambda result, error: None)
        server.async_stream_infer("by_sender", _tensor(note))
        yield lambda: server.stop_stream(cancel_requests=True)


WAYS = {way.__name__: way for way in (http_infer, grpc_infer, grpc_connection, http_stream, grpc_stream)}


def seconds_until_seen(way: str, http: str, grpc: str, note: Path) -> float:
    """From the client's leaving until the model knew. Raises TimeoutError after a minute."""
    begun = note.with_name(note.name + ".begun")
    with WAYS[way](http, grpc, note) as leave:
        _wait(begun)
        left = time.monotonic()
        leave()
        _wait(note)
    return float(note.read_text(encoding="utf-8")) - left


def _wait(path: Path) -> None:
    until = time.monotonic() + PATIENCE_S
    while not path.exists():
        if time.monotonic() > until:
            raise TimeoutError(f"{path} did not appear within {PATIENCE_S:g} s")
        threading.Event().wait(0.001)
