"""Servers under measurement: ours, the bare echo and the real Triton, each in its own process on
free ports of 127.0.0.1, stopped at the end; and the load generator that asks them.

Needs: psutil, tritonclient[http]
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import tritonclient.http as client

Line = dict[str, Any]
# Latency at concurrency 1 depends on whether client and server share a core: for it both
# servers are held on one and the client on the other.
SERVER_CORE, CLIENT_CORE = ("taskset", "-c", "0"), ("taskset", "-c", "1")


@dataclass(frozen=True, slots=True)
class Served:
    """A running server."""

    process: psutil.Process
    http: str
    grpc: str
    ready_after_s: float


@dataclass(frozen=True, slots=True)
class Bench:
    """Where things are, and how long the long proofs take."""

    build: Path
    repository: Path
    short: bool
    triton: Path | None = None

    def load(
        self, served_at: str, model: str, *flags: str, window: int = 1000, windows: int = 5, pinned: bool = False
    ) -> list[Line]:
        """argosy-load's lines. Raises CalledProcessError when it fails."""
        words = [*(CLIENT_CORE if pinned else ()), str(self.build / "bench/argosy-load")]
        words += ["-m", model, "-u", served_at, *flags]
        words += ["--window", str(window), "--max-windows", str(windows)]
        done = subprocess.run(words, check=True, capture_output=True, text=True, timeout=900)
        return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


@contextlib.contextmanager
def serve(repository: Path, *flags: str, pinned: bool = False) -> Iterator[Served]:
    """`argosy serve` on free ports, stopped at the end; `pinned`: on the first core alone."""
    words = [*(SERVER_CORE if pinned else ()), sys.executable, "-m", "argosy", "serve", str(repository), *flags]
    words += ["--http-port", "0", "--grpc-port", "0", "--metrics-port", "0", "--log-info", "false"]
    started = time.monotonic()
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    ports: dict[str, str] = {}
    try:
        for line in process.stdout:
            if match := re.match(r"Started (\w+) .*at (\S+)$", line):
                ports[match[1]] = match[2]
            if line.startswith("Started Metrics"):
                break
        ready = time.monotonic() - started
        threading.Thread(target=process.stdout.read, daemon=True).start()
        yield Served(psutil.Process(process.pid), ports["HTTPService"], ports["GRPCInferenceService"], ready)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


@contextlib.contextmanager
def echo(bench: Bench, pinned: bool = True) -> Iterator[tuple[str, str]]:
    """The bare echo, `pinned` on the first core: (HTTP address, gRPC address)."""
    words = [*(SERVER_CORE if pinned else ()), str(bench.build / "bench/argosy-echo")]
    words += ["--http-port", "0", "--grpc-port", "0", "--elements", "16"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        ports = json.loads(process.stdout.readline())
        yield f"127.0.0.1:{ports['http_port']}", f"127.0.0.1:{ports['grpc_port']}"
    finally:
        process.terminate()
        process.wait(10)


@contextlib.contextmanager
def triton_identity(folder: Path) -> Iterator[tuple[str, str, str]]:
    """The real server with the model `identity`: (HTTP address, gRPC address, pid)."""
    with contextlib.ExitStack() as held:
        free = [held.enter_context(socket.socket()) for _ in range(3)]
        for one in free:
            one.bind(("127.0.0.1", 0))
        http_port, grpc_port, metrics_port = (one.getsockname()[1] for one in free)
    words = [str(folder / "bin/tritonserver"), f"--model-repository={os.environ['TRITON_MODELS']}"]
    words += [f"--backend-directory={folder / 'backends'}", "--allow-gpu-metrics=false"]
    words += ["--http-address=127.0.0.1", "--grpc-address=127.0.0.1", "--metrics-address=127.0.0.1"]
    words += [f"--http-port={http_port}", f"--grpc-port={grpc_port}", f"--metrics-port={metrics_port}"]
    libraries = {"LD_LIBRARY_PATH": str(folder.parents[1] / "nvidia_pytriton.libs")}
    process = subprocess.Popen(
        words, env={**os.environ, **libraries}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        web = client.InferenceServerClient(f"127.0.0.1:{http_port}")
        for _ in range(200):
            with contextlib.suppress(Exception):
                if web.is_server_ready():
                    break
            time.sleep(0.1)
        yield f"127.0.0.1:{http_port}", f"127.0.0.1:{grpc_port}", str(process.pid)
    finally:
        process.terminate()
        process.wait(60)


def figures(line: Line) -> Line:
    """What a proof quotes of one measurement."""
    keys = ("rps", "cpu_us_per_request", "client_cpu_us_per_request", "p50_us", "p99_us", "failed", "other_cores")
    return {key: line[key] for key in keys if key in line}


def middle_cpu(runs: list[Line]) -> float:
    """The median of the server's CPU a request, us."""
    return statistics.median(run["cpu_us_per_request"] for run in runs)
