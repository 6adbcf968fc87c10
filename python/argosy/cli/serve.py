"""`argosy serve`: run until told to stop, and say what is served.

SIGTERM or SIGINT: not ready from that moment, still serving for --drain-delay, then
what runs is finished for up to --exit-timeout-secs; what still loads at the start is
given up. A second signal exits at once.
Exit code 0 after a complete drain, 1 when something had to be cut off.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from types import FrameType

from argosy.cli.flags import parse
from argosy.cli.welcome import welcome
from argosy.errors import ArgosyError
from argosy.logs import Logs
from argosy.server import Server

_log = logging.getLogger("argosy.serve")


def run(arguments: Sequence[str]) -> int:
    """Serves; returns the exit code."""
    parsed = parse(arguments)
    # Native threads wait for the interpreter lock at most this long behind control work.
    sys.setswitchinterval(1e-4)
    logs = Logs(parsed.logs)
    for flag in parsed.ignored:
        _log.warning("%s has no effect here and is accepted for compatibility", flag)
    stop = threading.Event()
    starting: list[Server] = []

    def stop_soon(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            os._exit(1)
        stop.set()
        for server in starting:
            server.stop_loading()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop_soon)

    server = Server(options=parsed.options, logs=logs)
    starting.append(server)
    try:
        server.start()
        starting.clear()
    except ArgosyError as error:
        _log.error("creating server: %s", error)
        sys.stderr.write(f"error: creating server: {error}\n")
        return 1
    for name, failure in server.failures.items():
        _log.error("model '%s' is not served: %s", name, failure)
    sys.stdout.write(welcome(server))
    sys.stdout.flush()
    stop.wait()
    _log.info("stopping: not ready from now on, serving for %g s more", parsed.options.drain_delay_secs)
    server.set_ready(False)
    _wait(parsed.options.drain_delay_secs)
    finished = _stop(server)
    _log.info("stopped, %s", "everything finished" if finished else "requests were cut off at the exit timeout")
    logs.close()
    return 0 if finished else 1


def _stop(server: Server) -> bool:
    """In a thread of its own: the native drain would keep a second signal from being heard."""
    finished: list[bool] = []
    worker = threading.Thread(target=lambda: finished.append(server.stop()), name="stop")
    worker.start()
    worker.join()
    return finished == [True]


def _wait(seconds: float) -> None:
    if seconds > 0:
        threading.Event().wait(seconds)
