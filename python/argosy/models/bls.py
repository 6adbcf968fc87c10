"""argosy.bls: calling other models of the server from inside a model.

    outputs = argosy.bls.infer("detector", {"image": image})
    outputs = await argosy.bls.infer_async("recogniser", {"crop": crop})
    for outputs in argosy.bls.stream("writer", {"prompt": "once"}): ...
    argosy.bls.load_model("detector"), argosy.bls.is_model_ready("detector")

Each inference is a request like a client's: it is batched with others, and has the deadline, the
trace and the cancellation of the request that predict works on. Failures raise the
argosy error of their code.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any

import numpy.typing as npt

from argosy.errors import InvalidArgument, error_of
from argosy.models.ambient import bound, current_requests
from argosy.models.calls import ResponseStream, call_async, check_phase
from argosy.models.tensors import tensor_value
from argosy.worker.host import Array, CorrelationId, Host, InferCall, InferResponse, Parameter


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


def load_model(
    name: str, *, config: Mapping[str, Any] | str | None = None, files: Mapping[str, bytes] | None = None
) -> None:
    """Loads or reloads a model and waits; the server's models must be under explicit control.

    `config`: the configuration instead of config.pbtxt, as JSON text or what JSON would be made of. `files`:
    contents by path in the model's directory ("1/model.onnx"), instead of that directory; needs `config`.
    From setup and from predict. Raises the ArgosyError with the reason.
    """
    text = config if isinstance(config, str) else "" if config is None else json.dumps(config)
    _repository_host("load_model").load_model(name, text, dict(files or {}))


def unload_model(name: str, *, unload_dependents: bool = False) -> None:
    """Withdraws a model: when this returns it takes no new request."""
    _repository_host("unload_model").unload_model(name, unload_dependents)


def is_model_ready(name: str, version: int | None = None) -> bool:
    """Whether it can be called now; False for one that the server does not know."""
    return _repository_host("is_model_ready").is_model_ready(name, "" if version is None else str(version))


def _repository_host(function: str) -> Host:
    binding = bound()
    if binding.phase not in ("initialize", "serve"):
        raise InvalidArgument(f"{function}: expected a call from setup or predict, got one in {binding.phase}")
    return binding.host


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
