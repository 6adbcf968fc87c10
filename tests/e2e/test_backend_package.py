"""The example of a backend in a package of its own: installed, found by its entry point, served."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from serving import Ended, add_model, serve

PACKAGE = Path(__file__).parents[2] / "examples" / "backend_package"
CONFIG = """
backend: "words"
max_batch_size: 8
input { name: "text" data_type: TYPE_STRING dims: 1 }
output { name: "words" data_type: TYPE_INT64 dims: 1 }
dynamic_batching {}
"""

pytestmark = pytest.mark.timeout(400)  # the first test builds and installs the package


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a server that sees the package."""
    source = tmp_path_factory.mktemp("source") / "package"
    shutil.copytree(PACKAGE, source)  # a build writes beside its sources
    target = tmp_path_factory.mktemp("target")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    done = subprocess.run([*command, "--target", target, source], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    path = os.pathsep.join(filter(None, [str(target), os.environ.get("PYTHONPATH")]))
    return {"PYTHONPATH": path}


def count(server, texts: list[str]) -> list[int]:
    tensor = {"name": "text", "shape": [len(texts), 1], "datatype": "BYTES", "data": texts}
    answer = server.infer("count", [tensor])
    assert answer.status == 200, answer.body
    return list(answer.json["outputs"][0]["data"])


def test_the_packaged_backend_serves(tmp_path: Path, installed: dict[str, str]) -> None:
    add_model(tmp_path, "count", CONFIG)
    with serve(tmp_path, environment=installed) as server:
        assert count(server, ["one", "two words", "", "a b c d"]) == [1, 2, 0, 4]
        assert server.ask("GET", "/v2/models/count").json["platform"] == "words"
        assert server.stats("count")["inference_count"] == 4


def test_its_options_come_from_flag_and_configuration(tmp_path: Path, installed: dict[str, str]) -> None:
    add_model(tmp_path, "count", CONFIG)
    with serve(tmp_path, "--backend-config=words,separator=;", environment=installed) as server:
        assert count(server, ["a;b c"]) == [2]


def test_what_it_refuses_ends_the_start_with_its_words(tmp_path: Path, installed: dict[str, str]) -> None:
    add_model(tmp_path, "count", CONFIG.replace("TYPE_INT64", "TYPE_INT32"))
    with pytest.raises(Ended) as ended, serve(tmp_path, environment=installed):
        pass
    assert "expected one BYTES input and one INT64 output" in ended.value.log


def test_without_the_package_the_error_lists_what_there_is(tmp_path: Path) -> None:
    add_model(tmp_path, "count", CONFIG)
    with pytest.raises(Ended) as ended, serve(tmp_path):
        pass
    assert "backend 'words'" in ended.value.log and "onnxruntime" in ended.value.log
