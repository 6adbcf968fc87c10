"""TritonModelRunner: runs a `TritonPythonModel` class, unchanged, on our Host.

Holds the rules of execute(): what it may return in which mode, and what its requests
are answered with when it does something else or raises. The way of a single response
is sender.py.

Thread: execute() from the process's main thread; async models continue on a loop of their own.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping, Sequence
from typing import Any

from argosy.errors import ArgosyError, Internal, InvalidArgument
from argosy.models.ambient import Binding, working_for
from argosy.models.faults import failure_text, log_text
from argosy.models.loop import LoopThread, check_ran
from argosy.models.readiness import ReadinessCheck
from argosy.models.triton_compat.lookup import using_decoupled_model_transaction_policy
from argosy.models.triton_compat.model_config import ModelConfig
from argosy.models.triton_compat.request import RELEASE_RESCHEDULE, InferenceRequest
from argosy.models.triton_compat.response import InferenceResponse
from argosy.models.triton_compat.sender import FINAL
from argosy.worker.host import Failure, InferRequest, InferResponse


class _ContractBroken(Exception):
    """execute() returned what it must not; the text is for the caller, without a traceback."""


class TritonModelRunner:
    """A ModelRunner. `kind` is the model's class; `name` the model's, for texts."""

    def __init__(self, binding: Binding, kind: type[Any], name: str) -> None:
        if not callable(getattr(kind, "execute", None)):
            raise InvalidArgument(f"model '{name}': class '{kind.__name__}' does not implement `execute` method.")
        self._binding = binding
        self._host = binding.host
        self._kind = kind
        self._name = name
        self._instance = name
        self._model: Any = None
        self._decoupled = False
        self._async = inspect.iscoroutinefunction(kind.execute)
        self._loop = LoopThread()
        self._readiness = ReadinessCheck(self._host, self._ask_ready)

    def auto_complete(self, config: Mapping[str, Any]) -> dict[str, Any]:
        hook = getattr(self._kind, "auto_complete_config", None)
        if hook is None:
            return dict(config)
        self._binding.phase = "auto_complete"
        try:
            completed = hook(ModelConfig(json.dumps(config)))
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            raise self._load_failure("auto_complete_config", error) from error
        if not isinstance(completed, ModelConfig):
            raise InvalidArgument(
                f"auto_complete_config function in model '{self._name}' must return a valid pb.ModelConfig object."
            )
        return completed.as_dict()

    def initialize(self, args: Mapping[str, str]) -> None:
        self._binding.phase = "initialize"
        self._decoupled = using_decoupled_model_transaction_policy(json.loads(args.get("model_config") or "{}"))
        self._instance = args.get("model_instance_name") or self._name
        try:
            self._model = self._kind()
            started = self._model.initialize(dict(args)) if hasattr(self._model, "initialize") else None
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            raise self._load_failure("initialize", error) from error
        check_ran(started, f"model '{self._name}': initialize")
        self._binding.phase = "serve"

    def execute(self, requests: Sequence[InferRequest]) -> None:
        batch = [InferenceRequest.incoming(self._binding, request, self._decoupled) for request in requests]
        handles = tuple(request.handle for request in requests)
        if self._decoupled:
            # Their senders may outlive this call; made here, each notices when the model drops it.
            for request in batch:
                request.get_response_sender()
        with working_for(handles):
            if not self._async:
                self._run(batch, handles)
                return
            running = self._loop.submit(self._run_async(batch, handles))
        if not self._decoupled:
            running.result()

    def finalize(self) -> None:
        self._loop.stop()
        self._binding.phase = "finalize"
        try:
            if hasattr(self._model, "finalize"):
                self._model.finalize()
        except BaseException as error:  # the model's own code may raise anything
            self._host.log("error", log_text(f"finalize of '{self._instance}' failed", error))
        self._model = None
        self._binding.deferred.finish()

    def has_readiness(self) -> bool:
        return hasattr(self._model, "is_ready")

    def is_ready(self) -> bool:
        return self._readiness() if hasattr(self._model, "is_ready") else self._model is not None

    def _ask_ready(self) -> object:
        answer = self._model.is_ready()
        return self._loop.submit(_awaited(answer)).result() if inspect.isawaitable(answer) else answer

    def _run(self, batch: list[InferenceRequest], handles: tuple[int, ...]) -> None:
        try:
            result = self._model.execute(batch)
            # A list is the rule, and asking whether it can be awaited is not cheap.
            if type(result) is not list and inspect.isawaitable(result):  # an async execute behind a decorator
                result = self._loop.submit(_awaited(result)).result()
            self._finish(batch, handles, result)
        except (SystemExit, KeyboardInterrupt):
            raise  # the model's way to end its process
        except BaseException as error:  # GeneratorExit, CancelledError and panics of extensions are faults like others
            self._fail(batch, handles, error)

    async def _run_async(self, batch: list[InferenceRequest], handles: tuple[int, ...]) -> None:
        try:
            result = await self._model.execute(batch)
            self._finish(batch, handles, result)
        except BaseException as error:  # on the loop nobody else hears it
            self._fail(batch, handles, error)

    def _finish(self, batch: list[InferenceRequest], handles: tuple[int, ...], result: Any) -> None:
        if self._decoupled:
            if result is not None:
                raise _ContractBroken(
                    f"Python model '{self._name}' is using the decoupled mode and the execute function must return "
                    "None."
                )
            self._reschedule(batch, handles)
            return
        if result is None and all(request.sender() is not None for request in batch):
            return
        self._check(batch, result)
        for request, handle, response in zip(batch, handles, result):
            if request.release_flags() == RELEASE_RESCHEDULE:
                self._give_back(request, handle)
            elif response is not None:
                self._answer(request, handle, response)

    def _check(self, batch: list[InferenceRequest], result: Any) -> None:
        if not isinstance(result, list):
            raise _ContractBroken(f"Expected a list in the execute return, found type '{type(result)}'.")
        if len(result) != len(batch):
            raise _ContractBroken(
                "Number of InferenceResponse objects do not match the number of InferenceRequest objects. "
                f"InferenceRequest(s) size is:{len(batch)}, and InferenceResponse(s) size is:{len(result)}\n"
            )
        for request, response in zip(batch, result):
            if type(response) is InferenceResponse and request.release_flags() != RELEASE_RESCHEDULE:
                continue
            if request.release_flags() == RELEASE_RESCHEDULE:
                if response is not None:
                    raise _ContractBroken(
                        "Expected a None object in the execute function return list for reschduled request, found type "
                        f"'{type(response)}'."
                    )
            elif not isinstance(response, InferenceResponse) and not (response is None and request.sender()):
                raise _ContractBroken(
                    "Expected an 'InferenceResponse' object in the execute function return list, found type "
                    f"'{type(response)}'."
                )

    def _answer(self, request: InferenceRequest, handle: int, response: InferenceResponse) -> None:
        # Each by itself: a tensor that cannot be sent must not take back answers that already left.
        try:
            sender = request.sender()
            if sender is not None:
                sender.send(response, FINAL)
            else:
                self._host.respond(handle, response.for_server(request.wanted()), True)
        except Exception as error:  # also what writing a model's own object as text may raise
            self._fail([request], (handle,), error)

    def _reschedule(self, batch: list[InferenceRequest], handles: tuple[int, ...]) -> None:
        for request, handle in zip(batch, handles):
            if request.release_flags() == RELEASE_RESCHEDULE:
                self._give_back(request, handle)

    def _give_back(self, request: InferenceRequest, handle: int) -> None:
        sender = request.sender()
        if sender is not None:
            sender.forget()
        self._host.reschedule(handle)

    def _fail(self, batch: list[InferenceRequest], handles: tuple[int, ...], error: BaseException) -> None:
        text = str(error) if isinstance(error, _ContractBroken) else failure_text(error)
        message = f"Failed to process the request(s) for model instance '{self._instance}', message: {text}"
        self._host.log(
            "error",
            message if isinstance(error, _ContractBroken) else log_text(f"execute of '{self._instance}' failed", error),
            handles[0] if handles else None,
        )
        failure = Failure("internal", message)
        for request, handle in zip(batch, handles):
            sender = request.sender()
            if sender is not None:
                sender.close_with(failure)
            else:
                self._host.respond(handle, InferResponse(failure=failure), True)

    def _load_failure(self, function: str, error: BaseException) -> ArgosyError:
        self._host.log("error", log_text(f"{function} of model '{self._name}' failed", error))
        return Internal(failure_text(error))


async def _awaited(awaitable: Any) -> Any:
    return await awaitable
