"""Metrics that Python models make themselves, as a scrape of the real endpoint shows them."""

from __future__ import annotations

import os
import signal
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import argosy
import numpy as np
import pytest
from argosy.options import ControlMode, Endpoint
from serving.waiting import until

CONFIG = """
backend: "python"
input [ { name: "X" data_type: TYPE_FP32 dims: [ -1 ] } ]
output [ { name: "Y" data_type: TYPE_FP32 dims: [ -1 ] } ]
"""
# X[0] says what to do; Y has the process and what the counter and the gauge show.
SOURCE = """
import os, time
from pathlib import Path
import numpy as np
import triton_python_backend_utils as pb_utils

Family = pb_utils.MetricFamily
PLACE = Path(os.environ["ARGOSY_TEST_PLACE"])


class TritonPythonModel:
    def initialize(self, args):
        while (PLACE / "closed").exists():
            time.sleep(0.002)
        name = args["model_name"]
        self.counters = Family(name="asked_total", description='How "often"', kind=Family.COUNTER)
        self.gauges = Family(name="running", description="Running", kind=Family.GAUGE)
        self.histograms = Family(name="size", description="Sizes", kind=Family.HISTOGRAM)
        self.counter = self.counters.Metric(labels={"model": name, "kind": "a\\\\b\\"c\\nd"})
        self.gauge = self.gauges.Metric(labels={"model": name})
        self.histogram = self.histograms.Metric(labels={"model": name}, buckets=[0.5, 2, 10])

    def execute(self, requests):
        return [self.answer(pb_utils.get_input_tensor_by_name(r, "X").as_numpy()) for r in requests]

    def answer(self, x):
        what, value = int(x[0]), float(x[1])
        if what == 1:
            self.counter.increment(value)
        if what == 2:
            self.gauge.set(value)
        if what == 3:
            self.gauge.increment(value)
        if what == 4:
            self.histogram.observe(value)
        if what == 5:
            self.counter = None
        if what == 6:
            Family(name="running", description="Running", kind=Family.COUNTER)
        if what == 7:
            Family(name="nv_inference_count", description="Mine", kind=Family.COUNTER)
        if what == 8:
            self.gauges.Metric(labels={"not a name": "1"})
        if what == 9:  # two instances wait for each other
            (PLACE / str(os.getpid())).touch()
            while len(list(PLACE.iterdir())) < 2:
                time.sleep(0.002)
            self.counter.increment(value)
        shown = [os.getpid(), self.counter.value() if self.counter else -1, self.gauge.value()]
        return pb_utils.InferenceResponse([pb_utils.Tensor("Y", np.array(shown, np.float32))])
"""


def write(root: Path, name: str, config: str = "") -> None:
    (root / name / "1").mkdir(parents=True)
    (root / name / "config.pbtxt").write_text(f'name: "{name}"\n{CONFIG}{config}', encoding="utf-8")
    (root / name / "1" / "model.py").write_text(SOURCE, encoding="utf-8")


@pytest.fixture
def place(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where models meet; no model starts while there is a file `closed` in it."""
    folder = tmp_path_factory.mktemp("place")
    monkeypatch.setenv("ARGOSY_TEST_PLACE", str(folder))
    return folder


@pytest.fixture
def server(tmp_path: Path, place: Path) -> Iterator[argosy.Server]:
    write(tmp_path, "one")
    write(tmp_path, "two", "instance_group [ { count: 2 kind: KIND_CPU } ]")
    with argosy.Server(
        tmp_path,
        listen=True,
        control_mode=ControlMode.EXPLICIT,
        startup_models=("*",),
        http=Endpoint(enabled=False),
        grpc=Endpoint(enabled=False),
        metrics=Endpoint(port=0),
    ) as started:
        yield started


def do(server: argosy.Server, model: str, what: int, value: float = 0) -> list[float]:
    return [float(one) for one in server.infer(model, {"X": np.array([what, value], np.float32)})["Y"]]


def page(server: argosy.Server) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{server.ports['metrics']}/metrics") as answer:
        return str(answer.read(), "utf-8")


def series(server: argosy.Server, family: str) -> dict[str, float]:
    lines = [line for line in page(server).splitlines() if line.startswith((family + "{", family + "_"))]
    return {line.rpartition(" ")[0].removeprefix(family): float(line.rpartition(" ")[2]) for line in lines}


def test_the_page_shows_each_kind_with_its_labels(server: argosy.Server) -> None:
    assert do(server, "one", 1, 2.5)[1] == 2.5
    do(server, "one", 2, -3)
    assert do(server, "one", 3, 1)[2] == -2
    for value in (0.5, 1, 99):
        do(server, "one", 4, value)
    text = page(server)
    assert '# HELP asked_total How "often"\n# TYPE asked_total counter\n' in text
    assert r'asked_total{kind="a\\b\"c\nd",model="one"} 2.5' in text
    assert 'running{model="one"} -2\n' in text
    assert "# TYPE size histogram\n" in text
    assert series(server, "size") == {
        '_bucket{model="one",le="0.5"}': 1,
        '_bucket{model="one",le="2"}': 2,
        '_bucket{model="one",le="10"}': 2,
        '_bucket{model="one",le="+Inf"}': 3,
        '_sum{model="one"}': 100.5,
        '_count{model="one"}': 3,
        '_bucket{model="two",le="0.5"}': 0,
        '_bucket{model="two",le="2"}': 0,
        '_bucket{model="two",le="10"}': 0,
        '_bucket{model="two",le="+Inf"}': 0,
        '_sum{model="two"}': 0,
        '_count{model="two"}': 0,
    }


def test_instances_add_up_in_one_series(server: argosy.Server) -> None:
    futures = [server.submit("two", {"X": np.array([9, value], np.float32)}) for value in (1, 4)]
    assert len({float(one.result(60)["Y"][0]) for one in futures}) == 2
    found = [value for labels, value in series(server, "asked_total").items() if "two" in labels]
    assert found == [5]


def test_series_end_with_their_object_and_with_their_model(server: argosy.Server) -> None:
    do(server, "one", 1, 1)
    do(server, "one", 5)
    until(lambda: not any("one" in labels for labels in series(server, "asked_total")))
    assert 'running{model="one"}' in page(server)
    server.unload("one")
    until(lambda: not any("one" in labels for labels in series(server, "running")))
    assert any("two" in labels for labels in series(server, "running"))
    server.unload("two")
    until(lambda: "# TYPE running " not in page(server))
    server.load("one")
    assert do(server, "one", 0)[1:] == [0, 0]


def test_counters_outlive_a_process_and_what_it_added_to_a_gauge_does_not(server: argosy.Server, place: Path) -> None:
    do(server, "one", 1, 4)
    do(server, "one", 4, 1)
    process = int(do(server, "one", 3, 5)[0])
    (place / "closed").touch()
    os.kill(process, signal.SIGKILL)
    until(lambda: any(problem for name, _, problem in server.engine.models() if name == "one"))
    shown = page(server)
    assert r'asked_total{kind="a\\b\"c\nd",model="one"} 4' in shown
    assert 'size_count{model="one"} 1' in shown
    (place / "closed").unlink()
    again, counted, running = do(server, "one", 1, 1)
    assert int(again) != process
    assert (counted, running) == (5, 0)


@pytest.mark.parametrize(
    ("what", "said"),
    [
        (6, "metric 'running' exists as a gauge, not as a counter"),
        (7, "metric 'nv_inference_count' exists already: it is one of the server's own"),
        (8, "'not a name' is not a label name"),
    ],
)
def test_what_cannot_be_made_is_refused_by_name(server: argosy.Server, what: int, said: str) -> None:
    with pytest.raises(argosy.Internal, match=said):
        do(server, "one", what)


def test_a_reload_carries_the_counters_on(server: argosy.Server, tmp_path: Path) -> None:
    do(server, "one", 1, 4)
    model = tmp_path / "one" / "1" / "model.py"
    model.write_text(SOURCE + "\n# newer\n", encoding="utf-8")
    server.load("one")
    assert do(server, "one", 0)[1] == 4
