"""A model runs in another interpreter than the server's: the oldest one that is served, where it is there."""

from __future__ import annotations

import glob
import os
import shutil
import subprocess
from pathlib import Path

import argosy
import numpy as np
import pytest
from serving.python_repository import DECOUPLED, FINAL, answering, write_model

OLDEST = (3, 9)
STREAM = f"""
def execute(self, requests):
    for request in requests:
        sender = request.get_response_sender()
        for one in tensor(request):
            sender.send(response([one]))
        sender.send(flags={FINAL})
"""
MINE = """
import argosy
import numpy as np
from numpy.typing import NDArray


class M(argosy.Model):
    def predict(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        return argosy.bls.infer("old", {"X": x})["Y"]
"""


def oldest_interpreter() -> str:
    """A CPython of that version which has numpy; "" where there is none. ARGOSY_TEST_OLD_PYTHON names one."""
    name = f"python{OLDEST[0]}.{OLDEST[1]}"
    named = os.environ.get("ARGOSY_TEST_OLD_PYTHON", "")
    homes = glob.glob(os.path.expanduser(f"~/.pyenv/versions/{OLDEST[0]}.{OLDEST[1]}.*/bin/python"))
    code = f"import sys, numpy; sys.exit(sys.version_info[:2] != {OLDEST})"
    for candidate in (named, shutil.which(name), *homes):
        if candidate and subprocess.run([candidate, "-c", code], capture_output=True, check=False).returncode == 0:
            return candidate
    return ""


def test_models_run_in_the_oldest_interpreter(tmp_path: Path) -> None:
    python = oldest_interpreter()
    if not python:
        pytest.skip(f"no CPython {OLDEST[0]}.{OLDEST[1]} with numpy here; ARGOSY_TEST_OLD_PYTHON can name one")
    setting = f'parameters {{ key: "python" value {{ string_value: "{python}" }} }}\n'
    write_model(tmp_path, "old", answering("x * sys.version_info[1]"), setting)
    write_model(tmp_path, "streams", STREAM, DECOUPLED + setting)
    mine = tmp_path / "mine" / "1"
    mine.mkdir(parents=True)
    (mine.parent / "config.pbtxt").write_text(setting, encoding="utf-8")
    (mine / "model.py").write_text(MINE, encoding="utf-8")
    source = tmp_path / "old" / "1" / "model.py"
    source.write_text("import sys\n" + source.read_text(encoding="utf-8"), encoding="utf-8")
    with argosy.Server(tmp_path) as server:
        for elements in (3, 100_000):
            sent = np.ones(elements, np.float32)
            assert np.array_equal(server.infer("old", {"X": sent})["Y"], sent * OLDEST[1])
        streamed = server.stream("streams", {"X": np.arange(9, dtype=np.float32)})
        assert [float(one["Y"][0]) for one in streamed] == list(range(9))
        (answer,) = server.infer("mine", {"x": np.ones(2, np.float32)}).outputs.values()
        assert answer.tolist() == [9, 9]
