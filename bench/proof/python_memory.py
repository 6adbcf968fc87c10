"""Measures what Python models leave behind in memory, one proof at a time, and writes it down.

    python bench/proof/python_memory.py [--out bench/results] [--calls 1000000] bls gigabyte small_shm

    bls        a model calls another one CALLS times, with mixed sizes: resident and shared memory of the
               server and its workers must stay within 5 % of their level after 10^4 calls
    gigabyte   a tensor of 1 GB goes through a model and comes back; then the memory is given back
    small_shm  the same models answer while /dev/shm holds 64 MB and is full (needs unshare)

Each is bounded in time, serves in process without sockets, and appends JSON lines to OUT/python_memory.jsonl
with the command. Ends with 1 when a bound is broken.

Needs: the argosy package, numpy
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import argosy
import numpy as np
import record

Line = dict[str, Any]
CONFIG = """
backend: "python"
input [ { name: "X" data_type: TYPE_FP32 dims: [ -1 ] } ]
output [ { name: "Y" data_type: TYPE_FP32 dims: [ -1 ] } ]
"""
SAME = """
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        inputs = [pb_utils.get_input_tensor_by_name(r, "X").as_numpy() for r in requests]
        return [pb_utils.InferenceResponse([pb_utils.Tensor("Y", x)]) for x in inputs]
"""
# X: how many calls. Sizes on both sides of what travels in a message; some calls are awaited together.
CALLS = """
import asyncio
import os
import numpy as np
import triton_python_backend_utils as pb_utils

SIZES = (1, 16, 1_000, 16_000, 17_000, 60_000)


class TritonPythonModel:
    async def execute(self, requests):
        answers = []
        for request in requests:
            left = int(pb_utils.get_input_tensor_by_name(request, "X").as_numpy()[0])
            while left > 0:
                group = min(left, len(SIZES))
                calls = [self.call(SIZES[n]) for n in range(group)]
                for size, answer in zip(SIZES, await asyncio.gather(*calls)):
                    assert not answer.has_error(), answer.error().message()
                    y = pb_utils.get_output_tensor_by_name(answer, "Y").as_numpy()
                    assert y.size == size and y[-1] == size
                left -= group
            answers.append(pb_utils.InferenceResponse([pb_utils.Tensor("Y", np.array([os.getpid()], np.float32))]))
        return answers

    def call(self, size):
        x = np.full(size, size, np.float32)
        inputs = [pb_utils.Tensor("X", x)]
        call = pb_utils.InferenceRequest(model_name="same", requested_output_names=["Y"], inputs=inputs)
        return call.async_exec()
"""


def write(root: Path, name: str, source: str) -> None:
    (root / name / "1").mkdir(parents=True)
    (root / name / "config.pbtxt").write_text(f'name: "{name}"\n{CONFIG}', encoding="utf-8")
    (root / name / "1" / "model.py").write_text(source, encoding="utf-8")


def children() -> list[int]:
    found = []
    for task in Path("/proc/self/task").iterdir():
        found += [int(word) for word in (task / "children").read_text(encoding="utf-8").split()]
    return found


def private(process: int | str) -> int:
    """Resident bytes that are this process's own: anonymous and file, without shared memory."""
    words = dict(
        line.split(":", 1)
        for line in Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines()
        if line.startswith("Rss")
    )
    return sum(int(words[key].split()[0]) << 10 for key in ("RssAnon", "RssFile"))


def shared() -> int:
    """Bytes in the memory that the server shares with its workers."""
    total = 0
    for link in Path("/proc/self/fd").iterdir():
        try:
            if "memfd:argosy" in os.readlink(link):
                total += link.stat().st_blocks * 512
        except FileNotFoundError:
            continue
    return total


def level() -> dict[str, int]:
    return {"server": private("self"), "workers": sum(private(process) for process in children()), "shared": shared()}


def bls(root: Path, options: argparse.Namespace) -> tuple[list[Line], bool]:
    """Memory over many calls."""
    write(root, "same", SAME)
    write(root, "calls", CALLS)
    lines: list[Line] = []
    with argosy.Server(root) as server:
        done, begun = 0, time.monotonic()
        for until in (10_000, *range(options.calls // 5, options.calls + 1, options.calls // 5)):
            while done < until:
                step = min(10_000, until - done)
                server.infer("calls", {"X": np.array([step], np.float32)})
                done += step
            lines.append({"calls": done, "secs": round(time.monotonic() - begun, 1), **level()})
    first, last = lines[0], lines[-1]
    # Shared memory comes and goes with the last tensors; up to a batch of them is no growth.
    slack = {"server": 0, "workers": 0, "shared": 4 << 20}
    flat = all(last[key] <= first[key] * 1.05 + slack[key] for key in slack)
    return lines, flat


def gigabyte(root: Path, options: argparse.Namespace) -> tuple[list[Line], bool]:
    """One tensor of 1 GB, there and back."""
    write(root, "same", SAME)
    with argosy.Server(root, max_queued_bytes=4 << 30) as server:
        server.infer("same", {"X": np.ones(10, np.float32)})
        before = level()
        sent = np.arange(1 << 28, dtype=np.float32)
        begun = time.monotonic()
        whole = bool(np.array_equal(server.infer("same", {"X": sent})["Y"], sent))
        secs = time.monotonic() - begun
        del sent
        until = time.monotonic() + 10  # idle: a process looks for itself what came back
        while shared() - before["shared"] > 256 << 20 and time.monotonic() < until:
            time.sleep(0.05)
        after = level()
    kept = after["shared"] - before["shared"]
    line = {"bytes": 1 << 30, "whole": whole, "secs": round(secs, 2), "shared_kept": kept}
    return [line], whole and kept < 256 << 20


SMALL = """
import sys
import numpy as np
import argosy

with open("/dev/shm/full", "wb") as full:
    try:
        while True:
            full.write(bytes(1 << 20))
    except OSError:
        pass
sent = np.random.default_rng(1).random(25_000_000, np.float32)  # 100 MB, more than there is
with argosy.Server(sys.argv[1]) as server:
    assert np.array_equal(server.infer("same", {"X": sent})["Y"], sent)
    server.infer("calls", {"X": np.array([600], np.float32)})
print("answered")
"""


def small_shm(root: Path, options: argparse.Namespace) -> tuple[list[Line], bool]:
    """Nothing of a worker's lies in /dev/shm."""
    write(root, "same", SAME)
    write(root, "calls", CALLS)
    inside = 'mount -t tmpfs -o size=64m tmpfs /dev/shm && exec "$@"'
    command = ["unshare", "--mount", "sh", "-c", inside, "sh", sys.executable, "-c", SMALL, str(root)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    answered = done.returncode == 0 and "answered" in done.stdout
    return [{"shm_bytes": 64 << 20, "answered": answered, "said": done.stderr[-400:]}], answered


PROOFS: dict[str, Callable[[Path, argparse.Namespace], tuple[list[Line], bool]]] = {
    "bls": bls,
    "gigabyte": gigabyte,
    "small_shm": small_shm,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("bench/results"))
    parser.add_argument("--calls", type=int, default=1_000_000)
    parser.add_argument("proof", nargs="+", choices=sorted(PROOFS))
    options = parser.parse_args()
    held = True
    for name in options.proof:
        with tempfile.TemporaryDirectory() as root:
            lines, good = PROOFS[name](Path(root), options)
        held = held and good
        record.write(options.out / "python_memory.jsonl", {"proof": name, "held": good}, lines)
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
