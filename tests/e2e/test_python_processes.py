"""What a model may do with the process it runs in: fork, spawn, exit, keep threads, close its outputs."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import argosy
import numpy as np
import pytest
import tritonclient.grpc as grpcclient
from serving import Server, serve
from serving.http import Answer
from serving.process import alive, launch
from serving.python_repository import answering, write_model
from serving.waiting import until
from tritonclient.utils import InferenceServerException

HEADS = {
    "spawns": "def double(x):\n    return 2 * x\n\n\n",
    "relative": "from .beside import ADDED\n\n\n",
    "talks": """
def talk():
    for number in range(200):
        pb_utils.Logger.log_info(f"said in a process of the model's own {number}")
    try:
        pb_utils.InferenceRequest(model_name="plain", requested_output_names=["Y"], inputs=[]).exec()
    except pb_utils.TritonModelException as error:
        print(f"refused: {error}", flush=True)


""",
}
MODELS = {
    "plain": "x",
    "comes_back": "x + (os.fork() == 0)",
    "raises_in_child": "x if os.fork() else 1 / 0",
    "exits_in_child": "x if os.fork() else exit(0)",
    "spawns": "__import__('multiprocessing').get_context('spawn').Pool(1).map(double, list(x))",
    "relative": "x + ADDED",
    "own_exit": "exit(3)",
}
BODIES = {
    "talks": """
def execute(self, requests):
    import multiprocessing

    child = multiprocessing.get_context("fork").Process(target=talk)
    child.start()
    for number in range(200):
        pb_utils.Logger.log_info(f"said in the model's process {number}")
    child.join(60)
    code = child.exitcode
    child.kill()
    return [response([code]) for _ in requests]
""",
    "exits_with_a_thread": """
def execute(self, requests):
    import sys, threading

    threading.Thread(target=time.sleep, args=(3600,)).start()
    sys.exit(3)
""",
    "panics": """
def execute(self, requests):
    raise GeneratorExit("an exception that is no Exception")
""",
    "keeps_processes": """
def initialize(self, args):
    import multiprocessing, subprocess

    child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(3600,), daemon=True)
    child.start()
    self.mine = [os.getpid(), child.pid, subprocess.Popen(["sleep", "3600"]).pid]

def execute(self, requests):
    return [response(self.mine) for _ in requests]
""",
    "long_words": """
def execute(self, requests):
    error = pb_utils.TritonError("begin " + 100_000 * "\\u00e4" + " end", pb_utils.TritonError.NOT_FOUND)
    return [pb_utils.InferenceResponse(error=error) for _ in requests]
""",
    "calls_itself": """
def execute(self, requests):
    return [self.answer(tensor(request)) for request in requests]

def answer(self, x):
    if x[0] <= 0:
        return response(x)
    call = pb_utils.InferenceRequest(
        model_name="calls_itself", requested_output_names=["Y"], inputs=[pb_utils.Tensor("X", x - 1)])
    return pb_utils.InferenceResponse(call.exec().output_tensors())
""",
    "closes_outputs": """
def initialize(self, args):
    import sys

    sys.stdout.close()
    sys.stderr.close()

def execute(self, requests):
    return [response(tensor(request)) for request in requests]
""",
    "tidies_up": """
def initialize(self, args):
    import atexit, tempfile

    self.directory = tempfile.TemporaryDirectory()
    with open(os.path.join(args["model_repository"], "made"), "w") as file:
        file.write(self.directory.name)
    atexit.register(lambda: print("exit function ran", flush=True))

def execute(self, requests):
    return [response(tensor(request)) for request in requests]
""",
}


def write_repository(root: Path) -> None:
    for name, expression in MODELS.items():
        write_model(root, name, answering(expression))
    for name, body in BODIES.items():
        write_model(root, name, body)
    for name, head in HEADS.items():
        file = root / name / "1" / "model.py"
        file.write_text(file.read_text().replace("class TritonPythonModel", f"{head}class TritonPythonModel"))
    (root / "relative" / "1" / "beside.py").write_text("ADDED = 40\n")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("processes") / "models"
    write_repository(made)
    return made


@pytest.fixture(scope="module")
def server(root: Path) -> Iterator[Server]:
    with serve(root) as running:
        yield running


def ask(server: Server, model: str) -> Answer:
    return server.infer(model, [{"name": "X", "shape": [2], "datatype": "FP32", "data": [1, 2]}])


def output(server: Server, model: str) -> list[float]:
    answer = ask(server, model)
    assert answer.status == 200, answer.body
    return list(answer.json["outputs"][0]["data"])


@pytest.mark.parametrize("model", ["comes_back", "raises_in_child", "exits_in_child"])
def test_a_process_that_execute_forked_answers_nothing(server: Server, model: str) -> None:
    for _ in range(20):
        assert output(server, model) == [1, 2]


def test_a_forked_process_may_log_and_is_refused_by_name_what_it_cannot_have(server: Server) -> None:
    before = server.log
    said = {
        "said in a process of the model's own": 600,
        "said in the model's process": 600,
        "refused: An error occurred while performing BLS request. only the model's own process can": 3,
    }
    for _ in range(3):
        assert output(server, "talks") == [0]
    until(lambda: {text: server.log.count(text) - before.count(text) for text in said} == said)


def test_a_pool_of_spawned_processes_reads_the_models_file(server: Server) -> None:
    assert output(server, "spawns") == [2, 4]


def test_a_file_beside_the_model_is_imported_relatively(server: Server) -> None:
    assert output(server, "relative") == [41, 42]


@pytest.mark.parametrize("model", ["own_exit", "exits_with_a_thread"])
def test_a_model_that_exits_is_told_as_such_whatever_threads_it_keeps(server: Server, model: str) -> None:
    answer = ask(server, model)
    assert answer.status == 503
    assert "exited with code 3" in answer.json["error"]


def test_an_exception_that_is_no_exception_is_an_answer_like_others(server: Server) -> None:
    for _ in range(2):
        answer = ask(server, "panics")
        assert answer.status == 500
        assert "GeneratorExit: an exception that is no Exception" in answer.json["error"]


def test_a_model_may_close_its_outputs_and_its_exit_functions_run(root: Path) -> None:
    with serve(
        root, "--model-control-mode=explicit", "--load-model=closes_outputs", "--load-model=tidies_up"
    ) as server:
        assert output(server, "closes_outputs") == [1, 2]
        made = Path((root / "tidies_up" / "made").read_text())
        assert made.is_dir()
        for model in ("tidies_up", "closes_outputs"):
            assert server.ask("POST", f"/v2/repository/models/{model}/unload", {}).status == 200
        until(lambda: not made.exists())
        until(lambda: "exit function ran" in server.log)


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_what_a_model_started_ends_with_the_server_however_that_ends(root: Path, end: int) -> None:
    with serve(root, "--model-control-mode=explicit", "--load-model=keeps_processes") as server:
        processes = [int(process) for process in output(server, "keeps_processes")]
        assert all(map(alive, processes))
        server.send_signal(end)
        server.wait()
        until(lambda: not any(map(alive, processes)))


def test_a_model_that_would_wait_for_itself_is_told_so(server: Server) -> None:
    answer = ask(server, "calls_itself")
    assert answer.status == 500
    assert "model 'calls_itself' calls itself and waits, and has one instance" in answer.json["error"]


def test_a_model_with_room_may_call_itself(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root / "calls_itself", tmp_path / "calls_itself")
    with (tmp_path / "calls_itself" / "config.pbtxt").open("a") as config:
        config.write("instance_group { count: 2 kind: KIND_CPU }\n")
    with argosy.Server(tmp_path) as server:
        np.testing.assert_array_equal(server.infer("calls_itself", {"X": np.float32([1, 2])})["Y"], [0, 1])


def test_a_reason_of_any_length_reaches_a_grpc_client_with_its_code(server: Server) -> None:
    with grpcclient.InferenceServerClient(server.grpc) as client:
        x = grpcclient.InferInput("X", [1], "FP32")
        x.set_data_from_numpy(np.float32([1]))
        with pytest.raises(InferenceServerException) as raised:
            client.infer("long_words", [x], client_timeout=30)
    assert raised.value.status() == "StatusCode.NOT_FOUND"
    text = raised.value.message()
    assert text.startswith("begin \u00e4")
    assert text.endswith("\u00e4 end")
    assert "bytes more" in text
    assert ask(server, "long_words").json["error"] == "begin " + 100_000 * "\u00e4" + " end"


HANGS = """
def initialize(self, args):
    open(os.path.join(args["model_repository"], "began"), "w").close()
    time.sleep(3600)

def execute(self, requests):
    return []
"""


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (HANGS, "was still busy when the server stopped and was killed before the model was initialised"),
        (
            "open(os.path.join(os.path.dirname(__file__), '..', 'began'), 'w').close()\ntime.sleep(3600)\n"
            "def auto_complete_config(config):\n    return config\n" + HANGS,
            "auto-complete of model 'hangs' was given up: the server stops",
        ),
    ],
    ids=["initialize", "auto-complete"],
)
def test_a_model_that_never_finishes_loading_does_not_keep_a_starting_server(
    tmp_path: Path, source: str, said: str
) -> None:
    write_model(tmp_path, "hangs", source)
    process = launch(tmp_path, "--exit-timeout-secs=600", stderr=subprocess.PIPE)
    until((tmp_path / "hangs" / "began").exists)
    process.terminate()
    try:
        _, log = process.communicate(timeout=60)  # long before the exit timeout
    finally:
        process.kill()
    assert process.returncode == 1
    assert said in log


def test_a_model_that_never_finishes_loading_does_not_keep_a_running_server(tmp_path: Path) -> None:
    write_model(tmp_path, "hangs", HANGS)
    arguments = ["--model-control-mode=explicit", "--exit-timeout-secs=1"]
    with serve(tmp_path, *arguments) as server, ThreadPoolExecutor() as others:
        load = others.submit(server.ask, "POST", "/v2/repository/models/hangs/load", {})
        until((tmp_path / "hangs" / "began").exists)
        server.send_signal()
        assert server.wait() == 1
        with suppress(OSError):  # its connection may be gone, its answer is not late
            assert "was still busy when the server stopped" in load.result(60).body.decode()


@pytest.mark.parametrize("word", ["'no weights'", "4"])
def test_a_model_that_exits_while_it_loads_fails_the_load_with_its_word(tmp_path: Path, word: str) -> None:
    body = f"""
def initialize(self, args):
    import sys, threading

    threading.Thread(target=time.sleep, args=(3600,)).start()
    sys.exit({word})

def execute(self, requests):
    return []
"""
    write_model(tmp_path / "models", "leaver", body)
    with pytest.raises(argosy.ArgosyError, match="SystemExit: " + word.strip("'")), argosy.Server(tmp_path / "models"):
        pass


def test_what_lies_in_the_servers_directory_is_no_module_of_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "elsewhere"
    place.mkdir()
    for module in ("types", "random", "queue", "fractions"):
        (place / f"{module}.py").write_text("raise RuntimeError('the wrong file')\n")
    write_model(tmp_path / "models", "plain", "import fractions, queue, random\n" + answering("x"))
    monkeypatch.chdir(place)
    with argosy.Server(tmp_path / "models") as server:
        np.testing.assert_array_equal(server.infer("plain", {"X": np.float32([1, 2])})["Y"], [1, 2])


def test_a_model_that_changed_within_the_second_is_loaded_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    file = write_model(tmp_path, "changes", answering("x + 1")) / "1" / "model.py"
    source = file.read_text()
    with argosy.Server(tmp_path, control_mode=argosy.ControlMode.EXPLICIT) as server:
        for added in range(2, 8):
            file.write_text(source.replace("x + 1", f"x + {added}"))
            server.repository.load("changes")
            np.testing.assert_array_equal(server.infer("changes", {"X": np.float32([0])})["Y"], [added])
