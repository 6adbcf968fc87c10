"""Measurements as a readable table and as CSV."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from typing import TextIO

from .measurement import Measurement

_COLUMNS: tuple[tuple[str, Callable[[Measurement], float | None], str], ...] = (
    ("req/s", lambda m: m.rps, "{:,.0f}"),
    ("p50 us", lambda m: m.latency_us["p50_us"], "{:,.0f}"),
    ("p90 us", lambda m: m.latency_us["p90_us"], "{:,.0f}"),
    ("p95 us", lambda m: m.latency_us["p95_us"], "{:,.0f}"),
    ("p99 us", lambda m: m.latency_us["p99_us"], "{:,.0f}"),
    ("p99.9 us", lambda m: m.latency_us["p99_9_us"], "{:,.0f}"),
    ("max us", lambda m: m.latency_us["max_us"], "{:,.0f}"),
    ("CPU us/req", lambda m: m.cpu_us_per_request, "{:.1f}"),
    ("queue us", lambda m: m.queue_us, "{:,.0f}"),
    ("compute us", lambda m: m.compute_us, "{:,.0f}"),
    ("batch", lambda m: m.mean_batch, "{:.1f}"),
    ("failed", lambda m: m.failed, "{:,.0f}"),
)


_SERVER_COLUMNS = ("server_cpu_us_per_request", "queue_us", "compute_us", "mean_batch")


def level_name(measurements: Sequence[Measurement]) -> str:
    """What the first column counts."""
    return "rate" if measurements and measurements[0].open_loop else "concurrency"


def render(measurements: Sequence[Measurement]) -> str:
    """A text table, one line for each load; columns no server filled are left out.

    A load that never got stable is marked with `~`.
    """
    used = [column for column in _COLUMNS if any(column[1](m) is not None for m in measurements)]
    rows = [[level_name(measurements), *(title for title, _, _ in used)]]
    for m in measurements:
        cells = [m.level_text + ("" if m.stable else " ~")]
        for _, value_of, form in used:
            value = value_of(m)
            cells.append("-" if value is None else form.format(value))
        rows.append(cells)
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    if any(not m.stable for m in measurements):
        lines.append("~ not stable: the last windows differ by more than asked")
    for m in measurements:
        lines += [f"{m.level_text}: {times:,} x {text}" for text, times in m.errors.items()]
    return "\n".join(lines)


def write_csv(measurements: Sequence[Measurement], to: TextIO) -> None:
    """One line for each load, figures unrounded; empty where the server does not tell."""
    writer = csv.writer(to, lineterminator="\n")
    names = ("mean_us", *[n for n in measurements[0].latency_us if n != "mean_us"]) if measurements else ()
    writer.writerow(
        [level_name(measurements), "stable", "requests", "failed", "requests_per_s", *names, *_SERVER_COLUMNS]
    )
    for m in measurements:
        figures = [m.cpu_us_per_request, m.queue_us, m.compute_us, m.mean_batch]
        writer.writerow(
            [f"{m.level:g}", str(m.stable).lower(), m.requests, m.failed, m.rps, *(m.latency_us[n] for n in names)]
            + ["" if figure is None else figure for figure in figures]
        )
