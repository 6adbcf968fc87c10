"""Metrics, statistics and the logging extension."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from serving import Server, add_model, ask, identity_config, serve

statement = pytest.mark.statement
DURATIONS = ("request", "queue", "compute_input", "compute_infer", "compute_output")
COUNTERS = (
    "nv_inference_request_success",
    "nv_inference_count",
    "nv_inference_exec_count",
    *(f"nv_inference_{name}_duration_us" for name in DURATIONS),
    "nv_inference_pending_request_count",
)


def metric(page: str, name: str, model: str, more: str = "") -> float:
    rows = [row for row in page.splitlines() if re.match(rf'{name}\{{[^}}]*model="{model}"', row) and more in row]
    assert len(rows) == 1, (name, rows)
    return float(rows[0].split()[-1])


def tensor(rows: int = 1) -> list[dict[str, Any]]:
    return [{"name": "INPUT0", "shape": [rows, 1], "datatype": "FP32", "data": [1] * rows}]


@pytest.fixture
def fresh(tmp_path: Path):
    add_model(tmp_path, "m", identity_config())
    add_model(tmp_path, "broken", identity_config(more='metric_tags { key: "team" value: "blue" }\n'))
    with serve(tmp_path) as running:
        yield running


@statement("T308", "T310", "T315", "T362")
def test_every_series_exists_at_zero_after_load(fresh: Server) -> None:
    answer = ask(fresh.ports["metrics"], "GET", "/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    page = answer.body.decode()
    assert [metric(page, name, "m") for name in COUNTERS] == [0.0] * len(COUNTERS)
    for reason in ("REJECTED", "CANCELED", "BACKEND", "OTHER"):
        assert metric(page, "nv_inference_request_failure", "m", f'reason="{reason}"') == 0
    assert '_team="blue"' in page
    assert metric(page, "nv_model_load_duration_secs", "m") >= 0
    named = set(re.findall(r"^# TYPE (\S+)", page, re.MULTILINE))
    assert named == set(re.findall(r"^# HELP (\S+) \S", page, re.MULTILINE))


@statement("T316")
def test_the_machines_cpu_and_memory_are_shown(fresh: Server) -> None:
    page = fresh.metrics()
    rows = dict(row.rsplit(" ", 1) for row in page.splitlines() if row.startswith("nv_cpu_"))
    assert 0 < float(rows["nv_cpu_memory_used_bytes"]) < float(rows["nv_cpu_memory_total_bytes"])


@statement("T309", "T317", "T318", "T199")
def test_counters_add_up(fresh: Server) -> None:
    for rows in (1, 3, 3, 8):
        assert fresh.infer("m", tensor(rows)).status == 200
    for _ in range(3):
        assert fresh.infer("m", []).status == 400
    page = fresh.metrics()
    assert metric(page, "nv_inference_request_success", "m") == 4
    assert metric(page, "nv_inference_count", "m") == 15
    assert metric(page, "nv_inference_exec_count", "m") == 4
    stats = fresh.stats("m")
    assert list(stats) == [
        "name", "version", "last_inference", "inference_count", "execution_count", "inference_stats",
        "response_stats", "batch_stats", "memory_usage",
    ]  # fmt: skip
    assert (stats["inference_count"], stats["execution_count"]) == (15, 4)
    assert set(stats["inference_stats"]) == {
        "success", "fail", "queue", "compute_input", "compute_infer", "compute_output", "cache_hit", "cache_miss",
    }  # fmt: skip
    counts = {name: row["count"] for name, row in stats["inference_stats"].items()}
    assert counts["success"] == counts["queue"] == counts["compute_infer"] == 4
    assert [(row["batch_size"], row["compute_infer"]["count"]) for row in stats["batch_stats"]] == [
        (1, 1),
        (3, 2),
        (8, 1),
    ]
    assert stats["last_inference"] > 1_600_000_000_000
    assert fresh.ask("GET", "/v2/models/m/versions/1/stats").json["model_stats"] == [stats]


@statement("T319")
def test_statistics_of_an_unknown_model_are_400(server: Server) -> None:
    answer = server.ask("GET", "/v2/models/nope/stats")
    assert (answer.status, answer.error) == (400, "requested model 'nope' is not available")
    answer = server.ask("GET", "/v2/models/two/versions/9/stats")
    assert (answer.status, answer.error) == (400, "requested model version is not available for model 'two'")


def test_other_paths_of_the_metrics_port_are_empty_and_other_methods_refused(server: Server) -> None:
    port = server.ports["metrics"]
    assert ask(port, "GET", "/metrics/").body.startswith(b"#")
    other = ask(port, "GET", "/else")
    assert (other.status, other.body) == (200, b"")
    assert ask(port, "POST", "/metrics").status == 405


def test_histograms_are_well_formed(fresh: Server) -> None:
    for _ in range(5):
        fresh.infer("m", tensor())
    page = fresh.metrics()
    families = re.findall(r"^# TYPE (\S+) histogram", page, re.MULTILINE)
    assert families
    for family in families:
        rows = [row for row in page.splitlines() if row.startswith(family + "_bucket{") and 'model="m"' in row]
        counts = [float(row.split()[-1]) for row in rows]
        assert counts == sorted(counts) and 'le="+Inf"' in rows[-1]
        assert metric(page, family + "_count", "m") == counts[-1]


@statement("T326", "T327", "T328")
def test_logging_settings_are_shown_and_changed(fresh: Server) -> None:
    before = fresh.ask("GET", "/v2/logging").json
    assert list(before) == ["log_file", "log_info", "log_warning", "log_error", "log_verbose_level", "log_format"]
    after = fresh.ask("POST", "/v2/logging", {"log_verbose_level": 3, "log_info": False}).json
    assert after == {**before, "log_verbose_level": 3, "log_info": False}
    answer = fresh.ask("POST", "/v2/logging", {"log_format": "xml"})
    assert (answer.status, answer.error) == (503, "invalid argument for --log_format, got: xml")
    answer = fresh.ask("POST", "/v2/logging", {"log_file": "/tmp/x"})
    assert answer.status == 501
    assert answer.error == "log file location can not be updated through network protocol"
    assert fresh.ask("POST", "/v2/logging", "").status == 400
    assert fresh.ask("POST", "/v2/logging", {"log_verbose_level": -1}).status == 400


@statement("T329")
def test_iso8601_lines_have_the_documented_form(tmp_path: Path) -> None:
    add_model(tmp_path, "m", identity_config())
    with serve(tmp_path, "--log-format=ISO8601") as running:
        running.send_signal()
        running.wait()  # the log is written by a thread of its own
        lines = running.log.splitlines()
    assert lines
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ [IWE] \d+ \S+:\d+\] ", line) for line in lines), lines


def test_json_lines_and_access_lines_carry_the_request_id(tmp_path: Path) -> None:
    add_model(tmp_path, "m", identity_config())
    with serve(tmp_path, "--log-format=json", "--access-log=true") as running:
        running.infer("m", tensor(), id="the-request")
        running.send_signal()
        running.wait()
        events = [json.loads(line) for line in running.log.splitlines()]
    assert all({"time", "level", "message"} <= set(event) for event in events)
    assert any(event.get("request_id") == "the-request" for event in events)


@pytest.mark.parametrize("path", ["/v2/trace/setting", "/v2/models/two/trace/setting"])
def test_tracing_is_refused_by_name(server: Server, path: str) -> None:
    for method in ("GET", "POST"):
        answer = server.ask(method, path)
        assert (answer.status, answer.error) == (501, "tracing is not served by this version")


@statement("T166")
def test_there_are_no_shared_memory_regions(server: Server) -> None:
    assert server.ask("GET", "/v2/systemsharedmemory/status").json == []
    answer = server.ask("GET", "/v2/systemsharedmemory/region/r/status")
    assert (answer.status, answer.error) == (404, "Unable to find system shared memory region: 'r'")
