"""What a model asks of the server: other models, metrics, the log, loading."""

from __future__ import annotations

import asyncio
import gc
import json
from typing import Any

import numpy as np
import pytest
from argosy.models import ambient
from argosy.models.tensors import tensor_value
from argosy.models.triton_compat import backend_utils as pb_utils
from argosy.worker.host import Failure, InferCall, InferResponse


def answer(name: str, data: Any) -> InferResponse:
    return InferResponse((tensor_value(name, np.asarray(data)),))


def call(model: str = "other", **fields: Any) -> Any:
    return pb_utils.InferenceRequest(
        model_name=model, inputs=[pb_utils.Tensor("X", np.int32([2]))], requested_output_names=["Y"], **fields
    )


def double(call: InferCall) -> list[InferResponse | None]:
    return [answer("Y", call.inputs[0].data * 2)]


def test_exec_waits_for_the_response_and_passes_everything_on(bound_host: Any) -> None:
    bound_host.callees["other"] = double
    with ambient.working_for((7, 8)):
        response = call(request_id="r", correlation_id=9, flags=1, timeout=50, parameters={"p": 1}).exec()
    np.testing.assert_array_equal(pb_utils.get_output_tensor_by_name(response, "Y").as_numpy(), [4])
    assert not response.has_error()
    (seen,) = bound_host.calls
    assert (seen.model, seen.version, seen.requested_outputs, seen.id) == ("other", -1, ("Y",), "r")
    assert (seen.correlation_id, seen.flags, seen.timeout_us, seen.parameters) == (9, 1, 50, {"p": 1})
    assert seen.parents == (7, 8)


def test_a_failed_call_is_a_response_with_an_error(bound_host: Any) -> None:
    response = call("nobody").exec()
    assert response.has_error()
    assert response.error().code() == pb_utils.TritonError.NOT_FOUND
    assert response.error().message() == "no model 'nobody'"


def test_async_exec_runs_calls_side_by_side(bound_host: Any) -> None:
    bound_host.callees["other"] = double

    async def both() -> list[Any]:
        return await asyncio.gather(call().async_exec(), call().async_exec())

    responses = asyncio.run(both())
    assert [one.output_tensors()[0].as_numpy().tolist() for one in responses] == [[4], [4]]


def test_a_decoupled_call_is_iterated_and_ends_with_an_empty_response(bound_host: Any) -> None:
    bound_host.callees["other"] = lambda call: [answer("Y", [1]), answer("Y", [2]), None]
    values = [[t.as_numpy().tolist() for t in one.output_tensors()] for one in call().exec(decoupled=True)]
    assert values == [[[1]], [[2]], []]


def test_a_decoupled_call_that_fails_gives_its_error_last(bound_host: Any) -> None:
    bound_host.callees["other"] = lambda call: [answer("Y", [1]), InferResponse(failure=Failure("cancelled", "gone"))]
    first, last = list(call().exec(decoupled=True))
    assert not first.has_error() and last.error().code() == pb_utils.TritonError.CANCELLED


def test_an_awaited_decoupled_call_is_iterated_either_way(bound_host: Any) -> None:
    bound_host.callees["other"] = lambda call: [answer("Y", [1]), None]

    async def run() -> tuple[int, int]:
        plain = len(list(await call().async_exec(decoupled=True)))
        return plain, len([one async for one in await call().async_exec(decoupled=True)])

    assert asyncio.run(run()) == (2, 2)


def test_an_iterator_cancels_when_told_and_when_dropped(bound_host: Any) -> None:
    bound_host.callees["other"] = lambda call: []  # never ends
    iterator = call().exec(decoupled=True)
    iterator.cancel()
    assert len(bound_host.cancelled_calls) == 1
    del iterator
    gc.collect()
    ambient.bound().deferred.finish()
    assert len(bound_host.cancelled_calls) == 2


def test_a_call_answered_by_a_stream_says_how_to_call_it(bound_host: Any) -> None:
    bound_host.callees["other"] = lambda call: [answer("Y", [1]), answer("Y", [2])]
    response = asyncio.run(call().async_exec())
    assert "call it as a stream (decoupled)" in response.error().message()


@pytest.mark.parametrize("phase", ["initialize", "finalize", "auto_complete"])
def test_calls_are_possible_in_execute_only(bound_host: Any, phase: str) -> None:
    ambient.bound().phase = phase
    with pytest.raises(pb_utils.TritonModelException, match="BLS is only supported during the 'execute' function"):
        call().exec()


def test_a_call_is_checked_when_it_is_made() -> None:
    make = pb_utils.InferenceRequest
    with pytest.raises(TypeError, match="argument 'model_name' is missing"):
        make(inputs=[], requested_output_names=[])
    with pytest.raises(pb_utils.TritonModelException, match="Correlation ID must be integer or string"):
        make(inputs=[], requested_output_names=[], model_name="m", correlation_id=1.5)
    with pytest.raises(pb_utils.TritonModelException, match="Input tensor for request with id 'r' and model name 'm'"):
        make(inputs=[None], requested_output_names=[], model_name="m", request_id="r")
    with pytest.raises(pb_utils.TritonModelException, match="Requested output name for request with id ''"):
        make(inputs=[], requested_output_names=[""], model_name="m")


def test_a_made_request_has_no_sender() -> None:
    with pytest.raises(pb_utils.TritonModelException, match="expected a request that the server sent"):
        call().get_response_sender()


def family(kind: Any, name: str = "f") -> Any:
    return pb_utils.MetricFamily(name=name, description="d", kind=kind)


def test_a_counter_only_rises(bound_host: Any) -> None:
    counter = family(pb_utils.MetricFamily.COUNTER)
    metric = counter.Metric(labels={"a": "b"})
    metric.increment(2)
    metric.increment(0.5)
    assert metric.value() == 2.5
    with pytest.raises(pb_utils.TritonModelException, match=r"Failed to increment metric value: .*non-negative"):
        metric.increment(-1)
    with pytest.raises(pb_utils.TritonModelException, match="Failed to set metric value: "):
        metric.set(1)


def test_a_gauge_goes_both_ways_and_is_not_observed(bound_host: Any) -> None:
    gauge = family(pb_utils.MetricFamily.GAUGE)
    metric = gauge.Metric()
    metric.set(5)
    metric.increment(-7)
    assert metric.value() == -2
    with pytest.raises(pb_utils.TritonModelException, match="Failed to observe metric value: "):
        metric.observe(1)


def test_a_histogram_is_observed_and_nothing_else(bound_host: Any) -> None:
    histogram = family(pb_utils.MetricFamily.HISTOGRAM)
    metric = histogram.Metric(buckets=[0.1, 1])
    metric.observe(0.5)
    (series,) = bound_host.series.values()
    assert series["buckets"] == (0.1, 1.0)
    for use in (lambda: metric.set(1), lambda: metric.increment(1), metric.value):
        with pytest.raises(pb_utils.TritonModelException, match="TRITONSERVER_METRIC_KIND_HISTOGRAM does not support"):
            use()


def test_buckets_and_labels_are_checked(bound_host: Any) -> None:
    histogram, gauge = family(pb_utils.MetricFamily.HISTOGRAM), family(pb_utils.MetricFamily.GAUGE, "g")
    for make, text in (
        (lambda: histogram.Metric(), "Failed to create metric. Missing required buckets."),
        (lambda: histogram.Metric(buckets=(1,)), "Failed to create metric. Buckets must be a list."),
        (lambda: histogram.Metric(buckets=[2, 1]), "Failed to create metric. Buckets must rise, got [2, 1]."),
        (lambda: gauge.Metric(buckets=[1]), "Failed to create metric. Unexpected buckets found."),
        (lambda: gauge.Metric(labels=[]), "Failed to create metric. Labels must be a dictionary."),
        (lambda: gauge.Metric(labels={"a": 1}), "Failed to create metric. Labels must be str to str, got "),
    ):
        with pytest.raises(pb_utils.TritonModelException) as raised:
            make()
        assert str(raised.value).startswith(text)


def test_the_same_family_can_be_made_again_and_another_of_its_name_cannot(bound_host: Any) -> None:
    first, second = family(pb_utils.MetricFamily.GAUGE), family(pb_utils.MetricFamily.GAUGE)
    assert first._family == second._family
    with pytest.raises(pb_utils.TritonModelException, match="Error when creating MetricFamily: "):
        family(pb_utils.MetricFamily.COUNTER)


def test_series_and_families_disappear_with_their_objects(bound_host: Any) -> None:
    gauge = family(pb_utils.MetricFamily.GAUGE)
    kept, dropped = gauge.Metric(labels={"n": "1"}), gauge.Metric(labels={"n": "2"})
    del dropped
    ambient.bound().deferred.finish()
    assert [one["labels"] for one in bound_host.series.values()] == [{"n": "1"}]
    ambient.bound().deferred.prepare()
    del gauge
    with pytest.raises(pb_utils.TritonModelException, match="the corresponding 'MetricFamily' has been deleted"):
        kept.set(1)
    ambient.bound().deferred.finish()
    assert not bound_host.series and not bound_host.families


def test_log_lines_have_their_level_and_request(bound_host: Any) -> None:
    pb_utils.Logger.log("plain")
    with ambient.working_for((5,)):
        pb_utils.Logger.log("named", pb_utils.Logger.ERROR)
        pb_utils.Logger.log_warn("w")
    pb_utils.Logger.log_verbose("v")
    assert bound_host.lines == [
        ("info", "plain", None),
        ("error", "named", 5),
        ("warning", "w", 5),
        ("verbose", "v", None),
    ]


def test_models_are_loaded_asked_for_and_unloaded(bound_host: Any) -> None:
    assert not pb_utils.is_model_ready("x")
    pb_utils.load_model("x", config=json.dumps({"backend": "python"}), files={"file:1/model.py": b"..."})
    assert pb_utils.is_model_ready(model_name="x", model_version="1")
    assert bound_host.models == {"x": ('{"backend": "python"}', {"file:1/model.py": b"..."})}
    pb_utils.unload_model("x", unload_dependents=True)
    with pytest.raises(pb_utils.TritonModelException, match="Failed to unload model: no model 'x'"):
        pb_utils.unload_model("x")
    with pytest.raises(pb_utils.TritonModelException, match="Failed to load model: broken on purpose"):
        pb_utils.load_model("broken")
    with pytest.raises(pb_utils.TritonModelException, match="files should be a dictionary of file paths"):
        pb_utils.load_model("x", files=[1])


@pytest.mark.parametrize("phase", ["auto_complete", "finalize"])
def test_models_are_not_loaded_while_this_one_comes_or_goes(bound_host: Any, phase: str) -> None:
    ambient.bound().phase = phase
    with pytest.raises(pb_utils.TritonModelException, match=rf"load_model: expected .* in {phase}"):
        pb_utils.load_model("x")


def test_a_models_own_request_is_nobodys_to_cancel_and_its_outputs_are_a_list() -> None:
    own = pb_utils.InferenceRequest(model_name="m", inputs=[], requested_output_names=["Y"])
    with pytest.raises(pb_utils.TritonModelException, match="is_cancelled: expected a request that the server sent"):
        own.is_cancelled()
    with pytest.raises(TypeError, match="expected a list of names, got the text 'OUTPUT'"):
        pb_utils.InferenceRequest(model_name="m", inputs=[], requested_output_names="OUTPUT")
