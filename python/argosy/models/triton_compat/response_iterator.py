"""ResponseIterator: the answers of a decoupled model that was called."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

from argosy.models.calls import ResponseStream
from argosy.models.triton_compat.response import InferenceResponse


class ResponseIterator:
    """For `for` and `async for`. The last response is empty where the model ended its stream without one."""

    def __init__(self, stream: ResponseStream) -> None:
        self._stream = stream

    def cancel(self) -> None:
        """Asks the called model to stop."""
        self._stream.cancel()

    def __iter__(self) -> Iterator[InferenceResponse]:
        return self

    def __next__(self) -> InferenceResponse:
        return InferenceResponse.of(next(self._stream))

    def __aiter__(self) -> AsyncIterator[InferenceResponse]:
        return self

    async def __anext__(self) -> InferenceResponse:
        return InferenceResponse.of(await self._stream.__anext__())
