"""What a request hands on to the calls that are made for it: its trace, its deadline, and that its client left."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import tritonclient.grpc as grpcclient
from serving import Server, serve
from serving.python_repository import write_model
from serving.waiting import running, until

TEXT = """
input [ { name: "X" data_type: TYPE_STRING dims: [ 1 ] } ]
output [ { name: "Y" data_type: TYPE_STRING dims: [ 1 ] } ]
"""
TRACE = "0af7651916cd43dd8448eb211c80319c"
MODELS = {
    "tells_trace": """
def execute(self, requests):
    told = [str(request.trace().get_context()).encode() for request in requests]
    return [pb_utils.InferenceResponse([pb_utils.Tensor("Y", np.array([one], object))]) for one in told]
""",
    "sleeps": """
def execute(self, requests):
    end = time.monotonic() + 600
    while time.monotonic() < end and not requests[0].is_cancelled():
        time.sleep(0.002)
    self.note("left" if requests[0].is_cancelled() else "slept")
    return [pb_utils.InferenceResponse([pb_utils.Tensor("Y", np.array([b"late"], object))]) for _ in requests]

def initialize(self, args):
    self.file = os.path.join(args["model_repository"], "noted")

def note(self, text):
    with open(self.file, "w") as file:
        file.write(text)
""",
    "asks": """
def execute(self, requests):
    return [self.answer(request) for request in requests]

def answer(self, request):
    name = pb_utils.get_input_tensor_by_name(request, "X").as_numpy()[0].decode()
    call = pb_utils.InferenceRequest(model_name=name, requested_output_names=["Y"], inputs=request.inputs())
    called = call.exec()
    return pb_utils.InferenceResponse(called.output_tensors(), called.error())
""",
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("passed_on") / "models"
    for name, body in MODELS.items():
        write_model(made, name, body, io=TEXT)
    return made


@pytest.fixture(scope="module")
def server(root: Path) -> Iterator[Server]:
    with serve(root) as running:
        yield running


@pytest.fixture(autouse=True)
def _nothing_noted(root: Path) -> None:
    (root / "sleeps" / "noted").unlink(missing_ok=True)


def noted(root: Path, model: str) -> str:
    file = root / model / "noted"
    until(lambda: file.exists() and file.read_text() != "")
    return file.read_text()


def words(text: str) -> list[dict[str, object]]:
    return [{"name": "X", "shape": [1], "datatype": "BYTES", "data": [text]}]


def test_the_trace_of_a_request_is_that_of_its_calls(server: Server) -> None:
    answer = server.infer("asks", words("tells_trace"), {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"})
    assert answer.status == 200, answer.body
    assert TRACE in answer.json["outputs"][0]["data"][0]


def test_a_call_ends_with_the_deadline_of_its_request(server: Server, root: Path) -> None:
    timeout_us, told = 300_000, root / "sleeps" / "noted"
    while not told.exists():  # a machine that sleeps may let the time pass before the call is made
        server.infer("asks", words("sleeps"), parameters={"timeout": timeout_us})
        until(lambda: running(server, "asks") == 0 and running(server, "sleeps") == 0)
        timeout_us *= 2
    assert noted(root, "sleeps") == "left"  # ten minutes, had it been waited for


def test_a_call_is_cancelled_when_the_client_leaves(server: Server, root: Path) -> None:
    with grpcclient.InferenceServerClient(server.grpc) as client:
        x = grpcclient.InferInput("X", [1], "BYTES")
        x._raw_content = b"\x06\0\0\0sleeps"
        call = client.async_infer("asks", [x], lambda result, error: None)
        until(lambda: running(server, "sleeps") == 1)
        call.cancel()
        assert noted(root, "sleeps") == "left"
