"""Waiting for what a server does by itself, without a guess how long it takes."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE_S = 60.0


def until(condition: Callable[[], bool], patience_s: float = PATIENCE_S) -> None:
    """Returns as soon as the condition holds; fails after `patience_s`."""
    end = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < end, f"not within {patience_s} s"
        time.sleep(0.002)
