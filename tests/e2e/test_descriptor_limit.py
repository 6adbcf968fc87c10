"""A server that runs out of descriptors keeps serving those it has, and takes new ones when some are free again."""

from __future__ import annotations

import resource
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from serving import Server, add_model, identity_config, serve
from serving.http import TIMEOUT_S
from serving.waiting import until

MORE = 20  # descriptors that the server may still open


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    add_model(tmp_path, "m", identity_config())
    with serve(tmp_path) as running:
        yield running


def get(connection: socket.socket) -> bytes:
    connection.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: a\r\n\r\n")
    return connection.recv(4096)


@pytest.mark.parametrize("port", ["http", "grpc"])
def test_out_of_descriptors(server: Server, port: str) -> None:
    process = psutil.Process(server.process.pid)
    kept = socket.create_connection(("127.0.0.1", server.ports["http"]), TIMEOUT_S)
    assert get(kept).startswith(b"HTTP/1.1 200")
    used = process.num_fds()
    resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (used + MORE, used + MORE))

    many = [socket.create_connection(("127.0.0.1", server.ports[port]), TIMEOUT_S) for _ in range(3 * MORE)]
    until(lambda: process.num_fds() >= used + MORE)
    assert get(kept).startswith(b"HTTP/1.1 200")
    # Not by trying again and again: what cannot be accepted costs nothing.
    assert process.cpu_percent(interval=1) < 50

    for one in many:
        one.close()
    with socket.create_connection(("127.0.0.1", server.ports["http"]), TIMEOUT_S) as late:
        assert get(late).startswith(b"HTTP/1.1 200")
    kept.close()
    until(lambda: process.num_fds() <= used)
