"""The processes that loading a model waits for, so that a server that stops need not wait for them.

Thread: any.
"""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Children:
    """`ended`: the server stops, and what it started is killed, also what it starts from then on."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self.ended = False

    @contextmanager
    def awaited(self, process: subprocess.Popen[bytes]) -> Iterator[None]:
        """While somebody waits for it."""
        with self._lock:
            self._running.add(process)
            if self.ended:
                process.kill()
        try:
            yield
        finally:
            with self._lock:
                self._running.discard(process)

    def end(self) -> None:
        """Kills those that are awaited; from a signal handler, too."""
        self.ended = True
        for process in tuple(self._running):
            process.kill()
