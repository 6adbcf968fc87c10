"""Measures what is promised of Python models, one proof at a time, and writes it down.

    python bench/proof/python_models.py [--build BUILD] [--out bench/results] faults cancel start steps

As prove.py does: own servers on free ports of 127.0.0.1, bounded in time, JSON lines in
OUT/python_<proof>.jsonl with the command and the machine's load. `steps` needs BUILD
with bench/argosy-load. `--short` shortens the long ones.

Needs: the argosy package, numpy, psutil, tritonclient[grpc,http]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import fault_models
import leaving
import psutil
import record
import tritonclient.http as client
from served import Bench, Line, Served, figures, serve

IMPORT_NUMPY = (sys.executable, "-c", "import numpy")
PLAIN_MODEL = """
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
        return [pb_utils.InferenceResponse(request.inputs()) for request in requests]
"""
PLAIN_CONFIG = """backend: "python"
input { name: "X" data_type: TYPE_FP32 dims: -1 }
output { name: "X" data_type: TYPE_FP32 dims: -1 }
instance_group { count: 1 kind: KIND_CPU }
"""
EXPLICIT = ("--model-control-mode", "explicit")


def _workers(server: Served) -> list[psutil.Process]:
    return [one for one in server.process.children(recursive=True) if one.status() != psutil.STATUS_ZOMBIE]


def _load(server: Served, *names: str) -> float:
    """Seconds until the models are loaded; all are asked for at once."""
    with client.InferenceServerClient(server.http, concurrency=len(names), network_timeout=120) as web:
        begun = time.monotonic()
        for name in names:
            web.load_model(name)
        return time.monotonic() - begun


def faults(bench: Bench) -> Iterator[Line]:
    """Every fault under load: what its client got, time to recovery, wrong answers, hung clients, leaks."""
    root = bench.repository / "faults"
    fault_models.write_repository(root)
    with serve(root, *EXPLICIT, "--load-model", fault_models.BYSTANDER) as server:
        with client.InferenceServerClient(server.http, network_timeout=120) as web:
            for fault in fault_models.FAULTS:  # what a first load costs once is no leak
                web.load_model(fault.name)
                web.unload_model(fault.name)
            _settle(server, 1)
            before = _resources(server)
            for fault in fault_models.FAULTS:
                web.load_model(fault.name)
                with (
                    fault_models.Crowd(server.grpc, fault_models.BYSTANDER, clients=2) as bystanders,
                    fault_models.Crowd(server.grpc, fault.name, clients=4) as users,
                ):
                    users.wait_for(100)
                    outcomes = []
                    # Five deaths in a row open the circuit, which is another matter.
                    for _ in range(1 if bench.short else min(3, 4 // fault.deaths)):
                        outcomes.append(fault_models.do_harm(server.grpc, fault))
                        users.wait_for(100)
                    if "finalize" in fault.name:
                        web.unload_model(fault.name)
                    asked = bystanders.good
                    bystanders.wait_for(100)
                if "finalize" not in fault.name:
                    web.unload_model(fault.name)
                yield {
                    "case": fault.name,
                    "client_got": outcomes[0].code or "an answer",
                    "text": outcomes[0].text.partition("\n")[0],
                    "expected": fault.code or "an answer",
                    "answered_s": [round(one.answered_s, 4) for one in outcomes],
                    "recovery_s": [round(one.recovery_s, 4) for one in outcomes],
                    "users": {
                        "good": users.good,
                        "wrong": users.wrong,
                        "hung": users.hung,
                        "errors": dict(users.errors),
                    },
                    "bystanders": {
                        "good": asked,
                        "wrong": bystanders.wrong,
                        "errors": dict(bystanders.errors),
                        "slowest_s": round(bystanders.slowest_s, 3),
                    },
                }
        _settle(server, 1)
        yield {"case": "leaks", "before": before, "after": _resources(server)}


def _resources(server: Served) -> Line:
    return {
        "descriptors": server.process.num_fds(),
        "threads": server.process.num_threads(),
        "workers": len(_workers(server)),
        "rss_mb": round(server.process.memory_info().rss / 1e6, 1),
        "shm": sorted(name for name in os.listdir("/dev/shm") if "argosy" in name),
    }


def _settle(server: Served, workers: int) -> None:
    until = time.monotonic() + 30
    while len(_workers(server)) != workers and time.monotonic() < until:
        time.sleep(0.05)


def cancel(bench: Bench) -> Iterator[Line]:
    """From a client's leaving until the running model knows, for each way to leave."""
    root = bench.repository / "cancel"
    leaving.write_repository(root)
    turns = 10 if bench.short else 50
    with serve(root) as server:
        for way in leaving.WAYS:
            notes = Path(tempfile.mkdtemp(dir=bench.repository))
            seen = sorted(
                1000 * leaving.seconds_until_seen(way, server.http, server.grpc, notes / f"{turn}")
                for turn in range(turns)
            )
            yield {
                "case": way,
                "turns": turns,
                "seen_after_ms": {"median": statistics.median(seen), "p90": seen[int(0.9 * turns)], "max": seen[-1]},
            }


def start(bench: Bench) -> Iterator[Line]:
    """Loading a Python model against a bare `import numpy`, by turns; then twenty models at once."""
    root = bench.repository / "start"
    for number in range(21):
        (root / f"plain{number}" / "1").mkdir(parents=True)
        (root / f"plain{number}" / "config.pbtxt").write_text(PLAIN_CONFIG, encoding="utf-8")
        (root / f"plain{number}" / "1" / "model.py").write_text(PLAIN_MODEL, encoding="utf-8")
    with serve(root, *EXPLICIT) as server, client.InferenceServerClient(server.http, network_timeout=120) as web:
        pairs = []
        for _ in range(5 if bench.short else 15):
            begun = time.monotonic()
            subprocess.run(IMPORT_NUMPY, check=True)
            bare = time.monotonic() - begun
            pairs.append((bare, _load(server, "plain20")))
            web.unload_model("plain20")
            _settle(server, 0)
        yield {
            "case": "one model",
            "bare_import_numpy_s": statistics.median(bare for bare, _ in pairs),
            "load_s": statistics.median(load for _, load in pairs),
            "overhead_s": statistics.median(load - bare for bare, load in pairs),
            "asked_overhead_s": 0.3,
        }
    names = [f"plain{number}" for number in range(20)]
    at_once = time.monotonic()
    running = [subprocess.Popen(IMPORT_NUMPY) for _ in names]
    for one in running:
        one.wait()
    bare = time.monotonic() - at_once
    begun = time.monotonic()
    with serve(root, *EXPLICIT, *(word for name in names for word in ("--load-model", name))) as server:
        loaded = time.monotonic() - begun
        with client.InferenceServerClient(server.http) as web:
            ready = sum(web.is_model_ready(name) for name in names)
        yield {
            "case": "twenty models at once, server included",
            "bare_import_numpy_twenty_at_once_s": bare,
            "ready_s": loaded,
            "ready": ready,
            "workers": len(_workers(server)),
        }


def steps(bench: Bench) -> Iterator[Line]:
    """A Python model that calls three, against a native loop that calls the three one after the other, by turns."""
    root = Path(__file__).resolve().parents[1] / "compare" / "python_models"
    pairs = []
    flags = ("-i", "grpc", "--concurrency", "1", "--expect", "echo")
    with serve(root) as server:
        for _ in range(3 if bench.short else 7):
            joined = bench.load(server.grpc, "three_steps", *flags, windows=3)[0]
            single = bench.load(server.grpc, "step", *flags, windows=3)[0]
            pairs.append((figures(joined), figures(single)))
    yield {
        "case": "three calls, concurrency 1, gRPC: the model against three requests of a native client",
        "asked_ratio": 1.3,
        "ratio_of_p50": statistics.median(joined["p50_us"] / (3 * single["p50_us"]) for joined, single in pairs),
        "runs": [{"model": joined, "one_step": single} for joined, single in pairs],
    }


PROOFS: dict[str, Callable[[Bench], Iterator[Line]]] = {
    proof.__name__: proof for proof in (faults, cancel, start, steps)
}


def main() -> int:
    """Runs the named proofs, in order; 0 when every one ran."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("proof", nargs="*", choices=[*PROOFS, []], default=list(PROOFS))
    parser.add_argument("--build", type=Path, default=Path("build"), help="build folder with bench/argosy-load")
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parents[1] / "results")
    parser.add_argument("--short", action="store_true", help="fewer rounds")
    given = parser.parse_args()
    for name in given.proof or list(PROOFS):
        with tempfile.TemporaryDirectory(prefix="argosy-proof-") as folder:
            lines = PROOFS[name](Bench(given.build, Path(folder), given.short))
            record.write(given.out / f"python_{name}.jsonl", {"proof": name, "short": given.short}, lines)
    return 0


if __name__ == "__main__":
    sys.exit(main())
