"""The composition root: options in, a running server out.

    with argosy.Server("model_repository") as server:
        outputs = server.infer("add_sub", {"INPUT0": a, "INPUT1": b})

The embedded form serves in process, without sockets, unless asked to listen;
`argosy serve` is this class with the three endpoints on.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from os import PathLike, fspath
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from argosy import _core
from argosy.backends import BackendRegistry, Inspectors
from argosy.config import to_json
from argosy.control import Context, Control
from argosy.control.from_models import ModelWishes
from argosy.control.metadata import config_of, model_metadata
from argosy.errors import ArgosyError, Unavailable
from argosy.front import front_options
from argosy.gpus import capabilities_of, gpu_metrics_of, open_engine
from argosy.logs import Logs, LogSettings
from argosy.options import Endpoint, ServerOptions, granted_cpus
from argosy.protos import reflection_files
from argosy.repository import LoadFailed, Repository, RepositoryOptions, Resolver
from argosy.version import __version__
from argosy.worker.children import Children
from argosy.worker.environment import interpreter_of

_log = logging.getLogger(__name__)
Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class InferResult:
    """One response: `outputs` by name (BYTES as object arrays of bytes) and the model's own `parameters`."""

    outputs: Mapping[str, Array]
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Array:
        return self.outputs[name]


class Server:
    """A server in this process.

    `repository`: a model repository, one model's directory, or a model file (`model.onnx`); or several
    repositories. Further keyword arguments are fields of ServerOptions. Without `listen` no socket is opened.
    Raises ArgosyError when a model fails to load (unless exit_on_error=False) or an address is taken.
    """

    def __init__(
        self,
        repository: str | PathLike[str] | Sequence[str | PathLike[str]] = (),
        *,
        listen: bool = False,
        options: ServerOptions | None = None,
        logs: Logs | None = None,
        **settings: Any,
    ) -> None:
        roots = (repository,) if isinstance(repository, str | PathLike) else tuple(repository)
        base = options or ServerOptions()
        if roots:
            settings["repositories"] = tuple(fspath(root) for root in roots)
        self.options = replace(base, **settings) if settings else base
        if not listen and options is None:
            off = Endpoint(enabled=False)
            self.options = replace(self.options, http=off, grpc=off, metrics=off)
        self.logs = logs or Logs(LogSettings(info=False))
        self._owns_logs = logs is None
        self._lock = threading.Lock()
        self._stopped = False
        self._children = Children()
        self._poll_stop = threading.Event()
        self._poller: threading.Thread | None = None
        self.failures: dict[str, ArgosyError] = {}

        self.cpu_threads = self.options.cpu_threads or granted_cpus()
        self.engine = open_engine(self.options, self.cpu_threads)
        self._gpu_metrics = gpu_metrics_of(self.engine, self.options)
        self.backends = BackendRegistry(self.engine.add_backend, self.options.backend_config)
        self.repository = Repository(
            RepositoryOptions(
                roots=self.options.repositories,
                mode=self.options.control_mode,
                startup=self.options.startup_models,
                config_name=self.options.config_name,
                load_threads=self.options.load_threads,
                retries=self.options.load_retries,
            ),
            Resolver(
                capabilities=capabilities_of(self.engine, self.options),
                inspectors=Inspectors(self.backends.inspector),
                auto_complete=self.options.auto_complete,
                default_max_batch_rows=self._default_max_batch_rows(),
                children=self._children,
            ),
            _Loader(self.engine, self.backends, self._children),
        )
        self._shared_memory = _core.SharedMemory(self.engine) if self.options.allow_client_shm else None
        self._context = Context(
            engine=self.engine,
            repository=self.repository,
            logs=self.logs,
            server_id=self.options.server_id,
            version=__version__,
            shared_memory=self._shared_memory,
        )
        self._control = Control(self._context)
        self._wishes = ModelWishes(self.repository, self._update_readiness)
        self.engine.set_model_control(self._wishes.weakly())
        self._front: _core.Front | None = None

    # Life.

    def start(self) -> Server:
        """Opens the endpoints, then loads what shall be loaded. Returns self, ready.

        Liveness is answered from the first moment; readiness when the models are.
        """
        try:
            self._listen()
            self.failures = self.repository.start()
            if self.failures and self.options.exit_on_error:
                raise next(iter(self.failures.values()))
        except BaseException:
            self.stop(drain_secs=0)
            raise
        self._update_readiness()
        if self.options.control_mode.value == "poll":
            self._poller = threading.Thread(target=self._poll, name="poll", daemon=True)
            self._poller.start()
        return self

    def stop_loading(self) -> None:
        """What is still loading in a process of its own gets a moment more, then fails. For a server that is to stop
        before it has started; stop() does it too. Thread: any, a signal handler as well."""
        self._children.end()
        self.engine.end_workers(0.0)

    def stop(self, *, drain_secs: float | None = None) -> bool:
        """Refuses new work, finishes what was accepted for up to `drain_secs` (default: exit_timeout_secs),
        then stops. True when everything finished in time. Again is nothing."""
        with self._lock:
            if self._stopped:
                return True
            self._stopped = True
        patience = self.options.exit_timeout_secs if drain_secs is None else drain_secs
        deadline = time.monotonic() + patience
        self._poll_stop.set()
        if self._poller is not None:
            self._poller.join()
        finished = True
        if self._front is not None:
            finished = self._front.drain(patience)
        # A model that never finishes loading would be waited for by everything below.
        self._children.end()
        self.engine.end_workers(max(0.0, deadline - time.monotonic()))
        self._control.stop()
        self._wishes.stop()
        if self._gpu_metrics is not None:
            self._gpu_metrics.stop()
        self.repository.stop()
        finished = self.engine.stop(max(0.0, deadline - time.monotonic())) and finished
        self._wishes.join()
        if self._front is not None:
            self._front.stop()
        if self._owns_logs:
            self.logs.close()
        return finished

    def __enter__(self) -> Server:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # Inference in process.

    def infer(
        self, model: str, inputs: Mapping[str, Any], *, version: int | None = None, **options: Any
    ) -> InferResult:
        """Runs one request and waits.

        `inputs`: arrays by name, batch dimension included where the model batches; they must not change
        until this returns. Options: id, outputs (names), priority, timeout_us, parameters, sequence_id,
        sequence_start, sequence_end. Raises the ArgosyError of the answer.
        """
        responses = self.engine.infer(model, _version(version), _arrays(inputs), options=options)
        if len(responses) != 1:
            raise Unavailable(f"model '{model}' gave {len(responses)} responses; use stream() for decoupled models")
        return InferResult(*responses[0])

    def stream(
        self, model: str, inputs: Mapping[str, Any], *, version: int | None = None, **options: Any
    ) -> Iterator[InferResult]:
        """Runs one request and yields its responses as they come (decoupled models: any number)."""
        stream = self.engine.infer_stream(model, _version(version), _arrays(inputs), options=options)
        try:
            for outputs, parameters in stream:
                yield InferResult(outputs, parameters)
        finally:
            stream.cancel()

    def submit(
        self, model: str, inputs: Mapping[str, Any], *, version: int | None = None, **options: Any
    ) -> Future[InferResult]:
        """Starts one request; the future holds its result. Many may be in flight and are batched together."""
        future: Future[InferResult] = Future()

        def done(responses: list[tuple[dict[str, Array], dict[str, Any]]], error: ArgosyError | None) -> None:
            if not future.set_running_or_notify_cancel():
                return
            if error is not None:
                future.set_exception(error)
            elif len(responses) != 1:
                future.set_exception(Unavailable(f"model '{model}' gave {len(responses)} responses; use stream()"))
            else:
                future.set_result(InferResult(*responses[0]))

        self.engine.infer_async(model, _version(version), _arrays(inputs), options=options, done=done)
        return future

    # Questions and control.

    def metadata(self, model: str, version: int | None = None) -> dict[str, Any]:
        """Name, versions, platform, inputs and outputs. Raises NotFound."""
        return model_metadata(self._context, model, version)

    def config(self, model: str) -> dict[str, Any]:
        """The completed configuration as JSON values. Raises NotFound."""
        rendered: dict[str, Any] = to_json(config_of(self._context, model, None).message)
        return rendered

    def models(self) -> list[str]:
        """Names of the serving models."""
        return list(self.repository.serving())

    def load(self, model: str) -> None:
        """Loads or reloads a model (explicit control mode). Raises ArgosyError with the reason."""
        self.repository.load(model)
        self._update_readiness()

    def unload(self, model: str) -> None:
        """Withdraws a model (explicit control mode)."""
        self.repository.unload(model)
        self._update_readiness()

    def metrics(self) -> str:
        """The metrics in Prometheus text format."""
        return self.engine.metrics_text()

    def ready(self) -> bool:
        """What the readiness probe answers."""
        if not self.options.strict_readiness:
            return True
        return not self.failures_now() and all(not problem for _, _, problem in self.engine.models())

    def failures_now(self) -> bool:
        """Whether a model that shall serve does not."""
        return not self.repository.all_ready()

    @property
    def ports(self) -> dict[str, int]:
        """The bound ports by endpoint: http, grpc, metrics; those that are enabled."""
        return {} if self._front is None else self._front.ports()

    def set_ready(self, ready: bool) -> None:
        """Overrides the readiness probe; for draining."""
        if self._front is not None:
            self._front.set_state(True, ready)

    def _listen(self) -> None:
        endpoints = (self.options.http, self.options.grpc, self.options.metrics)
        if not any(endpoint.enabled for endpoint in endpoints):
            return
        settings = front_options(self.options, reflection_files())
        self._front = _core.Front(settings, self.engine, self._handle_control, self._shared_memory)
        self._front.start()

    def _handle_control(
        self,
        protocol: str,
        method: str,
        path: str,
        headers: list[tuple[str, str]],
        body: bytes,
        reply: Callable[[str, str, int, list[tuple[str, str]], bytes], None],
    ) -> None:
        def answered(code: str, message: str, status: int, sent: list[tuple[str, str]], answer: bytes) -> None:
            # Before the answer: a client that loaded a model may ask for readiness next.
            self._update_readiness()
            reply(code, message, status, sent, answer)

        changes = "epository" in path and not path.endswith("ndex")
        self._control.handle(protocol, method, path, headers, body, answered if changes else reply)

    def _update_readiness(self) -> None:
        if self._front is not None and not self._stopped:
            self._front.set_state(True, self.ready())

    def _poll(self) -> None:
        while not self._poll_stop.wait(self.options.poll_secs):
            try:
                self.repository.poll()
            except Exception:
                _log.exception("polling the model repositories failed; the next round tries again")
            self._update_readiness()

    def _default_max_batch_rows(self) -> int:
        for backend in ("onnxruntime", ""):
            text = self.options.backend_config.get(backend, {}).get("default-max-batch-size")
            if text is not None:
                return int(text)
        return 4


@dataclass(frozen=True, slots=True)
class _Loader:
    """The repository's way to the engine."""

    engine: _core.Engine
    backends: BackendRegistry
    children: Children

    def load(self, name: str, specs: Sequence[dict[str, Any]]) -> None:
        for backend in sorted({spec["backend"] for spec in specs}):
            try:
                self.backends.ensure(backend)
            except ArgosyError as error:
                raise LoadFailed(name, {spec["version"]: error for spec in specs}) from error
        failures = self.engine.load(name, [_with_interpreter(name, spec, self.children) for spec in specs])
        if failures:
            raise LoadFailed(name, failures)

    def unload(self, name: str) -> None:
        self.engine.unload(name)

    def draining(self, name: str) -> bool:
        return self.engine.draining(name)


def _with_interpreter(name: str, spec: dict[str, Any], children: Children) -> dict[str, Any]:
    """The specification of a Python model, with the interpreter that is there, or was made, for it."""
    if spec["backend"] != "python":
        return spec
    place = Path(spec["path"])
    try:
        python = interpreter_of(name, place.parent, place, spec["parameters"], children)
    except ArgosyError as error:
        raise LoadFailed(name, {spec["version"]: error}) from error
    return {**spec, "parameters": {**spec["parameters"], "python": python}} if python else spec


def _version(version: int | None) -> int:
    return -1 if version is None else version


def _arrays(inputs: Mapping[str, Any]) -> dict[str, Array]:
    return {name: value if isinstance(value, np.ndarray) else np.asarray(value) for name, value in inputs.items()}
