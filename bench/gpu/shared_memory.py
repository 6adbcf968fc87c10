"""Tensors in messages, in system and in CUDA shared memory, through the load generator: JSON lines on standard output.

    python bench/gpu/shared_memory.py [--quick] [--host]

  check          every answer of a model that gives back its 600 KB, compared byte by byte
  shared_memory  one protocol, kind of memory and concurrency: throughput, latency, the server's CPU

Two models, one row a request: `pooled` reads 600 KB and answers 64 bytes; `copied` answers 600 KB. ARGOSY_LOAD names
the generator. --host lets the host stand for the GPU: that shows that this program works, and measures nothing.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

import argosy
import torch
from argosy.bench import Measurement, measure
from argosy.options import Endpoint, ServerOptions
from gpu_models import copied, pooled, write_model

MEMORY = ("none", "system", "cuda")
OUTPUT_BYTES = {"pooled": 64, "copied": 602_112}


def emit(bench: str, **values: Any) -> None:
    print(json.dumps({"bench": bench, **values}), flush=True)


def flags(server: argosy.Server, model: str, protocol: str, memory: str, host: bool) -> list[str]:
    """What all runs of the generator have in common."""
    words = ["-m", model, "-i", protocol, "-u", f"127.0.0.1:{server.ports[protocol]}"]
    if memory != "none":
        words += ["--shared-memory", memory, "--output-shared-memory-size", str(OUTPUT_BYTES[model])]
    return [*words, "--cuda-device", "host" if host else "0"] if memory == "cuda" else words


def check(server: argosy.Server, protocol: str, memory: str, host: bool) -> bool:
    words = ["--expect", "echo", "--count", "100", "--concurrency", "8"]
    (line,) = measure([*flags(server, "copied", protocol, memory, host), *words])
    good = line.failed == 0 and line.requests == 100
    emit("check", protocol=protocol, memory=memory, answers=line.requests, met=good, errors=line.errors)
    return good


def tell(line: Measurement, model: str, protocol: str, memory: str) -> bool:
    emit(
        "shared_memory",
        model=model,
        protocol=protocol,
        memory=memory,
        concurrency=line.level,
        per_s=line.rps,
        p50_us=line.latency_us["p50_us"],
        p99_us=line.latency_us["p99_us"],
        server_cpu_us=line.cpu_us_per_request,
        mean_batch=line.mean_batch,
        stable=line.stable,
        errors=line.errors,
    )
    return line.failed == 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="shorter runs: does it work at all")
    parser.add_argument("--host", action="store_true", help="the host stands for the GPU; its numbers mean nothing")
    given = parser.parse_args()
    if not torch.cuda.is_available() and not given.host:
        emit("device", error="PyTorch finds no GPU")
        return 0
    device = "cpu" if given.host else "cuda:0"
    sys.setswitchinterval(1e-4)
    emit("device", name="the host" if given.host else torch.cuda.get_device_name(0), argosy=argosy.__version__)
    length = ["--warm-up", "300", "--window", "300", "--max-windows", "4"] if given.quick else ["--max-windows", "6"]
    levels = "1,8" if given.quick else "1,8,32"
    good = True
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for make in (pooled, copied):
            write_model(root / "models", make.__name__, make(root / "weights", make.__name__, device))
        free = Endpoint(port=0)
        options = ServerOptions(
            repositories=(str(root / "models"),),
            devices="host" if given.host else "cuda",
            allow_client_shm=True,
            http=free,
            grpc=free,
            metrics=free,
        )
        with argosy.Server(options=options, listen=True) as server:
            for protocol in ("grpc", "http"):
                for memory in MEMORY:
                    try:
                        good &= check(server, protocol, memory, given.host)
                        for model in OUTPUT_BYTES:
                            words = flags(server, model, protocol, memory, given.host)
                            for line in measure([*words, "--concurrency", levels, *length]):
                                good &= tell(line, model, protocol, memory)
                    except Exception as error:
                        traceback.print_exc()
                        emit(
                            "shared_memory", protocol=protocol, memory=memory, error=f"{type(error).__name__}: {error}"
                        )
                        good = False
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
