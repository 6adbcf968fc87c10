"""What the server makes of a GPU, against the bare framework: JSON lines on standard output.

    python bench/gpu/serving.py [--quick] [--seconds 3] [--host]

  device       what is measured on
  generator    requests a second that the load of this process reaches at all (backend identity)
  bare         a double-buffered loop of PyTorch over pinned memory, at the model's largest batch
  server       one open-loop rate: Poisson arrivals in process, latency from the planned arrival
  at_limit     the highest rate whose p99 kept the limit, against the bare loop (wanted: 0.9 of it)
  many_models  8 models on one GPU: all at once, against one after another

A line with "error" says what could not be measured; the others go on. Nothing is fetched.
--host lets the host stand for the GPU: that shows that this program works, and measures nothing.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import argosy
import numpy as np
import torch
from argosy.gpu_metrics import NoGpuMetrics, Nvml
from gpu_models import Model, mlp, resnet50, write_model

WANTED = 0.9
STANDS_FOR = {"cuda:0": "cuda", "cpu": "host"}  # PyTorch's device -> the server's
SHARES = (0.3, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0)


def emit(bench: str, **values: Any) -> None:
    print(json.dumps({"bench": bench, **values}), flush=True)


@dataclass(slots=True)
class Load:
    """One run of requests: latencies in seconds, in the order of the answers."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def quantile_ms(self, share: float) -> float:
        return float(np.quantile(self.latencies, share) * 1e3) if self.latencies else float("inf")


class Busy:
    """The mean share of time in which the GPU computed, sampled; None where NVML does not say."""

    def __init__(self) -> None:
        self.share: float | None = None

    @contextmanager
    def watched(self) -> Iterator[None]:
        samples: list[float] = []
        stop = threading.Event()

        def watch() -> None:
            try:
                nvml = Nvml(visible="0")
            except NoGpuMetrics:
                return
            while not stop.wait(0.1):
                samples.extend(one.utilization for one in nvml.read() if one.utilization is not None)
            nvml.close()

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            yield
        finally:
            stop.set()
            watcher.join()
            self.share = float(np.mean(samples)) if samples else None


def open_loop(server: argosy.Server, name: str, inputs: dict[str, Any], rate: float, seconds: float) -> Load:
    """Arrivals are planned beforehand: a server that stalls does not slow them down."""
    gaps = random.Random(7)
    load, done = Load(), threading.Semaphore(0)
    sent, planned = 0, time.perf_counter()
    end = planned + seconds

    def answered(due: float) -> Callable[[Any, Any], None]:
        def take(responses: Any, error: Exception | None) -> None:
            if error is None:
                load.latencies.append(time.perf_counter() - due)
            else:
                load.errors.append(str(error))
            done.release()

        return take

    started = planned
    while planned < end:
        ahead = planned - time.perf_counter()
        if ahead > 0:
            time.sleep(ahead)
        server.engine.infer_async(name, -1, inputs, options={}, done=answered(planned))
        sent += 1
        planned += gaps.expovariate(rate)
    for _ in range(sent):
        if not done.acquire(timeout=30):
            load.errors.append("no answer within 30 s")
            break
    load.seconds = time.perf_counter() - started
    return load


def closed_loop(server: argosy.Server, work: dict[str, tuple[dict[str, Any], int]], seconds: float) -> dict[str, int]:
    """`work`: model -> inputs and requests in flight. Returns answers per model within `seconds`.

    Raises RuntimeError with the first failure.
    """
    counts, failures = dict.fromkeys(work, 0), list[str]()
    lock, finished = threading.Lock(), threading.Semaphore(0)
    end = time.perf_counter() + seconds

    def send(name: str) -> None:
        def answered(responses: Any, error: Exception | None) -> None:
            if error is None and time.perf_counter() < end:
                with lock:
                    counts[name] += 1
                send(name)
                return
            if error is not None:
                failures.append(str(error))
            finished.release()

        server.engine.infer_async(name, -1, work[name][0], options={}, done=answered)

    for name, (_, depth) in work.items():
        for _ in range(depth):
            send(name)
    for _ in range(sum(depth for _, depth in work.values())):
        if not finished.acquire(timeout=30 + seconds):
            failures.append("no answer within 30 s")
            break
    if failures:
        raise RuntimeError(failures[0])
    return counts


def bare_loop(model: Model, seconds: float) -> dict[str, float]:
    """Rows a second and milliseconds a batch of PyTorch alone: pinned memory in and out, two batches under way."""
    if model.device == "cpu":
        return bare_host_loop(model, seconds)
    module = torch.jit.load(str(model.path), map_location=model.device).eval()
    streams = [torch.cuda.Stream() for _ in range(2)]
    done = [torch.cuda.Event(blocking=True) for _ in range(2)]
    host = [torch.from_numpy(model.rows(model.batch)).pin_memory() for _ in range(2)]
    back: list[Any] = [None, None]
    taken: list[float] = []

    def enqueue(at: int) -> None:
        with torch.cuda.stream(streams[at]), torch.inference_mode():
            result = module(host[at].to(model.device, non_blocking=True))
            if back[at] is None:
                back[at] = torch.empty(result.shape, dtype=result.dtype, pin_memory=True)
            back[at].copy_(result, non_blocking=True)
            done[at].record(streams[at])

    for _ in range(10):
        enqueue(0)
        enqueue(1)
    torch.cuda.synchronize()
    started = time.perf_counter()
    batches, last = 0, started
    enqueue(0)
    while time.perf_counter() - started < seconds:
        enqueue((batches + 1) % 2)
        done[batches % 2].synchronize()
        now = time.perf_counter()
        taken.append(now - last)
        last, batches = now, batches + 1
    torch.cuda.synchronize()
    elapsed = last - started
    return {"rows_per_s": batches * model.batch / elapsed, "batch_ms": float(np.median(taken) * 1e3)}


def bare_host_loop(model: Model, seconds: float) -> dict[str, float]:
    module, x = torch.jit.load(str(model.path)).eval(), torch.from_numpy(model.rows(model.batch))
    started, batches = time.perf_counter(), 0
    with torch.inference_mode():
        while time.perf_counter() - started < seconds:
            module(x)
            batches += 1
    elapsed = time.perf_counter() - started
    return {"rows_per_s": batches * model.batch / elapsed, "batch_ms": elapsed / batches * 1e3}


def batch_rows(server: argosy.Server, name: str) -> dict[int, int]:
    (statistics,) = server.engine.statistics(name)
    return {row["batch_size"]: row["compute_infer"]["count"] for row in statistics["batch_stats"]}


def at_limit(server: argosy.Server, model: Model, name: str, bare: dict[str, float], seconds: float) -> None:
    """Rates as shares of the bare loop, rising, until the p99 breaks the limit of four bare batches."""
    limit_ms = max(5.0, 4 * bare["batch_ms"])
    inputs = {"x": model.rows(model.request_rows)}
    best: dict[str, Any] = {}
    missed = 0
    open_loop(server, name, inputs, 0.3 * bare["rows_per_s"] / model.request_rows, 1.0)  # clocks and caches
    for share in SHARES:
        before, busy = batch_rows(server, name), Busy()
        with busy.watched():
            load = open_loop(server, name, inputs, share * bare["rows_per_s"] / model.request_rows, seconds)
        after = batch_rows(server, name)
        line = {
            "model": name,
            "offered_rows_per_s": share * bare["rows_per_s"],
            "rows_per_s": len(load.latencies) * model.request_rows / load.seconds,
            "p50_ms": load.quantile_ms(0.5),
            "p99_ms": load.quantile_ms(0.99),
            "limit_ms": limit_ms,
            "gpu_busy": busy.share,
            "batch_rows": {size: count - before.get(size, 0) for size, count in after.items()},
            "errors": load.errors[:3],
        }
        emit("server", **line)
        if load.errors or line["p99_ms"] > limit_ms:
            missed += 1
            if missed == 2:
                break
        else:
            best, missed = line, 0
    of_bare = best.get("rows_per_s", 0.0) / bare["rows_per_s"]
    emit("at_limit", model=name, limit_ms=limit_ms, of_bare=of_bare, wanted=WANTED, met=of_bare >= WANTED, best=best)


def many_models(repository: Path, device: str, quick: bool) -> None:
    count, depth = 8, 8
    models = [mlp(repository / "weights", f"small_{at}", device, width=512, seed=at) for at in range(count)]
    for at, model in enumerate(models):
        write_model(repository / "many", f"small_{at}", model)
    seconds = 1.0 if quick else 3.0
    with argosy.Server(repository / "many", devices=STANDS_FOR[device]) as server:
        work = {f"small_{at}": ({"x": model.rows(model.request_rows)}, depth) for at, model in enumerate(models)}
        closed_loop(server, work, 1.0)
        together = sum(closed_loop(server, work, seconds).values()) / seconds
        alone = [
            closed_loop(server, {name: (inputs, depth * count)}, seconds / 2)[name] / (seconds / 2)
            for name, (inputs, _) in work.items()
        ]
    mean = float(np.mean(alone))
    emit("many_models", models=count, together_per_s=together, one_after_another_per_s=mean, ratio=together / mean)


def generator(repository: Path, seconds: float) -> None:
    root = repository / "identity" / "identity"
    (root / "1").mkdir(parents=True)
    tensors = "".join(
        f'{kind} {{ name: "{name}" data_type: TYPE_FP32 dims: [ -1 ] }}\n'
        for kind, name in (("input", "x"), ("output", "y"))
    )
    (root / "config.pbtxt").write_text(f'backend: "identity"\nmax_batch_size: 256\n{tensors}')
    with argosy.Server(repository / "identity") as server:
        counts = closed_loop(server, {"identity": ({"x": np.ones((1, 16), np.float32)}, 64)}, seconds)
    emit("generator", requests_per_s=counts["identity"] / seconds)


def attempt(what: str, measure: Callable[[], None]) -> bool:
    try:
        measure()
        return True
    except Exception as error:
        traceback.print_exc()
        emit(what, error=f"{type(error).__name__}: {error}")
        return False


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="shorter runs: does it work at all")
    parser.add_argument("--seconds", type=float, default=3.0, help="length of one rate")
    parser.add_argument("--host", action="store_true", help="the host stands for the GPU; its numbers mean nothing")
    given = parser.parse_args()
    seconds = 1.0 if given.quick else given.seconds
    if not torch.cuda.is_available() and not given.host:
        emit("device", error="PyTorch finds no GPU")
        return 0
    device = "cpu" if given.host else "cuda:0"
    sys.setswitchinterval(1e-4)
    name = "the host" if given.host else torch.cuda.get_device_name(0)
    emit("device", name=name, torch=torch.__version__, argosy=argosy.__version__)
    good = True
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        good &= attempt("generator", lambda: generator(root, seconds))

        def served(name: str, make: Callable[[], Model], **settings: Any) -> Callable[[], None]:
            def measure() -> None:
                model = make()
                bare = bare_loop(model, seconds)
                emit("bare", model=name, batch=model.batch, **bare)
                write_model(root / name, name, model, **settings)
                with argosy.Server(root / name, devices=STANDS_FOR[device]) as server:
                    at_limit(server, model, name, bare, seconds)

            return measure

        weights = root / "weights"
        good &= attempt("at_limit", served("mlp", lambda: mlp(weights, "mlp", device)))
        good &= attempt("at_limit", served("mlp_graphs", lambda: mlp(weights, "mlp_graphs", device), graphs=True))
        if not given.host:
            good &= attempt("at_limit", served("resnet50", lambda: resnet50(weights, "resnet50", device)))
        good &= attempt("many_models", lambda: many_models(root, device, given.quick))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
