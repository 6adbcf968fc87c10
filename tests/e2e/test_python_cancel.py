"""A running Python model sees that its client left, however it left."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from serving import Server, serve

# Milliseconds on a quiet machine; the proof `cancel` in bench/proof measures them.
SEEN_WITHIN_S = 30.0


def _loaded() -> ModuleType:
    path = Path(__file__).parents[2] / "bench" / "proof" / "leaving.py"
    spec = importlib.util.spec_from_file_location("leaving", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


leaving = _loaded()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("cancel") / "models"
    leaving.write_repository(root)
    with serve(root) as running:
        yield running


@pytest.mark.statement("T076")
@pytest.mark.parametrize("way", leaving.WAYS)
def test_a_running_model_sees_that_its_client_left(server: Server, tmp_path: Path, way: str) -> None:
    for turn in range(3):
        seconds = leaving.seconds_until_seen(way, server.http, server.grpc, tmp_path / f"note{turn}")
        assert -0.001 < seconds < SEEN_WITHIN_S
