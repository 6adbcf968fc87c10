"""InferenceResponseSender: the way back for a model that answers itself, once or many times.

Invariant: each request is answered finally exactly once. A sender that is dropped before
it sent the final flag answers with an error, so that no client waits for ever.

Thread: any; a sender may be kept and used after execute() has returned.
"""

from __future__ import annotations

import threading

from argosy.errors import ArgosyError
from argosy.models.ambient import Binding
from argosy.models.triton_compat.errors import TritonModelException
from argosy.models.triton_compat.response import InferenceResponse
from argosy.worker.host import Failure, InferRequest, InferResponse

FINAL = 1
_DROPPED = (
    "the model dropped the response sender without sending the final flag: expected "
    "response_sender.send(flags=TRITONSERVER_RESPONSE_COMPLETE_FINAL)"
)


class InferenceResponseSender:
    """`send(response=None, flags=0)`. Made by InferenceRequest.get_response_sender()."""

    def __init__(self, binding: Binding, request: InferRequest, decoupled: bool) -> None:
        self._binding = binding
        self._request = request
        self._decoupled = decoupled
        self._lock = threading.Lock()
        self._sent = 0
        self._closed = False
        binding.deferred.prepare()

    def send(self, response: InferenceResponse | None = None, flags: int = 0) -> None:
        """Sends at once. Raises TritonModelException for what the rules of the mode forbid; nothing is sent then."""
        if flags not in (0, FINAL):
            raise TritonModelException("Unable to send response. Unsupported flag provided.")
        if flags == 0 and response is None:
            raise TritonModelException(
                "Inference Response object must be provided when the response flags is set to zero."
            )
        if response is not None and not isinstance(response, InferenceResponse):
            raise TypeError(f"response: expected an InferenceResponse or None, got {type(response)}")
        answer = None if response is None else response.for_server(self._request.requested_outputs)
        self._count(response is not None, flags == FINAL)
        try:
            self._binding.host.respond(self._request.handle, answer, flags == FINAL)
        except ArgosyError as error:
            with self._lock:
                self._closed = False
                self._sent -= 1
            raise TritonModelException(f"An error occurred while sending a response. {error.message}") from error

    def is_cancelled(self) -> bool:
        return self._binding.host.is_cancelled(self._request.handle)

    def closed(self) -> bool:
        """Whether the final answer is on its way."""
        return self._closed

    def close_with(self, failure: Failure) -> None:
        """The final answer, unless there was one."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._binding.host.respond(self._request.handle, InferResponse(failure=failure), True)

    def forget(self) -> None:
        """The request is answered, or given back, by other means."""
        with self._lock:
            self._closed = True

    def __del__(self) -> None:
        if getattr(self, "_closed", True):
            return
        host, handle = self._binding.host, self._request.handle

        def answer() -> None:
            host.log("error", _DROPPED, handle)
            host.respond(handle, InferResponse(failure=Failure("internal", _DROPPED)), True)

        self._binding.deferred.put(answer)

    def _count(self, with_response: bool, final: bool) -> None:
        with self._lock:
            if not self._decoupled:
                if with_response and self._sent > 0:
                    raise TritonModelException(
                        "Unable to send response. Non-decoupled model cannot send more than one response."
                    )
                if not with_response and self._sent == 0:
                    raise TritonModelException(
                        "Unable to send response. Non-decoupled model cannot send complete final before sending a "
                        "response."
                    )
            if self._closed:
                raise TritonModelException("Unable to send response. Response sender has been closed.")
            self._closed = final
            self._sent += 1
