"""The binary tensor extension, and requests that are nothing but bytes."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from serving import Answer, Server
from serving.values import PACK, sample

statement = pytest.mark.statement


def post(
    server: Server, model: str, head: Any, payload: bytes = b"", headers: Mapping[str, str] | None = None
) -> Answer:
    text = json.dumps(head).encode()
    fields = {"Inference-Header-Content-Length": str(len(text)), **(headers or {})}
    return server.ask("POST", f"/v2/models/{model}/infer", text + payload, fields)


def split(answer: Answer) -> tuple[dict[str, Any], bytes]:
    length = int(answer.headers["inference-header-content-length"])
    return json.loads(answer.body[:length]), answer.body[length:]


def binary(name: str, dtype: str, shape: list[int], size: int) -> dict[str, Any]:
    return {"name": name, "datatype": dtype, "shape": shape, "parameters": {"binary_data_size": size}}


ALL_BINARY = {"parameters": {"binary_data_output": True}}


@statement("T078", "T080", "T084", "T092")
@pytest.mark.parametrize("dtype", sorted(PACK))
@pytest.mark.parametrize("batched", [True, False], ids=["batched", "unbatched"])
def test_every_type_goes_in_and_out_as_bytes(server: Server, dtype: str, batched: bool) -> None:
    shape, raw = ([2, 3] if batched else [6]), sample(dtype, 6)
    model = f"{'rows' if batched else 'flat'}_{dtype.lower()}"
    head = {
        "inputs": [binary("INPUT0", dtype, shape, len(raw))],
        "outputs": [{"name": "OUTPUT0", "parameters": {"binary_data": True}}],
    }
    answer = post(server, model, head, raw)
    assert answer.status == 200, answer.body
    assert answer.headers["content-type"] == "application/octet-stream"
    told, payload = split(answer)
    assert told["outputs"] == [
        {"name": "OUTPUT0", "datatype": dtype, "shape": shape, "parameters": {"binary_data_size": len(raw)}}
    ]
    assert payload == raw


@statement("T079", "T083")
def test_payloads_are_taken_in_order_and_json_inputs_take_none(server: Server) -> None:
    first, second = struct.pack("<2f", 1, 2), struct.pack("<2f", 3, 4)
    wanted = [{"name": name, "parameters": {"binary_data": True}} for name in ("Y1", "Y0")]
    head = {"inputs": [binary("B", "FP32", [1, 2], 8), binary("A", "FP32", [1, 2], 8)], "outputs": wanted}
    told, payload = split(post(server, "two", head, first + second))
    assert [row["name"] for row in told["outputs"]] == ["Y1", "Y0"]
    assert payload == first + second
    mixed = {
        "inputs": [{"name": "A", "datatype": "FP32", "shape": [1, 2], "data": [9, 8]}, binary("B", "FP32", [1, 2], 8)]
    }
    rows = post(server, "two", mixed, second).json["outputs"]
    assert [row["data"] for row in rows] == [[9.0, 8.0], [3.0, 4.0]]


@statement("T081")
def test_binary_data_output_makes_every_output_binary(server: Server) -> None:
    raw = struct.pack("<2f", 1, 2)
    head = {"inputs": [binary("A", "FP32", [1, 2], 8), binary("B", "FP32", [1, 2], 8)], **ALL_BINARY}
    told, payload = split(post(server, "two", head, raw + raw))
    assert [row["parameters"] for row in told["outputs"]] == [{"binary_data_size": 8}] * 2
    assert payload == raw + raw


@statement("T082", "T083")
def test_a_listed_output_is_json_unless_it_says_binary_itself(server: Server) -> None:
    raw = struct.pack("<2f", 1, 2)
    outputs = [{"name": "Y0"}, {"name": "Y1", "parameters": {"binary_data": True}}]
    head = {
        "inputs": [binary("A", "FP32", [1, 2], 8), binary("B", "FP32", [1, 2], 8)],
        "outputs": outputs,
        **ALL_BINARY,
    }
    told, payload = split(post(server, "two", head, raw + raw))
    assert told["outputs"][0]["data"] == [1.0, 2.0]
    assert told["outputs"][1]["parameters"] == {"binary_data_size": 8}
    assert payload == raw


@statement("T085")
def test_a_payload_too_short_is_400(server: Server) -> None:
    head = {"inputs": [binary("A", "FP32", [1, 2], 8), binary("B", "FP32", [1, 2], 8)]}
    answer = post(server, "two", head, b"\0" * 12)
    assert answer.status == 400
    assert "unexpected size for input 'B', expecting 4 additional bytes for model 'two'" in answer.error


@statement("T086")
def test_a_surplus_payload_is_400(server: Server) -> None:
    head = {"inputs": [binary("A", "FP32", [1, 2], 8), binary("B", "FP32", [1, 2], 8)]}
    answer = post(server, "two", head, b"\0" * 17)
    assert answer.status == 400
    assert "unexpected additional input data for model 'two'" in answer.error


@statement("T087", "T088")
@pytest.mark.parametrize(
    ("length", "text"),
    [
        ("100000", "inference header size should be in range"),
        ("-1", "inference header size should be in range"),
        ("abc", "Unable to parse Inference-Header-Content-Length"),
        ("99999999999999999999", "Unable to parse Inference-Header-Content-Length"),
    ],
)
def test_a_header_length_that_cannot_be_is_400(server: Server, length: str, text: str) -> None:
    answer = post(server, "two", {"inputs": []}, headers={"Inference-Header-Content-Length": length})
    assert answer.status == 400 and text in answer.error


@statement("T089")
def test_a_size_that_does_not_fit_the_shape_is_400(server: Server) -> None:
    head = {"inputs": [binary("INPUT0", "FP32", [1, 3], 8)]}
    answer = post(server, "identity", head, b"\0" * 8)
    assert answer.status == 400
    assert "input byte size mismatch" in answer.error and "Expected 12, got 8" in answer.error


@statement("T090")
@pytest.mark.parametrize("raw", [b"\x05\0\0\0ab", b"\x05\0", struct.pack("<I", 2**32 - 1) + b"x", b""])
def test_truncated_text_elements_are_400(server: Server, raw: bytes) -> None:
    answer = post(server, "rows_bytes", {"inputs": [binary("INPUT0", "BYTES", [1, 1], len(raw))]}, raw)
    assert answer.status == 400 and answer.error


@statement("T090")
def test_more_text_elements_than_the_shape_has_are_400(server: Server) -> None:
    raw = b"\x01\0\0\0a" * 3
    answer = post(server, "rows_bytes", {"inputs": [binary("INPUT0", "BYTES", [1, 2], len(raw))]}, raw)
    assert answer.status == 400 and "INPUT0" in answer.error


@statement("T091", "T065")
def test_binary_outputs_without_a_byte_are_plain_json(server: Server) -> None:
    answer = post(server, "identity", {"inputs": [binary("INPUT0", "FP32", [1, 0], 0)], **ALL_BINARY})
    assert answer.headers["content-type"] == "application/json"
    assert "inference-header-content-length" not in answer.headers
    assert answer.json["outputs"][0]["parameters"] == {"binary_data_size": 0}


@statement("T093", "T097")
def test_a_raw_body_is_the_only_input_as_batch_one(server: Server) -> None:
    raw = np.arange(5, dtype="<f4").tobytes()
    answer = server.ask("POST", "/v2/models/identity/infer", raw, {"Inference-Header-Content-Length": "0"})
    told, payload = split(answer)
    assert told["outputs"][0]["shape"] == [1, 5] and payload == raw


@statement("T094")
def test_a_raw_body_needs_a_model_with_one_input(server: Server) -> None:
    answer = server.ask("POST", "/v2/models/two/infer", b"\0" * 8, {"Inference-Header-Content-Length": "0"})
    assert answer.status == 400 and "Raw request must only have 1 input" in answer.error


@statement("T095")
def test_a_raw_body_cannot_fill_two_open_dimensions(server: Server) -> None:
    answer = server.ask("POST", "/v2/models/open_square/infer", b"\0" * 8, {"Inference-Header-Content-Length": "0"})
    assert answer.status == 400 and "can not be deduced" in answer.error


@statement("T096")
def test_a_raw_text_is_one_element(server: Server) -> None:
    answer = server.ask("POST", "/v2/models/word/infer", b"hello", {"Inference-Header-Content-Length": "0"})
    told, payload = split(answer)
    assert told["outputs"][0]["shape"] == [1] and payload == b"\x05\0\0\0hello"


@statement("T093")
def test_a_raw_body_that_does_not_divide_is_400(server: Server) -> None:
    answer = server.ask("POST", "/v2/models/square/infer", b"\0" * 15, {"Inference-Header-Content-Length": "0"})
    assert answer.status == 400 and "Expected 16, got 15" in answer.error
