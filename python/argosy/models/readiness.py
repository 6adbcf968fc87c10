"""A model's own is_ready(): one check at a time, its result shared, and never longer than a limit."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout

from argosy.models.faults import log_text
from argosy.worker.host import Host

LIMIT_SECS = 5.0


class ReadinessCheck:
    """`ask` may block, and may raise; either way the answer is False. Thread: any."""

    def __init__(self, host: Host, ask: Callable[[], object], *, limit_secs: float = LIMIT_SECS) -> None:
        self._host = host
        self._ask = ask
        self._limit_secs = limit_secs
        self._lock = threading.Lock()
        self._running: Future[bool] | None = None

    def __call__(self) -> bool:
        with self._lock:
            check = self._running
            if check is None:
                check = self._running = Future()
                threading.Thread(target=self._run, args=(check,), name="argosy-is-ready", daemon=True).start()
        try:
            return check.result(self._limit_secs)
        except FutureTimeout:
            self._host.log("warning", f"is_ready() has not answered within {self._limit_secs:g} s: not ready")
            return False

    def _run(self, check: Future[bool]) -> None:
        ready = False
        try:
            answer = self._ask()
            ready = answer is True
            if not isinstance(answer, bool):
                self._host.log("warning", f"is_ready(): expected a bool, got {type(answer)}: not ready")
        except Exception as error:  # the model's own code may raise anything
            self._host.log("warning", log_text("is_ready() failed: not ready", error))
        finally:
            with self._lock:
                self._running = None
            check.set_result(ready)
