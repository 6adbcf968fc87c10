"""Calls between models from many threads of one Python model, waiting and awaiting mixed: no answer is lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import argosy
import numpy as np
import pytest

ECHO = """
backend: "identity"
max_batch_size: 16
input { name: "INPUT0" data_type: TYPE_FP32 dims: -1 }
output { name: "OUTPUT0" data_type: TYPE_FP32 dims: -1 }
dynamic_batching { }
"""
CALLER = """
import asyncio
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

import argosy


def one(number: float) -> float:
    sent = np.full((1, 3), number, np.float32)
    got = argosy.bls.infer("echo", {"INPUT0": sent})["OUTPUT0"]
    assert np.array_equal(got, sent), (number, got)
    return float(got[0, 0])


async def many(numbers: list[float]) -> list[float]:
    async def another(number: float) -> float:
        got = await argosy.bls.infer_async("echo", {"INPUT0": np.full((1, 2), number, np.float32)})
        return float(got["OUTPUT0"][0, 0])

    return list(await asyncio.gather(*(another(number) for number in numbers)))


class Caller(argosy.Model):
    def setup(self) -> None:
        self.pool = ThreadPoolExecutor(8)

    def predict(self, how: str, numbers: NDArray[np.float32]) -> NDArray[np.float32]:
        if how == "alone":
            found = [one(number) for number in numbers]
        elif how == "threads":
            found = list(self.pool.map(one, numbers))
        elif how == "awaiting":
            found = asyncio.run(many(list(numbers)))
        else:
            later = [self.pool.submit(one, number) for number in numbers]
            found = [a + b - c for a, b, c in zip(
                asyncio.run(many(list(numbers))), (one(number) for number in numbers),
                (future.result() for future in later), strict=True)]
        return np.array(found, np.float32)
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[argosy.Server]:
    root: Path = tmp_path_factory.mktemp("calls")
    (root / "echo" / "1").mkdir(parents=True)
    (root / "echo" / "config.pbtxt").write_text(ECHO, encoding="utf-8")
    (root / "caller" / "1").mkdir(parents=True)
    (root / "caller" / "1" / "model.py").write_text(CALLER, encoding="utf-8")
    with argosy.Server(root) as running:
        yield running


# What waits alone may work differently once others wait too, hence again and again.
def test_every_call_gets_its_own_answer(server: argosy.Server) -> None:
    for turn, how in enumerate(("alone", "threads", "alone", "awaiting", "mixed", "alone", "mixed")):
        numbers = np.random.default_rng(turn).random(200, np.float32)
        for _ in range(2):
            answer = server.infer("caller", {"how": np.array([how], dtype=object), "numbers": numbers})
            np.testing.assert_allclose(answer["output"], numbers, rtol=1e-5)


def test_many_clients_call_through_one_model(server: argosy.Server) -> None:
    numbers = np.random.default_rng(9).random((40, 25), np.float32)
    how = np.array(["threads"], dtype=object)
    pending = [server.submit("caller", {"how": how, "numbers": row}) for row in numbers]
    for row, future in zip(numbers, pending, strict=True):
        np.testing.assert_allclose(future.result(60)["output"], row, rtol=1e-5)
