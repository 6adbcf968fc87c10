"""Connections of clients on the same machine, as the kernel sees them."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

import argosy
import pytest
from argosy.options import Endpoint, ServerOptions
from serving import add_model, identity_config
from serving.waiting import until


def algorithm_of(connection: socket.socket) -> str:
    """The congestion control of a TCP socket."""
    return connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).rstrip(b"\0").decode()


def algorithms_towards(client: tuple[str, int]) -> list[str]:
    """Of this process's sockets whose peer is `client`."""
    found = []
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # closed meanwhile, or not connected
            if not os.readlink(entry).startswith("socket:"):
                continue
            with socket.socket(fileno=os.dup(int(entry.name))) as own:
                if own.getpeername() == client:
                    found.append(algorithm_of(own))
    return found


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_client_on_this_machine_is_not_sent_to_at_a_pace(tmp_path: Path, protocol: str) -> None:
    add_model(tmp_path, "m", identity_config())
    free = Endpoint(port=0)
    options = ServerOptions(repositories=(str(tmp_path),), http=free, grpc=free, metrics=free)
    with (
        argosy.Server(options=options, listen=True) as server,
        socket.create_connection(("127.0.0.1", server.ports[protocol])) as client,
    ):
        if algorithm_of(client) == "reno":
            pytest.skip("this kernel paces nobody")
        until(lambda: algorithms_towards(client.getsockname()) == ["reno"])
