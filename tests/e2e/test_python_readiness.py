"""A Python model's own is_ready(), as the readiness probes of both protocols tell it."""

from __future__ import annotations

import time
from collections.abc import Iterator

import argosy
import numpy as np
import pytest
import tritonclient.grpc as grpcclient
import tritonclient.http as httpclient
from argosy.options import Endpoint
from serving.python_repository import answering, write_model
from serving.waiting import until

statement = pytest.mark.statement

OPINION = """
def initialize(self, args):
    self.ready = True

def execute(self, requests):
    self.ready = bool(tensor(requests[0])[0])
    return [response([0]) for _ in requests]

def is_ready(self):
    return self.ready
"""
ASKS = answering("[pb_utils.is_model_ready('opinion')]")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[argosy.Server]:
    root = tmp_path_factory.mktemp("repository")
    patient = 'parameters { key: "ready-timeout-seconds" value { string_value: "60" } }'
    write_model(root, "opinion", OPINION, patient)
    write_model(root, "none", answering("x"))
    write_model(root, "asks", ASKS)
    limit = 'parameters { key: "ready-timeout-seconds" value { string_value: "0.3" } }'
    write_model(root, "hangs", answering("x") + "\ndef is_ready(self):\n    time.sleep(1000)\n", limit)
    write_model(root, "raises", answering("x") + "\ndef is_ready(self):\n    raise ValueError('no')\n")
    write_model(root, "dies", answering("os._exit(3)") + "\ndef is_ready(self):\n    return True\n", patient)
    (root / "mine" / "1").mkdir(parents=True)
    (root / "mine" / "1" / "model.py").write_text(
        "import argosy\n\n\nclass M(argosy.Model):\n"
        "    def predict(self, x: float) -> float:\n        return x\n\n"
        "    def ready(self) -> bool:\n        return False\n",
        encoding="utf-8",
    )
    endpoint = Endpoint(port=0)
    with argosy.Server(root, listen=True, http=endpoint, grpc=endpoint, metrics=Endpoint(enabled=False)) as started:
        yield started


def ready(server: argosy.Server, model: str) -> bool:
    """By both protocols, which must agree."""
    with httpclient.InferenceServerClient(f"127.0.0.1:{server.ports['http']}") as http:
        over_http = http.is_model_ready(model)
    with grpcclient.InferenceServerClient(f"127.0.0.1:{server.ports['grpc']}") as grpc:
        assert grpc.is_model_ready(model) == over_http
    return bool(over_http)


def tell(server: argosy.Server, model: str, value: float) -> float:
    return float(server.infer(model, {"X": np.array([value], np.float32)})["Y"][0])


def test_readiness_follows_the_models_own_word_at_once(server: argosy.Server) -> None:
    for word in (1, 0, 1):
        tell(server, "opinion", word)
        assert ready(server, "opinion") == bool(word)
        assert tell(server, "asks", 0) == word


def test_a_model_without_an_opinion_is_ready(server: argosy.Server) -> None:
    assert ready(server, "none")


@pytest.mark.parametrize("model", ["raises", "mine"])
def test_a_model_that_says_no_or_fails_to_say_is_not_ready(server: argosy.Server, model: str) -> None:
    assert not ready(server, model)


def test_a_model_that_does_not_answer_is_not_ready_in_bounded_time_and_holds_up_nobody(server: argosy.Server) -> None:
    begun = time.monotonic()
    assert not ready(server, "hangs")
    assert 0.3 <= time.monotonic() - begun < 60
    assert ready(server, "none")
    assert tell(server, "hangs", 4) == 4


def test_the_servers_own_readiness_asks_no_model(server: argosy.Server) -> None:
    tell(server, "opinion", 0)
    with httpclient.InferenceServerClient(f"127.0.0.1:{server.ports['http']}") as http:
        assert http.is_server_ready()


@statement("T297")
def test_a_dead_process_is_not_ready_and_is_again_when_it_is_back(server: argosy.Server) -> None:
    assert ready(server, "dies")
    with pytest.raises(argosy.Unavailable):
        tell(server, "dies", 1)
    with httpclient.InferenceServerClient(f"127.0.0.1:{server.ports['http']}") as http:
        until(lambda: bool(http.is_model_ready("dies")))
    assert ready(server, "dies")
