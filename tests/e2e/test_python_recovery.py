"""Python models that keep dying, that give requests back, and how all of that is counted."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import argosy
import numpy as np
import pytest
from argosy.options import Endpoint
from serving.python_repository import DECOUPLED, FINAL, answering, write_model
from serving.waiting import until

OFF = Endpoint(enabled=False)


def listening(root: Path) -> argosy.Server:
    return argosy.Server(root, listen=True, http=Endpoint(port=0), grpc=OFF, metrics=OFF)


def index(server: argosy.Server, body: str = "{}") -> dict[str, dict[str, Any]]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{server.ports['http']}/v2/repository/index",
        body.encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request) as answer:
        return {row["name"]: row for row in json.load(answer)}


def model_ready(server: argosy.Server, model: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.ports['http']}/v2/models/{model}/ready"):
            return True
    except urllib.error.HTTPError as error:
        if error.code != 400:
            raise
        return False


def ask(server: argosy.Server, model: str, *values: float) -> list[float]:
    return [float(one) for one in server.infer(model, {"X": np.array(values, np.float32)})["Y"]]


def statistics(server: argosy.Server, model: str) -> dict[str, Any]:
    (found,) = server.engine.statistics(model)
    return found


def test_a_crash_loop_opens_the_circuit_and_the_index_shows_the_last_traceback(tmp_path: Path) -> None:
    trouble = tmp_path / "trouble"
    initialize = (
        f"def initialize(self, args):\n    if os.path.exists({str(trouble)!r}):\n        self.read_weights()\n\n"
        "def read_weights(self):\n    raise ValueError('the weights are gone')\n"
    )
    write_model(tmp_path / "models", "loops", initialize + answering("os._exit(3) if x[0] else x"))
    write_model(tmp_path / "models", "same", answering("x"))
    with listening(tmp_path / "models") as server:
        assert model_ready(server, "loops") and index(server)["loops"]["state"] == "READY"
        trouble.touch()
        with pytest.raises(argosy.Unavailable, match="exited with code 3"):
            ask(server, "loops", 1)
        until(lambda: "the weights are gone" in index(server)["loops"].get("reason", ""))
        row = index(server)["loops"]
        assert row["state"] == "UNAVAILABLE"
        assert "read_weights" in row["reason"] and "model.py(" in row["reason"]
        assert not model_ready(server, "loops")
        assert set(index(server, '{"ready": true}')) == {"same"}

        def refused_at_once() -> bool:
            with pytest.raises(argosy.Unavailable) as refusal:
                server.infer("loops", {"X": np.ones(1, np.float32)}, timeout_us=300_000)
            return "the weights are gone" in str(refusal.value)

        until(refused_at_once)  # the circuit is open: nobody waits for another start
        assert ask(server, "same", 2) == [2]
        assert model_ready(server, "same")


COUNTS_DOWN = """
def initialize(self, args):
    self.left, self.seen = {}, 0

def execute(self, requests):
    answers = []
    for request in requests:
        self.seen += 1
        left = self.left.setdefault(request.request_id(), int(tensor(request).ravel()[0]))
        if left > 0:
            self.left[request.request_id()] = left - 1
            request.set_release_flags(pb_utils.TRITONSERVER_REQUEST_RELEASE_RESCHEDULE)
            answers.append(None)
        else:
            shown = [self.left.pop(request.request_id()), self.seen, *tensor(request).ravel()]
            answers.append(response(np.array(shown).reshape(tensor(request).shape[:-1] + (-1,))))
    return answers
"""
COUNTS_DOWN_STREAMING = f"""
def initialize(self, args):
    self.left = {{}}

def execute(self, requests):
    for request in requests:
        left = self.left.setdefault(request.request_id(), int(tensor(request).ravel()[0]))
        sender = request.get_response_sender()
        sender.send(response([left]))
        if left > 0:
            self.left[request.request_id()] = left - 1
            request.set_release_flags(pb_utils.TRITONSERVER_REQUEST_RELEASE_RESCHEDULE)
        else:
            sender.send(flags={FINAL})
    return None
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Any:
    root = tmp_path_factory.mktemp("repository")
    batching = "max_batch_size: 8\ndynamic_batching { }\n"
    write_model(root, "again", COUNTS_DOWN)
    write_model(root, "again_batched", COUNTS_DOWN, batching)
    write_model(root, "again_streaming", COUNTS_DOWN_STREAMING, DECOUPLED)
    write_model(root, "writes", answering("self.doubled(x)") + "\ndef doubled(self, x):\n    x *= 2\n    return x\n")
    stream = (
        "def execute(self, requests):\n"
        "    for request in requests:\n"
        "        sender = request.get_response_sender()\n"
        "        for one in tensor(request):\n"
        "            sender.send(response([one]))\n"
        f"        sender.send(flags={FINAL})\n"
    )
    write_model(root, "repeats", stream, DECOUPLED)
    late = (
        "def execute(self, requests):\n"
        "    import threading\n"
        "    threading.Thread(target=self.later, args=([r.get_response_sender() for r in requests],)).start()\n"
        "    return None\n\n"
        "def later(self, senders):\n"
        "    time.sleep(0.05)\n"
        "    for sender in senders:\n"
        f"        sender.send(response([1]), flags={FINAL})\n"
    )
    write_model(root, "late", late)
    with argosy.Server(root) as started:
        yield started


def test_a_request_that_is_given_back_comes_again_until_it_is_answered(server: argosy.Server) -> None:
    assert server.infer("again", {"X": np.array([5], np.float32)}, id="a")["Y"].tolist() == [0, 6, 5]
    assert server.infer("again", {"X": np.array([0], np.float32)}, id="b")["Y"].tolist() == [0, 7, 0]
    # Executed seven times, answered twice.
    until(lambda: statistics(server, "again")["execution_count"] == 7)
    found = statistics(server, "again")
    assert (found["inference_count"], found["inference_stats"]["success"]["count"]) == (2, 2)
    assert found["inference_stats"]["fail"]["count"] == 0


def test_requests_given_back_are_batched_with_new_ones(server: argosy.Server) -> None:
    futures = [server.submit("again_batched", {"X": np.array([[n % 7]], np.float32)}, id=str(n)) for n in range(100)]
    for n, future in enumerate(futures):
        assert future.result(60)["Y"].ravel().tolist()[2:] == [n % 7]


def test_a_stream_goes_on_over_several_executions(server: argosy.Server) -> None:
    answers = server.stream("again_streaming", {"X": np.array([4], np.float32)}, id="s")
    assert [float(one["Y"][0]) for one in answers] == [4, 3, 2, 1, 0]


@pytest.mark.parametrize("elements", [1, 16_385, 1_000_000])
def test_inputs_may_be_written_and_belong_to_the_model_alone(server: argosy.Server, elements: int) -> None:
    sent = np.arange(elements, dtype=np.float32)
    for _ in range(3):
        assert np.array_equal(server.infer("writes", {"X": sent})["Y"], np.arange(elements) * np.float32(2))
    assert np.array_equal(sent, np.arange(elements))


def test_streamed_answers_are_counted_by_their_place(server: argosy.Server) -> None:
    for count in (3, 2):
        assert len(list(server.stream("repeats", {"X": np.arange(count, dtype=np.float32)}))) == count
    # Its last answer leaves before the execution is over, and counted.
    until(lambda: statistics(server, "repeats")["execution_count"] == 2)
    found = statistics(server, "repeats")
    assert (found["inference_count"], found["execution_count"]) == (2, 2)
    responses = found["response_stats"]
    assert [responses[key]["success"]["count"] for key in ("0", "1")] == [2, 2]
    assert responses["2"]["success"]["count"] == 1 and responses["2"]["empty_response"]["count"] == 1
    assert responses["3"]["empty_response"]["count"] == 1


def test_a_late_answer_is_timed_to_its_end(server: argosy.Server) -> None:
    assert ask(server, "late", 1) == [1]
    until(lambda: statistics(server, "late")["inference_stats"]["success"]["count"] == 1)
    found = statistics(server, "late")["inference_stats"]
    assert found["compute_infer"]["ns"] >= 50_000_000
    assert found["success"]["ns"] >= found["compute_infer"]["ns"]
