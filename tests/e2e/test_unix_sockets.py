"""Endpoints on sockets in the file system."""

from __future__ import annotations

import socket
from pathlib import Path

import numpy as np
import tritonclient.grpc as grpcclient
from serving import add_model, identity_config, serve
from serving.http import TIMEOUT_S


def test_both_protocols_are_served_on_paths(tmp_path: Path) -> None:
    add_model(tmp_path / "repository", "m", identity_config())
    http, grpc = tmp_path / "http.sock", tmp_path / "grpc.sock"
    flags = (f"--http-address=unix:{http}", f"--grpc-address=unix:{grpc}")
    with serve(tmp_path / "repository", *flags) as server:
        with socket.socket(socket.AF_UNIX) as raw:
            raw.settimeout(TIMEOUT_S)
            raw.connect(str(http))
            raw.sendall(b"GET /v2/health/ready HTTP/1.1\r\nHost: a\r\n\r\n")
            assert raw.recv(4096).startswith(b"HTTP/1.1 200")
        with grpcclient.InferenceServerClient(f"unix:{grpc}") as client:
            tensor = grpcclient.InferInput("INPUT0", [1, 3], "FP32")
            tensor.set_data_from_numpy(np.array([[1, 2, 3]], np.float32))
            assert client.infer("m", [tensor]).as_numpy("OUTPUT0").tolist() == [[1, 2, 3]]
        assert server.ports.keys() == {"metrics"}
        assert "nv_inference_request_success" in server.metrics()


def test_the_path_of_a_server_that_was_killed_is_taken_over(tmp_path: Path) -> None:
    add_model(tmp_path / "repository", "m", identity_config())
    http = tmp_path / "http.sock"
    with serve(tmp_path / "repository", f"--http-address=unix:{http}") as first:
        first.process.kill()
        first.wait()
    assert http.exists()
    with serve(tmp_path / "repository", f"--http-address=unix:{http}"), socket.socket(socket.AF_UNIX) as raw:
        raw.connect(str(http))
