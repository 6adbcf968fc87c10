"""InferenceRequest in its two roles: a request that this model answers, and a call to another model.

The first is made by the runner around what the server sent, the second by the model.
"""

from __future__ import annotations

import json
from collections.abc import Coroutine, Sequence
from typing import Any, Union

from argosy.errors import ArgosyError
from argosy.models.ambient import Binding, bound, current_requests
from argosy.models.calls import ResponseStream, call_async, check_phase
from argosy.models.triton_compat.errors import TritonModelException, model_exception
from argosy.models.triton_compat.memory import PreferredMemory
from argosy.models.triton_compat.response import InferenceResponse, checked_parameters
from argosy.models.triton_compat.response_iterator import ResponseIterator
from argosy.models.triton_compat.sender import InferenceResponseSender
from argosy.models.triton_compat.tensor import Tensor
from argosy.worker.host import InferCall, InferRequest

RELEASE_ALL = 1
RELEASE_RESCHEDULE = 2
_FAILED_CALL = "An error occurred while performing BLS request. "
_Answer = Union[InferenceResponse, ResponseIterator]


class InferenceTrace:
    """What ties a call to the trace of the request it is made for: `InferenceRequest(..., trace=request.trace())`."""

    __slots__ = ("_context", "parents")

    def __init__(self, context: str = "", parents: tuple[int, ...] = ()) -> None:
        self._context = context
        self.parents = parents

    def get_context(self) -> str | None:
        """JSON text with "traceparent", None when the request is not traced."""
        return json.dumps({"traceparent": self._context}) if self._context else None


def _whose(request_id: str, model_name: str) -> str:
    return f"request with id '{request_id}' and model name '{model_name}' should not be empty."


class InferenceRequest:
    """`InferenceRequest(model_name=..., inputs=[...], requested_output_names=[...])` is a call to that model."""

    __slots__ = ("_binding", "_call", "_decoupled", "_inputs", "_memory", "_release", "_request", "_sender", "_trace")

    _binding: Binding
    _decoupled: bool

    def __init__(
        self,
        request_id: str = "",
        correlation_id: int | str = 0,
        inputs: Sequence[Tensor] | None = None,
        requested_output_names: Sequence[str] | None = None,
        model_name: str | None = None,
        model_version: int = -1,
        flags: int = 0,
        timeout: int = 0,
        preferred_memory: PreferredMemory | None = None,
        trace: InferenceTrace | None = None,
        parameters: Any = None,
    ) -> None:
        if inputs is None or requested_output_names is None or model_name is None:
            needed = {"inputs": inputs, "requested_output_names": requested_output_names, "model_name": model_name}
            missing = next(name for name, value in needed.items() if value is None)
            raise TypeError(f"InferenceRequest: argument '{missing}' is missing")
        if isinstance(correlation_id, bool) or not isinstance(correlation_id, (int, str)):
            raise TritonModelException("Correlation ID must be integer or string")
        self._inputs: list[Tensor] = list(inputs)
        given: Any
        for given in self._inputs:
            if not isinstance(given, Tensor):
                if given is None:
                    raise TritonModelException(f"Input tensor for {_whose(request_id, model_name)}")
                raise TypeError(f"inputs: expected Tensor objects, got {type(given)}")
        if isinstance(requested_output_names, str):
            raise TypeError(
                f"requested_output_names: expected a list of names, got the text '{requested_output_names}'"
            )
        if not all(requested_output_names):
            raise TritonModelException(f"Requested output name for {_whose(request_id, model_name)}")
        self._request: InferRequest | None = None
        self._sender: InferenceResponseSender | None = None
        self._release = RELEASE_ALL
        self._memory = preferred_memory
        self._trace = trace
        # By position: this is made for each call of a model.
        self._call = InferCall(
            str(model_name), (), int(model_version), tuple(requested_output_names), str(request_id), correlation_id,
            int(flags), 0, int(timeout), checked_parameters(parameters),
        )  # fmt: skip

    @classmethod
    def incoming(cls, binding: Binding, request: InferRequest, decoupled: bool) -> InferenceRequest:
        """A request that this model answers."""
        made = cls.__new__(cls)
        made._binding, made._request, made._decoupled = binding, request, decoupled
        made._inputs = [Tensor.of(value) for value in request.inputs]
        made._sender = None
        made._release = RELEASE_ALL
        return made

    def inputs(self) -> list[Tensor]:
        return self._inputs

    def request_id(self) -> str:
        return self._of().id

    def correlation_id(self) -> int | str:
        return self._of().correlation_id

    def flags(self) -> int:
        return self._of().flags

    def set_flags(self, flags: int) -> None:
        if self._request is not None:
            self._request = self._request._replace(flags=int(flags))
        else:
            self._call = self._call._replace(flags=int(flags))

    def timeout(self) -> int:
        """Microseconds; 0: none."""
        return self._of().timeout_us

    def priority(self) -> int:
        return self._of().priority

    def parameters(self) -> str:
        """As JSON text."""
        return json.dumps(dict(self._of().parameters))

    def trace(self) -> InferenceTrace:
        if self._request is not None:
            return InferenceTrace(self._request.traceparent, (self._request.handle,))
        return self._trace or InferenceTrace()

    def preferred_memory(self) -> PreferredMemory:
        own = self._memory if self._request is None else None
        return own or PreferredMemory(PreferredMemory.CPU)

    def requested_output_names(self) -> list[str]:
        return list(self._of().requested_outputs)

    def wanted(self) -> Sequence[str]:
        """The same, as the server sent it."""
        return self._of().requested_outputs

    # A request that this model answers.

    def get_response_sender(self) -> InferenceResponseSender:
        """The same one each time."""
        request = self._incoming("get_response_sender")
        if self._sender is None:
            self._sender = InferenceResponseSender(self._binding, request, self._decoupled)
        return self._sender

    def is_cancelled(self) -> bool:
        handle = self._incoming("is_cancelled").handle
        return self._binding.host.is_cancelled(handle)

    def set_release_flags(self, flags: int) -> None:
        """TRITONSERVER_REQUEST_RELEASE_ALL, or _RESCHEDULE to have the request come again."""
        self._incoming("set_release_flags")
        if flags not in (RELEASE_ALL, RELEASE_RESCHEDULE):
            raise TritonModelException(
                f"set_release_flags: expected {RELEASE_ALL} or {RELEASE_RESCHEDULE}, got {flags}"
            )
        self._release = flags

    def release_flags(self) -> int:
        return self._release

    def sender(self) -> InferenceResponseSender | None:
        """The sender that the model asked for, if it did."""
        return self._sender

    # A call to another model.

    def exec(self, decoupled: bool = False) -> Any:
        """Waits for the InferenceResponse; with `decoupled` returns a ResponseIterator at once.

        A failure of the called model is in the response (has_error), not raised.
        """
        binding = bound()
        call = self._outgoing(binding)
        try:
            if decoupled:
                return ResponseIterator(ResponseStream(binding, call, with_end=True))
            return InferenceResponse.of(binding.host.infer(call))
        except ArgosyError as error:
            raise model_exception(_FAILED_CALL, error) from error

    def async_exec(self, decoupled: bool = False) -> Coroutine[Any, Any, _Answer]:
        """Awaitable of what exec() returns."""
        binding = bound()
        return self._async_exec(binding, self._outgoing(binding), decoupled)

    async def _async_exec(self, binding: Binding, call: InferCall, decoupled: bool) -> _Answer:
        try:
            if decoupled:
                return ResponseIterator(ResponseStream(binding, call, with_end=True))
            return InferenceResponse.of(await call_async(binding.host, call))
        except ArgosyError as error:
            raise model_exception(_FAILED_CALL, error) from error

    def _outgoing(self, binding: Binding) -> InferCall:
        if self._request is not None:
            raise TritonModelException("exec: expected a request made by this model, got one that it shall answer")
        try:
            check_phase(binding)
        except ArgosyError as error:
            raise TritonModelException(error.message) from error
        call = self._call
        parents = self._trace.parents if self._trace is not None else ()
        return InferCall(
            call.model, tuple([one.value() for one in self._inputs]), call.version, call.requested_outputs, call.id,
            call.correlation_id, call.flags, call.priority, call.timeout_us, call.parameters,
            parents or current_requests(),
        )  # fmt: skip

    def _incoming(self, method: str) -> InferRequest:
        if self._request is None:
            raise TritonModelException(f"{method}: expected a request that the server sent, got one made by this model")
        return self._request

    def _of(self) -> InferRequest | InferCall:
        return self._request if self._request is not None else self._call
