"""The server inside a program: no sockets, same answers."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import argosy
import numpy as np
import pytest
from argosy.errors import ArgosyError, InvalidArgument, NotFound, Unavailable
from serving import Tensor, add_model, ask, identity_config
from serving.models import onnx_scale
from serving.values import NUMPY, values

EXAMPLES = Path(__file__).parents[3] / "model_repository"


@pytest.fixture
def server():
    with argosy.Server(EXAMPLES) as running:
        yield running


def test_infer_returns_arrays_by_name(server: argosy.Server) -> None:
    a, b = np.arange(32, dtype=np.float32).reshape(2, 16), np.ones((2, 16), np.float32)
    result = server.infer("add_sub", {"INPUT0": a, "INPUT1": b})
    np.testing.assert_array_equal(result["OUTPUT0"], a + b)
    np.testing.assert_array_equal(result.outputs["OUTPUT1"], a - b)
    assert list(server.infer("add_sub", {"INPUT0": a, "INPUT1": b}, outputs=["OUTPUT1"]).outputs) == ["OUTPUT1"]


def test_no_socket_is_opened_unless_asked(server: argosy.Server) -> None:
    assert server.ports == {}
    assert server.ready() and server.models() == ["add_sub", "digits", "identity"]


def test_submitted_requests_are_batched_together(tmp_path: Path) -> None:
    more = "dynamic_batching { preferred_batch_size: [ 8 ] max_queue_delay_microseconds: 30000000 }\n"
    add_model(tmp_path, "m", identity_config(more=more))
    with argosy.Server(tmp_path) as server:
        futures = [server.submit("m", {"INPUT0": np.full((1, 2), n, np.float32)}) for n in range(8)]
        for number, future in enumerate(futures):
            np.testing.assert_array_equal(future.result(60)["OUTPUT0"], np.full((1, 2), number))
        assert 'nv_inference_exec_count{model="m",version="1"} 1' in server.metrics()


@pytest.mark.parametrize("dtype", [*NUMPY, "BYTES"])
def test_every_type_crosses_the_border(tmp_path: Path, dtype: str) -> None:
    add_model(tmp_path, "m", identity_config((Tensor("INPUT0", dtype),), (Tensor("OUTPUT0", dtype),), batch=0))
    array = values(dtype, 6)
    with argosy.Server(tmp_path) as server:
        got = server.infer("m", {"INPUT0": array})["OUTPUT0"]
        assert got.dtype == array.dtype and got.tolist() == array.tolist()
        assert server.infer("m", {"INPUT0": array[:0]})["OUTPUT0"].shape == (0,)


def test_errors_are_exceptions_with_the_texts_of_the_protocol(server: argosy.Server) -> None:
    with pytest.raises(NotFound, match="unknown model: 'nope' is not found"):
        server.infer("nope", {})
    with pytest.raises(NotFound, match="version 9 is not found"):
        server.infer("identity", {"INPUT0": np.zeros((1, 1), np.float32)}, version=9)
    with pytest.raises(InvalidArgument, match="data-type is 'FP64', but model 'identity' expects 'FP32'"):
        server.infer("identity", {"INPUT0": np.zeros((1, 1))})
    with pytest.raises(InvalidArgument, match="missing required input"):
        server.infer("add_sub", {"INPUT0": np.zeros((1, 16), np.float32)})
    with pytest.raises(Unavailable, match="not allowed"):
        server.load("identity")


def test_explicit_models_come_and_go(tmp_path: Path) -> None:
    add_model(tmp_path, "m", 'backend: "onnxruntime"\nmax_batch_size: 4\n', onnx_model=onnx_scale(3.0))
    with argosy.Server(tmp_path, control_mode=argosy.ControlMode.EXPLICIT) as server:
        assert server.models() == []
        server.load("m")
        assert server.infer("m", {"x": np.ones((1, 4), np.float32)})["y"].tolist() == [[3.0] * 4]
        assert server.metadata("m")["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}]
        assert server.config("m")["max_batch_size"] == 4
        server.unload("m")
        with pytest.raises(NotFound, match="has no available versions"):
            server.infer("m", {"x": np.ones((1, 4), np.float32)})


def test_a_single_file_needs_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "double.onnx"
    path.write_bytes(onnx_scale(2.0).SerializeToString())
    with argosy.Server(path) as server:
        assert server.infer("double", {"x": np.ones((1, 4), np.float32)})["y"].tolist() == [[2.0] * 4]


def test_listening_serves_the_same_models(tmp_path: Path) -> None:
    add_model(tmp_path, "m", identity_config())
    off = argosy.Endpoint()
    with argosy.Server(tmp_path, listen=True, http=off, grpc=off, metrics=off) as server:
        assert set(server.ports) == {"http", "grpc", "metrics"}
        assert ask(server.ports["http"], "GET", "/v2/models/m/ready").status == 200


def test_stopping_twice_is_nothing_and_requests_after_it_are_refused(tmp_path: Path) -> None:
    add_model(tmp_path, "m", identity_config())
    server = argosy.Server(tmp_path).start()
    assert server.stop() and server.stop()
    with pytest.raises(ArgosyError):
        server.infer("m", {"INPUT0": np.zeros((1, 1), np.float32)})


def test_a_failed_start_raises_with_the_reason_and_stops(tmp_path: Path) -> None:
    add_model(tmp_path, "m", "nonsense: 1\n")
    with pytest.raises(ArgosyError, match="m"):
        argosy.Server(tmp_path).start()
    with argosy.Server(tmp_path, exit_on_error=False) as server:
        assert list(server.failures) == ["m"] and not server.ready()


def test_many_threads_may_infer(server: argosy.Server) -> None:
    wrong: list[object] = []

    def work(number: int) -> None:
        for _ in range(50):
            got = server.infer("identity", {"INPUT0": np.full((1, 3), number, np.float32)})["OUTPUT0"]
            if got.tolist() != [[number] * 3]:
                wrong.append(got)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_timeout_is_kept_while_the_instance_is_busy(tmp_path: Path, turns: Any) -> None:
    add_model(tmp_path, "m", turns.config())
    with argosy.Server(tmp_path) as server:
        turns.hold(0)
        busy = server.submit("m", {"INPUT0": np.zeros((1, 1), np.float32)})
        more = [server.submit("m", {"INPUT0": np.ones((1, 1), np.float32)}) for _ in range(2)]
        with pytest.raises(ArgosyError, match="timeout"):
            server.infer("m", {"INPUT0": np.full((1, 1), 2, np.float32)}, timeout_us=20_000)
        turns.let_go(0)
        for future in (busy, *more):
            future.result(60)
    assert turns.begun == [0, 1, 1]
