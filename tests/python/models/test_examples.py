"""The example models of examples/python_models, each run as it lies there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from argosy.config.pbtxt import read_file
from argosy.config.render import to_json
from argosy.models.tensors import tensor_value
from argosy.worker.host import InferCall, InferResponse

EXAMPLES = Path(__file__).parents[3] / "examples" / "python_models"


def start(bench: Any, name: str) -> Any:
    directory = EXAMPLES / name
    config = directory / "config.pbtxt"
    text = json.dumps(to_json(read_file(config).message)) if config.exists() else "{}"
    runner = bench.open_file(directory / "1" / "model.py", config=text, name=name)
    runner.initialize(bench.arguments(text, name))
    return runner


def pair(bench: Any, **more: Any) -> Any:
    inputs = {"INPUT0": np.float32([5, 7]), "INPUT1": np.float32([2, 3]), **more}
    return bench.request(inputs=inputs)


def add_sub(call: InferCall) -> list[InferResponse | None]:
    left, right = (value.data for value in call.inputs)
    return [InferResponse((tensor_value("OUTPUT0", left + right), tensor_value("OUTPUT1", left - right)))]


def check(outputs: dict[str, Any], total: list[float], difference: list[float]) -> None:
    np.testing.assert_array_equal(outputs["OUTPUT0"], total)
    np.testing.assert_array_equal(outputs["OUTPUT1"], difference)


def test_identity_gives_its_input_back(bench: Any) -> None:
    runner = start(bench, "identity")
    request = bench.request(inputs={"INPUT0": np.float32([[1, 2]])})
    runner.execute([request])
    assert bench.host.outputs(request.handle)["OUTPUT0"].tolist() == [[1, 2]]


@pytest.mark.parametrize("name", ["add_sub", "auto_complete"])
def test_add_sub(bench: Any, name: str) -> None:
    runner = start(bench, name)
    request = pair(bench)
    runner.execute([request])
    check(bench.host.outputs(request.handle), [7, 10], [3, 4])


def test_add_sub_refuses_unequal_shapes_with_a_code(bench: Any) -> None:
    runner = start(bench, "add_sub")
    request = pair(bench, INPUT1=np.float32([1]))
    runner.execute([request])
    assert bench.host.failure(request.handle).code == "invalid_argument"


def test_repeat_sends_one_response_per_element(bench: Any) -> None:
    runner = start(bench, "repeat")
    requests = [bench.request(inputs={"IN": np.int32(values)}) for values in ([4, 5, 6], [])]
    runner.execute(requests)
    found = [[value.data.tolist() for value in one.outputs] for one in bench.host.stream(requests[0].handle)]
    assert found == [[[4], [0]], [[5], [1]], [[6], [2]]]
    assert bench.host.stream(requests[1].handle) == []


def test_square_sends_as_many_responses_as_the_number_says(bench: Any) -> None:
    runner = start(bench, "square")
    requests = [bench.request(inputs={"IN": np.int32([n])}) for n in (3, 0)]
    runner.execute(requests)
    assert [one.outputs[0].data.tolist() for one in bench.host.stream(requests[0].handle)] == [[3]] * 3
    assert bench.host.stream(requests[1].handle) == []


def test_bls_waits_for_the_model_that_the_request_names(bench: Any) -> None:
    bench.host.callees["add_sub"] = add_sub
    runner = start(bench, "bls_sync")
    good = pair(bench, MODEL_NAME=np.array([b"add_sub"], dtype=object))
    bad = pair(bench, MODEL_NAME=np.array([b"nobody"], dtype=object))
    runner.execute([good, bad])
    check(bench.host.outputs(good.handle), [7, 10], [3, 4])
    assert bench.host.failure(bad.handle) == ("not_found", "no model 'nobody'")
    assert bench.host.calls[0].parents == (good.handle,)


def test_bls_awaits_two_calls_together(bench: Any) -> None:
    bench.host.callees["add_sub"] = add_sub
    runner = start(bench, "bls_async")
    requests = [pair(bench), pair(bench)]
    runner.execute(requests)
    for request in requests:
        check(bench.host.outputs(request.handle), [7, 10], [-3, -4])


def test_bls_over_a_stream_adds_up_its_responses(bench: Any) -> None:
    one = InferResponse((tensor_value("OUT", np.int32([3])),))
    bench.host.callees["square"] = lambda call: [one, one, one, None]
    runner = start(bench, "bls_decoupled")
    request = bench.request(inputs={"IN": np.int32([3])})
    runner.execute([request])
    assert bench.host.outputs(request.handle)["OUT"].tolist() == [9]


def test_auto_complete_says_inputs_and_outputs(bench: Any) -> None:
    config = start(bench, "auto_complete").auto_complete({"name": "auto_complete"})
    assert [one["name"] for one in config["input"] + config["output"]] == ["INPUT0", "INPUT1", "OUTPUT0", "OUTPUT1"]
    assert (config["max_batch_size"], config["dynamic_batching"]) == (8, {})


def test_custom_metrics_count_requests(bench: Any) -> None:
    runner = start(bench, "custom_metrics")
    requests = [bench.request(inputs={"INPUT0": np.zeros(n, np.float32)}) for n in (3, 20)]
    runner.execute(requests)
    kinds = {number: kind for (_, _, kind), number in bench.host.families.items()}
    values = {kinds[series["family"]]: series["value"] for series in bench.host.series.values()}
    assert values == {"counter": 2, "gauge": 20, "histogram": 23}


def test_scale_multiplies_the_rows_of_several_requests_at_once(bench: Any) -> None:
    runner = start(bench, "scale")
    requests = [bench.request(inputs={"x": np.full((rows, 3), rows, np.float32)}) for rows in (1, 2)]
    runner.execute(requests)
    assert bench.host.outputs(requests[1].handle)["output"].tolist() == [[4, 4, 4]] * 2


def test_text_stream_sends_the_same_words_for_the_same_seed(bench: Any) -> None:
    runner = start(bench, "text_stream")
    inputs = {"prompt": [b"The ship"], "words": [6], "seed": [3]}
    requests = [bench.request(inputs=inputs) for _ in range(2)]
    runner.execute(requests)
    texts = [[value.data.tolist()[0] for one in bench.host.stream(r.handle) for value in one.outputs] for r in requests]
    assert len(texts[0]) == 6 and texts[0] == texts[1]


def test_text_stream_refuses_too_many_words_by_name(bench: Any) -> None:
    runner = start(bench, "text_stream")
    request = bench.request(inputs={"prompt": [b"x"], "words": [10**6]})
    runner.execute([request])
    failure = bench.host.failure(request.handle)
    assert failure == ("invalid_argument", "input 'words': expected 0 to 200, got 1000000")
