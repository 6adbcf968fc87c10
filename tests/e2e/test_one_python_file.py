"""A class of argosy.Model in one file: served by the command, by itself, and in process."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import argosy
import numpy as np
import pytest
import tritonclient.http as client

SOURCE = """
import numpy as np
from numpy.typing import NDArray

import argosy


class Double(argosy.Model):
    def predict(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        return x * 2


if __name__ == "__main__":
    Double.serve()
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "double.py"
    path.write_text(SOURCE, encoding="utf-8")
    return path


def test_a_file_is_served_in_process_without_a_configuration(file: Path) -> None:
    with argosy.Server(file) as server:
        answer = server.infer("double", {"x": np.array([1, 2], np.float32)})
        assert answer["output"].tolist() == [2, 4]


@pytest.mark.parametrize("command", [["-m", "argosy", "serve"], []], ids=["argosy serve", "python file.py"])
def test_a_file_is_served_over_sockets(file: Path, command: list[str]) -> None:
    flags = ["--http-port=0", "--grpc-port=0", "--metrics-port=0"]
    package = str(Path(argosy.__file__).parents[1])
    process = subprocess.Popen(
        [sys.executable, *command, str(file), *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([package, os.environ.get("PYTHONPATH", "")])},
    )
    assert process.stdout is not None
    with process, process.stdout as said:
        try:
            address = next(match[1] for line in said if (match := re.match(r"Started HTTPService at (\S+)$", line)))
            tensor = client.InferInput("x", [2], "FP32")
            tensor.set_data_from_numpy(np.array([1, 2], np.float32))
            with client.InferenceServerClient(address) as server:
                assert server.infer("double", [tensor]).as_numpy("output").tolist() == [2, 4]
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
