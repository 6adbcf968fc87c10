"""Compares servers by turns: every round measures each of them once, in changing order.

    python bench/compare/compare.py --load BUILD/bench/argosy-load bench/compare/echo-triton.json

The plan is JSON: `flags` are argosy-load's, for everyone; each server has a `name`, a
`start` command (a list; `{port_http}` and `{port_grpc}` become free ports), the `url`
to measure with the same placeholders, and its own `flags`. `check`, if there, are flags of a run before
each measured one, for what would burden the measured client (comparing large answers). `ready` (host:port) names an
HTTP server that says when models are loaded; without it, taking connections is enough.
Without `start` the server at `url` is used as it is. Servers live for one round, so that none profits from
having been up longer, and only one runs at a time.

Prints a table of medians with their spread and the ratio of each server to the
first one, `~` where the spreads cover the difference; `--json` appends every line.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

START_PATIENCE_S = 60.0
STOP_PATIENCE_S = 40.0
FIGURES = ("rps", "cpu_us_per_request", "p50_us", "p99_us")


class CompareError(Exception):
    """A server did not start, or a measurement failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """One server of the plan."""

    name: str
    url: str
    ready: str = ""
    start: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is sent to which servers."""

    flags: tuple[str, ...]
    check: tuple[str, ...]
    servers: tuple[Contender, ...]


def read_plan(path: Path) -> Plan:
    """The plan in a file; raises `CompareError` naming what is missing."""
    plan = json.loads(path.read_text(encoding="utf-8"))
    try:
        servers = tuple(
            Contender(
                name=server["name"],
                url=server["url"],
                ready=server.get("ready", ""),
                start=tuple(os.path.expandvars(word) for word in server.get("start", ())),
                flags=tuple(server.get("flags", ())),
                environment={k: os.path.expandvars(v) for k, v in server.get("environment", {}).items()},
            )
            for server in plan["servers"]
        )
    except KeyError as missing:
        raise CompareError(f"{path}: a server has no {missing}") from missing
    return Plan(flags=tuple(plan.get("flags", ())), check=tuple(plan.get("check", ())), servers=servers)


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running(server: Contender) -> Iterator[str]:
    """The server's URL while it runs; it is ended at the end, by its own process id."""
    ports = {"port_http": free_port(), "port_grpc": free_port(), "port_metrics": free_port()}
    url = server.url.format(**ports)
    if not server.start:
        yield url
        return
    process = subprocess.Popen(
        [word.format(**ports) for word in server.start],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **server.environment},
        cwd="/",
    )
    try:
        wait_for_port(url, process)
        if server.ready:
            wait_until_ready(server.ready.format(**ports), process)
        yield url
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def wait_for_port(url: str, process: subprocess.Popen[bytes]) -> None:
    """Returns when `url` takes connections; raises `CompareError` after a minute or when the process ends."""
    host, _, port = url.rpartition(":")
    give_up = time.monotonic() + START_PATIENCE_S
    while time.monotonic() < give_up:
        if process.poll() is not None:
            raise CompareError(f"{process.args!r} ended with {process.returncode} before it listened on {url}")
        with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=1):
            return
        time.sleep(0.05)
    raise CompareError(f"{process.args!r} did not listen on {url} within {START_PATIENCE_S:g} s")


def wait_until_ready(address: str, process: subprocess.Popen[bytes]) -> None:
    """Returns when /v2/health/ready answers 200; raises `CompareError` after a minute or when the process ends."""
    give_up = time.monotonic() + START_PATIENCE_S
    while time.monotonic() < give_up:
        if process.poll() is not None:
            raise CompareError(f"{process.args!r} ended with {process.returncode} before it was ready")
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://{address}/v2/health/ready", timeout=1):
            return
        time.sleep(0.05)
    raise CompareError(f"{process.args!r} was not ready at {address} within {START_PATIENCE_S:g} s")


def measure(load: Path, plan: Plan, server: Contender) -> list[dict[str, Any]]:
    """One turn of one server: a result for each load in the flags."""
    with running(server) as url:
        if plan.check:
            send(load, [*plan.check, *server.flags, "-u", url], server)
        return send(load, [*plan.flags, *server.flags, "-u", url, "--label", server.name], server)


def send(load: Path, flags: Sequence[str], server: Contender) -> list[dict[str, Any]]:
    """argosy-load's results; raises `CompareError` when an answer failed or is missing."""
    done = subprocess.run([str(load), *flags], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise CompareError(f"{server.name}: {done.stderr.strip()}")
    results = [json.loads(line) for line in done.stdout.splitlines()]
    for result in results:
        if result["failed"] or result["unanswered"]:
            raise CompareError(
                f"{server.name}: {result['failed']} failed, {result['unanswered']} unanswered: {result['errors']}"
            )
    return results


def level_of(result: dict[str, Any]) -> str:
    """The load of a result, as a table names it."""
    parameters = result["parameters"]
    return f"{parameters['request_rate']:g}/s" if parameters["loop"] == "open" else str(parameters["concurrency"])


def spread(values: Sequence[float]) -> float:
    """Half the distance between the quartiles, relative to the median: robust against one disturbed run."""
    if len(values) < 2:
        return 0.0
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return (high - low) / 2 / (statistics.median(values) or 1.0)


def ratio_text(values: Sequence[float], base: Sequence[float]) -> str:
    """Median ratio of paired runs, with `~` when the spreads cover the difference from 1."""
    ratios = [value / other for value, other in zip(values, base, strict=True) if other]
    if not ratios:
        return "-"
    ratio = statistics.median(ratios)
    uncertain = abs(ratio - 1) <= spread(values) + spread(base)
    return f"{'~' if uncertain else ''}{ratio:.2f}x"


def table(results: Sequence[Sequence[list[dict[str, Any]]]], servers: Sequence[Contender]) -> str:
    """`results[server][round][load]` as text: median, spread and ratio to the first server."""
    lines = []
    for level in range(len(results[0][0])):
        lines.append(f"load {level_of(results[0][0][level])}, {len(results[0])} rounds")
        for at, server in enumerate(servers):
            cells = [f"  {server.name:<24}"]
            for figure in FIGURES:
                values = [run[level].get(figure, 0.0) for run in results[at]]
                base = [run[level].get(figure, 0.0) for run in results[0]]
                ratio = "" if at == 0 else " " + ratio_text(values, base)
                cells.append(f"{figure} {statistics.median(values):,.1f} ±{spread(values):.0%}{ratio}")
            lines.append("  ".join(cells))
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the plan; 0, or 1 when a server or a measurement failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("plan", type=Path, help="JSON: flags and servers")
    parser.add_argument("--load", type=Path, default=os.environ.get("ARGOSY_LOAD", "argosy-load"), help="argosy-load")
    parser.add_argument("--rounds", type=int, default=5, help="times that each server is measured [5]")
    parser.add_argument("--json", type=Path, help="append every result line to this file")
    args = parser.parse_args(arguments)
    try:
        plan = read_plan(args.plan)
        servers = plan.servers
        results: list[list[list[dict[str, Any]]]] = [[] for _ in servers]
        for turn in range(args.rounds):
            order = range(len(servers)) if turn % 2 == 0 else reversed(range(len(servers)))
            for at in order:
                print(f"round {turn + 1}/{args.rounds}: {servers[at].name}", file=sys.stderr)
                results[at].append(measure(args.load, plan, servers[at]))
                if args.json:
                    where = {"plan": args.plan.name, "round": turn + 1, "load_average": os.getloadavg()[0]}
                    with args.json.open("a", encoding="utf-8") as out:
                        out.writelines(
                            json.dumps({**where, **line}, separators=(",", ":")) + "\n" for line in results[at][-1]
                        )
    except (CompareError, OSError) as problem:
        print(f"compare: {problem}", file=sys.stderr)
        return 1
    print(table(results, servers))
    return 0


if __name__ == "__main__":
    sys.exit(main())
