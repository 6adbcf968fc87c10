"""The official Python clients, unmodified: http, grpc and their asyncio twins."""

from __future__ import annotations

import asyncio
import queue
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as grpcclient
import tritonclient.grpc.aio as grpcaio
import tritonclient.http as httpclient
import tritonclient.http.aio as httpaio
from serving import Server
from tritonclient.utils import InferenceServerException

statement = pytest.mark.statement
LEFT = np.arange(16, dtype=np.float32).reshape(1, 16)
RIGHT = np.full((1, 16), 2, np.float32)


def inputs(module: Any, **options: Any) -> list[Any]:
    out = []
    for name, array in (("INPUT0", LEFT), ("INPUT1", RIGHT)):
        one = module.InferInput(name, [1, 16], "FP32")
        one.set_data_from_numpy(array, **options)
        out.append(one)
    return out


def check(result: Any) -> None:
    np.testing.assert_array_equal(result.as_numpy("OUTPUT0"), LEFT + RIGHT)
    np.testing.assert_array_equal(result.as_numpy("OUTPUT1"), LEFT - RIGHT)


@statement("T354")
def test_the_http_client(http: httpclient.InferenceServerClient) -> None:
    assert http.is_server_live() and http.is_server_ready() and http.is_model_ready("add_sub", "1")
    check(http.infer("add_sub", inputs(httpclient)))
    check(http.infer("add_sub", inputs(httpclient, binary_data=False), request_id="7", query_params={"a": 1}))
    wanted = [httpclient.InferRequestedOutput(f"OUTPUT{n}", binary_data=bool(n)) for n in (0, 1)]
    check(http.infer("add_sub", inputs(httpclient), outputs=wanted, priority=1, timeout=60_000_000))
    for algorithm in ("gzip", "deflate"):
        check(
            http.infer(
                "add_sub",
                inputs(httpclient),
                request_compression_algorithm=algorithm,
                response_compression_algorithm=algorithm,
                parameters={"mine": "x"},
            )
        )
    pending = [http.async_infer("add_sub", inputs(httpclient)) for _ in range(20)]
    for one in pending:
        check(one.get_result())
    with pytest.raises(InferenceServerException, match="unknown model"):
        http.infer("nope", inputs(httpclient))


@statement("T354", "T360")
def test_the_http_client_asks_about_everything(http: httpclient.InferenceServerClient) -> None:
    assert http.get_server_metadata()["name"] == "conformance"
    assert http.get_model_metadata("add_sub")["inputs"][0]["shape"] == [-1, 16]
    assert http.get_model_config("add_sub")["max_batch_size"] == 64
    assert http.get_inference_statistics("add_sub")["model_stats"][0]["name"] == "add_sub"
    assert any(row["name"] == "digits" for row in http.get_model_repository_index())
    assert "log_info" in http.get_log_settings()
    with pytest.raises(InferenceServerException, match="not allowed"):
        http.load_model("add_sub")


@statement("T355")
def test_the_grpc_client(grpc: grpcclient.InferenceServerClient) -> None:
    assert grpc.is_server_live() and grpc.is_server_ready() and grpc.is_model_ready("add_sub", "1")
    check(grpc.infer("add_sub", inputs(grpcclient), request_id="7", client_timeout=60, priority=1, timeout=60_000_000))
    got: queue.Queue[Any] = queue.Queue()
    for _ in range(20):
        grpc.async_infer("add_sub", inputs(grpcclient), lambda result, error: got.put(error or result))
    for _ in range(20):
        check(got.get(timeout=60))
    with pytest.raises(InferenceServerException, match="unknown model"):
        grpc.infer("nope", inputs(grpcclient))
    assert grpc.get_server_metadata(as_json=True)["name"] == "conformance"
    assert grpc.get_model_metadata("add_sub").inputs[0].shape == [-1, 16]
    assert any(row.name == "digits" for row in grpc.get_model_repository_index().models)


@statement("T357")
def test_the_asyncio_http_client(server: Server) -> None:
    async def work() -> None:
        async with httpaio.InferenceServerClient(server.http) as client:
            assert await client.is_server_live() and await client.is_model_ready("add_sub")
            results = await asyncio.gather(*(client.infer("add_sub", inputs(httpclient)) for _ in range(20)))
            for result in results:
                check(result)
            with pytest.raises(InferenceServerException):
                await client.infer("nope", inputs(httpclient))

    asyncio.run(work())


@statement("T357", "T183")
def test_the_asyncio_grpc_client_and_its_stream(server: Server) -> None:
    async def requests() -> Any:
        for number in range(20):
            yield {"model_name": "add_sub", "inputs": inputs(grpcclient), "request_id": str(number)}

    async def work() -> None:
        async with grpcaio.InferenceServerClient(server.grpc) as client:
            assert await client.is_server_ready()
            check(await client.infer("add_sub", inputs(grpcclient)))
            seen = []
            async for result, error in client.stream_infer(requests()):
                assert error is None
                check(result)
                seen.append(result.get_response().id)
            assert seen == [str(number) for number in range(20)]

    asyncio.run(work())


@statement("T103")
def test_shared_memory_of_a_client_is_refused(http: httpclient.InferenceServerClient) -> None:
    wanted = httpclient.InferRequestedOutput("OUTPUT0")
    wanted.set_shared_memory("region", 64)
    with pytest.raises(InferenceServerException) as caught:
        http.infer("add_sub", inputs(httpclient), outputs=[wanted])
    assert "shared memory" in str(caught.value).lower().replace("_", " ")
