"""The worker's words to the server, and the server's answers to them.

A thread that waits for an answer reads the returns itself until it is there, one wake-up
less for each call; a thread of its own reads them only for those who do not wait.

A process that the model forks has the same rings: it writes to none, or both would.

Threads: any. One lock per ring; nothing else is held while a callback runs.
"""

from __future__ import annotations

import os
import queue
import threading
from itertools import count
from typing import Callable

from argosy.errors import Unsupported, error_of
from argosy.worker.channel import Channel
from argosy.worker.host import InferResponse, OnResponse
from argosy.worker.rings import push_waiting
from argosy.worker.wire import read_response

_READINESS = ord("h")
_EVENT = (1).to_bytes(8, "little")


class Speaker:
    """Both ways: `_call` tells, `_ask` waits for the answer, `_expect` has it brought."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._lock = threading.Lock()
        self._calls_lock = threading.Lock()
        self._numbers = count(1)
        self._waiting: dict[int, OnResponse] = {}
        self._reader: threading.Thread | None = None
        self._led = False  # a caller that waits reads the returns itself
        self._listening = False  # somebody other than callers reads them too
        self._asked_ready: queue.SimpleQueue[int] = queue.SimpleQueue()
        self.away = False  # this is a process that the model's own process forked

    def forked(self) -> None:
        """For a process that was forked from the one this was made in."""
        self.away = True
        # Threads that held them are not here.
        self._lock, self._calls_lock = threading.Lock(), threading.Lock()

    def _check_here(self) -> None:
        if self.away:
            raise Unsupported(
                "only the model's own process can answer, call other models and keep metrics, not one that it forked; "
                "let that one return what it found"
            )

    def _ask(self, message: Callable[[bytes], bytearray]) -> InferResponse:
        self._check_here()
        done = threading.Lock()
        done.acquire()
        answers: list[InferResponse] = []

        def on_response(response: InferResponse | None, final: bool) -> None:
            answers.append(response or InferResponse())
            done.release()

        number = next(self._numbers)
        leads = self._lead()
        try:
            self._expect(number, on_response)
            self._call(message(number.to_bytes(8, "little")))
            while leads and done.locked():
                self._read_return()
        finally:
            if leads:
                self._follow()
        done.acquire()
        failure = answers[0].failure
        if failure is not None:
            raise error_of(failure.code, failure.message)
        return answers[0]

    def _call(self, message: bytearray) -> None:
        self._check_here()
        channel = self._channel
        channel.memory.inputs.flush()
        record = channel.fit(message, channel.calls)
        with self._calls_lock:
            push_waiting(channel.calls, record)
            asleep = channel.calls.reader_sleeps()
        if asleep:
            os.write(channel.event, _EVENT)

    def wake_server(self) -> None:
        """Has it look at what was pushed."""
        os.write(self._channel.event, _EVENT)

    def _expect(self, number: int, on_response: OnResponse) -> None:
        with self._lock:
            self._waiting[number] = on_response
            if not self._led:
                self._start_reader()

    def _lead(self) -> bool:
        """Whether this thread reads the returns until its own answer is there: one wake-up less for each call."""
        with self._lock:
            if self._led or self._reader is not None:
                return False
            self._led = True
            return True

    def _follow(self) -> None:
        with self._lock:
            self._led = False
            if self._waiting or self._listening:
                self._start_reader()

    def _listen(self) -> None:
        with self._lock:
            self._listening = True
            if not self._led:
                self._start_reader()

    def _start_reader(self) -> None:
        if self._reader is None:
            self._reader = threading.Thread(target=self._read_returns, name="argosy-returns", daemon=True)
            self._reader.start()

    def _read_returns(self) -> None:
        while True:
            self._read_return()

    def _read_return(self) -> None:
        channel = self._channel
        record = channel.returns.pop()
        if record is None:
            channel.memory.inputs.flush()
            channel.returns.wait()
            return
        message = channel.open(record)
        final = bool(message[1])
        number = int.from_bytes(message[8:16], "little")
        if message[0] == _READINESS:
            self._asked_ready.put(number)
            return
        response: InferResponse | None = read_response(message, 16, channel.memory)
        with self._lock:
            on_response = self._waiting.pop(number, None) if final else self._waiting.get(number)
        if on_response is None:
            return
        if final and response is not None and not response.outputs and response.failure is None:
            response = response if response.parameters else None
        on_response(response, final)
