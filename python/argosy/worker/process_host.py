"""The Host of a real worker process: answers, calls and questions over the rings.

Answers given while execute() runs are collected and leave together when it returns;
those of decoupled models, and late ones, leave at once.

Threads: any. One lock per ring; nothing else is held while a callback runs.
"""

from __future__ import annotations

import base64
import json
import struct
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Callable

import numpy as np
import numpy.typing as npt

from argosy.errors import InvalidArgument, Unsupported
from argosy.worker.channel import Channel
from argosy.worker.host import Array, Failure, InferCall, InferRequest, InferResponse, OnResponse
from argosy.worker.process_metrics import ProcessMetrics
from argosy.worker.speaker import Speaker
from argosy.worker.windows import UNIT_BYTES, WINDOW, WINDOW_IN_LOOP
from argosy.worker.wire import CODE_OF, INLINE, Received, put_call, put_response, take_back

_LEVELS = {"error": 0, "warning": 1, "info": 2, "verbose": 3}
_AGAIN = bytearray()  # in an answer's place: the request is to come again
_LOOK_SECS = 0.02  # how often a model that waits for a reader looks whether there still is one
_CALL = struct.Struct("<8sQqII")


class _Known:
    """What is remembered of a request that is not answered."""

    __slots__ = ("deadline", "id", "priority", "sent", "trace")

    def __init__(self, request: InferRequest, deadline: float | None) -> None:
        self.deadline = deadline
        self.id = request.id
        self.priority = request.priority
        self.trace = request.traceparent
        self.sent = 0  # units of its window


def _left_us(parents: Sequence[_Known], timeout_us: int) -> int:
    """Microseconds until the latest of the parents is due, and at most the timeout; -1: for ever."""
    until = 0.0
    for parent in parents:
        if parent.deadline is None:
            until = 0.0
            break
        until = max(until, parent.deadline)
    if not until:
        return timeout_us or -1
    left = max(0, int((until - time.monotonic()) * 1e6))
    return min(left, timeout_us) if timeout_us else left


def _urgent(parents: Sequence[_Known]) -> int:
    """The most urgent priority that one of the parents was given; 0: none was."""
    most = 0
    for parent in parents:
        if parent.priority and (not most or parent.priority < most):
            most = parent.priority
    return most


class ProcessHost(Speaker, ProcessMetrics):
    """See argosy.worker.host.Host."""

    def __init__(self, channel: Channel, name: str, decoupled: bool, alone: bool = False) -> None:
        """`alone`: one instance of one version is all there is of the model."""
        super().__init__(channel)
        self._name = name
        self._alone = alone
        self._executing = 0  # the thread that does
        self._decoupled = decoupled
        self._initializing = True
        self._batch: dict[int, bytearray | None] = {}  # handle -> answer, while execute() runs
        self._known: dict[int, _Known] = {}

    # The main loop's.

    def begin(self, received: Sequence[Received]) -> None:
        """A batch is about to be executed."""
        known = {request.handle: _Known(request, deadline) for request, deadline in received}
        self._executing = threading.get_ident()
        with self._lock:
            self._known.update(known)
            if not self._decoupled:
                self._batch = dict.fromkeys(known)

    def end(self, received: Sequence[Received]) -> bytearray:
        """The batch was executed: the message with its answers."""
        self._executing = 0
        with self._lock:
            answers, self._batch = self._batch, {}
        message = bytearray(b"R\0\0\0")
        message += (0 if self._decoupled else len(received)).to_bytes(4, "little")
        if not self._decoupled:
            for one in received:
                handle = one.request.handle
                answer = answers[handle]
                message += bytes(-len(message) & 15)
                message += handle.to_bytes(8, "little")
                message += (
                    b"\1\0\0\0\0\0\0\0" if answer is None else b"\2\0\0\0\0\0\0\0" if answer is _AGAIN else bytes(8)
                )
                if answer is not None:
                    message += answer
        return message

    # Requests of this model.

    def respond(self, handle: int, response: InferResponse | None, final: bool) -> None:
        self._check_here()
        known = self._known.get(handle)
        if known is None:
            return
        if not final and not self._made_room(handle, known):
            return
        lent: list[int] = []
        body = bytearray()
        if response is not None:
            try:
                put_response(body, response, self._channel.memory, lent)
            except BaseException:
                take_back(lent, self._channel.memory.outputs)
                raise
        with self._lock:
            if final:
                self._known.pop(handle, None)
            if response is not None and handle in self._batch and self._batch[handle] is None:
                self._batch[handle] = body
                return
            answered = handle in self._batch
        if answered:  # the word that an answered stream has ended
            take_back(lent, self._channel.memory.outputs)
            return
        message = bytearray(b"r\0\0\0\0\0\0\0")
        message[1] = final
        message[2] = response is not None
        if not final and response is not None:
            # Tensors in an arena are not in the body.
            size = len(body) + sum(output.data.nbytes for output in response.outputs if output.data.nbytes > INLINE)
            units = 1 + size // UNIT_BYTES
            message[4:8] = units.to_bytes(4, "little")
            with self._lock:
                known.sent = (known.sent + units) & 0xFFFFFFFF
        message += handle.to_bytes(8, "little")
        message += body
        self._call(message)

    def has_room(self, handle: int) -> bool:
        known = self._known.get(handle)
        return known is None or self._channel.windows.ahead(handle, known.sent) < WINDOW

    def wait_room(self, handle: int) -> None:
        known = self._known.get(handle)
        if known is not None:
            self._wait_room(handle, known, WINDOW)

    def _made_room(self, handle: int, known: _Known) -> bool:
        """False: nobody waits for the response."""
        ahead = self._channel.windows.ahead(handle, known.sent)
        if ahead < WINDOW:
            return True
        loop = sys.modules.get("asyncio")
        in_loop = loop is not None and loop._get_running_loop() is not None
        return self._wait_room(handle, known, WINDOW_IN_LOOP if in_loop else WINDOW)

    def _wait_room(self, handle: int, known: _Known, limit: int) -> bool:
        windows = self._channel.windows
        while windows.ahead(handle, known.sent) >= limit:
            if self.is_cancelled(handle) or handle not in self._known:
                return False
            windows.wait(handle, known.sent, limit, _LOOK_SECS)
        return True

    def reschedule(self, handle: int) -> None:
        with self._lock:
            if self._known.pop(handle, None) is None:
                return
            if handle in self._batch:
                self._batch[handle] = _AGAIN
                return
        self._call(bytearray(b"y\0\0\0\0\0\0\0" + handle.to_bytes(8, "little")))

    def is_cancelled(self, handle: int) -> bool:
        if self._channel.flags[handle & 0xFFFFFFFF] == handle >> 32:
            return True
        known = self._known.get(handle)
        return known is not None and known.deadline is not None and time.monotonic() > known.deadline

    def empty(self, shape: Sequence[int], dtype: npt.DTypeLike) -> Array:
        kind = np.dtype(dtype)
        size = int(np.prod(shape, dtype=np.int64)) * kind.itemsize
        if kind.hasobject or size == 0 or self.away:
            return np.empty(shape, kind)
        outputs = self._channel.memory.outputs
        return outputs.array(outputs.allocate(size), size).view(kind).reshape(shape)

    # Other models.

    def infer(self, call: InferCall) -> InferResponse:
        self._check_here()
        if call.model == self._name:
            self._check_not_for_itself(call)
        done = threading.Lock()
        done.acquire()
        answers: list[InferResponse] = []

        def on_response(response: InferResponse | None, final: bool) -> None:
            if response is not None:
                answers.append(response)
            if final:
                done.release()

        leads = self._lead()
        try:
            self.infer_async(call, on_response)
            while leads and done.locked():
                self._read_return()
        finally:
            if leads:
                self._follow()
        done.acquire()
        if len(answers) > 1:
            text = f"model '{call.model}' sent {len(answers)} responses, expected one; call it as decoupled"
            return InferResponse(failure=Failure("unsupported", text))
        return answers[0] if answers else InferResponse()

    def _check_not_for_itself(self, call: InferCall) -> None:
        # Nobody else could execute it, and this thread would never come to it.
        if self._alone and self._executing == threading.get_ident():
            raise Unsupported(
                f"model '{self._name}' calls itself and waits, and has one instance, which is busy with the call: it "
                "would wait for ever; give it more instances, or call from a thread after execute has returned"
            )

    def infer_async(self, call: InferCall, on_response: OnResponse) -> int:
        self._check_here()
        parents = [self._known[handle] for handle in call.parents if handle in self._known]
        left = _left_us(parents, call.timeout_us)
        trace = parents[0].trace if parents else ""
        if not call.priority and (urgent := _urgent(parents)):
            call = call._replace(priority=urgent)

        number = next(self._numbers)
        name = call.model.encode()
        try:
            message = bytearray(_CALL.pack(b"b", number, call.version, len(call.parents), len(name)))
        except struct.error:
            raise InvalidArgument(f"call of model '{call.model}': version {call.version} does not fit") from None
        message += name
        message += bytes(-len(message) & 7)
        for handle in call.parents:
            message += handle.to_bytes(8, "little")
        lent: list[int] = []
        try:
            put_call(message, call, left, trace, self._channel.memory, lent)
        except BaseException:
            take_back(lent, self._channel.memory.outputs)
            raise
        self._expect(number, on_response)
        self._call(message)
        return number

    def cancel(self, call: int) -> None:
        self._call(bytearray(b"c\0\0\0\0\0\0\0" + call.to_bytes(8, "little")))

    def load_model(self, name: str, config: str, files: Mapping[str, bytes]) -> None:
        parameters = {path: base64.b64encode(content).decode() for path, content in files.items()}
        self._control("load", {"model": name, "config": config, "files": parameters})

    def unload_model(self, name: str, unload_dependents: bool) -> None:
        self._control("unload", {"model": name, "unload_dependents": unload_dependents})

    def is_model_ready(self, name: str, version: str) -> bool:
        raw = name.encode()
        if version and not version.isdecimal():
            raise InvalidArgument(f"is_model_ready: expected a version's number, got '{version}'")
        number = int(version) if version else -1

        def message(identity: bytes) -> bytearray:
            body = bytearray(b"q\0\0\0\0\0\0\0") + identity + number.to_bytes(8, "little", signed=True)
            return body + len(raw).to_bytes(4, "little") + raw

        return bool(self._ask(message).parameters.get("ready", False))

    def _control(self, verb: str, arguments: Mapping[str, object]) -> None:
        # Who waits: a load that waits for itself must be refused, and only the server sees both ends.
        whole = {**arguments, "caller": self._name, "initializing": self._initializing}

        def message(identity: bytes) -> bytearray:
            body = bytearray(b"m\0\0\0\0\0\0\0") + identity
            for text in (verb, json.dumps(whole)):
                raw = text.encode()
                body += len(raw).to_bytes(4, "little") + raw
            return body

        self._ask(message)

    # The server's log.

    def log(self, level: str, message: str, handle: int | None = None) -> None:
        if self.away:  # what it prints reaches the log as well
            sys.stderr.write(f"{level}: {message}\n")
            return
        known = self._known.get(handle) if handle is not None else None
        body = bytearray(b"l")
        body.append(_LEVELS.get(level, 2))
        for text in (known.id if known else "", message):
            raw = text.encode("utf-8", "replace")
            body += len(raw).to_bytes(4, "little") + raw
        self._call(body)

    # The start's answer.

    def initialized(self, failure: Failure | None, is_ready: Callable[[], bool] | None = None) -> None:
        """Tells the server that the model is initialised, or why not. `is_ready`: asked whether it is ready."""
        self._initializing = False
        code = CODE_OF.get(failure.code, CODE_OF["internal"]) if failure else 0
        raw = failure.message.encode("utf-8", "replace") if failure else b""
        body = bytearray(b"I")
        body.append(code)
        body += len(raw).to_bytes(4, "little") + raw
        body.append(is_ready is not None)
        if is_ready is not None:
            threading.Thread(target=self._say_ready, args=(is_ready,), name="argosy-readiness", daemon=True).start()
            self._listen()
        self._call(body)

    def _say_ready(self, is_ready: Callable[[], bool]) -> None:
        while True:
            asked = [self._asked_ready.get()]
            while not self._asked_ready.empty():
                asked.append(self._asked_ready.get())
            ready = is_ready()
            for number in asked:
                message = bytearray(b"h\0\0\0\0\0\0\0" + number.to_bytes(8, "little"))
                message[1] = ready
                self._call(message)
