"""Python models that load, unload and ask after other models, and what the server makes of it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import argosy
import numpy as np
import pytest
from serving.waiting import until

statement = pytest.mark.statement

IO = """
input [ { name: "X" data_type: TYPE_FP32 dims: [ -1 ] } ]
output [ { name: "Y" data_type: TYPE_FP32 dims: [ -1 ] } ]
"""
PREAMBLE = """
import json
import numpy as np
import triton_python_backend_utils as pb_utils
"""
EXECUTE = """
    def execute(self, requests):
        answers = []
        for request in requests:
            x = pb_utils.get_input_tensor_by_name(request, "X").as_numpy()
            answers.append(pb_utils.InferenceResponse([pb_utils.Tensor("Y", self.run(request, x))]))
        return answers

    def run(self, request, x):
"""
SAME = PREAMBLE + "class TritonPythonModel:" + EXECUTE + "        return x\n"


def write(root: Path, name: str, source: str, config: str = "") -> None:
    version = root / name / "1"
    version.mkdir(parents=True)
    (root / name / "config.pbtxt").write_text(f'name: "{name}"\nbackend: "python"\n{IO}{config}', encoding="utf-8")
    (version / "model.py").write_text(source, encoding="utf-8")


def running(body: str, setup: str = "") -> str:
    return PREAMBLE + "class TritonPythonModel:\n" + setup + EXECUTE + body


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write(tmp_path, "other", SAME)
    return tmp_path


def serve(root: Path, *names: str) -> argosy.Server:
    return argosy.Server(root, control_mode=argosy.options.ControlMode.EXPLICIT, startup_models=names)


def ask(server: argosy.Server, model: str, *values: float) -> list[float]:
    return [float(value) for value in server.infer(model, {"X": np.array(values, np.float32)})["Y"]]


@statement("T298")
def test_a_running_model_loads_calls_and_unloads_another(root: Path) -> None:
    write(
        root,
        "asks",
        running(
            "        before = pb_utils.is_model_ready('other')\n"
            "        pb_utils.load_model('other')\n"
            "        during = pb_utils.is_model_ready('other', '1')\n"
            "        call = pb_utils.InferenceRequest(model_name='other', requested_output_names=['Y'],\n"
            "                                         inputs=[pb_utils.Tensor('X', x)])\n"
            "        answer = pb_utils.get_output_tensor_by_name(call.exec(), 'Y').as_numpy()\n"
            "        pb_utils.unload_model('other')\n"
            "        return np.array([before, during, answer[0], pb_utils.is_model_ready('other')], np.float32)\n"
        ),
    )
    with serve(root, "asks") as server:
        for _ in range(3):
            assert ask(server, "asks", 7) == [0, 1, 7, 0]
        assert server.models() == ["asks"]


def test_a_model_brings_configuration_and_files_of_another(root: Path) -> None:
    write(
        root,
        "asks",
        running(
            "        source = self.SOURCE\n"
            "        tensor = {'data_type': 'TYPE_FP32', 'dims': [-1]}\n"
            "        config = {'backend': 'python', 'input': [{'name': 'X', **tensor}],\n"
            "                  'output': [{'name': 'Y', **tensor}]}\n"
            "        pb_utils.load_model('made', config=json.dumps(config), files={'file:1/model.py': source})\n"
            "        return x\n",
            setup=f"    SOURCE = {SAME.replace('return x', 'return x * 3').encode()!r}\n",
        ),
    )
    with serve(root, "asks") as server:
        ask(server, "asks", 1)
        assert ask(server, "made", 2) == [6]


def test_a_failed_load_is_an_exception_with_the_reason(root: Path) -> None:
    write(root, "broken", "import there_is_no_such_module\n")
    write(
        root,
        "asks",
        running(
            "        try:\n"
            "            pb_utils.load_model(['broken', 'nobody'][int(x[0])])\n"
            "        except pb_utils.TritonModelException as error:\n"
            "            raise pb_utils.TritonModelException('heard: ' + str(error))\n"
        ),
    )
    with serve(root, "asks") as server:
        with pytest.raises(argosy.Internal, match=r"(?s)heard: Failed to load model: .*there_is_no_such_module"):
            ask(server, "asks", 0)
        with pytest.raises(argosy.Internal, match=r"heard: Failed to load model: .*failed to poll from model repo"):
            ask(server, "asks", 1)


def test_loading_is_refused_where_models_are_not_under_explicit_control(root: Path) -> None:
    write(root, "asks", running("        pb_utils.load_model('other')\n        return x\n"))
    with (
        argosy.Server(root) as server,
        pytest.raises(argosy.ArgosyError, match="explicit model load / unload is not allowed"),
    ):
        ask(server, "asks", 1)


def test_a_model_loads_what_it_needs_before_it_serves(root: Path) -> None:
    setup = "    def initialize(self, args):\n        pb_utils.load_model('other')\n"
    write(root, "needs", running("        return x\n", setup))
    with serve(root, "needs") as server:
        assert server.models() == ["needs", "other"]


@pytest.mark.parametrize(("first", "second"), [("loops", "loops"), ("ping", "pong")])
def test_loads_that_would_wait_for_each_other_are_refused(root: Path, first: str, second: str) -> None:
    for name, target in {(first, second), (second, first)}:
        setup = f"    def initialize(self, args):\n        pb_utils.load_model('{target}')\n"
        write(root, name, running("        return x\n", setup))
    with serve(root) as server, pytest.raises(argosy.ArgosyError, match="each would wait for the other"):
        server.load(first)


def test_a_model_reloads_itself_while_it_answers(root: Path) -> None:
    write(root, "self", running("        pb_utils.load_model('self')\n        return x\n"))
    with serve(root, "self") as server:
        model = root / "self" / "1" / "model.py"
        for n in range(3):
            model.write_text(model.read_text(encoding="utf-8") + f"# {n}\n", encoding="utf-8")
            assert ask(server, "self", n) == [n]


def test_loading_from_a_model_holds_up_nobody_else(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    gate = tmp_path_factory.mktemp("gate") / "open"
    setup = (
        "    def initialize(self, args):\n"
        "        import os, time\n"
        f"        while not os.path.exists({str(gate)!r}):\n"
        "            time.sleep(0.002)\n"
    )
    write(root, "slow", running("        return x\n", setup))
    write(root, "asks", running("        pb_utils.load_model('slow')\n        return x\n"))
    with serve(root, "asks", "other") as server:
        waiting = server.submit("asks", {"X": np.ones(1, np.float32)})
        assert [ask(server, "other", n) for n in range(20)] == [[n] for n in range(20)]
        server.unload("other")
        server.load("other")
        assert not waiting.done()
        gate.touch()
        waiting.result(60)
        assert ask(server, "slow", 5) == [5]


def test_many_models_may_wait_for_loads_at_once(root: Path) -> None:
    names = [f"asks{n}" for n in range(4)]
    for name in names:
        write(root, name, running("        pb_utils.load_model('other')\n        return x\n"))
    with serve(root, *names) as server:
        futures = [server.submit(name, {"X": np.ones(1, np.float32)}) for name in names for _ in range(5)]
        for future in futures:
            future.result(60)


MINE = """
import argosy
import numpy as np
from argosy import bls
from numpy.typing import NDArray


class M(argosy.Model):
    def predict(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        assert not bls.is_model_ready("other")
        bls.load_model("other")
        assert bls.is_model_ready("other", 1)
        answer = bls.infer("other", {"X": x})["Y"]
        bls.unload_model("other")
        try:
            bls.load_model("nobody")
        except argosy.ArgosyError as error:
            assert "nobody" in str(error), error
            return answer
        raise AssertionError("a model that is not there was loaded")
"""


def test_the_simple_class_does_the_same(root: Path) -> None:
    (root / "mine" / "1").mkdir(parents=True)
    (root / "mine" / "1" / "model.py").write_text(MINE, encoding="utf-8")
    with serve(root, "mine") as server:
        answer = server.infer("mine", {"x": np.array([4], np.float32)})
        assert [float(one) for array in answer.outputs.values() for one in array] == [4]


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    # Who has answered is no longer waited for, but may not be over.
    until(lambda: "model-control" not in [thread.name for thread in threading.enumerate()])
