"""Asking a model about its own configuration, in a process of its own."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import pytest
from argosy.errors import ArgosyError, Unavailable
from argosy.worker.auto_complete import completed
from argosy.worker.children import Children
from argosy.worker.host import ModelPlace
from serving.waiting import until

SOURCE = """
import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    @staticmethod
    def auto_complete_config(config):
        {body}
        return config

    def execute(self, requests):
        return []
"""


def ask(directory: Path, body: str, children: Children | None = None) -> dict[str, object]:
    file = directory / "model.py"
    file.write_text(SOURCE.replace("{body}", body))
    place = ModelPlace(str(file), str(directory), str(directory), "shy", 1, "")
    return completed(place, {"name": "shy"}, children=children)


def test_what_the_model_prints_and_logs_meanwhile_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "argosy.worker.auto_complete"):
        ask(tmp_path, "print('printed'); pb_utils.Logger.log_warn('logged')")
    assert {record.getMessage() for record in caplog.records} == {
        "model 'shy', auto-complete: printed",
        "model 'shy', auto-complete: warning: logged",
    }


def test_whole_numbers_of_numpy_are_numbers(tmp_path: Path) -> None:
    tensor = "{'name': 'X', 'data_type': 'TYPE_FP32', 'dims': np.array([-1, 3])}"
    found = ask(tmp_path, f"config.set_max_batch_size(np.int64(4)); config.add_input({tensor})")
    assert found["max_batch_size"] == 4
    assert found["input"] == [{"name": "X", "data_type": "TYPE_FP32", "dims": [-1, 3]}]


@pytest.mark.parametrize(
    ("tensor", "said"),
    [
        ("{'name': 'X', 'data_type': 'TYPE_FLOAT', 'dims': [1]}", "input 'X' .* has data_type 'TYPE_FLOAT': expected"),
        ("{'name': 'X', 'data_type': 'TYPE_FP32', 'dims': ['a']}", "input 'X' .* expected whole numbers"),
        ("{'name': 'X', 'data_type': 'TYPE_FP32', 'dims': 3}", "input 'X' .* expected whole numbers"),
    ],
)
def test_a_tensor_that_no_configuration_can_have_is_named(tmp_path: Path, tensor: str, said: str) -> None:
    with pytest.raises(ArgosyError, match=said):
        ask(tmp_path, f"config.add_input({tensor})")


def test_a_model_that_does_not_answer_is_given_up_when_the_server_stops(tmp_path: Path) -> None:
    children = Children()
    began = tmp_path / "began"
    failures: list[ArgosyError] = []

    def wait() -> None:
        with pytest.raises(Unavailable, match="given up: the server stops") as raised:
            ask(tmp_path, f"open({str(began)!r}, 'w').close(); __import__('time').sleep(3600)", children)
        failures.append(raised.value)

    waiting = threading.Thread(target=wait)
    waiting.start()
    until(began.exists)
    children.end()
    waiting.join(30)
    assert failures
    # One that is begun after the end ends as well.
    with pytest.raises(Unavailable, match="given up: the server stops"):
        ask(tmp_path, "__import__('time').sleep(3600)", children)


def test_what_the_model_started_meanwhile_is_not_waited_for_and_ends(tmp_path: Path) -> None:
    noted = tmp_path / "noted"
    body = f"child = __import__('subprocess').Popen(['sleep', '3600']); open({str(noted)!r}, 'w').write(str(child.pid))"
    assert ask(tmp_path, body)["name"] == "shy"
    process = Path("/proc") / noted.read_text() / "stat"

    def runs() -> bool:
        try:
            _, _, rest = process.read_text().partition("(")
        except OSError:
            return False
        name, _, state = rest.rpartition(")")
        return name == "sleep" and state.split()[0] != "Z"  # the number may be another's by now

    until(lambda: not runs())
