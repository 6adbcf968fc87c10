"""The processes that loading a model waits for, so that a server that stops need not wait for them.

Thread: any.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from argosy.worker.native import native


class Children:
    """`ended`: the server stops, and what it started is killed, also what it starts from then on.

    No lock, which a signal handler could not take: each step below is one of the interpreter's, and who starts a
    process adds it before looking at `ended`, while end() does the reverse.
    """

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[bytes]] = set()
        self.ended = False

    @contextmanager
    def awaited(self, process: subprocess.Popen[bytes]) -> Iterator[None]:
        """While somebody waits for it; it was started as a session of its own."""
        self._running.add(process)
        if self.ended:
            end_session(process)
        try:
            yield
        finally:
            self._running.discard(process)

    def end(self) -> None:
        """Kills those that are awaited; from a signal handler, too."""
        self.ended = True
        for process in tuple(self._running):
            end_session(process)


def end_session(process: subprocess.Popen[bytes]) -> None:
    """Kills it and what it started; it was started as a session of its own.

    Where there is native code, its resource trackers are left to end by themselves, tidying up.
    """
    end_group = getattr(native, "end_group", None)
    if end_group is not None:
        end_group(process.pid)
        return
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
