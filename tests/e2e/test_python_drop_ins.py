"""The models of examples/python_models, unchanged, in real worker processes, through the official clients."""

from __future__ import annotations

import queue
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as grpcclient
import tritonclient.http as httpclient
from serving import Server, serve

statement = pytest.mark.statement

EXAMPLES = Path(__file__).parents[2] / "examples" / "python_models"
PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("drop-ins") / "models"
    shutil.copytree(EXAMPLES, root, ignore=shutil.ignore_patterns("README.md", "__pycache__"))
    with serve(root) as running:
        yield running


@pytest.fixture(scope="module", params=["http", "grpc"])
def ask(request: pytest.FixtureRequest, server: Server) -> Iterator[Callable[..., dict[str, np.ndarray]]]:
    """ask(model, name=array, ...): the outputs by name, through each of the clients."""
    module: Any = httpclient if request.param == "http" else grpcclient
    address = server.http if request.param == "http" else server.grpc
    more = {"network_timeout": PATIENCE_S} if request.param == "http" else {}
    with module.InferenceServerClient(address, **more) as client:

        def infer(model: str, **inputs: np.ndarray) -> dict[str, np.ndarray]:
            result = client.infer(model, tensors(module, inputs), request_id="r1")
            got = result.get_response()
            names = [row["name"] if module is httpclient else row.name for row in _rows(got)]
            return {name: result.as_numpy(name) for name in names}

        yield infer


def _rows(response: Any) -> Any:
    return response["outputs"] if isinstance(response, dict) else response.outputs


def tensors(module: Any, inputs: dict[str, np.ndarray]) -> list[Any]:
    kinds = {"float32": "FP32", "int32": "INT32", "uint32": "UINT32", "int64": "INT64", "object": "BYTES"}
    sent = []
    for name, array in inputs.items():
        one = module.InferInput(name, list(array.shape), kinds[array.dtype.name])
        one.set_data_from_numpy(array)
        sent.append(one)
    return sent


def floats(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


class Stream:
    """One ModelStreamInfer call; what comes is in `answers`: (result, error)."""

    def __init__(self, server: Server) -> None:
        self.answers: queue.Queue[tuple[Any, Any]] = queue.Queue()
        self.client = grpcclient.InferenceServerClient(server.grpc)
        self.client.start_stream(callback=lambda result, error: self.answers.put((result, error)))

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.stop_stream()
        self.client.close()

    def send(self, model: str, identity: str = "", *, empty_final: bool = True, **inputs: np.ndarray) -> None:
        self.client.async_stream_infer(
            model, tensors(grpcclient, inputs), request_id=identity, enable_empty_final_response=empty_final
        )

    def next(self) -> tuple[Any, Any]:
        return self.answers.get(timeout=PATIENCE_S)

    def until_final(self, requests: int = 1) -> dict[str, list[Any]]:
        """The data responses by request id, when `requests` of them have ended."""
        found: dict[str, list[Any]] = {}
        while requests:
            result, error = self.next()
            assert error is None, error
            response = result.get_response()
            if response.outputs:
                found.setdefault(response.id, []).append(result)
            requests -= response.parameters["triton_final_response"].bool_param
        return found


@statement("T283")
def test_identity_gives_back_what_it_got(ask: Callable[..., dict[str, np.ndarray]]) -> None:
    sent = np.arange(12, dtype=np.float32).reshape(3, 4)
    assert np.array_equal(ask("identity", INPUT0=sent)["OUTPUT0"], sent)
    large = np.random.default_rng(1).random((1, 400_000), np.float32)
    assert np.array_equal(ask("identity", INPUT0=large)["OUTPUT0"], large)


@statement("T283")
def test_add_sub_adds_subtracts_and_refuses_with_its_own_code(ask: Callable[..., dict[str, np.ndarray]]) -> None:
    got = ask("add_sub", INPUT0=floats(1, 2, 3), INPUT1=floats(10, 20, 30))
    assert got["OUTPUT0"].tolist() == [11, 22, 33] and got["OUTPUT1"].tolist() == [-9, -18, -27]
    with pytest.raises(Exception, match=r"INPUT0 has shape \[2\], INPUT1 \[1\]: expected the same") as refused:
        ask("add_sub", INPUT0=floats(1, 2), INPUT1=floats(1))
    assert str(refused.value.status()) in ("400", "StatusCode.INVALID_ARGUMENT")


@statement("T289")
def test_auto_complete_needs_no_tensors_in_its_file(server: Server, ask: Callable[..., dict[str, np.ndarray]]) -> None:
    config = server.ask("GET", "/v2/models/auto_complete/config").json
    assert config["max_batch_size"] == 8 and "dynamic_batching" in config
    assert [row["name"] for row in config["input"]] == ["INPUT0", "INPUT1"]
    ones = np.ones((2, 4), np.float32)
    assert ask("auto_complete", INPUT0=ones, INPUT1=ones * 3)["OUTPUT1"].tolist() == [[-2.0] * 4] * 2


def test_models_of_our_own_class_need_no_file(ask: Callable[..., dict[str, np.ndarray]]) -> None:
    rows = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert np.array_equal(ask("scale", x=rows)["output"], rows * 2)


@statement("T285", "T291")
def test_a_model_calls_another_and_passes_on_its_error(ask: Callable[..., dict[str, np.ndarray]]) -> None:
    name = np.array([b"add_sub"], dtype=object)
    got = ask("bls_sync", MODEL_NAME=name, INPUT0=floats(5, 6), INPUT1=floats(1, 2))
    assert got["OUTPUT0"].tolist() == [6, 8] and got["OUTPUT1"].tolist() == [4, 4]
    with pytest.raises(Exception, match="no_such_model") as refused:
        ask("bls_sync", MODEL_NAME=np.array([b"no_such_model"], dtype=object), INPUT0=floats(1), INPUT1=floats(1))
    assert str(refused.value.status()) in ("404", "StatusCode.NOT_FOUND")
    with pytest.raises(Exception, match="expected the same"):
        ask("bls_sync", MODEL_NAME=name, INPUT0=floats(1), INPUT1=floats(1, 2))


@statement("T292")
def test_a_model_awaits_two_calls_at_once(ask: Callable[..., dict[str, np.ndarray]]) -> None:
    got = ask("bls_async", INPUT0=floats(5, 6), INPUT1=floats(1, 2))
    assert got["OUTPUT0"].tolist() == [6, 8] and got["OUTPUT1"].tolist() == [-4, -4]


def test_a_model_sums_up_the_stream_of_another(ask: Callable[..., dict[str, np.ndarray]]) -> None:
    for number in (0, 1, 12):
        assert ask("bls_decoupled", IN=np.array([number], np.int32))["OUT"].tolist() == [number**2]


def test_calls_of_many_clients_at_once_are_not_mixed(server: Server) -> None:
    with grpcclient.InferenceServerClient(server.grpc) as client, ThreadPoolExecutor(16) as pool:

        def one(number: int) -> float:
            sent = {"INPUT0": floats(number), "INPUT1": floats(1)}
            return float(client.infer("bls_async", tensors(grpcclient, sent)).as_numpy("OUTPUT1")[0])

        assert list(pool.map(one, range(200))) == [1 - number for number in range(200)]


@statement("T299")
def test_metrics_of_a_model_stand_on_the_page(server: Server) -> None:
    labels = '{model="custom_metrics",version="1"}'
    before = _sample(server.metrics(), "custom_requests" + labels)
    with httpclient.InferenceServerClient(server.http, network_timeout=PATIENCE_S) as client:
        for size in (1, 7, 70):
            client.infer("custom_metrics", tensors(httpclient, {"INPUT0": np.zeros(size, np.float32)}))
    page = server.metrics()
    assert _sample(page, "custom_requests" + labels) == before + 3
    assert _sample(page, "custom_last_elements" + labels) == 70
    for name, kind in (("requests", "counter"), ("last_elements", "gauge"), ("elements", "histogram")):
        assert f"# TYPE custom_{name} {kind}" in page


def _sample(page: str, series: str) -> float:
    rows = [line for line in page.splitlines() if line.startswith(series + " ")]
    assert len(rows) == 1, [line for line in page.splitlines() if "custom" in line]
    return float(rows[0].split()[-1])


@statement("T184", "T185", "T290")
@pytest.mark.parametrize("count", [0, 1, 9])
def test_repeat_sends_a_response_per_element_and_then_the_end(server: Server, count: int) -> None:
    with Stream(server) as stream:
        stream.send("repeat", "a", IN=np.arange(10, 10 + count, dtype=np.int32))
        found = stream.until_final().get("a", [])
        assert [int(one.as_numpy("OUT")[0]) for one in found] == list(range(10, 10 + count))
        assert [int(one.as_numpy("IDX")[0]) for one in found] == list(range(count))


@statement("T184", "T305")
def test_requests_of_one_stream_overlap(server: Server) -> None:
    with Stream(server) as stream:
        for number in range(20):
            stream.send("square", str(number), IN=np.array([number], np.int32))
        found = stream.until_final(20)
    counts = {name: [int(one.as_numpy("OUT")[0]) for one in responses] for name, responses in found.items()}
    assert counts == {str(number): [number] * number for number in range(1, 20)}


@statement("T071", "T181")
def test_one_answer_is_not_to_be_had_from_a_stream(server: Server) -> None:
    row = {"name": "IN", "datatype": "INT32", "shape": [1], "data": [2]}
    answer = server.infer("square", [row])
    assert answer.status == 501 and "decoupled" in answer.error
    with (
        grpcclient.InferenceServerClient(server.grpc) as client,
        pytest.raises(grpcclient.InferenceServerException) as refused,
    ):
        client.infer("square", tensors(grpcclient, {"IN": np.array([2], np.int32)}))
    assert "UNIMPLEMENTED" in str(refused.value.status())


@statement("T120", "T121")
def test_generate_takes_one_response_of_a_stream_and_not_more(server: Server) -> None:
    assert server.ask("POST", "/v2/models/square/generate", {"IN": 1}).json["OUT"] == 1
    for number in (0, 2):
        answer = server.ask("POST", "/v2/models/square/generate", {"IN": number})
        assert "generate expects model to produce exactly 1 response" in answer.error
