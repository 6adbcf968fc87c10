"""Calls from a model to other models, over the Host: wait for one answer, await it, or iterate a stream.

Shared by argosy.bls and the compatible API; both only translate. Callbacks of the Host
come on its own threads and do no more than hand over. asyncio is imported where it is used:
it would be a third of a plain model's start.
"""

from __future__ import annotations

import queue
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from argosy.errors import InvalidArgument
from argosy.models.ambient import Binding
from argosy.worker.host import Failure, Host, InferCall, InferResponse

if TYPE_CHECKING:
    import asyncio


def check_phase(binding: Binding) -> Host:
    """The host, where calls are possible. Raises InvalidArgument elsewhere: others may not exist yet."""
    if binding.phase != "serve":
        raise InvalidArgument("BLS is only supported during the 'execute' function.")
    return binding.host


async def call_async(host: Host, call: InferCall) -> InferResponse:
    """One answer, the event loop free meanwhile. A cancelled task cancels the call."""
    import asyncio

    loop = asyncio.get_running_loop()
    answer: asyncio.Future[InferResponse] = loop.create_future()
    heard: list[InferResponse] = []

    def resolve() -> None:
        if not answer.done():
            answer.set_result(_single(call, heard))

    def on_response(response: InferResponse | None, final: bool) -> None:
        if response is not None:
            heard.append(response)
        if final:
            _tell(loop, resolve)

    number = host.infer_async(call, on_response)
    try:
        return await answer
    except asyncio.CancelledError:
        host.cancel(number)
        raise


class _Arrivals:
    """What the Host's callback reaches: not the stream itself, so that a dropped stream is noticed."""

    def __init__(self) -> None:
        self.responses: queue.SimpleQueue[tuple[InferResponse | None, bool]] = queue.SimpleQueue()
        self.loop: asyncio.AbstractEventLoop | None = None
        self.waker: asyncio.Event | None = None

    def on_response(self, response: InferResponse | None, final: bool) -> None:
        self.responses.put((response, final))
        if self.loop is not None and self.waker is not None:
            _tell(self.loop, self.waker.set)


class ResponseStream:
    """The answers of one call as they come, to be iterated once, with `for` or `async for`.

    Ends after the last answer. Dropped before that, it cancels the call. A failure is the last response,
    not raised. With `with_end` a stream without a final response ends with an empty one.
    """

    def __init__(self, binding: Binding, call: InferCall, *, with_end: bool = False) -> None:
        self._binding = binding
        self._with_end = with_end
        self._done = False
        self._arrivals = _Arrivals()
        binding.deferred.prepare()
        self._number = binding.host.infer_async(call, self._arrivals.on_response)

    def cancel(self) -> None:
        """Asks the called model to stop; what it has already sent is still delivered."""
        if not self._done:
            self._binding.host.cancel(self._number)

    def __del__(self) -> None:
        if not getattr(self, "_done", True) and hasattr(self, "_number"):
            host, number = self._binding.host, self._number
            self._binding.deferred.put(lambda: host.cancel(number))

    def __iter__(self) -> Iterator[InferResponse]:
        return self

    def __next__(self) -> InferResponse:
        while not self._done:
            response = self._take(*self._arrivals.responses.get())
            if response is not None:
                return response
        raise StopIteration

    def __aiter__(self) -> AsyncIterator[InferResponse]:
        return self

    async def __anext__(self) -> InferResponse:
        import asyncio

        arrivals = self._arrivals
        waker = arrivals.waker
        if waker is None:
            waker = arrivals.waker = asyncio.Event()
            arrivals.loop = asyncio.get_running_loop()
        while not self._done:
            waker.clear()
            try:
                arrived = arrivals.responses.get_nowait()
            except queue.Empty:
                await waker.wait()
                continue
            response = self._take(*arrived)
            if response is not None:
                return response
        raise StopAsyncIteration

    def _take(self, response: InferResponse | None, final: bool) -> InferResponse | None:
        self._done = final
        if response is None and final and self._with_end:
            return InferResponse()
        return response


def _tell(loop: asyncio.AbstractEventLoop, action: Callable[[], object]) -> None:
    with suppress(RuntimeError):  # the loop closed: nobody waits any more
        loop.call_soon_threadsafe(action)


def _single(call: InferCall, heard: list[InferResponse]) -> InferResponse:
    failed = next((one for one in heard if one.failure is not None), None)
    if failed is not None:
        return failed
    if len(heard) == 1:
        return heard[0]
    return InferResponse(
        failure=Failure(
            "unsupported", f"model '{call.model}' answered with {len(heard)} responses; call it as a stream (decoupled)"
        )
    )
