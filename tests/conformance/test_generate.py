"""The generate extension: plain JSON in, plain JSON or server-sent events out."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from serving import Server, Tensor, add_model, identity_config, serve

statement = pytest.mark.statement
WORD = "/v2/models/word/generate"


@statement("T111", "T116", "T117")
def test_generate_answers_with_names_as_keys_in_alphabetical_order(server: Server) -> None:
    answer = server.ask("POST", WORD, {"INPUT0": "hello", "id": "7"})
    assert answer.status == 200, answer.body
    assert list(answer.json.items()) == [
        ("OUTPUT0", "hello"),
        ("id", "7"),
        ("model_name", "word"),
        ("model_version", "1"),
    ]


@statement("T112", "T113")
def test_parameters_may_hold_inputs_and_unknown_keys_are_parameters(server: Server) -> None:
    answer = server.ask("POST", WORD, {"parameters": {"INPUT0": "inside", "temperature": 0.5}, "anything": True})
    assert answer.status == 200 and answer.json["OUTPUT0"] == "inside"


@statement("T114")
def test_parameters_that_are_no_object_are_refused(server: Server) -> None:
    answer = server.ask("POST", WORD, {"INPUT0": "x", "parameters": 3})
    assert answer.status == 400 and "Expected JSON object for keyword: 'parameters'" in answer.error


@statement("T115")
def test_a_model_with_an_input_called_parameters_cannot_be_generated_with_nested_ones(tmp_path: Path) -> None:
    tensors = (Tensor("parameters", "BYTES", (1,)),), (Tensor("out", "BYTES", (1,)),)
    add_model(tmp_path, "m", identity_config(*tensors, batch=0))
    with serve(tmp_path, "--http-header-forward-pattern=.*") as running:
        answer = running.ask("POST", "/v2/models/m/generate", {"parameters": {"a": 1}})
        assert answer.status == 400
        assert "Keyword 'parameters' for nested schema also given as input tensor name" in answer.error


@statement("T128")
def test_headers_are_not_forwarded_to_generate(tmp_path: Path) -> None:
    add_model(
        tmp_path, "m", identity_config((Tensor("INPUT0", "BYTES", (1,)),), (Tensor("OUTPUT0", "BYTES", (1,)),), batch=0)
    )
    with serve(tmp_path, "--http-header-forward-pattern=priority") as running:
        # A reserved name would be refused if it were forwarded.
        assert running.ask("POST", "/v2/models/m/generate", {"INPUT0": "x"}, {"priority": "1"}).status == 200


@statement("T118", "T117")
def test_an_array_fills_the_open_dimension(server: Server) -> None:
    answer = server.ask("POST", "/v2/models/flat_fp32/generate", {"INPUT0": [1, 2, 3]})
    assert answer.json["OUTPUT0"] == [1.0, 2.0, 3.0]
    assert server.ask("POST", "/v2/models/flat_fp32/generate", {"INPUT0": 4}).json["OUTPUT0"] == 4.0


@statement("T119")
def test_values_that_do_not_divide_are_refused(server: Server) -> None:
    answer = server.ask("POST", "/v2/models/square/generate", {"INPUT0": [1, 2, 3]})
    assert answer.status == 400
    assert "The schema can not convert input 'INPUT0' to tensor with proper shape" in answer.error


@statement("T122", "T124")
def test_a_stream_is_one_event_per_response_and_nothing_else(server: Server) -> None:
    answer = server.ask("POST", f"{WORD}_stream", {"INPUT0": "hello"})
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    events = answer.body.decode().split("\n\n")
    assert events[-1] == "" and len(events) == 2 and events[0].startswith("data: {")
    assert json.loads(events[0].removeprefix("data: "))["OUTPUT0"] == "hello"


@statement("T123", "T125")
@pytest.mark.parametrize("verb", ["generate", "generate_stream"])
def test_errors_before_the_first_response_are_ordinary_errors(server: Server, verb: str) -> None:
    answer = server.ask("POST", f"/v2/models/nope/{verb}", {"INPUT0": "x"})
    assert (answer.status, answer.error) == (404, "Request for unknown model: 'nope' is not found")
    answer = server.ask("POST", f"/v2/models/word/{verb}", {})
    assert answer.status == 400 and b"missing required input(s) ['INPUT0']" in answer.body
    assert server.ask("POST", f"/v2/models/word/{verb}", "{").status == 400


@statement("T126")
def test_compressed_bodies_are_refused(server: Server) -> None:
    body = gzip.compress(b'{"INPUT0": "x"}')
    answer = server.ask("POST", WORD, body, {"Content-Encoding": "gzip"})
    assert answer.status == 400
    assert answer.error == "Unsupported content-encoding, only 'identity' is supported."
