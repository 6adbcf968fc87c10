"""usage: serve_and_ask.py ARGOSY

Starts the given `argosy` on a repository of one identity model, asks it over HTTP
with the standard library alone, checks the answer, and stops it with SIGTERM.
Exit status 1, with the server's log, when anything is not as it should be.
"""

from __future__ import annotations

import http.client
import json
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CONFIG = """
backend: "identity"
max_batch_size: 8
input { name: "INPUT0" data_type: TYPE_FP32 dims: [ 4 ] }
output { name: "OUTPUT0" data_type: TYPE_FP32 dims: [ 4 ] }
"""
READY_WITHIN_S = 60.0
STOPPED_WITHIN_S = 60.0
SERVICES = ("HTTPService", "Metrics Service")


def ask(port: int, method: str, path: str, body: object = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, None if body is None else json.dumps(body))
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def ports_told(log: Path, server: subprocess.Popen[bytes]) -> tuple[int, int]:
    """Where the server says that it listens, for HTTP and for metrics; it says so when it is ready."""
    until = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < until:
        if server.poll() is not None:
            raise AssertionError(f"the server ended with status {server.returncode}")
        text = log.read_text(errors="replace")
        told = [re.search(rf"^Started {name} at \S+:(\d+)\n", text, re.MULTILINE) for name in SERVICES]
        if told[0] and told[1]:
            return int(told[0][1]), int(told[1][1])
        time.sleep(0.05)
    raise AssertionError(f"not ready within {READY_WITHIN_S} s")


def check(http_port: int, metrics_port: int) -> None:
    values = [1.0, -2.5, 3.25, 0.0]
    tensor = {"name": "INPUT0", "shape": [1, 4], "datatype": "FP32", "data": values}
    status, body = ask(http_port, "POST", "/v2/models/echo/infer", {"id": "42", "inputs": [tensor]})
    answer = json.loads(body)
    assert status == 200, (status, body)
    assert answer["id"] == "42", answer
    assert answer["outputs"][0]["data"] == values, answer
    status, page = ask(metrics_port, "GET", "/metrics")
    assert status == 200, (status, page)
    assert b'nv_inference_request_success{model="echo",version="1"} 1' in page, page.decode()


def main(argosy: str) -> int:
    with tempfile.TemporaryDirectory() as scratch:
        model = Path(scratch, "repository", "echo")
        (model / "1").mkdir(parents=True)
        (model / "config.pbtxt").write_text(CONFIG, encoding="utf-8")
        ports = [f"--{name}-port=0" for name in ("http", "grpc", "metrics")]
        log = Path(scratch, "log")
        with log.open("wb") as sink:
            server = subprocess.Popen([argosy, "serve", str(model.parent), *ports], stdout=sink, stderr=sink)
            try:
                http_port, metrics_port = ports_told(log, server)
                assert ask(http_port, "GET", "/v2/health/ready")[0] == 200
                check(http_port, metrics_port)
                server.send_signal(signal.SIGTERM)
                status = server.wait(STOPPED_WITHIN_S)
                assert status == 0, f"the server stopped with status {status}"
            except (AssertionError, OSError, LookupError, ValueError, subprocess.TimeoutExpired) as problem:
                print(f"serve_and_ask: {problem}\nThe server said:\n{log.read_text(errors='replace')}")
                return 1
            finally:
                server.kill()
                server.wait()
    print("serve_and_ask: ready, answered, counted, stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
