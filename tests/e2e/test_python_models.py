"""Python models in worker processes, served in process: answers, faults and recovery."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import argosy
import numpy as np
import pytest
from serving.process import alive
from serving.waiting import settles, until

CONFIG = """
backend: "python"
input [ { name: "X" data_type: TYPE_FP32 dims: [ -1 ] } ]
output [ { name: "Y" data_type: TYPE_FP32 dims: [ -1 ] } ]
"""

BODY = """
import os, time, threading
import numpy as np
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
        answers = []
        for request in requests:
            x = pb_utils.get_input_tensor_by_name(request, "X").as_numpy()
            answers.append(pb_utils.InferenceResponse([pb_utils.Tensor("Y", self.run(request, x))]))
        return answers
    def run(self, request, x):
        return x
"""

# No process of the model starts while there is such a file.
WAITS_TO_START = """
    def initialize(self, args):
        while os.path.exists(os.environ["ARGOSY_TEST_NOTE"] + "closed"):
            time.sleep(0.002)
"""


def write(root: Path, name: str, *, run: str = "        return x", config: str = "", body: str = "") -> None:
    version = root / name / "1"
    version.mkdir(parents=True)
    (root / name / "config.pbtxt").write_text(f'name: "{name}"\n{CONFIG}{config}', encoding="utf-8")
    source = body or BODY.replace("        return x", run)
    (version / "model.py").write_text(source, encoding="utf-8")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[argosy.Server]:
    root = tmp_path_factory.mktemp("repository")
    write(root, "same")
    pid = "        return np.array([os.getpid()], np.float32)"
    write(root, "pid", body=BODY.replace("        return x", pid) + WAITS_TO_START)
    write(root, "raises", run='        raise ValueError("no such luck")')
    write(root, "exits", run="        os._exit(int(x[0])) if x[0] else None\n        return x")
    write(root, "crashes", run="        import ctypes\n        ctypes.string_at(0) if x[0] else None\n        return x")
    write(
        root,
        "hangs",
        run="        time.sleep(1000) if x[0] else None\n        return x",
        config='parameters { key: "execute-timeout-seconds" value { string_value: "0.5" } }',
    )
    write(root, "wrong_type", run="        return x.astype(np.float64)")
    write(root, "wrong_shape", run="        return x.reshape(-1, 1)")
    write(
        root,
        "notices",
        run=(
            "        note = os.environ['ARGOSY_TEST_NOTE'] + str(int(x[0]))\n"
            "        open(note + 'began', 'w').close()\n"
            "        while not request.is_cancelled():\n"
            "            time.sleep(0.002)\n"
            "        open(note, 'w').close()\n"
            "        return x"
        ),
    )
    write(
        root,
        "repeats",
        config="model_transaction_policy { decoupled: true }",
        body=BODY.replace(
            "    def execute(self, requests):",
            "    def execute(self, requests):\n"
            "        for request in requests:\n"
            "            sender = request.get_response_sender()\n"
            '            x = pb_utils.get_input_tensor_by_name(request, "X").as_numpy()\n'
            "            for one in x:\n"
            "                sender.send(pb_utils.InferenceResponse([\n"
            '                    pb_utils.Tensor("Y", np.array([one], np.float32))]))\n'
            "            sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)\n"
            "        return None\n"
            "    def unused(self, requests):",
        ),
    )
    write(
        root,
        "calls",
        run=(
            '        call = pb_utils.InferenceRequest(model_name="same", requested_output_names=["Y"],\n'
            '                                         inputs=[pb_utils.Tensor("X", x)])\n'
            "        answer = call.exec()\n"
            "        if answer.has_error():\n"
            "            raise pb_utils.TritonModelException(answer.error().message())\n"
            '        return pb_utils.get_output_tensor_by_name(answer, "Y").as_numpy() + 1'
        ),
    )
    os.environ["ARGOSY_TEST_NOTE"] = str(root.parent / "note")
    try:
        with argosy.Server(root, strict_readiness=False) as started:
            yield started
    finally:
        del os.environ["ARGOSY_TEST_NOTE"]


def ask(server: argosy.Server, model: str, *values: float) -> list[float]:
    answer = server.infer(model, {"X": np.array(values, np.float32)})
    return [float(value) for value in answer["Y"]]


def test_a_model_answers_what_it_was_sent(server: argosy.Server) -> None:
    assert ask(server, "same", 1, 2, 3) == [1, 2, 3]


@pytest.mark.parametrize("elements", [0, 1, 16_384, 16_385, 3_000_000])
def test_tensors_of_any_size_come_back_whole(server: argosy.Server, elements: int) -> None:
    sent = np.random.default_rng(elements).random(elements, np.float32)
    assert np.array_equal(server.infer("same", {"X": sent})["Y"], sent)


def test_many_callers_get_their_own_answers(server: argosy.Server) -> None:
    futures = [server.submit("same", {"X": np.array([n], np.float32)}) for n in range(500)]
    assert [float(future.result(60)["Y"][0]) for future in futures] == list(range(500))


def test_an_exception_reaches_the_caller_and_the_process_lives_on(server: argosy.Server) -> None:
    with pytest.raises(argosy.Internal, match="no such luck"):
        ask(server, "raises", 1)
    with pytest.raises(argosy.Internal, match="no such luck"):
        ask(server, "raises", 1)


@pytest.mark.parametrize(("model", "said"), [("exits", "exited with code 3"), ("crashes", "signal 11")])
def test_a_dying_process_is_unavailable_then_back(server: argosy.Server, model: str, said: str) -> None:
    with pytest.raises(argosy.Unavailable, match=said):
        ask(server, model, 3)
    assert ask(server, model, 0) == [0]  # waits for the new process


def test_a_killed_process_is_noticed_at_once_and_others_do_not_notice(server: argosy.Server) -> None:
    closed = Path(os.environ["ARGOSY_TEST_NOTE"] + "closed")

    def problem() -> str:
        return next(problem for name, _, problem in server.engine.models() if name == "pid")

    noticed: list[float] = []
    while not noticed or (
        min(noticed) >= 0.1 and len(noticed) < 4
    ):  # the machine may be late, the server not each time
        process = int(ask(server, "pid", 0)[0])
        closed.touch()
        os.kill(process, signal.SIGKILL)
        noticed.append(until(lambda: problem() != ""))
        until(lambda: "signal 9" in problem())
        assert ask(server, "same", 5) == [5]
        closed.unlink()
        assert int(ask(server, "pid", 0)[0]) != process
        until(lambda: problem() == "")
    assert min(noticed) < 0.1, noticed


def test_a_hanging_execute_is_ended_by_its_limit(server: argosy.Server) -> None:
    with pytest.raises(argosy.Unavailable, match=r"did not return from execute within 0\.5"):
        ask(server, "hangs", 1)

    def is_back() -> bool:
        try:
            return ask(server, "hangs", 0) == [0]
        except argosy.Unavailable as error:
            if "did not return from execute" not in str(error):
                raise
            return False  # the machine slept for longer than the limit

    until(is_back)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("wrong_type", r"returned FP64 \[2\], expected data type FP32"),
        ("wrong_shape", r"shape \[2,1\], expected \[-1\]"),
    ],
)
def test_an_output_that_breaks_the_configuration_is_an_error(server: argosy.Server, model: str, said: str) -> None:
    with pytest.raises(argosy.Internal, match=said):
        ask(server, model, 1, 2)


def test_a_decoupled_model_streams_its_responses(server: argosy.Server) -> None:
    responses = server.stream("repeats", {"X": np.arange(20, dtype=np.float32)})
    assert [float(one["Y"][0]) for one in responses] == list(range(20))
    assert list(server.stream("repeats", {"X": np.zeros(0, np.float32)})) == []


def test_a_running_model_sees_that_its_caller_left(server: argosy.Server) -> None:
    note, began = (Path(os.environ["ARGOSY_TEST_NOTE"] + name) for name in ("7", "7began"))
    for file in (note, began):  # of the time before
        file.unlink(missing_ok=True)
    responses = server.engine.infer_stream("notices", -1, {"X": np.array([7], np.float32)}, options={})
    until(began.exists)
    assert not note.exists()
    responses.cancel()
    until(note.exists)


def test_a_model_calls_another_model(server: argosy.Server) -> None:
    assert ask(server, "calls", 1, 2) == [2, 3]
    large = np.ones(100_000, np.float32)
    for _ in range(50):
        assert float(server.infer("calls", {"X": large})["Y"].sum()) == 200_000


def test_a_model_that_does_not_start_says_why(tmp_path: Path) -> None:
    write(tmp_path, "broken", body="import there_is_no_such_module\n")
    with pytest.raises(argosy.ArgosyError, match="there_is_no_such_module"), argosy.Server(tmp_path):
        pass


def test_stopping_leaves_no_process_and_no_descriptor(tmp_path: Path) -> None:
    write(tmp_path, "pid", run="        return np.array([os.getpid()], np.float32)")

    def round_trip() -> int:
        with argosy.Server(tmp_path) as server:
            return int(ask(server, "pid", 0)[0])

    round_trip()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        process = round_trip()
        assert not Path(f"/proc/{process}").exists()
    until(lambda: len(os.listdir("/proc/self/fd")) <= before)


def test_a_model_completes_its_own_configuration(tmp_path: Path) -> None:
    write(
        tmp_path,
        "knows",
        body=BODY.replace(
            "class TritonPythonModel:",
            "class TritonPythonModel:\n"
            "    @staticmethod\n"
            "    def auto_complete_config(config):\n"
            "        config.add_input({'name': 'X', 'data_type': 'TYPE_FP32', 'dims': [-1]})\n"
            "        config.add_output({'name': 'Y', 'data_type': 'TYPE_FP32', 'dims': [-1]})\n"
            "        config.set_max_batch_size(4)\n"
            "        return config",
        ),
    )
    (tmp_path / "knows" / "config.pbtxt").write_text('backend: "python"\n', encoding="utf-8")
    with argosy.Server(tmp_path) as server:
        assert server.config("knows")["max_batch_size"] == 4
        sent = np.ones((2, 3), np.float32)
        assert np.array_equal(server.infer("knows", {"X": sent})["Y"], sent)


def test_killing_the_server_leaves_no_process_behind(tmp_path: Path) -> None:
    write(tmp_path, "pid", run="        return np.array([os.getpid()], np.float32)")
    program = (
        "import sys, numpy as np, argosy\n"
        "server = argosy.Server(sys.argv[1]).start()\n"
        "print(int(server.infer('pid', {'X': np.zeros(1, np.float32)})['Y'][0]), flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        process = int(server.stdout.readline())
        assert Path(f"/proc/{process}").exists()
        server.kill()
        server.wait()

    until(lambda: not alive(process))


@pytest.mark.slow
def test_memory_does_not_grow_over_many_calls_between_models(server: argosy.Server) -> None:
    sizes = [4, 4_000, 40_000]

    def resident() -> int:
        fields = Path("/proc/self/statm").read_text(encoding="utf-8").split()
        return int(fields[1]) * 4096

    def burst() -> int:
        for n in range(2_000):
            server.infer("calls", {"X": np.zeros(sizes[n % 3], np.float32)})
        gc.collect()
        return resident()

    settles(burst, resident() // 20)
