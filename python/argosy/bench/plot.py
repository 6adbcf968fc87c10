"""Latency against throughput: one HTML page that needs nothing else, or a PNG.

The page holds an SVG made here. A PNG is drawn by matplotlib, which is asked for
only then.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from pathlib import Path

from .measurement import BenchError, Measurement
from .table import level_name, render

_LINES = (("p50_us", "p50", "#1b7f79"), ("p90_us", "p90", "#d98a00"), ("p99_us", "p99", "#b5322f"))
_WIDTH, _HEIGHT = 860, 480
_LEFT, _RIGHT, _TOP, _BOTTOM = 80, 24, 24, 56


def write_plot(measurements: Sequence[Measurement], path: Path, title: str) -> None:
    """Writes a `.html`, `.svg` or `.png`; raises `BenchError` for another name, or a PNG without matplotlib."""
    kind = path.suffix.lower()
    if kind == ".png":
        _write_png(measurements, path, title)
    elif kind == ".svg":
        path.write_text(svg(measurements), encoding="utf-8")
    elif kind in (".html", ".htm"):
        path.write_text(page(measurements, title), encoding="utf-8")
    else:
        raise BenchError("--plot", f"'{path}' ends in '{kind}'; expected .html, .svg or .png")


def round_step(span: float, parts: int) -> float:
    """The smallest of 1, 2, 5 times a power of ten that cuts `span` into at most `parts`."""
    if span <= 0:
        return 1.0
    power: float = 10.0 ** math.floor(math.log10(span / parts))
    for factor in (1, 2, 5):
        if span / (factor * power) <= parts:
            return factor * power
    return 10 * power


def svg(measurements: Sequence[Measurement]) -> str:
    """The chart as an SVG element: throughput across, latency up, one line for each percentile."""
    most_rps = max((m.rps for m in measurements), default=0.0) or 1.0
    most_us = max((m.latency_us["p99_us"] for m in measurements), default=0.0) or 1.0
    step_x, step_y = round_step(most_rps, 8), round_step(most_us, 6)
    top_x, top_y = step_x * math.ceil(most_rps / step_x), step_y * math.ceil(most_us / step_y)

    def x(rps: float) -> float:
        return _LEFT + rps / top_x * (_WIDTH - _LEFT - _RIGHT)

    def y(us: float) -> float:
        return _HEIGHT - _BOTTOM - us / top_y * (_HEIGHT - _TOP - _BOTTOM)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        'font-family="sans-serif" font-size="12">'
    ]
    for i in range(round(top_x / step_x) + 1):
        at = x(i * step_x)
        parts.append(f'<line x1="{at:.1f}" y1="{_TOP}" x2="{at:.1f}" y2="{_HEIGHT - _BOTTOM}" stroke="#e3e3e3"/>')
        parts.append(f'<text x="{at:.1f}" y="{_HEIGHT - _BOTTOM + 18}" text-anchor="middle">{i * step_x:,g}</text>')
    for i in range(round(top_y / step_y) + 1):
        at = y(i * step_y)
        parts.append(f'<line x1="{_LEFT}" y1="{at:.1f}" x2="{_WIDTH - _RIGHT}" y2="{at:.1f}" stroke="#e3e3e3"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{i * step_y:,g}</text>')
    parts.append(
        f'<text x="{(_LEFT + _WIDTH) / 2:.0f}" y="{_HEIGHT - 14}" text-anchor="middle">requests a second</text>'
    )
    middle = (_TOP + _HEIGHT - _BOTTOM) / 2
    parts.append(
        f'<text x="18" y="{middle:.0f}" text-anchor="middle" transform="rotate(-90 18 {middle:.0f})">latency, us</text>'
    )
    for row, (name, label, colour) in enumerate(_LINES):
        points = " ".join(f"{x(m.rps):.1f},{y(m.latency_us[name]):.1f}" for m in measurements)
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for m in measurements:
            tip = f"{level_name(measurements)} {m.level_text}: {m.rps:,.0f}/s, {label} {m.latency_us[name]:,.0f} us"
            fill = colour if m.stable else "white"
            parts.append(
                f'<circle cx="{x(m.rps):.1f}" cy="{y(m.latency_us[name]):.1f}" r="4" fill="{fill}" stroke="{colour}">'
                f"<title>{html.escape(tip)}</title></circle>"
            )
        parts.append(f'<text x="{_LEFT + 14}" y="{_TOP + 16 + 16 * row}" fill="{colour}">{label}</text>')
    return "\n".join([*parts, "</svg>"])


def page(measurements: Sequence[Measurement], title: str) -> str:
    """A whole HTML page: title, machine, chart, table."""
    machine = measurements[0].raw.get("machine", {}) if measurements else {}
    machine_text = f"{machine.get('cpu', '')}, {machine.get('cores', '?')} cores, {machine.get('kernel', '')}"
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>\n'
        "<style>body{font-family:sans-serif;max-width:960px;margin:2em auto;padding:0 1em}"
        "pre{overflow-x:auto}svg{width:100%}</style></head>\n"
        f"<body><h1>{html.escape(title)}</h1><p>{html.escape(machine_text)}</p>\n"
        f"{svg(measurements)}\n<pre>{html.escape(render(measurements))}</pre>\n"
        "<p>A hollow point did not get stable.</p></body></html>\n"
    )


def _write_png(measurements: Sequence[Measurement], path: Path, title: str) -> None:
    try:
        from matplotlib.figure import Figure
    except ImportError as missing:
        raise BenchError(
            "--plot", f"'{path}': a PNG needs matplotlib, which is not installed; .html needs nothing"
        ) from missing
    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.subplots()
    for name, label, colour in _LINES:
        axes.plot(
            [m.rps for m in measurements], [m.latency_us[name] for m in measurements], "o-", color=colour, label=label
        )
    axes.set(title=title, xlabel="requests a second", ylabel="latency, us", xlim=(0, None), ylim=(0, None))
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=120)
