"""argosy.bls: calls to other models, from inside a model."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from argosy import bls
from argosy.errors import InvalidArgument, NotFound, Unavailable, Unsupported
from argosy.models import ambient
from argosy.models.tensors import tensor_value
from argosy.worker.host import Failure, InferResponse


def answer(value: Any, **parameters: Any) -> InferResponse:
    return InferResponse((tensor_value("y", np.asarray(value)),), parameters)


def test_infer_returns_arrays_by_name(bound_host: Any) -> None:
    bound_host.callees["other"] = lambda call: [answer(call.inputs[0].data * 2, cost=3)]
    with ambient.working_for((4,)):
        outputs = bls.infer("other", {"x": [1, 2]}, version=3, outputs=["y"], timeout_us=9, priority=1)
    assert outputs["y"].tolist() == [2, 4] and outputs.parameters == {"cost": 3}
    (call,) = bound_host.calls
    assert (call.version, call.requested_outputs, call.timeout_us, call.priority) == (3, ("y",), 9, 1)
    assert call.parents == (4,)


def test_a_failure_raises_the_error_of_its_code(bound_host: Any) -> None:
    with pytest.raises(NotFound, match="no model 'nobody'"):
        bls.infer("nobody", {"x": [1]})


def test_awaited_calls_run_side_by_side(bound_host: Any) -> None:
    bound_host.callees["other"] = lambda call: [answer(call.inputs[0].data)]

    async def many() -> list[Any]:
        return await asyncio.gather(*(bls.infer_async("other", {"x": [n]}) for n in range(20)))

    assert [outputs["y"].tolist() for outputs in asyncio.run(many())] == [[n] for n in range(20)]


def test_a_cancelled_task_cancels_its_call(bound_host: Any) -> None:
    bound_host.callees["other"] = lambda call: []  # never answers

    async def impatient() -> None:
        await asyncio.wait_for(bls.infer_async("other", {"x": [1]}), 0.01)

    with pytest.raises(asyncio.TimeoutError):
        asyncio.run(impatient())
    assert len(bound_host.cancelled_calls) == 1


def test_a_stream_yields_until_its_end(bound_host: Any) -> None:
    bound_host.callees["other"] = lambda call: [answer([1]), answer([2]), None]
    assert [outputs["y"].tolist() for outputs in bls.stream("other", {"x": [0]})] == [[1], [2]]

    async def collect() -> list[Any]:
        return [outputs["y"].tolist() async for outputs in bls.stream("other", {"x": [0]})]

    assert asyncio.run(collect()) == [[1], [2]]


def test_a_stream_that_fails_raises_in_its_turn(bound_host: Any) -> None:
    bound_host.callees["other"] = lambda call: [answer([1]), InferResponse(failure=Failure("unavailable", "gone"))]
    stream = bls.stream("other", {"x": [0]})
    assert next(stream)["y"].tolist() == [1]
    with pytest.raises(Unavailable, match="gone"):
        next(stream)
    with pytest.raises(StopIteration):
        next(stream)


def test_setup_cannot_call_other_models(bound_host: Any) -> None:
    ambient.bound().phase = "initialize"
    with pytest.raises(InvalidArgument, match="BLS is only supported during the 'execute' function"):
        bls.infer("other", {})


def test_a_program_of_its_own_is_told_what_to_use() -> None:
    ambient._bound.clear()
    with pytest.raises(Unsupported, match=r"use argosy\.Server"):
        bls.infer("other", {})
