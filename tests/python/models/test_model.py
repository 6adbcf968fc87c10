"""argosy.Model: signature to configuration, requests to arguments, results to responses."""

from __future__ import annotations

import builtins
import json
import threading
from typing import Any

import numpy as np
import pytest
from argosy.errors import Internal, InvalidArgument
from argosy.models.tensors import tensor_value
from hypothesis import given
from hypothesis import strategies as st

HEAD = """
from __future__ import annotations
import asyncio, builtins
from typing import *
import numpy as np
from numpy.typing import NDArray
import argosy
"""


def model(body: str, head: str = "") -> str:
    lines = "".join(f"    {line}\n" for line in body.strip("\n").splitlines())
    return f"{HEAD}{head}\nclass M(argosy.Model):\n{lines}"


SCALE = model("""
def predict(self, x: NDArray[np.float32], factor: float = 2.0) -> NDArray[np.float32]:
    return x * np.float32(factor)
""")


def test_the_signature_is_the_configuration(bench: Any) -> None:
    source = model("""
max_batch_size = 4
max_queue_delay_us = 100
instances = 2
def predict(
    self, a: Annotated[NDArray[np.uint8], (-1, 3)], words: list[str], b: Optional[NDArray[np.float16]] = None
) -> tuple[NDArray[np.float64], list[bytes]]: ...
""")
    assert bench.open(source).auto_complete({"name": "m"}) == {
        "name": "m",
        "max_batch_size": 4,
        "input": [
            {"name": "a", "data_type": "TYPE_UINT8", "dims": [-1, 3]},
            {"name": "words", "data_type": "TYPE_STRING", "dims": [1]},
            {"name": "b", "data_type": "TYPE_FP16", "dims": [-1], "optional": True},
        ],
        "output": [
            {"name": "output0", "data_type": "TYPE_FP64", "dims": [-1]},
            {"name": "output1", "data_type": "TYPE_STRING", "dims": [1]},
        ],
        "dynamic_batching": {"max_queue_delay_microseconds": 100},
        "instance_group": [{"count": 2, "kind": "KIND_CPU"}],
    }


def test_a_stream_is_decoupled_and_a_typed_dict_names_outputs(bench: Any) -> None:
    source = model(
        "def predict(self, n: int) -> Iterator[Out]: yield {'i': n, 'text': 'x'}",
        "class Out(TypedDict):\n    i: int\n    text: str\n",
    )
    config = bench.open(source).auto_complete({})
    assert config["model_transaction_policy"] == {"decoupled": True}
    assert [(one["name"], one["data_type"]) for one in config["output"]] == [
        ("i", "TYPE_INT64"),
        ("text", "TYPE_STRING"),
    ]


def test_dimensions_of_the_file_win_over_open_ones_and_types_must_agree(bench: Any) -> None:
    runner = bench.open(SCALE)
    config = runner.auto_complete({"input": [{"name": "x", "data_type": "TYPE_FP32", "dims": ["8"]}]})
    assert config["input"][0]["dims"] == [8]
    with pytest.raises(InvalidArgument, match="configuration expects datatype TYPE_INT8 for input 'x'"):
        runner.auto_complete({"input": [{"name": "x", "data_type": "TYPE_INT8", "dims": [8]}]})


def test_a_request_becomes_arguments_and_the_result_its_response(bench: Any) -> None:
    runner = bench.start(SCALE)
    given_factor = bench.request(inputs={"x": np.float32([1, 2]), "factor": np.float64([3])})
    default = bench.request(inputs={"x": np.float32([1, 2])})
    runner.execute([given_factor, default])
    np.testing.assert_array_equal(bench.host.outputs(given_factor.handle)["output"], [3, 6])
    np.testing.assert_array_equal(bench.host.outputs(default.handle)["output"], [2, 4])


def test_text_bytes_numbers_and_lists_arrive_as_such(bench: Any) -> None:
    source = model("""
def predict(self, s: str, b: bytes, i: int, f: float, flag: bool, words: list[str], ns: list[int]) -> str:
    return repr((s, b, i, f, flag, words, ns))
""")
    runner = bench.start(source)
    inputs = {
        "s": ["é"],
        "b": [b"\0"],
        "i": [3],
        "f": [0.5],
        "flag": [True],
        "words": ["a", "b"],
        "ns": [1, 2],
    }
    request = bench.request(inputs=inputs)
    runner.execute([request])
    assert bench.host.outputs(request.handle)["output"].tolist() == [
        repr(("é", b"\0", 3, 0.5, True, ["a", "b"], [1, 2])).encode()
    ]


@given(st.lists(st.text(max_size=4), max_size=4), st.lists(st.integers(-(2**63), 2**63 - 1), max_size=4))
def test_lists_round_trip(words: list[str], numbers: list[int]) -> None:
    assert [item.decode() for item in tensor_value("w", words, "BYTES").data] == words
    assert tensor_value("n", numbers, "INT64" if numbers else "").data.tolist() == numbers


@pytest.mark.parametrize(
    ("inputs", "text"),
    [
        ({"s": [b"\xff"]}, "input 's': not UTF-8 text"),
        ({"s": ["a", "b"]}, "input 's': expected one element, got shape [2]"),
        ({}, "input 's' is missing"),
    ],
)
def test_a_request_that_does_not_fit_is_refused_by_name(bench: Any, inputs: dict[str, Any], text: str) -> None:
    runner = bench.start(model("def predict(self, s: str) -> str: return s"))
    request = bench.request(inputs=inputs)
    runner.execute([request])
    failure = bench.host.failure(request.handle)
    assert failure.code == "invalid_argument" and text in failure.message


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("def predict(self, x: int) -> int: return 'a'", "output: tensor 'output': expected INT64, got BYTES"),
        ("def predict(self, x: int) -> int: return 2.5", "expected INT64, got FP64 with values that it cannot hold"),
        ("def predict(self, x: int) -> tuple[int, int]: return (1,)", "expected a tuple of 2: output0, output1"),
        (
            "def predict(self, x: int) -> Annotated[NDArray[np.int8], (2,)]: return np.zeros(3, np.int8)",
            "output 'output': expected dimensions [2], got [3]",
        ),
    ],
)
def test_a_result_that_does_not_fit_is_the_models_fault(bench: Any, body: str, text: str) -> None:
    runner = bench.start(model(body))
    request = bench.request(inputs={"x": [1]})
    runner.execute([request])
    failure = bench.host.failure(request.handle)
    assert failure.code == "internal" and text in failure.message


BATCHED = model("""
max_batch_size = 8
def setup(self) -> None:
    self.seen = builtins.seen = []
def predict(self, x: NDArray[np.float32], tag: list[str]) -> tuple[NDArray[np.float32], list[str]]:
    self.seen.append((x.shape, tag))
    return x + 1, [t.upper() for t in tag]
""")


def test_requests_of_equal_rows_run_together_and_each_gets_its_own_rows(bench: Any) -> None:
    runner = bench.start(BATCHED)

    def request(rows: int, width: int, tag: str) -> Any:
        x = np.full((rows, width), rows, np.float32)
        return bench.request(inputs={"x": x, "tag": np.array([[tag]] * rows, dtype=object)})

    one, two, wide = request(1, 3, "a"), request(2, 3, "b"), request(1, 5, "c")
    runner.execute([one, wide, two])
    assert builtins.seen == [((3, 3), ["a", "b", "b"]), ((1, 5), ["c"])]  # type: ignore[attr-defined]
    outputs = bench.host.outputs(two.handle)
    np.testing.assert_array_equal(outputs["output0"], np.full((2, 3), 3))
    assert outputs["output1"].tolist() == [[b"B"], [b"B"]]
    assert bench.host.outputs(wide.handle)["output0"].shape == (1, 5)


def test_a_batch_with_the_wrong_number_of_rows_is_refused(bench: Any) -> None:
    source = model("max_batch_size = 2\ndef predict(self, x: NDArray[np.int8]) -> NDArray[np.int8]: return x[:1]")
    runner = bench.start(source)
    requests = [bench.request(inputs={"x": np.zeros((1, 2), np.int8)}) for _ in range(2)]
    runner.execute(requests)
    for request in requests:
        assert "output 'output': expected 2 rows, got shape [1, 2]" in bench.host.failure(request.handle).message


def test_a_stream_sends_each_item_as_it_is_produced(bench: Any) -> None:
    runner = bench.start(model("def predict(self, n: int) -> Iterator[int]:\n    yield from range(n)"))
    three, none = bench.request(inputs={"n": [3]}), bench.request(inputs={"n": [0]})
    runner.execute([three, none])
    assert [int(one.outputs[0].data[0]) for one in bench.host.stream(three.handle)] == [0, 1, 2]
    assert bench.host.answers[none.handle] == [(None, True)]


@pytest.mark.parametrize(
    "kind", ["def predict(self, n: int) -> Iterator[int]", "async def predict(self, n: int) -> AsyncIterator[int]"]
)
def test_a_stream_whose_caller_left_is_closed(bench: Any, kind: str) -> None:
    source = model(f"""
{kind}:
    try:
        while True:
            builtins.leave()
            yield n
    finally:
        builtins.closed.set()
""")
    runner = bench.start(source)
    request = bench.request(inputs={"n": [1]})
    builtins.leave = lambda: bench.host.cancelled.add(request.handle)  # type: ignore[attr-defined]
    builtins.closed = threading.Event()  # type: ignore[attr-defined]
    runner.execute([request])
    assert bench.host.failure(request.handle).code == "cancelled"
    assert builtins.closed.is_set()  # type: ignore[attr-defined]


def test_a_stream_that_fails_ends_with_its_error(bench: Any) -> None:
    runner = bench.start(model("def predict(self, n: int) -> Iterator[int]:\n    yield 1\n    raise KeyError('k')"))
    request = bench.request(inputs={"n": [1]})
    runner.execute([request])
    first, last = bench.host.stream(request.handle)
    assert first.failure is None
    assert last.failure == ("internal", "model 'm': KeyError: 'k'")


def test_async_requests_overlap(bench: Any) -> None:
    source = model("""
def setup(self) -> None:
    self.arrived = None
async def predict(self, n: int) -> int:
    self.arrived = self.arrived or asyncio.Event()
    if n == 2:
        self.arrived.set()
    await self.arrived.wait()
    return n
""")
    runner = bench.start(source)
    requests = [bench.request(inputs={"n": [n]}) for n in (1, 2)]
    for request in requests:
        runner.execute([request])  # the first would wait for ever without the second
    assert [int(bench.host.outputs(one.handle)["output"][0]) for one in requests] == [1, 2]


def test_an_argosy_error_chooses_what_the_client_gets(bench: Any) -> None:
    runner = bench.start(model("def predict(self, n: int) -> int: raise argosy.NotFound('no such thing')"))
    request = bench.request(inputs={"n": [1]})
    runner.execute([request])
    assert bench.host.failure(request.handle) == ("not_found", "no such thing")
    assert not bench.host.lines


def test_another_exception_is_internal_and_its_traceback_is_logged(bench: Any) -> None:
    runner = bench.start(model("def predict(self, n: int) -> int: return n // 0"))
    request = bench.request(inputs={"n": [1]})
    runner.execute([request])
    failure = bench.host.failure(request.handle)
    assert failure.code == "internal" and failure.message.startswith("model 'm': ZeroDivisionError: ")
    ((level, message, handle),) = bench.host.lines
    assert (level, handle) == ("error", request.handle) and "return n // 0" in message


def test_predict_can_ask_about_its_request(bench: Any) -> None:
    source = model("def predict(self, n: int) -> str: return repr((self.request.id, dict(self.request.parameters)))")
    runner = bench.start(source)
    request = bench.request(inputs={"n": [1]}, id="r7", parameters={"p": 1})
    runner.execute([request])
    assert bench.host.outputs(request.handle)["output"].tolist() == [b"('r7', {'p': 1})"]


def test_settings_come_from_parameters_and_unused_ones_are_named(bench: Any) -> None:
    source = model("""
threshold: float = 0.5
max_batchsize = 3
max_queue_delay_us = 5
max_concurrency = 2
def predict(self, n: int) -> float: return self.threshold
""")
    config = json.dumps({"parameters": {"threshold": {"string_value": "0.25"}, "tresh": {"string_value": "1"}}})
    runner = bench.start(source, config=config)
    request = bench.request(inputs={"n": [1]})
    runner.execute([request])
    assert bench.host.outputs(request.handle)["output"].tolist() == [0.25]
    warnings = [message for level, message, _ in bench.host.lines if level == "warning"]
    assert warnings == [
        "model 'm': M.max_queue_delay_us has no effect: max_batch_size is 0, so nothing is batched",
        "model 'm': M.max_concurrency has no effect: predict is not async",
        "model 'm': M.max_batchsize is not a setting of the server; 'max_batch_size' is",
        "model 'm': parameter 'tresh' of the configuration is not used; settings of M: threshold",
    ]


def test_a_parameter_of_the_wrong_type_fails_the_load(bench: Any) -> None:
    source = model("n: int = 1\ndef predict(self, x: int) -> int: return x")
    config = json.dumps({"parameters": {"n": {"string_value": "many"}}})
    with pytest.raises(InvalidArgument, match="parameter 'n': expected int, got 'many'"):
        bench.start(source, config=config)


def test_an_exception_in_setup_fails_the_load_with_its_text(bench: Any) -> None:
    with pytest.raises(Internal, match="FileNotFoundError: weights\n\nAt:\n"):
        bench.start(model("def setup(self): raise FileNotFoundError('weights')\ndef predict(self, x: int) -> int: ..."))


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("pass", "has no method predict"),
        ("def predict(self, x) -> int: ...", "argument 'x' has no annotation"),
        ("def predict(self, x: int): ...", "predict has no return annotation"),
        ("def predict(self, x: np.ndarray) -> int: ...", "argument 'x': expected NDArray[np.float32], str"),
        ("def predict(self, x: NDArray[Any]) -> int: ...", "expected an element type, as NDArray[np.float32]"),
        ("def predict(self, x: dict) -> int: ...", "got dict"),
        ("def predict(self, *x: int) -> int: ...", "expected a named argument"),
        ("def predict(self, x: Annotated[NDArray[np.int8], (0,)]) -> int: ...", "expected dimensions as (-1, 3)"),
        ("max_batch_size = 2\ndef predict(self, x: str) -> list[str]: ...", "expected list[str], one per row"),
        ("max_batch_size = 2\ndef predict(self, x: list[str]) -> Iterator[list[str]]: ...", "max_batch_size must be 0"),
        ("max_batch_size = -1\ndef predict(self, x: int) -> int: ...", "expected a whole number of at least 0, got -1"),
    ],
)
def test_a_class_that_cannot_be_served_says_what_to_write(bench: Any, body: str, text: str) -> None:
    with pytest.raises(InvalidArgument) as raised:
        bench.open(model(body))
    assert text in raised.value.message


def test_the_model_is_the_most_derived_class_of_the_file(bench: Any) -> None:
    source = model("def predict(self, x: int) -> int: return x") + "\nclass Child(M):\n    pass\n"
    assert bench.open(source).auto_complete({})["input"][0]["name"] == "x"
    with pytest.raises(InvalidArgument, match="found Child, Other"):
        bench.open(source + "class Other(M):\n    pass\n")


@pytest.mark.parametrize(
    ("annotation", "returned", "said"),
    [
        ("str", "None", "output 'output': expected str, got NoneType"),
        ("str", "5", "output 'output': expected str, got int"),
        ("bytes", "None", "output 'output': expected bytes, got NoneType"),
        ("list[str]", "['a', None]", "output 'output': expected str, got NoneType"),
        ("list[str]", "'abc'", "output 'output': expected a list of str, got str"),
        ("list[int]", "None", "output 'output': expected a list of int, got NoneType"),
        ("NDArray[np.float32]", "None", "output 'output': expected an array, got NoneType"),
        ("NDArray[np.float32]", "asyncio.sleep(0)", "output 'output': expected an array, got coroutine"),
        ("str", "'\\ud800'", "output 'output': text without a UTF-8 form"),
    ],
)
@pytest.mark.filterwarnings("ignore:coroutine 'sleep' was never awaited")
def test_a_result_of_another_kind_is_named_and_never_made_up(
    bench: Any, annotation: str, returned: str, said: str
) -> None:
    runner = bench.start(model(f"def predict(self) -> {annotation}:\n    return {returned}"))
    request = bench.request()
    runner.execute([request])
    failure = bench.host.failure(request.handle)
    assert failure.code == "internal"
    assert failure.message.startswith(f"model 'm': {said}")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("def predict(x: int) -> int:\n    return x", "whose first argument is self"),
        ("def predict() -> int:\n    return 1", "whose first argument is self"),
        ("@staticmethod\ndef predict(x: int) -> int:\n    return x", "whose first argument is self"),
        ("@classmethod\ndef predict(cls, x: int) -> int:\n    return x", "whose first argument is self"),
        ("def predict(self, x: int) -> int:\n    yield x", r"has a yield, so it is a stream: expected -> Iterator"),
        ("async def predict(self, x: int) -> int:\n    yield x", r"has a yield, so it is a stream"),
        ("async def setup(self): pass\ndef predict(self, x: int) -> int:\n    return x", "setup is 'async def'"),
    ],
)
def test_a_method_that_cannot_work_is_refused_at_the_load(bench: Any, body: str, said: str) -> None:
    with pytest.raises(InvalidArgument, match=said):
        bench.start(model(body))
