"""Streams of Python models over sockets: responses leave as they are produced, and stop when nobody reads them."""

from __future__ import annotations

import http.client
import json
import os
import queue
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as grpcclient
from serving import Server, serve
from serving.http import TIMEOUT_S, connect
from serving.waiting import until

statement = pytest.mark.statement

# Says a word, then waits for a file of that number: a test decides when the next word may come.
GATED = """
import os, time
from collections.abc import Iterator
from pathlib import Path

import argosy


class Gated(argosy.Model):
    def predict(self, key: str, words: int) -> Iterator[str]:
        folder = Path(os.environ["ARGOSY_TEST_FOLDER"])
        (folder / f"{key}-by-{os.getpid()}").touch()
        try:
            for number in range(words):
                yield f"word{number}"
                while not (folder / f"{key}{number}").exists() and not self.request.cancelled:
                    time.sleep(0.002)
        finally:
            (folder / f"{key}-over").touch()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gates")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("streams") / "models"
    (root / "gated" / "1").mkdir(parents=True)
    (root / "gated" / "1" / "model.py").write_text(GATED, encoding="utf-8")
    example = Path(__file__).parents[2] / "examples" / "python_models" / "text_stream"
    shutil.copytree(example, root / "text_stream", ignore=shutil.ignore_patterns("__pycache__"))
    with serve(root, environment={"ARGOSY_TEST_FOLDER": str(folder)}) as running:
        yield running


class Events:
    """A generate_stream request; iterating gives the objects of its events as they come."""

    def __init__(self, server: Server, model: str, body: object) -> None:
        self.connection = connect(server.ports["http"])
        self.connection.request("POST", f"/v2/models/{model}/generate_stream", json.dumps(body))
        self.response: http.client.HTTPResponse = self.connection.getresponse()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        while line := self.response.readline():
            if line.strip():
                assert line.startswith(b"data: "), line
                yield json.loads(line[6:])

    def close(self) -> None:
        self.response.close()
        self.connection.close()


def grpc_words(server: Server, model: str, inputs: list[Any]) -> tuple[grpcclient.InferenceServerClient, Any]:
    """A running stream, and next(): the next word, None at the end."""
    answers: queue.Queue[Any] = queue.Queue()
    client = grpcclient.InferenceServerClient(server.grpc)
    client.start_stream(callback=lambda result, error: answers.put(error or result))
    client.async_stream_infer(model, inputs, enable_empty_final_response=True)

    def following() -> str | None:
        answer = answers.get(timeout=TIMEOUT_S)
        assert isinstance(answer, grpcclient.InferResult), answer
        array = answer.as_numpy("output")
        return None if array is None else array[0].decode()

    return client, following


def inputs_of(**values: str | int) -> list[grpcclient.InferInput]:
    sent = []
    for name, value in values.items():
        text = isinstance(value, str)
        one = grpcclient.InferInput(name, [1], "BYTES" if text else "INT64")
        one.set_data_from_numpy(np.array([value.encode()], dtype=object) if text else np.array([value], np.int64))
        sent.append(one)
    return sent


def open_gate(folder: Path, key: str, number: int) -> None:
    (folder / f"{key}{number}").touch()


def test_the_text_stream_is_the_same_over_grpc_and_http(server: Server) -> None:
    body = {"prompt": "the ship", "words": 30, "seed": 4}
    events = Events(server, "text_stream", body)
    assert events.response.getheader("Content-Type", "").startswith("text/event-stream")
    over_http = [event["output"] for event in events]
    events.close()
    client, following = grpc_words(server, "text_stream", inputs_of(prompt="the ship", words=30, seed=4))
    over_grpc = list(iter(following, None))
    client.stop_stream()
    client.close()
    assert len(over_http) == 30 and over_http == over_grpc


def test_generate_wants_exactly_one_word(server: Server) -> None:
    answer = server.ask("POST", "/v2/models/text_stream/generate", {"prompt": "the", "words": 1})
    assert answer.status == 200 and isinstance(answer.json["output"], str)
    answer = server.ask("POST", "/v2/models/text_stream/generate", {"prompt": "the", "words": 2})
    assert "exactly 1 response" in answer.error
    refused = server.ask("POST", "/v2/models/text_stream/generate_stream", {"prompt": "the", "words": 1000})
    assert refused.status == 400 and b"expected 0 to 200, got 1000" in refused.body


@statement("T122", "T124")
def test_an_event_arrives_before_the_next_is_produced(server: Server, folder: Path) -> None:
    events = Events(server, "gated", {"key": "events", "words": 4})
    words = iter(events)
    for number in range(4):
        assert next(words)["output"] == f"word{number}"
        open_gate(folder, "events", number)
    assert next(words, None) is None
    events.close()


@statement("T184", "T185")
def test_a_grpc_response_arrives_before_the_next_is_produced(server: Server, folder: Path) -> None:
    client, following = grpc_words(server, "gated", inputs_of(key="grpc", words=4))
    for number in range(4):
        assert following() == f"word{number}"
        open_gate(folder, "grpc", number)
    assert following() is None
    client.stop_stream()
    client.close()


def leave_http(server: Server, key: str) -> Callable[[], object]:
    events = Events(server, "gated", {"key": key, "words": 100})
    assert next(iter(events))["output"] == "word0"
    return events.close


def leave_grpc(server: Server, key: str) -> Callable[[], object]:
    client, following = grpc_words(server, "gated", inputs_of(key=key, words=100))
    assert following() == "word0"
    return lambda: (client.stop_stream(cancel_requests=True), client.close())


@pytest.mark.parametrize("start", [leave_http, leave_grpc])
def test_a_client_that_leaves_in_the_middle_stops_the_stream(
    server: Server, folder: Path, start: Callable[[Server, str], Callable[[], object]]
) -> None:
    leave = start(server, start.__name__)
    over = folder / f"{start.__name__}-over"
    assert not over.exists()
    leave()
    until(over.exists)
    # The process is free for the next one.
    open_gate(folder, f"{start.__name__}next", 0)
    events = Events(server, "gated", {"key": f"{start.__name__}next", "words": 1})
    assert [event["output"] for event in events] == ["word0"]
    events.close()


def test_a_stream_whose_process_dies_ends_with_the_reason(server: Server, folder: Path) -> None:
    events = Events(server, "gated", {"key": "dies", "words": 100})
    words = iter(events)
    assert next(words)["output"] == "word0"
    (note,) = folder.glob("dies-by-*")
    os.kill(int(note.name.rpartition("-")[2]), 9)
    last = list(words)[-1]
    assert "signal 9" in last["error"]
    events.close()
