"""An event loop on a thread of its own, for models whose methods are `async def`.

Coroutines keep running between two calls of execute(), so that requests overlap.
asyncio is imported with the first one: it would be a third of a plain model's start.

Thread: submit() and stop() from any thread but the loop's own.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

from argosy.errors import InvalidArgument

if TYPE_CHECKING:
    import asyncio

_T = TypeVar("_T")


class LoopThread:
    """Starts with the first coroutine. `stop` waits for those that were submitted."""

    def __init__(self, name: str = "argosy-loop") -> None:
        self._name = name
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def submit(self, coroutine: Coroutine[Any, Any, _T]) -> Future[_T]:
        """Runs it on the loop, in a copy of the caller's context."""
        import asyncio

        return asyncio.run_coroutine_threadsafe(coroutine, self._running())

    def stop(self) -> None:
        """Returns when every coroutine submitted before has ended and the loop is closed. Again is nothing."""
        import asyncio

        with self._lock:
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
        if loop is None or thread is None:
            return
        asyncio.run_coroutine_threadsafe(_drained(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()

    def _running(self) -> asyncio.AbstractEventLoop:
        import asyncio

        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._loop.run_forever, name=self._name, daemon=True)
                self._thread.start()
            return self._loop


def check_ran(result: object, what: str) -> None:
    """Raises InvalidArgument when `result` is a coroutine: nothing would ever run it."""
    if inspect.iscoroutine(result):
        result.close()
        raise InvalidArgument(f"{what} is 'async def' and would never run; expected a plain method")


async def _drained() -> None:
    import asyncio

    while True:
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        if not others:
            break
        await asyncio.wait(others)
    await asyncio.get_running_loop().shutdown_asyncgens()
