"""Whose turn a call is: it has the priority of the request that it is made for."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from serving import Server, serve
from serving.python_repository import write_model
from serving.waiting import pending, running, until

TAKES_TURNS = """
def initialize(self, args):
    self.go, self.order = (os.path.join(args["model_repository"], name) for name in ("go", "order"))

def execute(self, requests):
    for request in requests:
        with open(self.order, "a") as file:
            file.write(request.request_id() + " ")
        while not os.path.exists(self.go):
            time.sleep(0.002)
    return [response(tensor(request)) for request in requests]
"""
LEVELS = (
    "max_batch_size: 1\ninstance_group { count: 1 kind: KIND_CPU }\n"
    "dynamic_batching { priority_levels: 3 default_priority_level: 2 }\n"
)
ASKS = """
def execute(self, requests):
    return [self.answer(request) for request in requests]

def answer(self, request):
    import argosy

    x, identity, own = np.zeros((1, 1), np.float32), request.request_id(), int(tensor(request)[0])
    if own:
        return response(argosy.bls.infer("takes_turns", {"X": x}, id=identity, priority=own)["Y"][0])
    call = pb_utils.InferenceRequest(
        model_name="takes_turns", request_id=identity, requested_output_names=["Y"], inputs=[pb_utils.Tensor("X", x)])
    return response(call.exec().output_tensors()[0].as_numpy()[0])
"""


def held_back(server: Server, behind: int) -> None:
    """Waits until one call runs and so many wait behind it."""
    until(lambda: running(server, "takes_turns") == 1 and pending(server, "takes_turns") == behind)


def test_a_call_has_the_priority_of_its_request_unless_it_has_its_own(tmp_path: Path) -> None:
    write_model(tmp_path, "takes_turns", TAKES_TURNS, LEVELS)
    write_model(tmp_path, "asks", ASKS, "instance_group { count: 4 kind: KIND_CPU }\n")
    # Its name, the priority that the call is given, and that of its request; 0 is none, and the model's default is 2.
    asked = [("first", 0, 0), ("late", 3, 1), ("usual", 0, 0), ("urgent", 0, 1)]
    with serve(tmp_path) as server, ThreadPoolExecutor(len(asked)) as clients:
        answers = []
        try:
            for behind, (name, own, priority) in enumerate(asked):
                x = [{"name": "X", "shape": [1], "datatype": "FP32", "data": [own]}]
                answers.append(clients.submit(server.infer, "asks", x, id=name, parameters={"priority": priority}))
                held_back(server, behind)
        finally:
            (tmp_path / "takes_turns" / "go").touch()
        assert [answer.result().status for answer in answers] == [200] * len(asked)
    order = (tmp_path / "takes_turns" / "order").read_text().split()
    assert order == ["first", "urgent", "usual", "late"]
