"""One server for most of the suite: identity models of many kinds, ONNX models, the example repository."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import tritonclient.grpc as grpcclient
import tritonclient.http as httpclient
from serving import Server, Tensor, add_model, identity_config, serve
from serving.models import onnx_identity, onnx_scale

EXAMPLES = Path(__file__).parents[2] / "model_repository"
TWO_IN = (Tensor("A"), Tensor("B"))
TWO_OUT = (Tensor("Y0"), Tensor("Y1"))
NUMBERS = ("BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64")


def fill(repository: Path) -> None:
    """Every model the shared server has."""
    for name in ("add_sub", "digits", "identity"):
        shutil.copytree(EXAMPLES / name, repository / name)
    for dtype in (*NUMBERS, "BF16", "BYTES"):
        tensors = (Tensor("INPUT0", dtype),), (Tensor("OUTPUT0", dtype),)
        add_model(repository, f"flat_{dtype.lower()}", identity_config(*tensors, batch=0))
        add_model(repository, f"rows_{dtype.lower()}", identity_config(*tensors, batch=8))
    add_model(repository, "two", identity_config(TWO_IN, TWO_OUT, batch=8))
    add_model(repository, "two_flat", identity_config(TWO_IN, TWO_OUT, batch=0))
    add_model(
        repository, "square", identity_config((Tensor("INPUT0", dims=(2, 2)),), (Tensor("OUTPUT0", dims=(2, 2)),))
    )
    add_model(
        repository,
        "open_square",
        identity_config((Tensor("INPUT0", dims=(-1, -1)),), (Tensor("OUTPUT0", dims=(-1, -1)),)),
    )
    word = (Tensor("INPUT0", "BYTES", (1,)),), (Tensor("OUTPUT0", "BYTES", (1,)),)
    add_model(repository, "word", identity_config(*word, batch=0))
    optional = (Tensor("A"), Tensor("B", more="optional: true"))
    add_model(repository, "optional", identity_config(optional, TWO_OUT, more="dynamic_batching {}\n"))
    add_model(repository, "stats", identity_config())
    add_model(
        repository,
        "versions",
        onnx_model=onnx_scale(1.0),
        versions=(1, 2, 3, 10),
        config=('backend: "onnxruntime"\nmax_batch_size: 4\nversion_policy { latest { num_versions: 2 } }\n'),
    )
    add_model(repository, "bare", onnx_model=onnx_scale(2.0))
    add_model(repository, "fixed", onnx_model=onnx_identity("FP32", [4, 4]))
    add_model(repository, "plain_batch", identity_config(batch=8, more="dynamic_batching {}\n"))
    labelled = add_model(
        repository,
        "labelled",
        identity_config(
            (Tensor("INPUT0", dims=(3,)),), (Tensor("OUTPUT0", dims=(3,), more='label_filename: "labels.txt"'),)
        ),
    )
    (labelled / "labels.txt").write_text("cat\ndog\nowl\n")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    repository = tmp_path_factory.mktemp("repository")
    fill(repository)
    with serve(repository, "--id", "conformance") as running:
        yield running


@pytest.fixture(scope="session")
def http(server: Server) -> Iterator[httpclient.InferenceServerClient]:
    client = httpclient.InferenceServerClient(server.http, concurrency=8)
    yield client
    client.close()


@pytest.fixture(scope="session")
def grpc(server: Server) -> Iterator[grpcclient.InferenceServerClient]:
    client = grpcclient.InferenceServerClient(server.grpc)
    yield client
    client.close()
