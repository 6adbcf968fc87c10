"""JSON inference over HTTP: values, names, shapes, parameters and their errors."""

from __future__ import annotations

import contextlib
import json
import re
from typing import Any

import pytest
from serving import Server, add_model, identity_config, serve
from serving.http import TIMEOUT_S

statement = pytest.mark.statement


def fp32(name: str, data: Any, shape: list[int] | None = None, **more: Any) -> dict[str, Any]:
    return {"name": name, "shape": shape or [1, len(data)], "datatype": "FP32", "data": data, **more}


A, B = fp32("A", [1, 2]), fp32("B", [3, 4])


@statement("T029", "T030")
@pytest.mark.parametrize("data", [[1, 2, 3, 4], [[1, 2], [3, 4]], [[[1], [2, 3]], 4], [[1, 2, 3], [4]]])
def test_nesting_of_data_does_not_matter(server: Server, data: Any) -> None:
    answer = server.infer("square", [fp32("INPUT0", data, [1, 2, 2])])
    assert answer.json["outputs"][0]["data"] == [1.0, 2.0, 3.0, 4.0]


@statement("T031", "T032", "T033", "T034")
def test_keys_of_an_answer_stand_in_the_documented_order(server: Server) -> None:
    answer = server.infer("square", [fp32("INPUT0", [1, 2, 3, 4], [1, 2, 2])], id="x-1")
    assert answer.body.decode() == (
        '{"id":"x-1","model_name":"square","model_version":"1","outputs":'
        '[{"name":"OUTPUT0","datatype":"FP32","shape":[1,2,2],"data":[1.0,2.0,3.0,4.0]}]}'
    )
    assert "id" not in server.infer("square", [fp32("INPUT0", [1, 2, 3, 4], [1, 2, 2])]).json
    assert answer.headers["content-type"] == "application/json"


@statement("T035", "T036")
def test_only_requested_outputs_come_and_all_without_a_request(server: Server) -> None:
    names = [row["name"] for row in server.infer("two", [A, B], outputs=[{"name": "Y1"}]).json["outputs"]]
    assert names == ["Y1"]
    for more in ({}, {"outputs": []}):
        assert [row["name"] for row in server.infer("two", [A, B], **more).json["outputs"]] == ["Y0", "Y1"]


@statement("T037", "T083")
def test_outputs_come_in_the_order_they_were_asked_for(server: Server) -> None:
    asked = [{"name": "Y1"}, {"name": "Y0"}]
    rows = server.infer("two", [B, A], outputs=asked).json["outputs"]
    assert [(row["name"], row["data"]) for row in rows] == [("Y1", [3.0, 4.0]), ("Y0", [1.0, 2.0])]


@statement("T161")
def test_without_a_version_the_highest_ready_one_answers(server: Server) -> None:
    tensor = fp32("x", [1, 2, 3, 4])
    assert server.infer("versions", [tensor]).json["model_version"] == "10"
    answer = server.ask("POST", "/v2/models/versions/versions/3/infer", {"inputs": [tensor]})
    assert answer.json["model_version"] == "3"
    answer = server.ask("POST", "/v2/models/versions/versions/7/infer", {"inputs": [tensor]})
    assert (answer.status, answer.error) == (404, "Request for unknown model: 'versions' version 7 is not found")


REFUSALS = {
    "T038": ("two", {"inputs": [A, B], "outputs": [{"name": "Z"}]}, "unexpected inference output 'Z' for model 'two'"),
    "T039": ("two", {"inputs": [A, B], "outputs": [{"name": "Y0"}] * 2}, "output 'Y0' already exists in request"),
    "T040": ("two", {"inputs": [A, A]}, "input 'A' already exists in request"),
    "T041": ("two", {"inputs": [A, fp32("C", [1])]}, "unexpected inference input 'C' for model 'two'"),
    "T042": ("two", {"inputs": [A]}, "missing required input(s) ['B']"),
    "T043": (
        "two",
        {"inputs": [A, {**B, "datatype": "INT32"}]},
        "inference input 'B' data-type is 'INT32', but model 'two' expects 'FP32'",
    ),
    "T044": (
        "square",
        {"inputs": [fp32("INPUT0", [1, 2, 3], [1, 3])]},
        "unexpected shape for input 'INPUT0' for model 'square'. Expected [-1,2,2], got [1,3]",
    ),
    "T045": (
        "two",
        {"inputs": [fp32("A", [0] * 9, [9, 1]), fp32("B", [0] * 9, [9, 1])]},
        "inference request batch-size must be <= 8 for 'two'",
    ),
    "T046": (
        "two",
        {"inputs": [A, fp32("B", [3, 4], [2, 1])]},
        "batch size does not match other inputs",
    ),
    "T048": ("two", {"inputs": [A, fp32("B", [1, 2, 3], [1, 2])]}, "Shape does not match true shape of 'data' field"),
    "T049": (
        "two",
        {"inputs": [A, fp32("B", [1], [1, 2])]},
        "Failed to parse 'data' field: shape does not match true shape",
    ),
    "T050": ("two", {"id": "1"}, "Unable to parse 'inputs'"),
    "T051": ("two", {"inputs": [{"name": "A", "shape": [1], "data": [1]}]}, "Unable to parse 'datatype'"),
    "T052": ("two", {"inputs": [fp32("A", [1], [-1, 1])]}, "Unable to parse 'shape'"),
    "T053": ("two", {"inputs": [{**A, "datatype": "FP31"}, B]}, "invalid datatype for input A"),
    "T054": (
        "two",
        {"inputs": [{**A, "parameters": {"binary_data_size": 8}}, B]},
        "But set 'data' 'binary_data_size'",
    ),
    "T055": ("two", {"inputs": [{"name": "A", "shape": [1, 2], "datatype": "FP32"}, B]}, "But no field is set"),
    "T067": ("two", {"inputs": [A, B], "parameters": {"k": None}}, "parameter 'k' has invalid type"),
    "T067-array": ("two", {"inputs": [A, B], "parameters": {"k": [1]}}, "parameter 'k' has invalid type"),
    "T067-object": ("two", {"inputs": [A, B], "parameters": {"k": {}}}, "parameter 'k' has invalid type"),
    "T068": ("two", {"inputs": [A, B], "parameters": {"triton_x": 1}}, "parameter keys starting with 'triton_'"),
    "T070": ("two", {"inputs": [A, B], "parameters": {"priority": -1}}, "Unable to parse 'priority'"),
    "T070-timeout": ("two", {"inputs": [A, B], "parameters": {"timeout": -1}}, "Unable to parse 'timeout'"),
    "T059": (
        "rows_int32",
        {"inputs": [{"name": "INPUT0", "shape": [1, 1], "datatype": "INT32", "data": [1.0]}]},
        "Unable to parse 'data'",
    ),
    "T058": (
        "rows_uint8",
        {"inputs": [{"name": "INPUT0", "shape": [1, 2], "datatype": "UINT8", "data": [1, 300]}]},
        "300",
    ),
    "overflow": (
        "two",
        {"inputs": [fp32("A", [1], [2**62, 2**62]), B]},
        "exceed maximum size",
    ),
    "negative-uint": (
        "rows_uint8",
        {"inputs": [{"name": "INPUT0", "shape": [1, 1], "datatype": "UINT8", "data": [-1]}]},
        "-1",
    ),
}


def _refusal(key: str) -> Any:
    ids = re.findall(r"T\d{3}", key)
    return pytest.param(*REFUSALS[key], id=key, marks=[statement(*ids)] if ids else [])


@pytest.mark.parametrize(("model", "body", "text"), [_refusal(key) for key in REFUSALS])
def test_a_request_that_does_not_fit_is_400_and_says_why(server: Server, model: str, body: Any, text: str) -> None:
    answer = server.ask("POST", f"/v2/models/{model}/infer", body)
    assert answer.status == 400
    assert text in answer.error


@statement("T047")
@pytest.mark.parametrize(("more", "prefix"), [({}, "<id_unknown>"), ({"id": "abc"}, "abc")])
def test_texts_of_request_checks_start_with_the_id(server: Server, more: Any, prefix: str) -> None:
    answer = server.infer("two", [A], **more)
    assert answer.error.startswith(f"[request id: {prefix}] ")


@statement("T056", "T057")
def test_texts_survive_byte_for_byte(server: Server) -> None:
    words = ["plain", "", "Zoë 日本 \U0001f680", 'quote " back \\ slash /', "line\nbreak\ttab\x01"]
    tensor = {"name": "INPUT0", "shape": [1, 5], "datatype": "BYTES", "data": words}
    assert server.infer("rows_bytes", [tensor]).json["outputs"][0]["data"] == words
    body = '{"inputs":[{"name":"INPUT0","shape":[1,1],"datatype":"BYTES","data":["\\ud83d\\ude80\\u00e9"]}]}'
    answer = server.ask("POST", "/v2/models/rows_bytes/infer", body)
    assert answer.json["outputs"][0]["data"] == ["\U0001f680é"]


@statement("T060", "T061")
@pytest.mark.parametrize("dtype", ["FP16", "BF16"])
def test_half_floats_go_both_ways_as_numbers(server: Server, dtype: str) -> None:
    values = [0.5, -2.0, 1.0, 0.0]
    tensor = {"name": "INPUT0", "shape": [1, 4], "datatype": dtype, "data": values}
    row = server.infer(f"rows_{dtype.lower()}", [tensor]).json["outputs"][0]
    assert (row["datatype"], row["data"]) == (dtype, values)


@statement("T062")
def test_booleans_are_true_and_false(server: Server) -> None:
    tensor = {"name": "INPUT0", "shape": [1, 3], "datatype": "BOOL", "data": [True, False, True]}
    answer = server.infer("rows_bool", [tensor])
    assert b'"data":[true,false,true]' in answer.body
    tensor["data"] = [1, 0, 1]
    assert server.infer("rows_bool", [tensor]).status == 400


@statement("T063")
def test_single_floats_print_as_the_double_they_are(server: Server) -> None:
    answer = server.infer("identity", [fp32("INPUT0", [0.1])])
    assert b'"data":[0.10000000149011612]' in answer.body


@statement("T065")
def test_an_empty_tensor_is_accepted_and_its_data_not_looked_at(server: Server) -> None:
    tensor = {"name": "INPUT0", "shape": [1, 0], "datatype": "FP32", "data": ["anything"]}
    row = server.infer("identity", [tensor]).json["outputs"][0]
    assert (row["shape"], row["data"]) == ([1, 0], [])


@statement("T069", "T070")
@pytest.mark.parametrize(
    "parameters",
    [
        {"sequence_id": 5, "sequence_start": True, "sequence_end": False},
        {"sequence_id": "five", "sequence_start": True},
        {"priority": 0, "timeout": 0},
        {"priority": 2, "timeout": 60_000_000},
        {"text": "x", "number": 3, "flag": True, "real": 0.5},
    ],
)
def test_parameters_of_every_kind_are_accepted(server: Server, parameters: dict[str, Any]) -> None:
    assert server.infer("two", [A, B], parameters=parameters).status == 200


@statement("T072")
def test_a_json_body_over_the_limit_names_the_flag(tmp_path) -> None:
    add_model(tmp_path, "m", identity_config())
    with serve(tmp_path, "--http-max-input-size=4096") as running:
        assert running.infer("m", [fp32("INPUT0", [1.5] * 100)]).status == 200
        answer = running.infer("m", [fp32("INPUT0", [1.5] * 2000)])
        assert answer.status == 400
        assert "--http-max-input-size" in answer.error


@statement("T073")
def test_data_nested_deeper_than_100_is_400(server: Server) -> None:
    def body(depth: int) -> str:
        data = "[" * depth + "1" + "]" * depth
        return '{"inputs":[{"name":"INPUT0","shape":[1,1],"datatype":"FP32","data":' + data + "}]}"

    assert server.ask("POST", "/v2/models/identity/infer", body(90)).status == 200
    answer = server.ask("POST", "/v2/models/identity/infer", body(120))
    assert answer.status == 400 and answer.error


@statement("T074")
def test_too_many_chunks_are_400_and_end_the_connection(server: Server) -> None:
    import socket

    with socket.create_connection(("127.0.0.1", server.ports["http"]), TIMEOUT_S) as raw:
        raw.sendall(b"POST /v2/models/two/infer HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        with contextlib.suppress(OSError):  # already refused
            raw.sendall(b"1\r\n \r\n" * 70_000)
        answer = b""
        try:
            while part := raw.recv(65536):
                answer += part
        except ConnectionResetError:
            pass
    assert answer.startswith(b"HTTP/1.1 400 ") and b"65536" in answer


@statement("T019", "T024")
def test_unknown_members_of_a_request_are_ignored(server: Server) -> None:
    assert server.infer("two", [{**A, "colour": "red"}, B], mood={"a": [1]}).status == 200


@statement("T152")
def test_a_model_name_is_taken_as_it_stands_in_the_path(server: Server) -> None:
    answer = server.ask("POST", "/v2/models/t%77o/infer", {"inputs": [A, B]})
    assert answer.status == 404


def test_unicode_names_and_ids_are_quoted_in_answers(server: Server) -> None:
    answer = server.infer("two", [A, B], id='a"\\é\n')
    assert answer.status == 200 and json.loads(answer.body)["id"] == 'a"\\é\n'
