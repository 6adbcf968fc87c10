"""Takes control requests from the native front and answers them.

Thread: handle() runs on the one Python thread of the core and must not keep it: what
may wait for a model goes to threads of its own, so that metadata and settings answer
while a model loads.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from argosy.control import grpc, routes
from argosy.control.context import Answer, Call, Context
from argosy.errors import ArgosyError

# (status code name, message, HTTP status, headers, body)
Reply = Callable[[str, str, int, list[tuple[str, str]], bytes], None]

_HTTP_STATUS = {
    "invalid_argument": 400,
    "not_found": 404,
    "already_exists": 400,
    "unavailable": 503,
    "deadline_exceeded": 504,
    "cancelled": 400,
    "unsupported": 501,
    "resource_exhausted": 503,
    "internal": 500,
}
_log = logging.getLogger(__name__)


class Control:
    """The control handler of one server."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._slow = ThreadPoolExecutor(8, thread_name_prefix="control")

    def handle(
        self, protocol: str, method: str, path: str, headers: list[tuple[str, str]], body: bytes, reply: Reply
    ) -> None:
        """`protocol` is "http" or "grpc"; reply is called once, from any thread."""
        call = Call(method=method, path=path, headers=dict(headers), body=body)
        handler = grpc if protocol == "grpc" else routes
        if handler.is_slow(call):
            self._slow.submit(self._answer, handler.handle, call, reply)
        else:
            self._answer(handler.handle, call, reply)

    def stop(self) -> None:
        """Ends the threads; requests that wait are answered first."""
        self._slow.shutdown(wait=True)

    def _answer(self, handle: Callable[[Context, Call], Answer], call: Call, reply: Reply) -> None:
        try:
            answer = handle(self._context, call)
        except ArgosyError as error:
            _refuse(reply, error.code, error.message)
        except Exception as error:
            _log.exception("%s %s failed", call.method, call.path)
            _refuse(reply, "internal", f"{call.path}: {type(error).__name__}: {error}")
        else:
            reply("ok", "", answer.http_status, list(answer.headers), answer.body)


def _refuse(reply: Reply, code: str, message: str) -> None:
    body = json.dumps({"error": message}).encode()
    reply(code, message, _HTTP_STATUS.get(code, 500), [("content-type", "application/json")], body)
