"""The rules of execute() in its modes, and what requests are answered with when a model breaks them."""

from __future__ import annotations

import gc
import json
from typing import Any

import numpy as np
import pytest
from argosy.errors import Internal, InvalidArgument
from serving.waiting import until

HEAD = "import numpy as np\nimport triton_python_backend_utils as pb_utils\n"
ADD_SUB = (
    HEAD
    + """
class TritonPythonModel:
    def execute(self, requests):
        responses = []
        for request in requests:
            a = pb_utils.get_input_tensor_by_name(request, "A").as_numpy()
            b = pb_utils.get_input_tensor_by_name(request, "B").as_numpy()
            out = [pb_utils.Tensor("SUM", a + b), pb_utils.Tensor("DIFF", a - b)]
            responses.append(pb_utils.InferenceResponse(out, parameters={"rows": 1}))
        return responses
"""
)
DECOUPLED = json.dumps({"model_transaction_policy": {"decoupled": True}})
PREFIX = "Failed to process the request(s) for model instance 'm_0_0', message: "


def execute(body: str, extra: str = "") -> str:
    lines = "".join(f"        {line}\n" for line in body.splitlines())
    return f"{HEAD}{extra}\nclass TritonPythonModel:\n    def execute(self, requests):\n{lines}"


def ab(bench: Any, **fields: Any) -> Any:
    return bench.request(inputs={"A": np.float32([3, 4]), "B": np.float32([1, 2])}, **fields)


def test_each_request_of_a_batch_gets_its_own_response(bench: Any) -> None:
    runner = bench.start(ADD_SUB)
    first, second = ab(bench), ab(bench)
    runner.execute([first, second])
    for request in (first, second):
        np.testing.assert_array_equal(bench.host.outputs(request.handle)["SUM"], [4, 6])
        assert bench.host.final(request.handle).parameters == {"rows": 1}


def test_only_requested_outputs_are_sent(bench: Any) -> None:
    runner = bench.start(ADD_SUB)
    request = ab(bench, requested_outputs=("DIFF",))
    runner.execute([request])
    assert list(bench.host.outputs(request.handle)) == ["DIFF"]


def test_an_exception_answers_every_request_with_its_text_and_places(bench: Any) -> None:
    runner = bench.start(execute("return helper()", "def helper():\n    return 1 / 0\n"))
    requests = [ab(bench), ab(bench)]
    runner.execute(requests)
    path = bench.directory / "model.py"
    expected = f"{PREFIX}ZeroDivisionError: division by zero\n\nAt:\n  {path}(4): helper\n  {path}(8): execute\n"
    for request in requests:
        assert bench.host.failure(request.handle) == ("internal", expected)
    ((level, message, handle),) = bench.host.lines
    assert (level, handle) == ("error", requests[0].handle)
    assert "Traceback (most recent call last)" in message and "return 1 / 0" in message


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("return 7", "Expected a list in the execute return, found type '<class 'int'>'."),
        ("return None", "Expected a list in the execute return, found type '<class 'NoneType'>'."),
        (
            "return []",
            "Number of InferenceResponse objects do not match the number of InferenceRequest objects. "
            "InferenceRequest(s) size is:1, and InferenceResponse(s) size is:0\n",
        ),
        (
            "return ['x']",
            "Expected an 'InferenceResponse' object in the execute function return list, found type '<class 'str'>'.",
        ),
        (
            "return [None]",
            "Expected an 'InferenceResponse' object in the execute function return list, found type "
            "'<class 'NoneType'>'.",
        ),
    ],
)
def test_a_wrong_return_value_is_named(bench: Any, body: str, text: str) -> None:
    runner = bench.start(execute(body))
    request = ab(bench)
    runner.execute([request])
    assert bench.host.failure(request.handle) == ("internal", PREFIX + text)


@pytest.mark.parametrize(
    ("code", "server"),
    [
        ("UNKNOWN", "internal"),
        ("INTERNAL", "internal"),
        ("NOT_FOUND", "not_found"),
        ("INVALID_ARG", "invalid_argument"),
        ("UNAVAILABLE", "unavailable"),
        ("UNSUPPORTED", "unsupported"),
        ("ALREADY_EXISTS", "already_exists"),
        ("CANCELLED", "cancelled"),
    ],
)
def test_an_error_response_keeps_its_code_and_text(bench: Any, code: str, server: str) -> None:
    body = f"return [pb_utils.InferenceResponse(error=pb_utils.TritonError('no', pb_utils.TritonError.{code}))]"
    runner = bench.start(execute(body))
    request = ab(bench)
    runner.execute([request])
    assert bench.host.failure(request.handle) == (server, "no")


def test_a_response_that_cannot_be_sent_leaves_the_others_alone(bench: Any) -> None:
    runner = bench.start(ADD_SUB)
    good, bad = ab(bench), bench.request(inputs={"A": np.float32([9]), "B": np.float32([0])})
    bench.host.refuses = lambda r: (
        InvalidArgument("too odd") if r.failure is None and r.outputs[0].data[0] == 9 else None
    )
    runner.execute([bad, good])
    assert "too odd" in bench.host.failure(bad.handle).message
    assert "SUM" in bench.host.outputs(good.handle)


def test_a_decoupled_model_sends_any_number_of_responses(bench: Any) -> None:
    body = """
for request in requests:
    sender = request.get_response_sender()
    n = int(pb_utils.get_input_tensor_by_name(request, "N").as_numpy()[0])
    for i in range(n):
        sender.send(pb_utils.InferenceResponse([pb_utils.Tensor("OUT", np.int32([i]))]))
    sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
"""
    runner = bench.start(execute(body), config=DECOUPLED)
    requests = [bench.request(inputs={"N": np.int32([n])}) for n in (3, 0)]
    runner.execute(requests)
    assert [int(one.outputs[0].data[0]) for one in bench.host.stream(requests[0].handle)] == [0, 1, 2]
    assert bench.host.answers[requests[1].handle] == [(None, True)]


def test_a_sender_may_be_used_after_execute_has_returned(bench: Any) -> None:
    body = """
import threading
def later(sender):
    gate.wait()
    sender.send(pb_utils.InferenceResponse([]), pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
for request in requests:
    threading.Thread(target=later, args=(request.get_response_sender(),)).start()
"""
    source = execute(body, "import builtins, threading\ngate = builtins.gate_of_test = threading.Event()\n")
    runner = bench.start(source, config=DECOUPLED)
    request = ab(bench)
    runner.execute([request])
    assert not bench.host.finished[request.handle].is_set()
    import builtins

    builtins.gate_of_test.set()  # type: ignore[attr-defined]
    assert bench.host.final(request.handle).failure is None


def test_a_decoupled_model_must_return_none(bench: Any) -> None:
    runner = bench.start(execute("return [1]"), config=DECOUPLED)
    request = ab(bench)
    runner.execute([request])
    text = "Python model 'm' is using the decoupled mode and the execute function must return None."
    assert bench.host.failure(request.handle).message == PREFIX + text


@pytest.mark.parametrize("config", [DECOUPLED, "{}"])
def test_a_dropped_sender_answers_with_an_error(bench: Any, config: str) -> None:
    runner = bench.start(execute("for request in requests: request.get_response_sender()"), config=config)
    request = ab(bench)
    runner.execute([request])
    gc.collect()
    assert "dropped the response sender" in bench.host.failure(request.handle).message


SENDER = """
errors = []
for request in requests:
    sender = request.get_response_sender()
    empty = pb_utils.InferenceResponse([])
    def attempt(*args, **kwargs):
        try:
            sender.send(*args, **kwargs)
        except pb_utils.TritonModelException as error:
            errors.append(str(error))
"""


def said(bench: Any, steps: str, config: str) -> list[str]:
    runner = bench.start(execute(SENDER + steps + "\nbuiltins.said = errors\n", "import builtins\n"), config=config)
    request = ab(bench)
    runner.execute([request])
    bench.host.final(request.handle) if config == "{}" else bench.host.stream(request.handle)
    import builtins

    found: list[str] = builtins.said  # type: ignore[attr-defined]
    return found


def test_a_sender_refuses_what_its_mode_forbids(bench: Any) -> None:
    assert said(bench, "    attempt(empty, 5)\n    attempt()\n    attempt(flags=1)\n    attempt(empty, 1)\n", "{}") == [
        "Unable to send response. Unsupported flag provided.",
        "Inference Response object must be provided when the response flags is set to zero.",
        "Unable to send response. Non-decoupled model cannot send complete final before sending a response.",
    ]
    assert said(bench, "    attempt(empty, 1)\n    attempt(empty, 1)\n    attempt(flags=1)\n", "{}") == [
        "Unable to send response. Non-decoupled model cannot send more than one response.",
        "Unable to send response. Response sender has been closed.",
    ]
    assert said(bench, "    attempt(empty, 1)\n    attempt(empty)\n", DECOUPLED) == [
        "Unable to send response. Response sender has been closed."
    ]


def test_a_rescheduled_request_is_given_back_and_not_answered(bench: Any) -> None:
    body = """
requests[0].set_release_flags(pb_utils.TRITONSERVER_REQUEST_RELEASE_RESCHEDULE)
return [None, pb_utils.InferenceResponse([])]
"""
    runner = bench.start(execute(body))
    again, done = ab(bench), ab(bench)
    runner.execute([again, done])
    assert bench.host.rescheduled == [again.handle]
    assert bench.host.answers[again.handle] == []
    assert bench.host.final(done.handle).failure is None


def test_a_rescheduled_request_must_have_no_response(bench: Any) -> None:
    body = "requests[0].set_release_flags(2)\nreturn [pb_utils.InferenceResponse([])]"
    runner = bench.start(execute(body))
    request = ab(bench)
    runner.execute([request])
    assert "Expected a None object in the execute function return list" in bench.host.failure(request.handle).message


ASYNC = (
    HEAD
    + """
import asyncio
class TritonPythonModel:
    def initialize(self, args):
        self.both = None
        self.seen = 0
    async def execute(self, requests):
        self.both = self.both or asyncio.Event()
        self.seen += 1
        if self.seen == 2:
            self.both.set()
        await self.both.wait()
        for request in requests:
            request.get_response_sender().send(pb_utils.InferenceResponse([]), 1)
"""
)


def test_async_decoupled_batches_overlap(bench: Any) -> None:
    runner = bench.start(ASYNC, config=DECOUPLED)
    first, second = ab(bench), ab(bench)
    runner.execute([first])
    runner.execute([second])  # the first would wait for ever without it
    assert bench.host.final(first.handle).failure is None
    assert bench.host.final(second.handle).failure is None


def test_async_execute_without_decoupling_is_awaited(bench: Any) -> None:
    source = ADD_SUB.replace("def execute", "async def execute")
    runner = bench.start(source)
    request = ab(bench)
    runner.execute([request])
    assert bench.host.finished[request.handle].is_set()


def test_an_async_exception_answers_its_requests(bench: Any) -> None:
    source = execute("raise ValueError('odd')").replace("def execute", "async def execute")
    runner = bench.start(source, config=DECOUPLED)
    request = ab(bench)
    runner.execute([request])
    assert "ValueError: odd" in bench.host.failure(request.handle).message


def test_initialize_gets_the_documented_arguments_and_its_exception_fails_the_load(bench: Any) -> None:
    source = (
        HEAD
        + """
class TritonPythonModel:
    def initialize(self, args):
        raise RuntimeError(" ".join(sorted(args)))
    def execute(self, requests): ...
"""
    )
    with pytest.raises(Internal) as raised:
        bench.start(source)
    keys = (
        "model_config model_instance_device_id model_instance_kind model_instance_name model_name model_repository "
        "model_version"
    )
    assert raised.value.message.startswith(f"RuntimeError: {keys}\n\nAt:\n")


def test_a_class_without_execute_is_refused(bench: Any) -> None:
    with pytest.raises(InvalidArgument, match="does not implement `execute` method"):
        bench.open("class TritonPythonModel: ...")


def test_an_import_error_is_told_with_its_place(bench: Any) -> None:
    with pytest.raises(Internal, match="ModuleNotFoundError: No module named 'nowhere_to_be_found'\n\nAt:\n"):
        bench.open("import nowhere_to_be_found")


def test_a_file_without_a_model_is_refused(bench: Any) -> None:
    with pytest.raises(InvalidArgument, match="expected a class 'TritonPythonModel' or one subclass"):
        bench.open("x = 1")


def test_finalize_runs_once_and_its_exception_is_logged(bench: Any) -> None:
    source = (
        HEAD
        + """
class TritonPythonModel:
    def execute(self, requests): ...
    def finalize(self):
        raise KeyError("gone")
"""
    )
    bench.start(source).finalize()
    assert any("finalize of 'm_0_0' failed" in message and "KeyError" in message for _, message, _ in bench.host.lines)


@pytest.mark.parametrize(
    ("body", "ready"),
    [
        ("def is_ready(self): return True", True),
        ("def is_ready(self): return False", False),
        ("async def is_ready(self): return True", True),
        ("def is_ready(self): raise ValueError()", False),
        ("def is_ready(self): return 'yes'", False),
        ("pass", True),
    ],
)
def test_readiness_is_the_models_own(bench: Any, body: str, ready: bool) -> None:
    source = f"{HEAD}\nclass TritonPythonModel:\n    def execute(self, requests): ...\n    {body}\n"
    runner = bench.start(source)
    until(lambda: runner.is_ready() is ready)  # false as well where the model's answer takes five seconds


def test_auto_complete_changes_the_configuration(bench: Any) -> None:
    source = (
        HEAD
        + """
class TritonPythonModel:
    @staticmethod
    def auto_complete_config(config):
        config.add_input({"name": "X", "data_type": "TYPE_FP32", "dims": [4]})
        config.add_output({"name": "Y", "data_type": "TYPE_FP32", "dims": [4]})
        config.set_max_batch_size(8)
        config.set_dynamic_batching()
        config.set_model_transaction_policy({"decoupled": True})
        return config
    def execute(self, requests): ...
"""
    )
    assert bench.open(source).auto_complete({"name": "m"}) == {
        "name": "m",
        "max_batch_size": 8,
        "input": [{"name": "X", "data_type": "TYPE_FP32", "dims": [4]}],
        "output": [{"name": "Y", "data_type": "TYPE_FP32", "dims": [4]}],
        "dynamic_batching": {},
        "model_transaction_policy": {"decoupled": True},
    }


def test_auto_complete_must_return_the_configuration(bench: Any) -> None:
    source = (
        HEAD
        + """
class TritonPythonModel:
    @staticmethod
    def auto_complete_config(config): ...
    def execute(self, requests): ...
"""
    )
    with pytest.raises(InvalidArgument, match="must return a valid pb"):
        bench.open(source).auto_complete({"name": "m"})


def test_a_request_tells_everything_about_itself(bench: Any) -> None:
    body = """
(r,) = requests
facts = [r.request_id(), r.correlation_id(), r.flags(), r.timeout(), r.priority(), r.parameters(),
         r.requested_output_names(), r.is_cancelled(), r.trace().get_context(),
         pb_utils.get_input_tensor_by_name(r, "nothing")]
return [pb_utils.InferenceResponse([pb_utils.Tensor("F", np.array([repr(facts)], dtype=object))])]
"""
    runner = bench.start(execute(body))
    request = bench.request(
        id="r1",
        correlation_id="s",
        flags=3,
        timeout_us=5,
        priority=2,
        parameters={"a": 1, "b": True, "c": "x", "d": 0.5},
        requested_outputs=("F",),
        traceparent="00-1-2-01",
    )
    bench.host.cancelled.add(request.handle)
    runner.execute([request])
    (facts,) = bench.host.outputs(request.handle)["F"]
    assert facts.decode() == repr(
        [
            "r1",
            "s",
            3,
            5,
            2,
            '{"a": 1, "b": true, "c": "x", "d": 0.5}',
            ["F"],
            True,
            '{"traceparent": "00-1-2-01"}',
            None,
        ]
    )


@pytest.mark.parametrize("kind", ["GeneratorExit", "BaseException"])
def test_an_exception_that_is_no_exception_is_answered(bench: Any, kind: str) -> None:
    runner = bench.start(execute(f"raise {kind}('odd')"))
    request = ab(bench)
    runner.execute([request])
    assert bench.host.failure(request.handle).message.startswith(f"{PREFIX}{kind}: odd\n\nAt:\n")


def test_an_initialize_that_nothing_would_run_is_refused(bench: Any) -> None:
    source = execute("return []") + "    async def initialize(self, args):\n        pass\n"
    with pytest.raises(InvalidArgument, match="initialize is 'async def' and would never run"):
        bench.start(source)


def test_a_call_that_cannot_be_sent_is_an_exception_of_the_module(bench: Any) -> None:
    def refuse(*_: Any) -> Any:
        raise InvalidArgument("cannot be sent")

    bench.host.infer_async = bench.host.infer = refuse
    body = """
import asyncio
call = pb_utils.InferenceRequest(model_name="other", requested_output_names=["Y"], inputs=[])
said = []
for way in (call.exec, lambda: call.exec(decoupled=True), lambda: asyncio.run(call.async_exec())):
    try:
        way()
    except pb_utils.TritonModelException as error:
        said.append(str(error).encode())
return [pb_utils.InferenceResponse([pb_utils.Tensor("SAID", np.array(said, object))])]
"""
    runner = bench.start(execute(body))
    request = ab(bench)
    runner.execute([request])
    said = bench.host.outputs(request.handle)["SAID"]
    assert list(said) == 3 * [b"An error occurred while performing BLS request. cannot be sent"]
