"""argosy.bls: calling other models of the server from inside a model.

    outputs = argosy.bls.infer("detector", {"image": image})
    outputs = await argosy.bls.infer_async("recogniser", {"crop": crop})
    for outputs in argosy.bls.stream("writer", {"prompt": "once"}): ...

Each is a request like a client's: it is batched with others, and has the deadline, the
trace and the cancellation of the request that predict works on. Failures raise the
argosy error of their code.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any

import numpy.typing as npt

from argosy.errors import error_of
from argosy.models.ambient import bound, current_requests
from argosy.models.calls import ResponseStream, call_async, check_phase
from argosy.models.tensors import tensor_value
from argosy.worker.host import Array, CorrelationId, InferCall, InferResponse, Parameter


class Outputs(dict[str, Array]):
    """A response's arrays by name (BYTES as object arrays of bytes), and the called model's own `parameters`."""

    def __init__(self, arrays: Mapping[str, Array], parameters: Mapping[str, Parameter]) -> None:
        super().__init__(arrays)
        self.parameters = dict(parameters)


def infer(model: str, inputs: Mapping[str, npt.ArrayLike], **options: Any) -> Outputs:
    """Calls a model and waits. `inputs`: arrays by name, the batch dimension included where it batches.

    Options: version, outputs (names), id, priority, timeout_us, parameters, correlation_id, flags.
    Raises the ArgosyError of the answer; Unsupported for a model that streams.
    """
    host = check_phase(bound())
    return _outputs(host.infer(_call(model, inputs, **options)))


async def infer_async(model: str, inputs: Mapping[str, npt.ArrayLike], **options: Any) -> Outputs:
    """As infer(); many may be awaited together. A cancelled task cancels its call."""
    host = check_phase(bound())
    return _outputs(await call_async(host, _call(model, inputs, **options)))


class Stream:
    """The responses of a call as they come, for `for` or `async for`. Dropping it cancels the call."""

    def __init__(self, responses: ResponseStream) -> None:
        self._responses = responses

    def cancel(self) -> None:
        """Asks the called model to stop."""
        self._responses.cancel()

    def __iter__(self) -> Iterator[Outputs]:
        return self

    def __next__(self) -> Outputs:
        return _outputs(next(self._responses))

    def __aiter__(self) -> AsyncIterator[Outputs]:
        return self

    async def __anext__(self) -> Outputs:
        return _outputs(await self._responses.__anext__())


def stream(model: str, inputs: Mapping[str, npt.ArrayLike], **options: Any) -> Stream:
    """Calls a model that gives any number of responses. A failure raises when its turn comes."""
    binding = bound()
    check_phase(binding)
    return Stream(ResponseStream(binding, _call(model, inputs, **options)))


def _call(
    model: str,
    inputs: Mapping[str, npt.ArrayLike],
    *,
    version: int = -1,
    outputs: Sequence[str] = (),
    id: str = "",
    priority: int = 0,
    timeout_us: int = 0,
    parameters: Mapping[str, Parameter] | None = None,
    correlation_id: CorrelationId = 0,
    flags: int = 0,
) -> InferCall:
    return InferCall(
        model=model,
        inputs=tuple(tensor_value(name, data) for name, data in inputs.items()),
        version=version,
        requested_outputs=tuple(outputs),
        id=id,
        priority=priority,
        timeout_us=timeout_us,
        parameters=dict(parameters or {}),
        correlation_id=correlation_id,
        flags=flags,
        parents=current_requests(),
    )


def _outputs(response: InferResponse) -> Outputs:
    if response.failure is not None:
        raise error_of(response.failure.code, response.failure.message)
    return Outputs({value.name: value.data for value in response.outputs}, response.parameters)
