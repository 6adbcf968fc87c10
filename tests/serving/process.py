"""Real `argosy serve` processes on ports of the system's choice.

A server tells its ports on standard output; whoever starts one ends it, by its id.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from serving.http import Answer, ask

START_WITHIN_S = 110.0
STOP_WITHIN_S = 60.0
_PORT = re.compile(r"Started (?:(GRPC)InferenceService|(HTTP)Service|(Metrics) Service) at .*:(\d+)$")


class Ended(Exception):
    """A server that was to start and ended instead."""

    def __init__(self, code: int, out: str, log: str) -> None:
        super().__init__(f"exit code {code}\n{out}{log}")
        self.code, self.out, self.log = code, out, log


def launch(*arguments: object, **streams: Any) -> subprocess.Popen[str]:
    """A server that nobody waits for, on ports of the system's choice unless named; `streams`: as Popen's."""
    words = [str(one) for one in arguments]
    given = {word.partition("=")[0] for word in words}
    words += [f"--{name}-port=0" for name in ("http", "grpc", "metrics") if f"--{name}-port" not in given]
    return subprocess.Popen([sys.executable, "-m", "argosy", "serve", *words], text=True, **streams)


def alive(process: int) -> bool:
    """Whether a process has not ended; one that nobody has reaped has."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


class Server:
    """One process. `ports` by "http", "grpc", "metrics"."""

    def __init__(self, arguments: list[str], environment: Mapping[str, str] | None = None) -> None:
        self._log = tempfile.NamedTemporaryFile("w+", suffix=".log")  # noqa: SIM115 - closed in stop()
        self.process = launch(
            *arguments, stdout=subprocess.PIPE, stderr=self._log, env={**os.environ, **(environment or {})}
        )
        self.ports: dict[str, int] = {}
        self.out = ""
        self._read_ports()

    def _read_ports(self) -> None:
        stream = self.process.stdout
        assert stream is not None
        # Ends the wait for a line that never comes.
        watchdog = threading.Timer(START_WITHIN_S, self.process.kill)
        watchdog.start()
        try:
            for line in stream:
                self.out += line
                match = _PORT.match(line.rstrip())
                if match:
                    name = next(group for group in match.groups()[:3] if group)
                    self.ports[name.lower()] = int(match.group(4))
                elif self.ports and not line.strip():
                    break
        finally:
            watchdog.cancel()
        if not self.ports:
            code = self.process.wait(STOP_WITHIN_S)
            log = self.log
            self._close()
            raise Ended(code, self.out, log)

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def http(self) -> str:
        return f"127.0.0.1:{self.ports['http']}"

    @property
    def grpc(self) -> str:
        return f"127.0.0.1:{self.ports['grpc']}"

    @property
    def log(self) -> str:
        return Path(self._log.name).read_text(errors="replace")

    def ask(self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None) -> Answer:
        return ask(self.ports["http"], method, path, body, headers)

    def infer(self, model: str, inputs: Any, headers: Mapping[str, str] | None = None, **more: Any) -> Answer:
        """A JSON request; `inputs` is a list of input objects."""
        return self.ask("POST", f"/v2/models/{model}/infer", {"inputs": inputs, **more}, headers)

    def read_welcome(self) -> str:
        """All of what a start prints, up to its last line."""
        stream = self.process.stdout
        assert stream is not None
        while "Only this machine can connect" not in self.out:
            line = stream.readline()
            assert line, self.out
            self.out += line
        return self.out

    def metrics(self) -> str:
        return ask(self.ports["metrics"], "GET", "/metrics").body.decode()

    def stats(self, model: str) -> dict[str, Any]:
        rows = self.ask("GET", f"/v2/models/{model}/stats").json["model_stats"]
        assert len(rows) == 1, rows
        return dict(rows[0])

    def send_signal(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        """The exit code, once it has ended by itself or by a signal sent before."""
        try:
            code = self.process.wait(STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        finally:
            if self.process.stdout is not None:
                self.out += self.process.stdout.read()
        return code

    def stop(self) -> int:
        """Ends it the polite way; again is nothing."""
        if self.process.poll() is None:
            self.send_signal()
        code = self.wait() if self.process.stdout and not self.process.stdout.closed else self.process.returncode
        self._close()
        return code

    def _close(self) -> None:
        if self.process.stdout is not None:
            self.process.stdout.close()
        self._log.close()


@contextmanager
def serve(*arguments: object, environment: Mapping[str, str] | None = None) -> Iterator[Server]:
    """A server for one block. Raises Ended when it does not come up."""
    server = Server([str(one) for one in arguments], environment)
    try:
        yield server
    finally:
        server.stop()
