"""What a `model.py` may rely on, seen from a client: arguments, parameters, texts of errors, the log."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as grpcclient
from serving import Server, serve
from serving.process import Ended
from serving.waiting import until

statement = pytest.mark.statement

CONFIG = """backend: "python"
input { name: "ASK" data_type: TYPE_STRING dims: 1 }
input { name: "MAYBE" data_type: TYPE_STRING dims: -1 optional: true }
output { name: "TOLD" data_type: TYPE_STRING dims: -1 }
instance_group { count: 1 kind: KIND_CPU }
parameters { key: "color" value { string_value: "green" } }
"""
SOURCE = """
import json
import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        self.args = args

    def execute(self, requests):
        if any(self.word(request) == "too few" for request in requests):
            return []
        return [self.answer(request) for request in requests]

    def word(self, request):
        return pb_utils.get_input_tensor_by_name(request, "ASK").as_numpy()[0].decode()

    def answer(self, request):
        word = self.word(request)
        maybe = pb_utils.get_input_tensor_by_name(request, "MAYBE")
        told, parameters = [], None
        if word == "args":
            told = [json.dumps(self.args)]
        elif word == "maybe":
            told = ["none"] if maybe is None else [str(maybe.as_numpy().dtype), *map(repr, maybe.as_numpy())]
        elif word == "parameters":
            told = [request.parameters()]
        elif word == "divide":
            told = [1 / 0]
        elif word == "log":
            for level in ("info", "warn", "error"):
                getattr(pb_utils.Logger, "log_" + level)(f"said at level {level}")
        elif word == "answer parameters":
            parameters = {"flag": True, "count": 7, "share": 0.5, "name": "n"}
        tensor = pb_utils.Tensor("TOLD", np.array([str(one).encode() for one in told], dtype=np.object_))
        return pb_utils.InferenceResponse([tensor], parameters=parameters)
"""
BLS_CANCEL = """
import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        call = pb_utils.InferenceRequest(
            model_name="endless", requested_output_names=["OUT"],
            inputs=[pb_utils.Tensor("IN", np.zeros(1, np.int32))])
        responses, seen = call.exec(decoupled=True), 0
        for response in responses:
            if response.has_error():
                code = response.error().code()
                return self.told(f"{seen >= 3} {code == pb_utils.TritonError.CANCELLED}")
            seen += len(response.output_tensors())
            if seen == 3:
                responses.cancel()
        return self.told(f"{seen >= 3} ended")

    def told(self, text):
        return pb_utils.InferenceResponse([pb_utils.Tensor("TOLD", np.array([text.encode()], dtype=np.object_))])
"""
ENDLESS = """
import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        for request in requests:
            sender = request.get_response_sender()
            while not sender.is_cancelled():
                sender.send(pb_utils.InferenceResponse([pb_utils.Tensor("OUT", np.zeros(1, np.int32))]))
            sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
"""
ENDLESS_CONFIG = """backend: "python"
model_transaction_policy { decoupled: true }
input { name: "IN" data_type: TYPE_INT32 dims: 1 }
output { name: "OUT" data_type: TYPE_INT32 dims: 1 }
"""


def write(root: Path, name: str, config: str, source: str) -> None:
    (root / name / "1").mkdir(parents=True)
    (root / name / "config.pbtxt").write_text(config, encoding="utf-8")
    (root / name / "1" / "model.py").write_text(source, encoding="utf-8")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("contract") / "models"
    write(root, "m", CONFIG, SOURCE)
    write(root, "cancels", CONFIG, BLS_CANCEL)
    write(root, "endless", ENDLESS_CONFIG, ENDLESS)
    with serve(root, "--http-header-forward-pattern=x-.*") as running:
        yield running


def ask(
    server: Server, word: str, model: str = "m", maybe: list[str] | None = None, **more: object
) -> dict[str, object]:
    rows = [{"name": "ASK", "datatype": "BYTES", "shape": [1], "data": [word]}]
    if maybe is not None:
        rows.append({"name": "MAYBE", "datatype": "BYTES", "shape": [len(maybe)], "data": maybe})
    answer = server.infer(model, rows, **more)  # type: ignore[arg-type]
    assert answer.status == 200, answer.body
    return dict(answer.json)


def told(answer: dict[str, object]) -> list[str]:
    return list(answer["outputs"][0]["data"])  # type: ignore[index]


@statement("T288")
def test_initialize_gets_the_six_arguments(server: Server) -> None:
    args = json.loads(told(ask(server, "args"))[0])
    keys = ("config", "instance_kind", "instance_device_id", "repository", "version", "name")
    assert {f"model_{key}" for key in keys} <= set(args)
    assert all(isinstance(value, str) for value in args.values())
    assert args["model_name"] == "m" and args["model_version"] == "1" and args["model_instance_kind"] == "CPU"
    assert Path(args["model_repository"]).name == "m"
    config = json.loads(args["model_config"])
    assert config["parameters"]["color"]["string_value"] == "green"


@statement("T303", "T304")
def test_a_missing_optional_input_is_none_and_texts_are_bytes_objects(server: Server) -> None:
    assert told(ask(server, "maybe")) == ["none"]
    assert told(ask(server, "maybe", maybe=["a", "é"])) == ["object", "b'a'", repr("é".encode())]


@statement("T066", "T295")
def test_parameters_and_forwarded_headers_reach_the_model(server: Server) -> None:
    sent = {"text": "a", "number": 3, "share": 0.25, "flag": True}
    rows = [{"name": "ASK", "datatype": "BYTES", "shape": [1], "data": ["parameters"]}]
    answer = server.infer("m", rows, {"x-tenant": "blue", "other": "no"}, parameters=sent)
    got = json.loads(told(answer.json)[0])
    assert {key: got.get(key) for key in sent} == sent
    assert got.get("x-tenant") == "blue" and "other" not in got


@statement("T075", "T294")
def test_parameters_of_a_response_reach_the_client(server: Server) -> None:
    expected = {"flag": True, "count": 7, "share": 0.5, "name": "n"}
    assert ask(server, "answer parameters")["parameters"] == expected
    tensor = grpcclient.InferInput("ASK", [1], "BYTES")
    tensor.set_data_from_numpy(np.array([b"answer parameters"], dtype=object))
    with grpcclient.InferenceServerClient(server.grpc) as client:
        response = client.infer("m", [tensor]).get_response()
    got = {name: getattr(value, value.WhichOneof("parameter_choice")) for name, value in response.parameters.items()}
    assert {name: got[name] for name in expected} == expected


@statement("T284", "T286")
@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("divide", ["ZeroDivisionError: division by zero", "At:", "model.py(", "): answer"]),
        (
            "too few",
            [
                "Number of InferenceResponse objects do not match the number of InferenceRequest objects. "
                "InferenceRequest(s) size is:1, and InferenceResponse(s) size is:0"
            ],
        ),
    ],
)
def test_errors_of_execute_have_the_documented_texts(server: Server, word: str, said: list[str]) -> None:
    answer = server.infer("m", [{"name": "ASK", "datatype": "BYTES", "shape": [1], "data": [word]}])
    assert answer.status == 500
    assert answer.error.startswith("Failed to process the request(s) for model instance 'm_0_0', message: ")
    for part in said:
        assert part in answer.error


@statement("T287")
def test_an_exception_in_initialize_fails_the_load_with_its_text(tmp_path: Path) -> None:
    write(tmp_path, "broken", CONFIG, SOURCE.replace("self.args = args", "raise RuntimeError('no licence for this')"))
    with pytest.raises(Ended, match="no licence for this") as ended, serve(tmp_path):
        pass
    assert ended.value.code == 1


@statement("T300")
def test_the_logger_writes_at_its_levels_into_the_servers_log(server: Server) -> None:
    ask(server, "log")
    found: dict[str, str] = {}

    def all_three() -> bool:  # the log is written by a thread of its own
        found.update(re.findall(r"(?m)^([A-Z]).*said at level (\w+)", server.log))
        return len(found) == 3

    until(all_three)
    assert found == {"I": "info", "W": "warn", "E": "error"}


@statement("T293")
def test_a_model_that_has_heard_enough_stops_the_other(server: Server) -> None:
    assert told(ask(server, "", model="cancels"))[0] in ("True True", "True ended")
