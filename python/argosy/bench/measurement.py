"""One measurement, as the load generator reports it.

Holds the figures that tables and plots need, with their units in the names; `raw` is
the whole line, with every field of `bench/README.md`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from ..errors import ArgosyError

PERCENTILES = ("p50_us", "p90_us", "p95_us", "p99_us", "p99_9_us")


class BenchError(ArgosyError):
    """The load generator is missing, failed, or said something that is no result."""

    def __init__(self, where: str, problem: str) -> None:
        super().__init__(f"{where}: {problem}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What one load did: `level` requests in flight (closed loop) or a second (open loop)."""

    level: float
    open_loop: bool
    requests: int
    failed: int
    stable: bool
    rps: float
    latency_us: dict[str, float]  # mean_us, p50_us .. p99_9_us, max_us, percentile_us
    cpu_us_per_request: float | None
    mean_batch: float | None
    queue_us: float | None
    compute_us: float | None
    errors: dict[str, int]
    raw: dict[str, Any] = field(repr=False)

    @property
    def level_text(self) -> str:
        """The load as a reader would write it: `8` or `1500/s`."""
        return f"{self.level:g}/s" if self.open_loop else f"{self.level:g}"

    @classmethod
    def from_line(cls, line: str) -> Measurement:
        """Reads one line of the generator's output; raises `BenchError` for any other text."""
        try:
            raw = json.loads(line)
            parameters = raw["parameters"]
            open_loop = parameters["loop"] == "open"
            statistics = raw.get("statistics", {})
            compute = [statistics.get(f"compute_{part}_us") for part in ("input", "infer", "output")]
            return cls(
                level=parameters["request_rate" if open_loop else "concurrency"],
                open_loop=open_loop,
                requests=raw["n"],
                failed=raw["failed"] + raw["unanswered"],
                stable=raw["stable"],
                rps=raw["rps"],
                latency_us={name: raw[name] for name in ("mean_us", *PERCENTILES, "max_us", "percentile_us")},
                cpu_us_per_request=raw.get("cpu_us_per_request"),
                mean_batch=statistics.get("mean_batch"),
                queue_us=statistics.get("queue_us"),
                compute_us=sum(compute) if None not in compute else None,
                errors=raw["errors"],
                raw=raw,
            )
        except (ValueError, KeyError, TypeError) as problem:
            raise BenchError("load generator", f"{line.strip()[:120]!r} is no result line ({problem!r})") from problem
