"""A Host made of plain Python, and a call that runs a model's source on it."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from argosy.errors import AlreadyExists, ArgosyError, InvalidArgument, NotFound
from argosy.models import ambient, open_runner
from argosy.models.tensors import tensor_value
from argosy.worker.host import (
    Failure,
    InferCall,
    InferRequest,
    InferResponse,
    ModelPlace,
    ModelRunner,
    OnResponse,
    TensorValue,
)


class FakeHost:
    """Records what a model does. `callees`: model name -> the responses that a call to it gets."""

    def __init__(self) -> None:
        self.answers: dict[int, list[tuple[InferResponse | None, bool]]] = {}
        self.finished: dict[int, threading.Event] = {}
        self.rescheduled: list[int] = []
        self.cancelled: set[int] = set()
        self.cancelled_calls: list[int] = []
        self.lines: list[tuple[str, str, int | None]] = []
        self.calls: list[InferCall] = []
        self.callees: dict[str, Callable[[InferCall], Sequence[InferResponse | None]]] = {}
        self.models: dict[str, Any] = {}
        self.families: dict[tuple[str, str, str], int] = {}
        self.series: dict[int, dict[str, Any]] = {}
        self.refuses: Callable[[InferResponse], ArgosyError | None] = lambda response: None
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()

    # Requests of the model under test.

    def expect(self, request: InferRequest) -> InferRequest:
        self.answers[request.handle] = []
        self.finished[request.handle] = threading.Event()
        return request

    def respond(self, handle: int, response: InferResponse | None, final: bool) -> None:
        assert response is not None or final
        assert handle not in self.rescheduled, "answered after it was given back"
        refused = None if response is None else self.refuses(response)
        if refused is not None:
            raise refused
        with self._lock:
            assert not self.finished[handle].is_set(), "a second final answer"
            self.answers[handle].append((response, final))
            if final:
                self.finished[handle].set()

    def has_room(self, handle: int) -> bool:
        return True

    def wait_room(self, handle: int) -> None:
        pass

    def reschedule(self, handle: int) -> None:
        self.rescheduled.append(handle)

    def is_cancelled(self, handle: int) -> bool:
        return handle in self.cancelled

    def empty(self, shape: Sequence[int], dtype: Any) -> Any:
        return np.empty(tuple(shape), dtype)

    # Other models.

    def infer(self, call: InferCall) -> InferResponse:
        self.calls.append(call)
        if call.model not in self.callees:
            return InferResponse(failure=Failure("not_found", f"no model '{call.model}'"))
        (response,) = self.callees[call.model](call)
        assert response is not None
        return response

    def infer_async(self, call: InferCall, on_response: OnResponse) -> int:
        self.calls.append(call)
        number = next(self._numbers)
        responses = list(self.callees[call.model](call))

        def run() -> None:
            for index, response in enumerate(responses):
                on_response(response, index == len(responses) - 1)

        threading.Thread(target=run).start()
        return number

    def cancel(self, call: int) -> None:
        self.cancelled_calls.append(call)

    def load_model(self, name: str, config: str, files: Mapping[str, bytes]) -> None:
        if name == "broken":
            raise InvalidArgument("broken on purpose")
        self.models[name] = (config, dict(files))

    def unload_model(self, name: str, unload_dependents: bool) -> None:
        if name not in self.models:
            raise NotFound(f"no model '{name}'")
        del self.models[name]

    def is_model_ready(self, name: str, version: str) -> bool:
        return name in self.models

    # Log and metrics.

    def log(self, level: str, message: str, handle: int | None = None) -> None:
        self.lines.append((level, message, handle))

    def make_family(self, name: str, description: str, kind: str) -> int:
        if any(known[0] == name and known != (name, description, kind) for known in self.families):
            raise AlreadyExists(f"metric family '{name}' exists")
        return self.families.setdefault((name, description, kind), next(self._numbers))

    def drop_family(self, family: int) -> None:
        if any(one["family"] == family for one in self.series.values()):
            raise InvalidArgument("the family has metrics")
        self.families = {key: number for key, number in self.families.items() if number != family}

    def make_metric(self, family: int, labels: Mapping[str, str], buckets: Sequence[float]) -> int:
        number = next(self._numbers)
        self.series[number] = {"family": family, "labels": dict(labels), "buckets": tuple(buckets), "value": 0.0}
        return number

    def drop_metric(self, metric: int) -> None:
        del self.series[metric]

    def update_metric(self, metric: int, operation: str, value: float) -> None:
        series = self.series[metric]
        series["value"] = value if operation == "set" else series["value"] + value

    def metric_value(self, metric: int) -> float:
        return float(self.series[metric]["value"])

    # What tests ask.

    def final(self, handle: int) -> InferResponse:
        """The one response of a request."""
        assert self.finished[handle].wait(60)
        ((response, final),) = self.answers[handle]
        assert final and response is not None
        return response

    def outputs(self, handle: int) -> dict[str, Any]:
        response = self.final(handle)
        assert response.failure is None, response.failure
        return {value.name: value.data for value in response.outputs}

    def failure(self, handle: int) -> Failure:
        response = self.final(handle)
        assert response.failure is not None
        return response.failure

    def stream(self, handle: int) -> list[InferResponse]:
        """Every response of a request, after its end."""
        assert self.finished[handle].wait(60)
        return [response for response, _ in self.answers[handle] if response is not None]


class Workbench:
    """Runs the source of a model on a FakeHost."""

    def __init__(self, directory: Path) -> None:
        self.host = FakeHost()
        self.directory = directory
        self._handles = itertools.count(1)
        self._opened: list[ModelRunner] = []

    def open(self, source: str, *, config: str = "{}", name: str = "m", version: int = 1) -> ModelRunner:
        path = self.directory / "model.py"
        path.write_text(source)
        return self.open_file(path, config=config, name=name, version=version)

    def open_file(self, path: Path, *, config: str = "{}", name: str = "m", version: int = 1) -> ModelRunner:
        place = ModelPlace(
            model_file=str(path),
            directory=str(path.parent),
            version_directory=str(path.parent),
            name=name,
            version=version,
            config=config,
            instance_name=f"{name}_0_0",
        )
        runner = open_runner(self.host, place)
        self._opened.append(runner)
        return runner

    def start(self, source: str, *, config: str = "{}", name: str = "m") -> ModelRunner:
        runner = self.open(source, config=config, name=name)
        runner.initialize(self.arguments(config, name))
        return runner

    @staticmethod
    def arguments(config: str, name: str) -> dict[str, str]:
        return {
            "model_config": config,
            "model_instance_kind": "CPU",
            "model_instance_device_id": "0",
            "model_instance_name": f"{name}_0_0",
            "model_repository": "/models/m",
            "model_version": "1",
            "model_name": name,
        }

    def request(self, **fields: Any) -> InferRequest:
        """`inputs`: arrays by name. Other fields are InferRequest's."""
        inputs = tuple(
            value if isinstance(value, TensorValue) else tensor_value(name, value)
            for name, value in fields.pop("inputs", {}).items()
        )
        return self.host.expect(InferRequest(handle=next(self._handles), inputs=inputs, **fields))

    def close(self) -> None:
        for runner in self._opened:
            runner.finalize()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Workbench]:
    made = Workbench(tmp_path)
    yield made
    made.close()


@pytest.fixture
def bound_host() -> FakeHost:
    """A host that this process is bound to, as inside execute()."""
    host = FakeHost()
    ambient.bind(host).phase = "serve"
    return host
