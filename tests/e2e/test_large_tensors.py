"""Large tensors over gRPC with the official client: many at a time, in a stream, and encrypted."""

from __future__ import annotations

import queue
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as grpcclient
from numpy.typing import NDArray
from serving import Server, Tensor, add_model, identity_config, serve

PATIENCE_S = 60.0


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    config = identity_config((Tensor("INPUT0", "UINT8"),), (Tensor("OUTPUT0", "UINT8"),), batch=0)
    add_model(tmp_path / "models", "large", config)
    return tmp_path / "models"


def noise(count: int, seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, count, np.uint8)


def asked(data: NDArray[np.uint8]) -> list[grpcclient.InferInput]:
    tensor = grpcclient.InferInput("INPUT0", list(data.shape), "UINT8")
    tensor.set_data_from_numpy(data)
    return [tensor]


def check_many_at_a_time(client: grpcclient.InferenceServerClient) -> None:
    # Around 64 KiB, 1 MiB and the windows, and one of a few bytes among them.
    sizes = (10, 65_531, 65_536, 1 << 20, 3_000_001, 10_485_760, 12_345_678)
    sent = [noise(size, size) for size in sizes]
    for data in sent:
        assert np.array_equal(client.infer("large", asked(data)).as_numpy("OUTPUT0"), data), data.size
    with ThreadPoolExecutor(len(sent)) as callers:
        answers = list(callers.map(lambda data: client.infer("large", asked(data)).as_numpy("OUTPUT0"), sent))
    for data, answer in zip(sent, answers, strict=True):
        assert np.array_equal(answer, data), data.size


def test_large_tensors_arrive_as_they_were_sent(repository: Path) -> None:
    with serve(repository) as server, grpcclient.InferenceServerClient(server.grpc) as client:
        check_many_at_a_time(client)


def test_a_stream_carries_large_tensors(repository: Path) -> None:
    with serve(repository) as server, grpcclient.InferenceServerClient(server.grpc) as client:
        answers: queue.Queue[tuple[grpcclient.InferResult | None, Exception | None]] = queue.Queue()
        client.start_stream(lambda result, error: answers.put((result, error)))
        sent = [noise(size, size) for size in (5_000_000, 100, 2_000_000, 70_000, 9_000_000)]
        for data in sent:
            client.async_stream_infer("large", asked(data))
        for data in sent:
            result, error = answers.get(timeout=PATIENCE_S)
            assert error is None and result is not None, error
            assert np.array_equal(result.as_numpy("OUTPUT0"), data), data.size
        client.stop_stream()


def test_large_tensors_arrive_encrypted(repository: Path, tmp_path: Path) -> None:
    pem, key = tmp_path / "server.pem", tmp_path / "server.key"
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    words += ["-subj", "/CN=server", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(pem)]
    subprocess.run(words, check=True, capture_output=True)
    flags = ["--grpc-use-ssl=true", f"--grpc-server-cert={pem}", f"--grpc-server-key={key}"]
    with (
        serve(repository, *flags) as server,
        grpcclient.InferenceServerClient(server.grpc, ssl=True, root_certificates=str(pem)) as client,
    ):
        check_many_at_a_time(client)


def test_a_call_given_up_inside_its_message_leaves_the_server_well(repository: Path) -> None:
    data = noise(12_000_000, 1)
    with serve(repository) as server:
        for _ in range(5):
            abandon(server, data)
        with grpcclient.InferenceServerClient(server.grpc) as client:
            assert np.array_equal(client.infer("large", asked(data)).as_numpy("OUTPUT0"), data)


def abandon(server: Server, data: NDArray[np.uint8]) -> None:
    with grpcclient.InferenceServerClient(server.grpc) as client:
        calls = [client.async_infer("large", asked(data), lambda result, error: None) for _ in range(3)]
        for call in calls:
            call.cancel()
