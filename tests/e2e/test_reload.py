"""A model that is replaced while clients use it: no request fails, and the old one drains."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as grpcclient
import tritonclient.http as httpclient
from serving import Server, add_model, serve
from serving.models import onnx_scale
from serving.python_repository import gated, write_model
from serving.waiting import running, until

statement = pytest.mark.statement
CONFIG = 'backend: "onnxruntime"\nmax_batch_size: 8\ndynamic_batching {}\n'


class Load:
    """Clients of both protocols that ask until told to stop; `bad` holds what was not a right answer."""

    def __init__(self, server: Server, right: set[float]) -> None:
        self.stop, self.bad, self.counts = threading.Event(), [], [0, 0, 0, 0]
        self.right = right
        modules: list[tuple[Any, str]] = [(httpclient, server.http), (grpcclient, server.grpc)] * 2
        self.threads = [threading.Thread(target=self._ask, args=(n, *module)) for n, module in enumerate(modules)]
        for thread in self.threads:
            thread.start()

    def _ask(self, number: int, module: Any, url: str) -> None:
        with module.InferenceServerClient(url) as client:
            tensor = module.InferInput("x", [1, 4], "FP32")
            tensor.set_data_from_numpy(np.ones((1, 4), np.float32))
            while not self.stop.is_set():
                try:
                    got = float(client.infer("m", [tensor]).as_numpy("y")[0][0])
                    if got not in self.right:
                        self.bad.append(got)
                except Exception as error:
                    self.bad.append(error)
                self.counts[number] += 1

    def all_have_asked(self, times: int, since: list[int]) -> bool:
        return all(now >= before + times for now, before in zip(self.counts, since, strict=True))

    def end(self) -> None:
        self.stop.set()
        for thread in self.threads:
            thread.join()


@statement("T145")
@pytest.mark.slow
def test_reloads_under_load_fail_no_request(tmp_path: Path) -> None:
    model = add_model(tmp_path, "m", CONFIG, onnx_model=onnx_scale(1.0))
    with serve(tmp_path, "--model-control-mode=explicit", "--load-model=m") as server:
        load = Load(server, {1.0, 2.0})
        try:
            for turn in range(10):
                before = list(load.counts)
                until(lambda before=before: load.all_have_asked(5, before) or bool(load.bad))
                artefact = model / "1" / "model.onnx"
                staged = model.parent / "staged.onnx"
                staged.write_bytes(onnx_scale(1.0 + turn % 2).SerializeToString())
                later = time.time_ns() + (turn + 1) * 2_000_000_000
                os.utime(staged, ns=(later, later))
                staged.replace(artefact)
                assert server.ask("POST", "/v2/repository/models/m/load").status == 200
        finally:
            load.end()
        assert load.bad == []


@statement("T147", "T145")
def test_an_unload_finishes_what_was_accepted(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    write_model(tmp_path / "models", "m", gated(gate))
    with (
        serve(tmp_path / "models", "--model-control-mode=explicit", "--load-model=m") as server,
        ThreadPoolExecutor(1) as client,
    ):
        tensor = {"name": "X", "shape": [1], "datatype": "FP32", "data": [5]}
        accepted = client.submit(server.infer, "m", [tensor])
        until(lambda: running(server, "m") == 1)
        assert server.ask("POST", "/v2/repository/models/m/unload").status == 200
        (row,) = server.ask("POST", "/v2/repository/index").json
        assert row["state"] == "UNLOADING"
        assert server.infer("m", [tensor]).status == 404
        gate.touch()
        answer = accepted.result()
        assert answer.status == 200 and answer.json["outputs"][0]["data"] == [5.0]
        until(lambda: server.ask("POST", "/v2/repository/index").json[0].get("reason") == "unloaded")
