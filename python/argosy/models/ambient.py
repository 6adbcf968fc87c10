"""What a model's code reaches without being handed it: the process it runs in, and the requests it runs for.

A model calls `pb_utils.Logger.log_info(...)` or `argosy.bls.infer(...)` from anywhere,
so the process holds one Binding: a process runs one model instance. This is the one
piece of module state here. Everything else takes a Host as an argument.

Thread: bind() before the model's code runs; reading is safe from every thread.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from contextvars import ContextVar, Token
from dataclasses import dataclass, field

from argosy.errors import Unsupported
from argosy.worker.host import Host, ModelPlace

# Handles of the requests that the running code works for; tasks inherit it, threads do not.
_current: ContextVar[tuple[int, ...]] = ContextVar("argosy_requests", default=())


class Deferred:
    """Runs what a destructor must not: destructors run anywhere, also inside a call of the Host that holds a lock.

    The thread starts with the first action and sleeps between them.
    """

    def __init__(self) -> None:
        self._actions: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def prepare(self) -> None:
        """Starts the thread; from ordinary code, before a destructor may need it."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="argosy-deferred", daemon=True)
                self._thread.start()

    def put(self, action: Callable[[], None]) -> None:
        """From anywhere, destructors included. The action must not raise."""
        self._actions.put(action)

    def finish(self) -> None:
        """Returns when everything put so far has run."""
        with self._lock:
            thread, self._thread = self._thread, None
        if thread is not None:
            self._actions.put(None)
            thread.join()

    def _run(self) -> None:
        while True:
            action = self._actions.get()
            if action is None:
                return
            action()


@dataclass
class Binding:
    """This process's host and where its model stands: "idle", "auto_complete", "initialize", "serve" or "finalize"."""

    host: Host
    place: ModelPlace | None = None
    phase: str = "idle"
    deferred: Deferred = field(default_factory=Deferred)


_bound: list[Binding] = []


def bind(host: Host, place: ModelPlace | None = None) -> Binding:
    """Makes `host` the one of this process; the last call counts."""
    binding = Binding(host=host, place=place)
    _bound[:] = [binding]
    return binding


def bound() -> Binding:
    """Raises Unsupported outside of a model's process."""
    if not _bound:
        raise Unsupported(
            "this call works inside a model that a server runs, not in a program of its own; there, use argosy.Server"
        )
    return _bound[0]


def current_requests() -> tuple[int, ...]:
    """Handles of the requests that the calling code works for; empty in a thread that the model started itself."""
    return _current.get()


class working_for:  # read as a phrase: with working_for(handles)
    """Everything called inside belongs to these requests: their deadline, trace and cancellation are passed on."""

    __slots__ = ("_handles", "_token")
    _token: Token[tuple[int, ...]]

    def __init__(self, handles: tuple[int, ...]) -> None:
        self._handles = handles

    def __enter__(self) -> None:
        self._token = _current.set(self._handles)

    def __exit__(self, *_: object) -> None:
        _current.reset(self._token)
