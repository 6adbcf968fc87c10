"""Forms of an answer: classification, and compression in both directions."""

from __future__ import annotations

import gzip
import json
import struct
import zlib
from typing import Any

import pytest
from serving import Answer, Server, add_model, identity_config, serve

statement = pytest.mark.statement
SCORES = [0.5, 3.3, -1.0]
TENSOR = {"name": "INPUT0", "shape": [1, 3], "datatype": "FP32", "data": SCORES}


def top(server: Server, model: str, k: int, tensor: dict[str, Any] = TENSOR, **more: Any) -> Answer:
    return server.infer(model, [tensor], outputs=[{"name": "OUTPUT0", "parameters": {"classification": k, **more}}])


@statement("T098", "T101")
def test_classification_gives_value_and_index_sorted_by_value(server: Server) -> None:
    row = top(server, "identity", 2).json["outputs"][0]
    assert row == {"name": "OUTPUT0", "datatype": "BYTES", "shape": [1, 2], "data": ["3.300000:1", "0.500000:0"]}


@statement("T098")
def test_classification_of_a_batch_is_row_by_row_and_without_batching_has_no_batch_dimension(server: Server) -> None:
    batch = {"name": "INPUT0", "shape": [2, 3], "datatype": "FP32", "data": [1, 2, 3, 6, 5, 4]}
    row = top(server, "identity", 1, batch).json["outputs"][0]
    assert (row["shape"], row["data"]) == ([2, 1], ["3.000000:2", "6.000000:0"])
    flat = top(server, "flat_fp32", 2, {**TENSOR, "shape": [3]}).json["outputs"][0]
    assert (flat["shape"], flat["data"]) == ([2], ["3.300000:1", "0.500000:0"])


@statement("T099")
def test_classification_appends_labels(server: Server) -> None:
    row = top(server, "labelled", 3).json["outputs"][0]
    assert row["data"] == ["3.300000:1:dog", "0.500000:0:cat", "-1.000000:2:owl"]


@statement("T100")
def test_more_classes_than_there_are_give_all(server: Server) -> None:
    assert top(server, "identity", 99).json["outputs"][0]["shape"] == [1, 3]


@statement("T098")
def test_integers_are_classified_as_integers(server: Server) -> None:
    tensor = {"name": "INPUT0", "shape": [1, 3], "datatype": "INT64", "data": [-5, 2**62, 7]}
    assert top(server, "rows_int64", 2, tensor).json["outputs"][0]["data"] == [f"{2**62}:1", "7:2"]


@statement("T102")
def test_classification_can_be_binary(server: Server) -> None:
    answer = top(server, "identity", 1, binary_data=True)
    length = int(answer.headers["inference-header-content-length"])
    told = json.loads(answer.body[:length])
    assert told["outputs"][0]["datatype"] == "BYTES"
    assert answer.body[length:] == struct.pack("<I", 10) + b"3.300000:1"


@statement("T104")
@pytest.mark.parametrize(
    ("dtype", "data"),
    [("FP16", [1, 2, 3]), ("BF16", [1, 2, 3]), ("BOOL", [True, False, True]), ("BYTES", ["a", "b", "c"])],
)
def test_types_without_an_order_are_refused(server: Server, dtype: str, data: list[Any]) -> None:
    answer = top(server, f"rows_{dtype.lower()}", 1, {**TENSOR, "datatype": dtype, "data": data})
    assert answer.status == 400
    assert f"class result not available for output due to unsupported type '{dtype}'" in answer.error


@statement("T098", "T099")
def test_the_digits_example_names_the_likeliest_digit(server: Server) -> None:
    tensor = {"name": "pixels", "shape": [1, 64], "datatype": "FP32", "data": [0.0] * 64}
    row = server.infer("digits", [tensor], outputs=[{"name": "probabilities", "parameters": {"classification": 10}}])
    rows = [text.split(":") for text in row.json["outputs"][0]["data"]]
    values = [float(value) for value, _, _ in rows]
    assert values == sorted(values, reverse=True) and sum(values) == pytest.approx(1, abs=1e-4)
    assert {index for _, index, _ in rows} == {str(digit) for digit in range(10)}


# Compression.

BODY = json.dumps(
    {"inputs": [{"name": "INPUT0", "shape": [1, 500], "datatype": "FP32", "data": [1.25] * 500}]}
).encode()
PATH = "/v2/models/identity/infer"


def unpacked(answer: Answer) -> bytes:
    coding = answer.headers.get("content-encoding", "identity")
    return {"gzip": gzip.decompress, "deflate": zlib.decompress, "identity": bytes}[coding](answer.body)


@statement("T105")
@pytest.mark.parametrize(("coding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_compressed_requests_are_accepted(server: Server, coding: str, pack: Any) -> None:
    answer = server.ask("POST", PATH, pack(BODY), {"Content-Encoding": coding})
    assert answer.json["outputs"][0]["data"] == [1.25] * 500
    assert "content-encoding" not in answer.headers


@statement("T105", "T078")
@pytest.mark.parametrize(("coding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_compressed_requests_may_hold_binary_tensors(server: Server, coding: str, pack: Any) -> None:
    raw = struct.pack("<4f", 1, 2, 3, 4)
    tensor = {"name": "INPUT0", "shape": [1, 4], "datatype": "FP32", "parameters": {"binary_data_size": 16}}
    head = json.dumps({"inputs": [tensor]}).encode()
    fields = {"Content-Encoding": coding, "Inference-Header-Content-Length": str(len(head))}
    assert server.ask("POST", PATH, pack(head + raw), fields).json["outputs"][0]["data"] == [1.0, 2.0, 3.0, 4.0]


@statement("T106", "T107")
@pytest.mark.parametrize(
    ("accept", "coding"),
    [
        ("gzip", "gzip"),
        ("deflate", "deflate"),
        ("identity", None),
        ("gzip;q=0.5, deflate;q=0.9", "deflate"),
        ("deflate;q=0.5, gzip;q=0.9", "gzip"),
        ("gzip, deflate", "gzip"),
        ("deflate, gzip", "deflate"),
        ("br", None),
        ("gzip;q=0", None),
        ("identity;q=1, gzip;q=0.5", None),
    ],
)
def test_the_heaviest_accepted_coding_is_used(server: Server, accept: str, coding: str | None) -> None:
    answer = server.ask("POST", PATH, BODY, {"Accept-Encoding": accept})
    assert answer.headers.get("content-encoding") == coding
    assert unpacked(answer) == server.ask("POST", PATH, BODY).body


@statement("T108")
def test_an_unknown_coding_is_501_and_says_which_there_are(server: Server) -> None:
    answer = server.ask("POST", PATH, b"x", {"Content-Encoding": "br"})
    assert (answer.status, answer.error) == (501, "Unsupported compression type")
    assert answer.headers["accept-encoding"] == "gzip, deflate"


@statement("T109")
def test_the_header_length_of_a_compressed_answer_is_that_of_the_plain_json(server: Server) -> None:
    request = {**json.loads(BODY), "parameters": {"binary_data_output": True}}
    plain = server.ask("POST", PATH, request)
    packed = server.ask("POST", PATH, request, {"Accept-Encoding": "gzip"})
    name = "inference-header-content-length"
    assert packed.headers[name] == plain.headers[name]
    assert unpacked(packed) == plain.body


@statement("T105")
@pytest.mark.parametrize("body", [b"", b"not compressed", gzip.compress(BODY)[:-20], gzip.compress(BODY)[:5]])
def test_a_broken_compressed_body_is_400(server: Server, body: bytes) -> None:
    answer = server.ask("POST", PATH, body, {"Content-Encoding": "gzip"})
    assert answer.status == 400 and answer.error


@statement("T110")
def test_a_body_that_inflates_over_the_limit_is_400(tmp_path) -> None:
    add_model(tmp_path, "identity", identity_config())
    with serve(tmp_path, "--http-max-input-size=100000") as running:
        assert running.ask("POST", PATH, gzip.compress(BODY), {"Content-Encoding": "gzip"}).status == 200
        bomb = gzip.compress(BODY + b" " * 10_000_000)
        assert len(bomb) < 20_000
        answer = running.ask("POST", PATH, bomb, {"Content-Encoding": "gzip"})
        assert answer.status == 400 and "--http-max-input-size" in answer.error
