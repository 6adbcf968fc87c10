"""ArgosyModelRunner: runs a subclass of argosy.Model on the Host.

predict() is called once per request, once per group of equally shaped requests where
the model batches, or as one task per request where it is async. Whatever it does, each
request is answered.

Thread: execute() from the process's main thread; async models on a loop of their own.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

from argosy.errors import ArgosyError, Internal, InvalidArgument
from argosy.models.ambient import Binding, working_for
from argosy.models.configuration import completed, parsed_config
from argosy.models.conversion import joined_arguments, keyword_arguments, outputs_of, row_key, split_outputs
from argosy.models.faults import failure_text, log_text, summary
from argosy.models.loop import LoopThread, check_ran
from argosy.models.model import Model, requests_of, set_requests
from argosy.models.readiness import ReadinessCheck
from argosy.models.settings import apply_parameters, check_settings, unused_settings
from argosy.models.signature import read_signature
from argosy.worker.host import Failure, InferRequest, InferResponse, ModelPlace, TensorValue

_LEFT = InferResponse(failure=Failure("cancelled", "the caller left before the stream ended"))


class ArgosyModelRunner:
    """A ModelRunner. Raises InvalidArgument when the class cannot be served, naming why."""

    def __init__(self, binding: Binding, kind: type[Model], place: ModelPlace) -> None:
        if not callable(getattr(kind, "predict", None)):
            raise InvalidArgument(f"model '{place.name}': class '{kind.__name__}' has no method predict")
        check_settings(kind)
        self._binding = binding
        self._host = binding.host
        self._kind = kind
        self._name = place.name
        self._batched = kind.max_batch_size > 0
        try:
            self._signature = read_signature(kind.predict, batched=self._batched)
        except InvalidArgument as error:
            raise InvalidArgument(f"model '{place.name}', class '{kind.__name__}': {error}") from None
        self._model: Any = None
        self._loop = LoopThread()
        self._places = threading.BoundedSemaphore(kind.max_concurrency)
        self._readiness = ReadinessCheck(self._host, lambda: self._model.ready())

    def auto_complete(self, config: Mapping[str, Any]) -> dict[str, Any]:
        return completed(config, self._kind, self._signature)

    def initialize(self, args: Mapping[str, str]) -> None:
        self._binding.phase = "initialize"
        for warning in unused_settings(self._kind, is_async=self._signature.is_async):
            self._host.log("warning", f"model '{self._name}': {warning}")
        try:
            self._model = self._kind()
            for warning in apply_parameters(self._model, parsed_config(args.get("model_config", ""))):
                self._host.log("warning", f"model '{self._name}': {warning}")
            check_ran(self._model.setup(), f"model '{self._name}': setup")
        except ArgosyError:
            raise
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            self._host.log("error", log_text(f"setup of model '{self._name}' failed", error))
            raise Internal(failure_text(error)) from error
        self._binding.phase = "serve"

    def execute(self, requests: Sequence[InferRequest]) -> None:
        if self._batched:
            groups: dict[Any, list[InferRequest]] = {}
            for request in requests:
                groups.setdefault(row_key(request.inputs), []).append(request)
            for group in groups.values():
                self._start(group)
            return
        for request in requests:
            self._start([request])

    def finalize(self) -> None:
        self._loop.stop()
        self._binding.phase = "finalize"
        try:
            if self._model is not None:
                self._model.close()
        except BaseException as error:  # the model's own code may raise anything
            self._host.log("error", log_text(f"close of model '{self._name}' failed", error))
        self._model = None
        self._binding.deferred.finish()

    def has_readiness(self) -> bool:
        return self._kind.ready is not Model.ready

    def is_ready(self) -> bool:
        if self._model is None:
            return False
        return True if self._kind.ready is Model.ready else self._readiness()

    def _start(self, group: list[InferRequest]) -> None:
        with working_for(tuple(request.handle for request in group)):
            set_requests(requests_of(self._host, group))
            try:
                if not self._signature.is_async:
                    self._run(group)
                    return
                self._places.acquire()  # given back when the task ends
                self._loop.submit(self._run_async(group))
            finally:
                set_requests(())

    def _run(self, group: list[InferRequest]) -> None:
        try:
            arguments = self._arguments(group)
        except ArgosyError as error:
            self._fail(group, error)
            return
        try:
            returned = self._model.predict(**arguments)
            if self._signature.streams:
                self._stream(group[0], returned)
            else:
                self._answer(group, returned)
        except (SystemExit, KeyboardInterrupt):
            raise  # the model's way to end its process
        except BaseException as error:  # GeneratorExit, CancelledError and panics of extensions are faults like others
            self._fail(group, error)

    async def _run_async(self, group: list[InferRequest]) -> None:
        try:
            try:
                arguments = self._arguments(group)
            except ArgosyError as error:
                self._fail(group, error)
                return
            try:
                if self._signature.streams:
                    await self._stream_async(group[0], self._model.predict(**arguments))
                else:
                    self._answer(group, await self._model.predict(**arguments))
            except BaseException as error:  # on the loop nobody else hears it
                self._fail(group, error)
        finally:
            self._places.release()

    def _arguments(self, group: list[InferRequest]) -> dict[str, Any]:
        if self._batched:
            return joined_arguments(self._signature, [request.inputs for request in group])
        return keyword_arguments(self._signature, group[0].inputs)

    def _answer(self, group: list[InferRequest], returned: Any) -> None:
        parts = self._outputs(group, returned)
        for request, outputs in zip(group, parts):
            try:
                self._send(request, outputs, final=True)
            except ArgosyError as error:  # one answer that cannot be sent leaves the others as they are
                self._fail([request], error)

    def _outputs(self, group: list[InferRequest], returned: Any) -> list[tuple[TensorValue, ...]]:
        try:
            if not self._batched:
                return [outputs_of(self._signature, returned)]
            return split_outputs(self._signature, returned, [request.inputs[0].shape[0] for request in group])
        except InvalidArgument as error:  # the model's fault, not the client's
            raise Internal(f"model '{self._name}': {error}") from None

    def _stream(self, request: InferRequest, items: Any) -> None:
        for item in items:
            if self._host.is_cancelled(request.handle):
                items.close()
                self._host.respond(request.handle, _LEFT, True)
                return
            self._send(request, self._outputs([request], item)[0], final=False)
        self._host.respond(request.handle, None, True)

    async def _stream_async(self, request: InferRequest, items: Any) -> None:
        async for item in items:
            if self._host.is_cancelled(request.handle):
                await items.aclose()
                self._host.respond(request.handle, _LEFT, True)
                return
            if not self._host.has_room(request.handle):
                # Elsewhere: the loop runs other streams, whose readers are not slow.
                import asyncio

                await asyncio.get_running_loop().run_in_executor(None, self._host.wait_room, request.handle)
            self._send(request, self._outputs([request], item)[0], final=False)
        self._host.respond(request.handle, None, True)

    def _send(self, request: InferRequest, outputs: tuple[TensorValue, ...], *, final: bool) -> None:
        wanted = request.requested_outputs
        chosen = tuple(value for value in outputs if not wanted or value.name in wanted)
        try:
            self._host.respond(request.handle, InferResponse(chosen), final)
        except InvalidArgument as error:  # the model's fault, not the client's
            raise Internal(f"model '{self._name}': {error}") from None

    def _fail(self, group: list[InferRequest], error: BaseException) -> None:
        if isinstance(error, ArgosyError):
            failure = Failure(error.code, error.message)
        else:
            failure = Failure("internal", f"model '{self._name}': {summary(error)}")
        if failure.code == "internal":
            self._host.log("error", log_text(f"predict of model '{self._name}' failed", error), group[0].handle)
        for request in group:
            self._host.respond(request.handle, InferResponse(failure=failure), True)
