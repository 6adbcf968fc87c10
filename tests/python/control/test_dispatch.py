"""Control calls as values: routing, refusals and faults, without a server."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from argosy.control import Context, Control
from argosy.logs import Logs, LogSettings


class _Replies:
    def __init__(self) -> None:
        self.all: list[tuple[Any, ...]] = []

    def __call__(self, *reply: Any) -> None:
        self.all.append(reply)


@pytest.fixture
def control():
    logs = Logs(LogSettings(info=False, error=False))
    engine = SimpleNamespace(models=list, list=list)
    repository = SimpleNamespace(states=lambda name: {}, config=lambda name: None)
    made = Control(Context(engine=engine, repository=repository, logs=logs, server_id="s", version="1.2.3"))
    yield made
    made.stop()
    logs.close()


def ask(control: Control, method: str, path: str, body: bytes = b"", protocol: str = "http") -> tuple[Any, ...]:
    replies = _Replies()
    control.handle(protocol, method, path, [], body, replies)
    assert len(replies.all) == 1
    return replies.all[0]


def test_an_answer_is_given_once_with_its_json(control: Control) -> None:
    code, message, status, headers, body = ask(control, "GET", "/v2")
    assert (code, message, status) == ("ok", "", 200)
    assert headers == [("content-type", "application/json")]
    assert json.loads(body)["version"] == "1.2.3"


def test_an_error_has_its_code_for_grpc_and_its_status_for_http(control: Control) -> None:
    code, message, status, _, body = ask(control, "GET", "/v2/models/nope")
    assert (code, status) == ("not_found", 404)
    assert json.loads(body) == {"error": message}


def test_a_fault_of_a_handler_is_an_internal_error_and_not_silence(control: Control) -> None:
    control._context.engine.list = None
    control._context.engine.models = None
    code, message, status, _, _ = ask(control, "GET", "/v2/models/nope")
    assert (code, status) == ("internal", 500) and "TypeError" in message


@pytest.mark.parametrize("body", [b"\xff", b"[1]", b"3", b"[" * 100_000, b'{"a": '])
def test_a_body_that_is_no_object_is_the_callers_mistake(control: Control, body: bytes) -> None:
    assert ask(control, "POST", "/v2/logging", body)[:1] == ("invalid_argument",)


def test_calls_of_extensions_that_are_not_served_say_so(control: Control) -> None:
    code, message, *_ = ask(control, "POST", "/inference.GRPCInferenceService/TraceSetting", protocol="grpc")
    assert code == "unsupported" and "not served" in message


@pytest.mark.parametrize("kind", ["System", "Cuda"])
@pytest.mark.parametrize("verb", ["Register", "Unregister"])
def test_without_the_flag_memory_of_clients_is_refused_with_the_flag(control: Control, kind: str, verb: str) -> None:
    path = f"/inference.GRPCInferenceService/{kind}SharedMemory{verb}"
    code, message, *_ = ask(control, "POST", path, protocol="grpc")
    assert code == "unsupported" and "--allow-client-shm=true" in message
    code, message, status, *_ = ask(control, "POST", f"/v2/{kind.lower()}sharedmemory/region/r/{verb.lower()}")
    assert (code, status) == ("unsupported", 501) and "--allow-client-shm=true" in message


def test_bytes_that_are_no_message_are_the_callers_mistake(control: Control) -> None:
    path = "/inference.GRPCInferenceService/ModelMetadata"
    assert ask(control, "POST", path, b"\xff\xff", protocol="grpc")[0] == "invalid_argument"


def test_a_change_of_the_log_settings_is_shown(control: Control) -> None:
    reply = ask(control, "POST", "/v2/logging", b'{"log_verbose_level": 2, "unknown": []}')
    assert json.loads(reply[4])["log_verbose_level"] == 2
