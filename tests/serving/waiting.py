"""Waiting for what a server does by itself, without a guess how long it takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

PATIENCE_S = 60.0


class ShowsMetrics(Protocol):
    """A server, in a process of its own or in this one."""

    def metrics(self) -> str: ...


def pending(server: ShowsMetrics, model: str) -> int:
    """How many requests wait in the model's queue, as its gauge says."""
    rows = server.metrics().splitlines()
    line = next(row for row in rows if row.startswith("nv_inference_pending_request_count") and f'"{model}"' in row)
    return int(float(line.split()[-1]))


def running(server: ShowsMetrics, model: str) -> int:
    """How many requests the model's instances work on, as its gauge says."""
    rows = server.metrics().splitlines()
    line = next(row for row in rows if row.startswith("argosy_requests_running") and f'"{model}"' in row)
    return int(float(line.split()[-1]))


def until(condition: Callable[[], bool], patience_s: float = PATIENCE_S) -> float:
    """The seconds until the condition held; fails when it does not `patience_s` from now."""
    begun = time.monotonic()
    while True:
        # Before the look: whoever was stalled longer than all patience still looks once more.
        late = time.monotonic() - begun >= patience_s
        if condition():
            return time.monotonic() - begun
        assert not late, f"not within {patience_s} s"
        time.sleep(0.002)


def settles(level: Callable[[], int], slack: int, turns: int = 5) -> None:
    """`level` does some work and tells what is used afterwards: a leak raises it by more than `slack` every time,
    what a burst of work costs once does not."""
    levels = [level()]
    while len(levels) == 1 or levels[-1] > levels[-2] + slack:
        assert len(levels) <= turns, levels
        levels.append(level())
