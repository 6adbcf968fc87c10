"""Measures what the project promises, one proof at a time, and writes it down.

    python bench/proof/prove.py --build BUILD [--out bench/results] [identity mlp cnn payload start overload reload
        simulated]

`--triton DIR` (a tritonserver folder with bin/ and backends/, `$TRITON_MODELS` with an
`identity` model of bench/compare/triton_identity.cc) takes the real server's figure in
the same run, by turns: on a shared machine only the ratio means something.

Every proof starts its own servers on free ports of 127.0.0.1, is bounded in time, and
appends JSON lines to OUT/<proof>.jsonl: what was asked, what came, with the command.
Ratios are of runs by turns in the same call. `--short` shortens the long ones.

Needs: the argosy package, numpy, onnx, onnxruntime, psutil, tritonclient[http]
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from operator import truediv
from pathlib import Path

import models
import numpy as np
import onnxruntime as ort
import record
import tritonclient.http as client
from served import Bench, Line, Served, echo, figures, middle_cpu, serve, triton_identity


def identity(bench: Bench) -> Iterator[Line]:
    """16 floats, dynamic batching on: server CPU per request, and p50 against the bare echo, by turns."""
    small = ("--shape", "INPUT0:16", "--expect", "echo")
    with contextlib.ExitStack() as held:
        server = held.enter_context(serve(bench.repository))
        bare = held.enter_context(echo(bench, pinned=False))
        others = {"bare echo": (*bare, "echo", "auto")}
        if bench.triton is not None:
            http_at, grpc_at, pid = held.enter_context(triton_identity(bench.triton))
            others["triton"] = (http_at, grpc_at, "identity", pid)
        for name, kind, flags, bound in (
            ("grpc, 128 streams, 1 connection", "grpc", ("--streams", "128"), 11),
            ("grpc, 128 connections", "grpc", ("--connections", "128"), 22),
            ("http binary, 128 connections", "http", (), 14),
            ("http json, 128 connections", "http", ("--format", "json"), 14),
        ):
            flags = ("-i", kind, "--concurrency", "128", *flags)
            runs, beside = [], {other: [] for other in others}
            for _ in range(3):
                mine = server.grpc if kind == "grpc" else server.http
                runs.append(figures(bench.load(mine, "identity", *flags, *small)[0]))
                for other, (http_at, grpc_at, model, pid) in others.items():
                    theirs = grpc_at if kind == "grpc" else http_at
                    line = bench.load(theirs, model, *flags, "--shape", "INPUT0:16", "--server-pid", pid)[0]
                    beside[other].append(figures(line))
            cpu = middle_cpu(runs)
            yield {
                "case": name,
                "asked_cpu_us": bound,
                "cpu_us": cpu,
                "others_cpu_us": {other: middle_cpu(lines) for other, lines in beside.items()},
                "ratio_to": {other: cpu / middle_cpu(lines) for other, lines in beside.items()},
                "runs": runs,
                "others": beside,
            }
    with serve(bench.repository, pinned=True) as server, echo(bench) as (echo_http, echo_grpc):
        for kind, mine, bare in (("grpc", server.grpc, echo_grpc), ("http", server.http, echo_http)):
            pairs = []
            for _ in range(5):
                flags = ("-i", kind, "--concurrency", "1")
                ours = bench.load(mine, "identity", *flags, *small, windows=3, pinned=True)[0]
                base = bench.load(bare, "echo", *flags, windows=3, pinned=True)[0]
                pairs.append([ours["p50_us"], base["p50_us"]])
            ratio = statistics.median(ours / base for ours, base in pairs)
            case = f"{kind}, concurrency 1, p50 to the bare echo, pinned"
            yield {"case": case, "asked_ratio": 1.4, "ratio": ratio, "p50_us": pairs}


def mlp(bench: Bench) -> Iterator[Line]:
    """Default batching against none, the best fixed setting, and bare ONNX Runtime at the same batch size."""
    with serve(bench.repository, "--model-control-mode", "explicit", "--load-model", "*") as server:
        web = client.InferenceServerClient(server.http)
        cpu = figures(bench.load(server.grpc, "mlp", "-i", "grpc", "--concurrency", "128")[0])
        yield {"case": "mlp, 128 in flight", "asked_cpu_us": 20, **cpu}

        def run(model: str) -> Line:
            line = bench.load(server.grpc, model, "-i", "grpc", "--concurrency", "64")[0]
            return {**figures(line), "mean_batch": line["statistics"]["mean_batch"]}

        plain, default, fixed, configs = [], [], {}, {}
        config = json.loads(json.dumps(web.get_model_config("mlp")))
        for _ in range(3):
            plain.append(run("mlp_plain"))
            default.append(run("mlp"))
        for preferred, delay in ((8, 100), (16, 100), (16, 300), (32, 300), (32, 1000), (64, 1000)):
            batching = {"preferred_batch_size": [preferred], "max_queue_delay_microseconds": delay}
            text = json.dumps({**config, "dynamic_batching": batching})
            web.load_model("mlp", config=text)
            name = f"preferred {preferred}, delay {delay} us"
            fixed[name], configs[name] = run("mlp"), text
        best = max(fixed, key=lambda name: fixed[name]["rps"])
        pairs = []
        for _ in range(3 if bench.short else 7):
            web.load_model("mlp", config=json.dumps(config))
            default.append(run("mlp"))
            web.load_model("mlp", config=configs[best])
            pairs.append([default[-1], run("mlp")])
        middle = statistics.median(one["rps"] for one in default)
        batch = statistics.median(one["mean_batch"] for one in default)
        bare = bare_rows_per_second(bench.repository / "mlp", {"x": (max(1, round(batch)), 128)})
        yield {
            "case": "mlp, 64 in flight",
            "default_to_best_fixed": statistics.median(one["rps"] / other["rps"] for one, other in pairs),
            "cpu_default_to_best_fixed": statistics.median(
                one["cpu_us_per_request"] / other["cpu_us_per_request"] for one, other in pairs
            ),
            "default_to_none": middle / statistics.median(one["rps"] for one in plain),
            "default_to_bare_onnxruntime": middle / bare,
            "asked": {"default_to_best_fixed": 0.97, "default_to_none": 2.0, "default_to_bare_onnxruntime": 0.7},
            "mean_batch": batch,
            "best_fixed": best,
            "default_and_best_fixed": pairs,
            "none": plain,
            "fixed": fixed,
            "bare_rows_per_s": bare,
        }


def cnn(bench: Bench) -> Iterator[Line]:
    """One instance against bare ONNX Runtime, two against one, by turns: image in, 2 KB out."""
    rows: dict[str, list[float]] = {"bare": [], "cnn1": [], "cnn2": []}
    with serve(bench.repository) as server:
        for _ in range(3 if bench.short else 7):
            rows["bare"].append(bare_rows_per_second(bench.repository / "cnn1", {"image": (1, 3, 224, 224)}))
            for model in ("cnn1", "cnn2"):
                line = bench.load(server.grpc, model, "-i", "grpc", "--concurrency", "4", windows=3)[0]
                rows[model].append(line["rps"])
    yield {
        "case": "cnn, 4 in flight",
        "ms_per_request_bare": 1000 / statistics.median(rows["bare"]),
        "one_instance_to_bare": statistics.median(map(truediv, rows["cnn1"], rows["bare"])),
        "two_instances_to_one": statistics.median(map(truediv, rows["cnn2"], rows["cnn1"])),
        "asked": {"one_instance_to_bare": 0.97, "two_instances_to_one": 1.0},
        "runs": rows,
    }


def bare_rows_per_second(model: Path, shapes: dict[str, tuple[int, ...]], seconds: float = 2.0) -> float:
    """ONNX Runtime alone in a loop, with the threads it chooses and nobody else on the machine."""
    session = ort.InferenceSession(str(model / "1/model.onnx"), providers=["CPUExecutionProvider"])
    feed = {name: np.random.default_rng(0).random(shape, dtype=np.float32) for name, shape in shapes.items()}
    rows = next(iter(shapes.values()))[0]
    for _ in range(5):
        session.run(None, feed)
    done, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        session.run(None, feed)
        done += rows
    return done / (time.perf_counter() - started)


def payload(bench: Bench) -> Iterator[Line]:
    """100 MB tensors and 600 KB tensors as JSON: CPU, and resident memory before, during and after."""
    with serve(bench.repository) as server:
        rss_mb = [server.process.memory_info().rss / 1e6]
        web = client.InferenceServerClient(server.http, network_timeout=120, connection_timeout=120)
        array = np.random.default_rng(0).random(25_000_000, dtype=np.float32)
        tensor = client.InferInput("INPUT0", [array.size], "FP32")
        tensor.set_data_from_numpy(array)
        peak = 0.0
        cpu = server.process.cpu_times()
        for _ in range(5):
            answer = web.infer("big", [tensor]).as_numpy("OUTPUT0")
            assert np.array_equal(answer, array)
            peak = max(peak, server.process.memory_info().rss / 1e6)
        after = server.process.cpu_times()
        time.sleep(2)
        rss_mb.append(server.process.memory_info().rss / 1e6)
        yield {
            "case": "100 MB over HTTP binary, in and out",
            "rss_mb_before_after": rss_mb,
            "rss_mb_peak_between": peak,
            "cpu_ms_per_request": (after.user + after.system - cpu.user - cpu.system) * 200,
        }
        yield {"case": "602 KB tensor as JSON in, binary out", "asked_cpu_us": 4000, **json_in(server)}
        flags = ("-i", "http", "--format", "json", "--shape", "INPUT0:150528", "--concurrency", "1")
        line = bench.load(server.http, "big", *flags, windows=3)[0]
        yield {"case": "602 KB tensor as JSON, in and out", **figures(line)}


def json_in(server: Served, requests: int = 100) -> Line:
    """Server CPU of requests whose 150,528 floats come as JSON text."""
    values = np.random.default_rng(3).random(150_528, dtype=np.float32)
    wanted = [{"name": "OUTPUT0", "parameters": {"binary_data": True}}]
    # The shortest text of each float, as clients in most languages write it: 1.5 MB.
    data = ",".join(np.format_float_positional(value, unique=True) for value in values)
    tensor = f'{{"name":"INPUT0","datatype":"FP32","shape":[{values.size}],"data":[{data}]}}'
    body = f'{{"inputs":[{tensor}],"outputs":{json.dumps(wanted)}}}'.encode()
    connection = http.client.HTTPConnection(server.http)
    before = server.process.cpu_times()
    for _ in range(requests):
        connection.request("POST", "/v2/models/big/infer", body)
        answer = connection.getresponse()
        assert answer.status == 200, answer.status
        assert answer.read()[-values.nbytes :] == values.tobytes()
    after = server.process.cpu_times()
    spent = after.user + after.system - before.user - before.system
    return {"requests": requests, "body_bytes": len(body), "cpu_us_per_request": 1e6 * spent / requests}


def start(bench: Bench) -> Iterator[Line]:
    """Start to ready, idle memory, threads and CPU of the example repository."""
    examples = Path(__file__).resolve().parents[2] / "model_repository"
    ready = []
    for _ in range(5):
        with serve(examples) as server:
            ready.append(server.ready_after_s)
    with serve(examples) as server:
        time.sleep(2)
        before, began = server.process.cpu_times(), time.monotonic()
        time.sleep(3 if bench.short else 10)
        after = server.process.cpu_times()
        busy = (after.user + after.system - before.user - before.system) / (time.monotonic() - began)
        yield {
            "case": "example repository",
            "ready_s": ready,
            "rss_mb": server.process.memory_info().rss / 1e6,
            "threads": server.process.num_threads(),
            "idle_cpu_percent": 100 * busy,
            "asked": {"ready_s": 1.0, "rss_mb": 110, "threads": 20, "idle_cpu_percent": 0.5},
        }


def overload(bench: Bench) -> Iterator[Line]:
    """Three times the capacity of a bounded queue: goodput, memory, and each answer its own."""
    seconds = 30 if bench.short else 600
    flags = ("-i", "grpc", "--shape", "INPUT0:16", "--expect", "echo")
    with serve(bench.repository) as server:
        capacity = bench.load(server.grpc, "bounded", *flags, "--concurrency", "48", windows=3)[0]["rps"]
        rss: list[float] = []
        stop = threading.Event()

        def watch() -> None:
            while not stop.wait(1):
                rss.append(server.process.memory_info().rss / 1e6)

        watcher = threading.Thread(target=watch)
        watcher.start()
        line = bench.load(
            server.grpc, "bounded", *flags, "--request-rate", str(round(3 * capacity)), "--streams", "512",
            "--windows", "1", window=seconds * 1000, windows=1,
        )[0]  # fmt: skip
        stop.set()
        watcher.join()
        third = max(1, len(rss) // 3)
        yield {
            "case": f"3x overload for {seconds} s",
            "capacity_rps": capacity,
            "goodput_to_capacity": line["rps"] / capacity,
            "asked_goodput": 0.95,
            "rss_mb_first_third": statistics.mean(rss[:third]),
            "rss_mb_last_third": statistics.mean(rss[-third:]),
            "errors": line["errors"],
            "unanswered": line["unanswered"],
            **figures(line),
        }


def reload(bench: Bench) -> Iterator[Line]:
    """A reload every 5 s under load."""
    seconds = 20 if bench.short else 120
    with serve(bench.repository, "--model-control-mode", "explicit", "--load-model", "mlp") as server:
        web = client.InferenceServerClient(server.http, network_timeout=60, connection_timeout=60)
        stop = threading.Event()
        reloads = 0

        def again() -> None:
            nonlocal reloads
            artifact = bench.repository / "mlp/1/model.onnx"
            while not stop.wait(5):
                artifact.touch()
                web.load_model("mlp")
                reloads += 1

        reloader = threading.Thread(target=again)
        reloader.start()
        flags = ("-i", "grpc", "--concurrency", "16", "--windows", "1", "--warm-up", "0")
        line = bench.load(server.grpc, "mlp", *flags, window=seconds * 1000, windows=1)[0]
        stop.set()
        reloader.join()
        yield {"case": f"reloads under load for {seconds} s", "reloads": reloads, "asked_failed": 0, "n": line["n"],
               "unanswered": line["unanswered"], "errors": line["errors"], **figures(line)}  # fmt: skip


SIMULATED = (
    "batch_us=80 row_us=8 in_us=6 out_us=4 client_us=3",
    "batch_us=80 row_us=8 in_us=6 out_us=4 client_us=3 concurrency=8",
    "batch_us=80 row_us=8 in_us=6 out_us=4 client_us=3 concurrency=1",
    "batch_us=80 row_us=8 in_us=6 out_us=4 client_us=3 instances=2",
    "batch_us=40 row_us=20",
    "batch_us=500 row_us=100",
    "batch_us=500 row_us=10 cores=4",
    "batch_us=10000 row_us=5",
    "batch_us=80 row_us=8 arrivals=poisson rate=5000",
    "batch_us=80 row_us=8 arrivals=poisson rate=20000",
    "batch_us=500 row_us=100 arrivals=poisson rate=4000",
    "batch_us=80 row_us=8 arrivals=bursty rate=20000 burst=32",
)


def simulated(bench: Bench) -> Iterator[Line]:
    """The policy under virtual time: default batching against none and the best of a grid of fixed settings."""
    for machine in SIMULATED:
        words = [str(bench.build / "bench/sim/argosy-sim"), *machine.split()]
        done = subprocess.run(words, check=True, capture_output=True, text=True, timeout=300)
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        none, default = (next(one for one in lines if one["setting"] == name) for name in ("none", "default"))
        best = max(lines, key=lambda one: one["per_second"])
        yield {
            "case": machine,
            "default_to_best_fixed": default["per_second"] / best["per_second"],
            "default_to_none": default["per_second"] / none["per_second"],
            "default": default,
            "best": best,
        }


PROOFS: dict[str, Callable[[Bench], Iterator[Line]]] = {
    proof.__name__: proof for proof in (identity, mlp, cnn, payload, start, overload, reload, simulated)
}


def main() -> int:
    """Runs the named proofs, in order; 0 when every one ran."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("proof", nargs="*", choices=[*PROOFS, []], default=list(PROOFS))
    parser.add_argument("--build", type=Path, required=True, help="build folder with bench/argosy-load and -echo")
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parents[1] / "results")
    parser.add_argument("--triton", type=Path, help="a tritonserver folder, to measure beside it")
    parser.add_argument("--short", action="store_true", help="seconds instead of minutes for the long ones")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="argosy-proof-") as folder:
        models.write_repository(Path(folder))
        bench = Bench(given.build, Path(folder), given.short, given.triton)
        for name in given.proof or list(PROOFS):
            record.write(given.out / f"{name}.jsonl", {"proof": name, "short": given.short}, PROOFS[name](bench))
    return 0


if __name__ == "__main__":
    sys.exit(main())
