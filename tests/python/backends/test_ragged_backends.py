"""Ragged batches of backends in packages, and of Python models: who sees what, and who is refused."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import argosy
import numpy as np
import pytest
from argosy.errors import ArgosyError
from serving.packages import install_backends

CONFIG = """
backend: "{backend}"
max_batch_size: 4
input {{ name: "x" data_type: TYPE_FP32 dims: [ -1 ] allow_ragged_batch: true }}
output {{ name: "y" data_type: TYPE_FP32 dims: [ -1 ] }}
dynamic_batching {{ preferred_batch_size: 4 max_queue_delay_microseconds: 30000000 }}
instance_group {{ kind: KIND_CPU count: 1 }}
{more}
"""
LIKE_X = """batch_output { target_name: "y" kind: BATCH_SCATTER_WITH_INPUT_SHAPE source_input: "x" }
batch_input { kind: BATCH_ELEMENT_COUNT target_name: "counts" data_type: TYPE_INT32 source_input: "x" }
"""
GIVEN = [np.arange(1, 1 + length, dtype=np.float32).reshape(1, -1) for length in (3, 1, 0, 5)]
SPECS: list[Mapping[str, Any]] = []
SEEN: list[tuple[list[int], list[int]]] = []


class Instance:
    """y: each value over the number of values in its request."""

    def execute(self, batch: Any) -> None:
        counts, x = batch.input("counts"), batch.input("x")
        assert batch.input(1).tolist() == counts.tolist() and batch.input_memory(1)[1] == counts.shape
        SEEN.append((list(x.shape), sorted(counts.tolist())))
        batch.set_output("y", x / np.repeat(counts, counts).astype(np.float32))


class Unaware:
    def load(self, spec: Mapping[str, Any], slot: Mapping[str, Any]) -> Any:
        SPECS.append(spec)
        return self

    def make_instance(self, slot: Mapping[str, Any]) -> Instance:
        return Instance()


class Aware(Unaware):
    takes_ragged_batches = True


@pytest.fixture(autouse=True)
def _backends(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    SPECS.clear()
    SEEN.clear()
    install_backends(monkeypatch, tmp_path_factory.mktemp("site"), "ragged", aware=Aware, unaware=Unaware)


def write(root: Path, backend: str, more: str = "") -> Path:
    (root / "m" / "1").mkdir(parents=True)
    (root / "m" / "config.pbtxt").write_text(CONFIG.format(backend=backend, more=more))
    return root / "m" / "1"


def ask_all(server: argosy.Server) -> list[np.ndarray]:
    futures: list[Future[Any]] = [server.submit("m", {"x": x}) for x in GIVEN]
    return [future.result(60)["y"] for future in futures]


def test_a_backend_of_a_package_gets_batch_inputs_by_name_and_position(tmp_path: Path) -> None:
    write(tmp_path, "aware", LIKE_X)
    with argosy.Server(tmp_path) as server:
        for x, y in zip(GIVEN, ask_all(server), strict=True):
            assert y.shape == x.shape
            np.testing.assert_array_equal(y, x / max(x.size, 1))
    assert SEEN == [([9], [0, 1, 3, 5])]
    assert SPECS[0]["batch_inputs"] == [
        {"name": "counts", "dtype": "INT32", "kind": "element_count", "source": "x"},
    ]
    assert SPECS[0]["batch_outputs"] == [{"name": "y", "source": "x"}]


@pytest.mark.parametrize("more", ["", LIKE_X])
def test_a_backend_that_does_not_say_it_knows_them_is_refused(tmp_path: Path, more: str) -> None:
    write(tmp_path, "unaware", more)
    with pytest.raises(ArgosyError, match="its backend 'unaware' does not take ragged batches"):
        argosy.Server(tmp_path).start()
    assert SPECS == []


def test_python_models_get_each_requests_own_tensors(tmp_path: Path) -> None:
    (write(tmp_path, "python") / "model.py").write_text(
        """
import numpy as np
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
        answers = []
        for request in requests:
            x = pb_utils.get_input_tensor_by_name(request, "x").as_numpy()
            answers.append(pb_utils.InferenceResponse([pb_utils.Tensor("y", x * len(requests))]))
        return answers
"""
    )
    with argosy.Server(tmp_path) as server:
        for x, y in zip(GIVEN, ask_all(server), strict=True):
            np.testing.assert_array_equal(y, 4 * x)  # four requests of four lengths in one execute()
