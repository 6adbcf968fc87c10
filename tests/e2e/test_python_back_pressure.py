"""Streams of Python models whose readers are slow: the model waits, and the server's memory stays bounded."""

from __future__ import annotations

import http.client
import json
import queue
import threading
from collections.abc import Iterator
from pathlib import Path

import argosy
import numpy as np
import pytest
import tritonclient.grpc as grpcclient
from argosy.options import Endpoint
from serving.python_repository import DECOUPLED, FINAL, answering, write_model
from serving.waiting import until

PIECE = 256 << 10  # elements: 1 MB
# X: how many pieces, how many elements each, and after how many of them the number is noted.
SENDS = f"""
def initialize(self, args):
    self.note = os.environ["ARGOSY_TEST_SENT"]

def execute(self, requests):
    for request in requests:
        count, size, every = (int(one) for one in tensor(request))
        sender = request.get_response_sender()
        sent = 0
        for n in range(count):
            if sender.is_cancelled():
                break
            piece = np.zeros(size, np.float32)
            piece[0] = n
            sender.send(response(piece))
            sent += 1
            if sent % every == 0:
                with open(self.note, "w") as note:
                    note.write(str(sent))
        sender.send(flags={FINAL})
        with open(self.note, "a") as note:
            note.write(" end")
"""


class Served:
    def __init__(self, server: argosy.Server, note: Path) -> None:
        self.server, self.note = server, note

    def sent(self) -> int:
        words = self.note.read_text(encoding="utf-8").split() if self.note.exists() else []
        return int(words[0]) if words else 0

    def ended(self) -> bool:
        return self.note.exists() and self.note.read_text(encoding="utf-8").endswith("end")

    def stalled(self) -> int:
        """How many pieces had left when the model stopped sending: the same number for a while, and more than none."""
        still = threading.Event()
        before = -1
        while before != self.sent() or before <= 0:
            before = self.sent()
            still.wait(0.5)
        return before


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    root = tmp_path_factory.mktemp("repository")
    note = tmp_path_factory.mktemp("note") / "sent"
    write_model(root, "sends", SENDS, DECOUPLED)
    write_model(root, "same", answering("x"))
    endpoint = Endpoint(port=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ARGOSY_TEST_SENT", str(note))
        with argosy.Server(root, listen=True, http=endpoint, grpc=endpoint, metrics=Endpoint(enabled=False)) as server:
            yield Served(server, note)


@pytest.fixture(autouse=True)
def nothing_was_sent(served: Served) -> None:
    served.note.unlink(missing_ok=True)


def resident() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1]) * 4096


class SlowReader:
    """A generate_stream over a socket that is read only when told."""

    def __init__(self, served: Served, count: int, size: int, every: int = 1) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", served.server.ports["http"])
        self._connection.request("POST", "/v2/models/sends/generate_stream", json.dumps({"X": [count, size, every]}))
        self.response = self._connection.getresponse()

    def lines(self) -> Iterator[list[float]]:
        for line in self.response:
            if line.startswith(b"data: "):
                yield json.loads(line[6:])["Y"]

    def close(self) -> None:
        self.response.close()
        self._connection.close()


def test_a_gigabyte_for_a_reader_that_sleeps_waits_in_the_model(served: Served) -> None:
    before = resident()
    reader = SlowReader(served, 1000, PIECE)
    sent = served.stalled()
    assert sent < 200
    assert resident() - before < 200 << 20
    assert not served.ended()
    assert float(served.server.infer("same", {"X": np.ones(1, np.float32)})["Y"][0]) == 1
    reader.close()  # the reader that never comes back frees the model
    until(served.ended)
    assert served.sent() < 1000


def test_a_reader_that_wakes_gets_every_piece_in_order(served: Served) -> None:
    count = 250
    reader = SlowReader(served, count, PIECE // 8)
    assert served.stalled() < count
    lines = reader.lines()
    assert [line[0] for line in lines] == list(range(count))
    reader.close()
    until(served.ended)
    assert served.sent() == count


def test_many_small_answers_wait_as_well(served: Served) -> None:
    count = 50_000
    before = resident()
    reader = SlowReader(served, count, 100, every=50)
    sent = served.stalled()
    assert sent < count
    assert resident() - before < 100 << 20
    assert [line[0] for line, _ in zip(reader.lines(), range(sent + 1000), strict=False)] == list(range(sent + 1000))
    reader.close()
    until(served.ended)


def test_a_stream_over_grpc_waits_for_its_reader_and_ends_whole(served: Served) -> None:
    count = 60
    gate, got = threading.Event(), queue.SimpleQueue[int]()

    def on_answer(result: grpcclient.InferResult | None, error: Exception | None) -> None:
        gate.wait()
        assert error is None and result is not None
        answer = result.as_numpy("Y")
        got.put(-1 if answer is None else int(answer[0]))

    with grpcclient.InferenceServerClient(f"127.0.0.1:{served.server.ports['grpc']}") as client:
        client.start_stream(on_answer)
        sent = grpcclient.InferInput("X", [3], "FP32")
        sent.set_data_from_numpy(np.array([count, PIECE * 4, 1], np.float32))
        client.async_stream_infer("sends", [sent], enable_empty_final_response=True)
        assert served.stalled() < count
        gate.set()
        assert [got.get(timeout=60) for _ in range(count + 1)] == [*range(count), -1]
        client.stop_stream()
    until(served.ended)


def test_an_iterator_in_process_holds_its_model_back_and_keeping_the_arrays_does_not(served: Served) -> None:
    stream = served.server.stream("sends", {"X": np.array([500, 10, 1], np.float32)})
    first = next(stream)
    assert served.stalled() < 500
    kept = [first, *stream]
    assert [float(one["Y"][0]) for one in kept] == list(range(500))
    until(served.ended)  # before the note is another test's
