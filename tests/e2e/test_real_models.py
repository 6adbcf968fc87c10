"""Models that people use, from installed packages, against bare ONNX Runtime; and every ONNX element type."""

from __future__ import annotations

import importlib.metadata
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc as rpc
import numpy as np
import onnxruntime
import pytest
import tritonclient.grpc as grpcclient
import tritonclient.http as httpclient
from onnx import helper
from serving import Server, add_model, serve
from serving.models import DTYPES, onnx_graph, onnx_identity
from serving.values import encode, values
from tritonclient.grpc import service_pb2 as pb

CASES = {
    "magika": ("magika", "models/standard", {"bytes": (2048,)}),
    "detect": ("rapidocr_onnxruntime", "det_infer.onnx", {"x": (3, 96, 160)}),
    "classify": ("rapidocr_onnxruntime", "cls_infer.onnx", {"x": (3, 48, 192)}),
    "recognise": ("rapidocr_onnxruntime", "rec_infer.onnx", {"x": (3, 48, 160)}),
}
# A batch leaves when it is full, and not before.
TOGETHER = """backend: "onnxruntime"
max_batch_size: 4
dynamic_batching { preferred_batch_size: [ 4 ] max_queue_delay_microseconds: 300000000 }
"""


def packaged(package: str, part: str) -> Path:
    """A model file of an installed package; the test is skipped by name where it is not installed."""
    try:
        files = importlib.metadata.files(package) or []
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"the package {package} is not installed")
    found = [file for file in files if file.suffix == ".onnx" and part in str(file)]
    assert len(found) == 1, found
    return Path(str(found[0].locate()))


@pytest.fixture(scope="module")
def artefacts() -> dict[str, Path]:
    return {name: packaged(package, part) for name, (package, part, _) in CASES.items()}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, artefacts: dict[str, Path]) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("repository")
    for name, path in artefacts.items():
        for model, config in ((name, None), (f"{name}_together", TOGETHER)):
            add_model(root, model, config)
            shutil.copy(path, root / model / "1" / "model.onnx")
    with serve(root) as running:
        yield running


def example(name: str, rows: int, seed: int) -> dict[str, np.ndarray]:
    source = np.random.default_rng(seed)
    if name == "magika":
        return {"bytes": source.integers(0, 257, (rows, 2048)).astype(np.int32)}
    return {"x": source.random((rows, *CASES[name][2]["x"]), dtype=np.float32)}


def session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def infer(client: Any, module: Any, model: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    sent = []
    for name, array in inputs.items():
        one = module.InferInput(name, list(array.shape), "INT32" if array.dtype == np.int32 else "FP32")
        one.set_data_from_numpy(array)
        sent.append(one)
    result = client.infer(model, sent)
    names = (
        [row["name"] for row in result.get_response()["outputs"]]
        if module is httpclient
        else [row.name for row in result.get_response().outputs]
    )
    return {name: result.as_numpy(name) for name in names}


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_a_real_model_answers_as_onnx_runtime_does(server: Server, artefacts: dict[str, Path], name: str) -> None:
    bare = session(artefacts[name])
    outputs = [one.name for one in bare.get_outputs()]
    config = server.ask("GET", f"/v2/models/{name}/config").json
    assert config["max_batch_size"] == 4 and "dynamic_batching" in config
    with (
        httpclient.InferenceServerClient(server.http, concurrency=4) as http,
        grpcclient.InferenceServerClient(server.grpc) as grpc,
    ):
        for rows in (1, 3):
            inputs = example(name, rows, rows)
            expected = dict(zip(outputs, bare.run(None, inputs), strict=True))
            for client, module in ((http, httpclient), (grpc, grpcclient)):
                got = infer(client, module, name, inputs)
                assert list(got) == outputs
                for output in outputs:
                    np.testing.assert_allclose(got[output], expected[output], rtol=1e-3, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_requests_of_many_clients_get_their_own_rows_of_the_batch(
    server: Server, artefacts: dict[str, Path], name: str
) -> None:
    bare = session(artefacts[name])
    inputs = [example(name, 1, seed) for seed in range(12)]
    model = f"{name}_together"
    before = server.stats(model)
    with httpclient.InferenceServerClient(server.http, concurrency=12) as client:
        pending = [client.async_infer(model, _tensors(one)) for one in inputs]
        got = [one.get_result() for one in pending]
    for one, result in zip(inputs, got, strict=True):
        for output, expected in zip(bare.get_outputs(), bare.run(None, one), strict=True):
            np.testing.assert_allclose(result.as_numpy(output.name), expected, rtol=1e-3, atol=1e-5)
    after = server.stats(model)
    assert after["inference_count"] - before["inference_count"] == 12
    assert after["execution_count"] - before["execution_count"] == 3


def _tensors(inputs: dict[str, np.ndarray]) -> list[httpclient.InferInput]:
    out = []
    for name, array in inputs.items():
        one = httpclient.InferInput(name, list(array.shape), "INT32" if array.dtype == np.int32 else "FP32")
        one.set_data_from_numpy(array)
        out.append(one)
    return out


# Every element type, batched and not, with scalars and tensors without elements.

SUPPORTED = sorted(DTYPES)


@pytest.fixture(scope="module")
def types(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("types")
    for dtype in SUPPORTED:
        add_model(root, f"flat_{dtype.lower()}", onnx_model=onnx_identity(dtype, [2, "n"]))
        add_model(root, f"rows_{dtype.lower()}", onnx_model=onnx_identity(dtype, ["b", "n"]))
        add_model(root, f"fixed_{dtype.lower()}", onnx_model=onnx_identity(dtype, ["b", 3]))
        add_model(root, f"scalar_{dtype.lower()}", _scalar(dtype), onnx_model=onnx_identity(dtype, ["b"]))
    add_model(
        root,
        "cast",
        onnx_model=onnx_graph(
            [("x", "INT32", ["b", "n"])],
            [("half", "FP16", ["b", "n"]), ("brain", "BF16", ["b", "n"])],
            lambda: [
                helper.make_node("Cast", ["x"], [name], to=DTYPES[dtype][1])
                for name, dtype in (("half", "FP16"), ("brain", "BF16"))
            ],
        ),
    )
    with serve(root) as running:
        yield running


def _scalar(dtype: str) -> str:
    kind = DTYPES[dtype][0]
    tensor = f"data_type: {kind} dims: [ 1 ] reshape {{ shape: [] }}"
    return (
        f'backend: "onnxruntime"\nmax_batch_size: 4\ninput {{ name: "x" {tensor} }}\noutput {{ name: "y" {tensor} }}\n'
    )


def raw(server: Server, model: str, dtype: str, shape: list[int], data: bytes) -> pb.ModelInferResponse:
    message = pb.ModelInferRequest(model_name=model, raw_input_contents=[data])
    message.inputs.add(name="x", datatype=dtype, shape=shape)
    with grpcclient.InferenceServerClient(server.grpc) as client:
        return client._client_stub.ModelInfer(message, timeout=60)


@pytest.mark.parametrize("dtype", SUPPORTED)
@pytest.mark.parametrize(
    ("model", "shape"),
    [("flat", [2, 3]), ("flat", [2, 0]), ("rows", [2, 3]), ("rows", [1, 0]), ("fixed", [4, 3]), ("scalar", [3, 1])],
    ids=lambda value: "x".join(map(str, value)) if isinstance(value, list) else value,
)
def test_every_onnx_type_comes_back_as_it_went(types: Server, dtype: str, model: str, shape: list[int]) -> None:
    count = int(np.prod(shape))
    array = values(dtype, count)
    if dtype == "BYTES":  # ONNX strings are text
        array = np.array([b"", b"a", "é".encode(), b"x" * 300][:count] * 3, dtype=object)[:count]
    data = encode(dtype, array)
    got = raw(types, f"{model}_{dtype.lower()}", dtype, shape, data)
    assert (got.outputs[0].datatype, list(got.outputs[0].shape)) == (dtype, shape)
    assert got.raw_output_contents[0] == data


def test_types_may_differ_between_inputs_and_outputs(types: Server) -> None:
    tensor = {"name": "x", "shape": [2, 2], "datatype": "INT32", "data": [1, -2, 3, 256]}
    rows = {row["name"]: row for row in types.infer("cast", [tensor]).json["outputs"]}
    assert {name: (row["datatype"], row["data"]) for name, row in rows.items()} == {
        "half": ("FP16", [1.0, -2.0, 3.0, 256.0]),
        "brain": ("BF16", [1.0, -2.0, 3.0, 256.0]),
    }


@pytest.mark.parametrize("data", [b"\xff\xfe", "日本".encode() * 50])
def test_texts_pass_unchanged_and_what_is_no_text_is_refused(types: Server, data: bytes) -> None:
    sent = encode("BYTES", np.array([data] * 6, dtype=object))
    if data != b"\xff\xfe":
        assert raw(types, "rows_bytes", "BYTES", [2, 3], sent).raw_output_contents[0] == sent
        return
    with pytest.raises(rpc.RpcError, match="input 'x': ONNX Runtime takes strings as UTF-8") as caught:
        raw(types, "rows_bytes", "BYTES", [2, 3], sent)
    assert caught.value.code() == rpc.StatusCode.INVALID_ARGUMENT
