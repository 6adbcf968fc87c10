"""The `argosy bench` command: flags close to perf_analyzer's, handed to the generator.

Results go to standard output, progress and problems to standard error.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from .measurement import BenchError, Measurement
from .native import measure
from .plot import write_plot
from .table import render, write_csv

# Flags that the generator takes as they are, only under another name.
_PASSED_ON = {
    "model_name": "-m",
    "model_version": "-x",
    "url": "-u",
    "protocol": "-i",
    "input_tensor_format": "--format",
    "concurrency_range": "--concurrency",
    "request_rate_range": "--request-rate",
    "request_distribution": "--arrivals",
    "connections": "--connections",
    "streams": "--streams",
    "threads": "--threads",
    "batch_size": "-b",
    "input_data": "--input-data",
    "string_length": "--string-length",
    "shared_memory": "--shared-memory",
    "cuda_device": "--cuda-device",
    "output_shared_memory_size": "--output-shared-memory-size",
    "expect": "--expect",
    "warm_up": "--warm-up",
    "measurement_interval": "--window",
    "max_trials": "--max-windows",
    "stability_percentage": "--stability",
    "percentile": "--percentile",
    "request_count": "--count",
    "server_pid": "--server-pid",
    "seed": "--seed",
    "label": "--label",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's flags; defaults live in the generator, so none is set here."""
    what = parser.add_argument_group("what to ask")
    what.add_argument("-m", "--model-name", required=True, metavar="NAME", help="model")
    what.add_argument("-x", "--model-version", metavar="VERSION", help="version [the server's choice]")
    what.add_argument("-u", "--url", metavar="HOST:PORT", help="server [127.0.0.1:8000 for http, :8001 for grpc]")
    what.add_argument("-i", "--protocol", choices=("http", "grpc"), default="http", help="protocol [%(default)s]")
    what.add_argument("--input-tensor-format", choices=("binary", "json"), help="tensors over HTTP [binary]")
    what.add_argument("-b", "--batch-size", metavar="N", help="batch size of one request [1]")
    what.add_argument(
        "--shape", action="append", default=[], metavar="INPUT:D,D", help="sizes of dynamic dimensions; repeatable"
    )
    what.add_argument("--input-data", metavar="random|zero|FILE", help="perf_analyzer's JSON where a file [random]")
    what.add_argument("--string-length", metavar="N", help="length of random strings [16]")
    what.add_argument(
        "--expect", metavar="none|echo|FILE", help="compare every first output: with the first input, or a file [none]"
    )
    what.add_argument(
        "--shared-memory",
        choices=("none", "system", "cuda"),
        help="where tensors lie, instead of in the messages; the server must allow it [none]",
    )
    what.add_argument(
        "--cuda-device",
        metavar="N|host",
        help="the GPU of --shared-memory cuda; host: the processor stands for it, as in the server [0]",
    )
    what.add_argument("--output-shared-memory-size", metavar="BYTES", help="room for each output there [102400]")
    load = parser.add_argument_group("how much")
    load.add_argument(
        "--concurrency-range", metavar="START:END:STEP", help="closed loop: requests in flight; also 1,2,4 [1]"
    )
    load.add_argument("--request-rate-range", metavar="START:END:STEP", help="open loop: requests a second")
    load.add_argument("--request-distribution", choices=("constant", "poisson"), help="gaps of the open loop [poisson]")
    load.add_argument("--connections", metavar="N", help="connections [grpc 1; http one for each request in flight]")
    load.add_argument("--streams", metavar="N", help="grpc: requests in flight on one connection")
    load.add_argument("--threads", metavar="N", help="sending threads [1]")
    load.add_argument("--seed", metavar="N", help="of data and arrivals [1]")
    when = parser.add_argument_group("how long")
    when.add_argument("-p", "--measurement-interval", metavar="MS", help="length of a window [1000 ms]")
    when.add_argument("--warm-up", metavar="MS", help="before the first window [1000 ms]")
    when.add_argument("-s", "--stability-percentage", metavar="PERCENT", help="three windows must agree this well [10]")
    when.add_argument(
        "-r", "--max-trials", metavar="N", help="stop after this many windows even when they do not agree [10]"
    )
    when.add_argument("--percentile", metavar="P", help="the latency that must be stable [50]")
    when.add_argument("--request-count", metavar="N", help="send exactly N requests instead")
    server = parser.add_argument_group("the server")
    server.add_argument("--server-pid", metavar="auto|none|PID", help="whose CPU is counted [auto: the local listener]")
    server.add_argument("--no-statistics", action="store_true", help="do not ask for the statistics extension")
    out = parser.add_argument_group("results")
    out.add_argument("-f", "--csv", type=Path, metavar="FILE", help="write CSV")
    out.add_argument(
        "--json", type=Path, metavar="FILE", help="write the generator's JSON lines; - prints them instead of the table"
    )
    out.add_argument(
        "--plot", type=Path, metavar="FILE", help="latency against throughput: .html, .svg or .png (matplotlib)"
    )
    out.add_argument("--label", metavar="TEXT", help="copied into the results")


def generator_flags(args: argparse.Namespace) -> list[str]:
    """The generator's command line for parsed arguments."""
    flags: list[str] = []
    for name, flag in _PASSED_ON.items():
        value = getattr(args, name)
        if value is not None:
            flags += [flag, str(value)]
    for shape in args.shape:
        flags += ["--shape", shape]
    return [*flags, "--no-statistics"] if args.no_statistics else flags


class _Progress:
    """One line on a terminal that says what has been measured; silent elsewhere."""

    def __init__(self) -> None:
        self._shown = sys.stderr.isatty()
        self._start = time.monotonic()
        self._last = ""

    def tick(self) -> None:
        if self._shown:
            elapsed = time.monotonic() - self._start
            sys.stderr.write(f"\r\x1b[Kmeasuring, {elapsed:.0f} s  {self._last}")
            sys.stderr.flush()

    def show(self, measurement: Measurement) -> None:
        p50, p99 = measurement.latency_us["p50_us"], measurement.latency_us["p99_us"]
        self._last = f"[{measurement.level_text}: {measurement.rps:,.0f}/s, p50 {p50:,.0f} us, p99 {p99:,.0f} us]"
        self.tick()

    def clear(self) -> None:
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


@contextlib.contextmanager
def _termination_as_interrupt() -> Iterator[None]:
    """Lets the generator finish, and give back what it shares, also when we are told to terminate."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def main(args: argparse.Namespace) -> int:
    """Measures and presents; 0, 1 when it failed or a request did, 130 when interrupted or told to terminate."""
    with _termination_as_interrupt():
        return _measure_and_present(args)


def _measure_and_present(args: argparse.Namespace) -> int:
    progress = _Progress()
    measurements: list[Measurement] = []
    code = 0
    try:
        for measurement in measure(generator_flags(args), while_waiting=progress.tick):
            measurements.append(measurement)
            progress.show(measurement)
    except KeyboardInterrupt:
        code = 130
    except BenchError as problem:
        progress.clear()
        print(f"argosy bench: {problem}", file=sys.stderr)
        code = 1
    progress.clear()
    try:
        _present(args, measurements)
    except (BenchError, OSError) as problem:
        print(f"argosy bench: {problem}", file=sys.stderr)
        return 1
    return code or int(any(m.failed for m in measurements))


def _present(args: argparse.Namespace, measurements: list[Measurement]) -> None:
    if not measurements:
        return
    lines = "".join(_line(m) for m in measurements)
    if args.json == Path("-"):
        sys.stdout.write(lines)
    else:
        print(render(measurements))
        if args.json is not None:
            args.json.write_text(lines, encoding="utf-8")
    if args.csv is not None:
        with args.csv.open("w", encoding="utf-8", newline="") as file:
            write_csv(measurements, file)
    if args.plot is not None:
        parameters = measurements[0].raw["parameters"]
        write_plot(measurements, args.plot, f"{parameters['model']}, {parameters['protocol']} {parameters['format']}")


def _line(measurement: Measurement) -> str:
    return json.dumps(measurement.raw, separators=(",", ":")) + "\n"
