"""How many threads a model's process is told to use: its share of the server's budget."""

from __future__ import annotations

from pathlib import Path

import pytest
from serving import Server, serve
from serving.python_repository import answering, write_model

NAMES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS", "ARGOSY_CPU_THREADS")


@pytest.mark.parametrize(
    ("users", "one", "two"),
    [
        ({}, [6, 6, 6, 6, 6], [3, 3, 3, 3, 3]),
        ({"MKL_NUM_THREADS": "7"}, [6, 7, 6, 6, 6], [3, 7, 3, 3, 3]),  # what the user set on purpose stays
    ],
)
def test_an_instance_is_told_its_share_of_the_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, users: dict[str, str], one: list[float], two: list[float]
) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    reads = answering(f"[int(os.environ[name]) for name in {NAMES}]")
    write_model(tmp_path, "one", reads, "instance_group { count: 1 kind: KIND_CPU }\n")
    write_model(tmp_path, "two", reads, "instance_group { count: 2 kind: KIND_CPU }\n")
    with serve(tmp_path, "--cpu-threads=6", environment=users) as server:
        assert told(server, "one") == one
        assert told(server, "two") == two


def told(server: Server, model: str) -> list[float]:
    answer = server.infer(model, [{"name": "X", "shape": [1], "datatype": "FP32", "data": [0]}])
    assert answer.status == 200, answer.body
    return list(answer.json["outputs"][0]["data"])
