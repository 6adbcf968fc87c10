"""The bench command against a stand-in for the generator, and its tables and charts."""

from __future__ import annotations

import argparse
import csv
import io
import json
import stat
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from argosy.bench import BenchError, Measurement, add_arguments, find_generator, main, measure
from argosy.bench.command import generator_flags
from argosy.bench.plot import page, round_step, svg, write_plot
from argosy.bench.table import render, write_csv


def line(*, concurrency: int = 1, rps: float = 1000.0, p50: float = 100.0, failed: int = 0, stable: bool = True) -> str:
    """A result as the generator prints it."""
    return json.dumps(
        {
            "parameters": {
                "loop": "closed",
                "concurrency": concurrency,
                "model": "m",
                "protocol": "grpc",
                "format": "grpc",
            },
            "machine": {"cpu": "a & b", "cores": 2, "kernel": "Linux"},
            "n": 3000,
            "failed": failed,
            "unanswered": 0,
            "stable": stable,
            "rps": rps,
            "mean_us": p50,
            "p50_us": p50,
            "p90_us": p50 * 2,
            "p95_us": p50 * 3,
            "p99_us": p50 * 4,
            "p99_9_us": p50 * 5,
            "max_us": p50 * 6,
            "percentile_us": p50,
            "errors": {"INTERNAL: <broken>": failed} if failed else {},
            "cpu_us_per_request": 11.5,
            "statistics": {
                "mean_batch": 2.5,
                "queue_us": 20,
                "compute_input_us": 1,
                "compute_infer_us": 2,
                "compute_output_us": 3,
            },
        }
    )


@pytest.fixture
def generator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A script that writes its arguments to `arguments` and prints the file `output`; exits with the file `code`."""
    script = tmp_path / "argosy-load"
    script.write_text(
        f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/arguments\ncat {tmp_path}/output\n'
        f'echo "argosy-load: it broke" >&2\nexit $(cat {tmp_path}/code)\n'
    )
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    (tmp_path / "code").write_text("0")
    monkeypatch.setenv("ARGOSY_LOAD", str(script))
    return tmp_path


def parsed(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(["-m", "m", *arguments])


def test_flags_reach_the_generator_under_its_own_names() -> None:
    args = parsed(
        "-i", "grpc", "--concurrency-range", "1:8:2", "-p", "500", "--shape", "A:1,2", "--shape", "B:3", "-b", "4"
    )
    assert generator_flags(args) == [
        *("-m", "m", "-i", "grpc", "--concurrency", "1:8:2", "-b", "4", "--window", "500"),
        *("--shape", "A:1,2", "--shape", "B:3"),
    ]
    assert generator_flags(parsed("--no-statistics"))[-1] == "--no-statistics"


def test_the_generator_named_in_the_environment_must_be_executable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ARGOSY_LOAD", str(tmp_path))
    with pytest.raises(BenchError, match="no executable file"):
        find_generator()


def test_results_arrive_one_by_one(generator: Path) -> None:
    (generator / "output").write_text(line(concurrency=1) + "\n" + line(concurrency=2) + "\n")
    assert [m.level_text for m in measure(["-m", "m"])] == ["1", "2"]
    assert (generator / "arguments").read_text().split() == ["-m", "m"]


def test_a_failed_generator_is_quoted(generator: Path) -> None:
    (generator / "output").write_text(line() + "\n")
    (generator / "code").write_text("1")
    results = measure([])
    assert next(results).requests == 3000
    with pytest.raises(BenchError, match="it broke"):
        next(results)


def test_output_that_is_no_result_is_refused(generator: Path) -> None:
    (generator / "output").write_text("hello\n")
    with pytest.raises(BenchError, match="hello"):
        list(measure([]))


def test_the_command_writes_every_kind_of_result(generator: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (generator / "output").write_text(line(concurrency=1) + "\n" + line(concurrency=8, rps=4000) + "\n")
    to = generator / "out"
    code = main(parsed("--csv", f"{to}.csv", "--json", f"{to}.jsonl", "--plot", f"{to}.html"))
    assert code == 0
    assert "4,000" in capsys.readouterr().out
    with open(f"{to}.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["concurrency"] for row in rows] == ["1", "8"]
    assert rows[1]["requests_per_s"] == "4000"
    assert len(Path(f"{to}.jsonl").read_text().splitlines()) == 2
    assert "<svg" in Path(f"{to}.html").read_text()


def test_failed_requests_fail_the_command(generator: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (generator / "output").write_text(line(failed=7) + "\n")
    assert main(parsed()) == 1
    assert "7 x INTERNAL: <broken>" in capsys.readouterr().out


def test_what_was_measured_before_a_failure_is_still_shown(generator: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (generator / "output").write_text(line(rps=1234) + "\n")
    (generator / "code").write_text("1")
    assert main(parsed()) == 1
    captured = capsys.readouterr()
    assert "1,234" in captured.out
    assert "it broke" in captured.err


def test_a_table_marks_what_was_not_stable_and_leaves_out_what_nobody_knows() -> None:
    raw = json.loads(line(stable=False))
    del raw["statistics"], raw["cpu_us_per_request"]
    text = render([Measurement.from_line(json.dumps(raw))])
    assert "1 ~" in text
    assert "queue" not in text and "CPU" not in text


def test_csv_leaves_unknown_figures_empty() -> None:
    raw = json.loads(line())
    del raw["statistics"]
    out = io.StringIO()
    write_csv([Measurement.from_line(json.dumps(raw))], out)
    row = next(csv.DictReader(io.StringIO(out.getvalue())))
    assert row["mean_batch"] == "" and row["server_cpu_us_per_request"] == "11.5"


def test_a_chart_is_valid_xml_with_a_point_for_each_percentile_and_load() -> None:
    chart = ElementTree.fromstring(svg([Measurement.from_line(line(concurrency=c, rps=c * 900.0)) for c in (1, 2, 4)]))
    circles = chart.findall("{http://www.w3.org/2000/svg}circle")
    assert len(circles) == 9
    assert all(0 <= float(c.attrib["cx"]) <= 860 and 0 <= float(c.attrib["cy"]) <= 480 for c in circles)


def test_a_page_escapes_what_servers_and_machines_say() -> None:
    text = page([Measurement.from_line(line(failed=1))], "<title>")
    assert "&lt;broken&gt;" in text and "a &amp; b" in text and "<h1>&lt;title&gt;" in text


def test_a_plot_with_an_unknown_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"expected \.html"):
        write_plot([Measurement.from_line(line())], tmp_path / "x.pdf", "t")


@pytest.mark.parametrize(("span", "step"), [(8, 1), (10, 2), (170_000, 50_000), (0.35, 0.05), (0, 1)])
def test_axis_steps_are_round(span: float, step: float) -> None:
    assert round_step(span, 8) == pytest.approx(step)
