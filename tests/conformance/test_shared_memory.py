"""Memory that clients register: the routes, the calls, requests that refer to it, and what is refused."""

from __future__ import annotations

import base64
import os
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as grpcclient
import tritonclient.http as httpclient
import tritonclient.utils.shared_memory as shm
from serving import Server, Tensor, add_model, identity_config, serve
from serving.python_repository import gated, write_model
from serving.waiting import running, until
from tritonclient.utils import InferenceServerException

statement = pytest.mark.statement
PAGE = os.sysconf("SC_PAGESIZE")


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model `gated` answers while this file is there."""
    return tmp_path_factory.mktemp("gate") / "open"


@pytest.fixture(scope="module")
def sharing(tmp_path_factory: pytest.TempPathFactory, gate: Path) -> Iterator[Server]:
    repository = tmp_path_factory.mktemp("repository")
    add_model(repository, "flat", identity_config(batch=0))
    io = Tensor("INPUT0").text("input") + Tensor("OUTPUT0").text("output")
    write_model(repository, "gated", gated(gate, "INPUT0", "OUTPUT0"), io=io)
    words = (Tensor("INPUT0", "BYTES"),), (Tensor("OUTPUT0", "BYTES"),)
    add_model(repository, "words", identity_config(*words, batch=0))
    with serve(repository, "--allow-client-shm=true") as running:
        yield running


@pytest.fixture(params=["http", "grpc"])
def client(sharing: Server, request: pytest.FixtureRequest) -> Iterator[Any]:
    made: Any = (
        httpclient.InferenceServerClient(sharing.http, concurrency=2)
        if request.param == "http"
        else grpcclient.InferenceServerClient(sharing.grpc)
    )
    yield made
    made.unregister_system_shared_memory()
    # What a request used is gone a moment after its answer, and only then its name is free.
    until(lambda: not regions_of(made))
    made.close()


def regions_of(client: Any) -> Any:
    status = client.get_system_shared_memory_status()
    return status if isinstance(status, list) else status.regions


class Region:
    """An object of shared memory as the official client's helpers make it."""

    def __init__(self, name: str, size: int) -> None:
        self.name, self.size, self.key = name, size, f"/argosy-test-{uuid.uuid4()}"
        self.handle = shm.create_shared_memory_region(name, self.key, size, create_only=True)

    def put(self, *arrays: np.ndarray, offset: int = 0) -> None:
        shm.set_shared_memory_region(self.handle, list(arrays), offset=offset)

    def get(self, dtype: Any, shape: list[int], offset: int = 0) -> np.ndarray:
        return np.array(shm.get_contents_as_numpy(self.handle, dtype, shape, offset=offset))


@pytest.fixture
def region() -> Iterator[Callable[..., Region]]:
    made: list[Region] = []

    def make(name: str = "r", size: int = 4 * PAGE) -> Region:
        made.append(Region(name, size))
        return made[-1]

    yield make
    for one in made:
        shm.destroy_shared_memory_region(one.handle)


def module_of(client: Any) -> Any:
    return httpclient if isinstance(client, httpclient.InferenceServerClient) else grpcclient


def infer(client: Any, model: str, size: int, source: Any, target: Any, dtype: str = "FP32", count: int = 0) -> Any:
    """`source` and `target`: (region, bytes, offset)."""
    kind = module_of(client)
    tensor = kind.InferInput("INPUT0", [count or size // 4], dtype)
    tensor.set_shared_memory(*source)
    wanted = kind.InferRequestedOutput("OUTPUT0")
    wanted.set_shared_memory(*target)
    return client.infer(model, [tensor], outputs=[wanted])


@statement("T163", "T356")
def test_regions_are_registered_told_and_unregistered(client: Any, region: Callable[..., Region]) -> None:
    one, two = region("one"), region("two")
    client.register_system_shared_memory("one", one.key, one.size)
    client.register_system_shared_memory("two", two.key, PAGE, offset=PAGE)
    status = client.get_system_shared_memory_status()
    rows = {row["name"]: row for row in status} if isinstance(status, list) else status.regions
    if isinstance(status, list):
        assert rows["two"] == {"name": "two", "key": two.key, "offset": PAGE, "byte_size": PAGE}
    else:
        assert (rows["two"].key, rows["two"].offset, rows["two"].byte_size) == (two.key, PAGE, PAGE)
    assert sorted(rows) == ["one", "two"]
    client.unregister_system_shared_memory("one")
    client.unregister_system_shared_memory("unknown")
    with pytest.raises(InferenceServerException, match="Unable to find system shared memory region: 'one'"):
        client.get_system_shared_memory_status("one")
    client.unregister_system_shared_memory()
    status = client.get_system_shared_memory_status()
    assert status == [] or not getattr(status, "regions", [None])


@statement("T164", "T193", "T356")
def test_tensors_go_from_region_to_region(client: Any, region: Callable[..., Region]) -> None:
    source, target = region("in"), region("out")
    values = np.arange(512, dtype=np.float32)
    source.put(values, offset=64)
    client.register_system_shared_memory("in", source.key, source.size)
    client.register_system_shared_memory("out", target.key, target.size)
    result = infer(client, "flat", 2048, ("in", 2048, 64), ("out", 4096, 128))
    np.testing.assert_array_equal(target.get(np.float32, [512], 128), values)
    response = result.get_response()
    if isinstance(response, dict):
        assert response["outputs"] == [{"name": "OUTPUT0", "datatype": "FP32", "shape": [512]}]
    else:
        assert list(response.raw_output_contents) == [b""]
        assert (response.outputs[0].name, list(response.outputs[0].shape)) == ("OUTPUT0", [512])
        assert not response.outputs[0].parameters


@statement("T164")
def test_strings_go_from_region_to_region(client: Any, region: Callable[..., Region]) -> None:
    from tritonclient.utils import serialize_byte_tensor

    words = np.array([b"one", b"", b"three" * 100], dtype=np.object_)
    packed = serialize_byte_tensor(words)
    size = len(packed.item())
    both = region("words")
    both.put(packed)
    client.register_system_shared_memory("words", both.key, both.size)
    infer(client, "words", size, ("words", size, 0), ("words", 8192, 4096), "BYTES", 3)
    assert list(both.get(np.object_, [3], 4096)) == list(words)


@statement("T164")
def test_one_input_may_lie_elsewhere_than_the_outputs(client: Any, region: Callable[..., Region]) -> None:
    kind = module_of(client)
    one = region()
    client.register_system_shared_memory("r", one.key, one.size)
    values = np.array([1, 2, 3], np.float32)
    tensor = kind.InferInput("INPUT0", [3], "FP32")
    tensor.set_data_from_numpy(values)
    wanted = kind.InferRequestedOutput("OUTPUT0")
    wanted.set_shared_memory("r", 12)
    client.infer("flat", [tensor], outputs=[wanted])
    np.testing.assert_array_equal(one.get(np.float32, [3]), values)
    tensor.set_shared_memory("r", 12)
    np.testing.assert_array_equal(client.infer("flat", [tensor]).as_numpy("OUTPUT0"), values)


@statement("T165")
def test_a_name_is_taken_once(sharing: Server, client: Any, region: Callable[..., Region]) -> None:
    one = region()
    client.register_system_shared_memory("r", one.key, one.size)
    with pytest.raises(InferenceServerException, match="shared memory region 'r' already in manager") as caught:
        client.register_system_shared_memory("r", one.key, one.size)
    assert caught.value.status() in ("400", "StatusCode.ALREADY_EXISTS")


@statement("T167", "T170")
def test_what_cannot_be_mapped_is_refused(client: Any, region: Callable[..., Region]) -> None:
    one = region()
    invalid = "failed to register shared memory region 'r': "
    for key, size, offset, text in (
        ("/argosy-no-such-object", 4, 0, "Unable to open shared memory region: '/argosy-no-such-object'"),
        (one.key, one.size + 1, 0, invalid + "invalid args"),
        (one.key, 1, one.size, invalid + "invalid args"),
        (one.key, 2**64 - 1, 1, invalid + "invalid args"),
        (one.key, 4, 1, invalid + "unable to process address space"),
        ("/triton_python_backend_shm_region_1", 4, 0, "contains the reserved prefix"),
        ("//", 4, 0, "cannot register shared memory region 'r' - invalid shm key '//'"),
    ):
        with pytest.raises(InferenceServerException) as caught:
            client.register_system_shared_memory("r", key, size, offset=offset)
        assert text in caught.value.message(), (key, size, offset)


@statement("T166", "T167")
def test_references_that_do_not_hold_are_refused(client: Any, region: Callable[..., Region]) -> None:
    one = region()
    client.register_system_shared_memory("r", one.key, 1024)
    for source, text in (
        (("unknown", 16, 0), "Unable to find shared memory region: 'unknown'"),
        (("r", 16, 1024), "Invalid offset for shared memory region: 'r'"),
        (("r", 1024, 16), "Invalid offset \\+ byte size for shared memory region: 'r'"),
        (("r", 12, 0), "Expected 16, got 12"),
    ):
        with pytest.raises(InferenceServerException, match=text):
            infer(client, "flat", 16, source, ("r", 16, 0))
        if source[1:] != (12, 0):
            with pytest.raises(InferenceServerException, match=text):
                infer(client, "flat", 16, ("r", 16, 0), source)


@statement("T168")
def test_an_output_that_does_not_fit_says_what_it_needs(client: Any, region: Callable[..., Region]) -> None:
    one = region()
    client.register_system_shared_memory("r", one.key, one.size)
    with pytest.raises(InferenceServerException) as caught:
        infer(client, "flat", 16, ("r", 16, 0), ("r", 15, 64))
    assert caught.value.message() == (
        "shared memory size specified with the request for output 'OUTPUT0' (15 bytes) should be at least 16 bytes "
        "to hold the results"
    )
    assert caught.value.status() in ("500", "StatusCode.INTERNAL")


@statement("T169")
def test_a_region_that_is_unregistered_in_use_stays_until_the_answer(
    sharing: Server, client: Any, region: Callable[..., Region], gate: Path
) -> None:
    one = region()
    one.put(np.array([4, 2], np.float32))
    client.register_system_shared_memory("r", one.key, one.size)
    gate.unlink(missing_ok=True)

    def work() -> None:
        # A client of its own: gRPC and HTTP alike.
        with httpclient.InferenceServerClient(sharing.http, network_timeout=60.0) as other:
            infer(other, "gated", 8, ("r", 8, 0), ("r", 8, 64))

    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(work)
        until(lambda: running(sharing, "gated") == 1)
        client.unregister_system_shared_memory("r")
        assert len(regions_of(client)) == 1
        gate.touch()
        answer.result()
    np.testing.assert_array_equal(one.get(np.float32, [2], 64), [4, 2])
    until(lambda: not regions_of(client))  # gone with its last user, a moment after the answer


@statement("T171")
def test_a_server_without_gpus_says_so(client: Any) -> None:
    handle = base64.b64encode(bytes(64))
    with pytest.raises(InferenceServerException) as caught:
        client.register_cuda_shared_memory("R", handle, 0, 16)
    assert caught.value.message() == "failed to register CUDA shared memory region: 'R', GPUs not supported"
    status = client.get_cuda_shared_memory_status()
    assert status == [] or not getattr(status, "regions", [None])
    client.unregister_cuda_shared_memory()


@statement("T163")
def test_a_register_request_says_what_it_lacks(sharing: Server) -> None:
    def error(path: str, body: object) -> tuple[int, str]:
        answer = sharing.ask("POST", path, body)
        return answer.status, answer.error

    at = "/v2/systemsharedmemory/region/r/register"
    lacks = "Shared memory register request has no '{}' field"
    assert error(at, {"byte_size": 4}) == (400, lacks.format("key"))
    assert error(at, {"key": "/k"}) == (400, lacks.format("byte_size"))
    assert error(at, None) == (400, lacks.format("key"))
    assert error(at, {"key": "/k", "byte_size": -1})[0] == 400
    assert error(at, {"key": 1, "byte_size": 4})[0] == 400
    text = "'region name' is necessary to register system shared memory region"
    assert error("/v2/systemsharedmemory/register", {"key": "/k", "byte_size": 4}) == (400, text)
    cuda = "/v2/cudasharedmemory/region/r/register"
    assert error(cuda, {"device_id": 0, "byte_size": 4}) == (400, lacks.format("raw_handle"))


@statement("T103")
def test_a_classified_output_cannot_lie_in_a_region(sharing: Server) -> None:
    parameters = {"shared_memory_region": "r", "shared_memory_byte_size": 4, "classification": 1}
    inputs = [{"name": "INPUT0", "datatype": "FP32", "shape": [1], "data": [1]}]
    answer = sharing.infer("flat", inputs, outputs=[{"name": "OUTPUT0", "parameters": parameters}])
    assert (answer.status, answer.error) == (
        400,
        "Output can't set both 'shared_memory_region' and 'classification'",
    )
    parameters = {"shared_memory_region": "r", "shared_memory_byte_size": 4, "binary_data": True}
    answer = sharing.infer("flat", inputs, outputs=[{"name": "OUTPUT0", "parameters": parameters}])
    assert (answer.status, answer.error) == (400, "Output can't set both 'shared_memory_region' and 'binary_data'")


def test_a_stream_writes_its_answers_to_the_region(sharing: Server, region: Callable[..., Region]) -> None:
    one = region()
    one.put(np.array([8, 9], np.float32))
    results: list[Any] = []
    done = threading.Event()

    def heard(result: Any, error: Any) -> None:
        results.append(error or result)
        done.set()

    with grpcclient.InferenceServerClient(sharing.grpc) as client:
        client.register_system_shared_memory("r", one.key, one.size)
        client.start_stream(heard)
        tensor = grpcclient.InferInput("INPUT0", [2], "FP32")
        tensor.set_shared_memory("r", 8)
        wanted = grpcclient.InferRequestedOutput("OUTPUT0")
        wanted.set_shared_memory("r", 8, 64)
        client.async_stream_infer("flat", [tensor], outputs=[wanted])
        assert done.wait(60)
        client.stop_stream()
        client.unregister_system_shared_memory()
        until(lambda: not regions_of(client))
    assert not isinstance(results[0], Exception), results
    np.testing.assert_array_equal(one.get(np.float32, [2], 64), [8, 9])


@statement("T162")
@pytest.mark.parametrize("kind", ["system", "cuda"])
def test_a_server_that_does_not_share_says_how_to_make_it(server: Server, kind: str, tmp_path: Path) -> None:
    text = "Client shared memory is disabled. Start the server with '--allow-client-shm=true' to enable."
    for verb in ("register", "unregister"):
        answer = server.ask("POST", f"/v2/{kind}sharedmemory/region/r/{verb}", {"key": "/k", "byte_size": 4})
        assert (answer.status, answer.error) == (501, text)
    assert server.ask("GET", f"/v2/{kind}sharedmemory/status").json == []
    with grpcclient.InferenceServerClient(server.grpc) as client:
        with pytest.raises(InferenceServerException) as caught:
            client.register_system_shared_memory("r", "/k", 4)
        assert (caught.value.status(), caught.value.message()) == ("StatusCode.UNIMPLEMENTED", text)
        assert not client.get_system_shared_memory_status().regions
