"""Plain HTTP requests with the standard library: what a shell script would send."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        """The text of an error body, which has no other key."""
        value = self.json
        assert list(value) == ["error"], value
        return str(value["error"])


def connect(port: int, *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> http.client.HTTPConnection:
    if tls is not None:
        return http.client.HTTPSConnection(host, port, timeout=TIMEOUT_S, context=tls)
    return http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)


def send(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    body: object = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """`body`: bytes and text go as they are, everything else as JSON."""
    data = body if body is None or isinstance(body, bytes | str) else json.dumps(body)
    connection.request(method, path, data, dict(headers or {}))
    got = connection.getresponse()
    content = got.read()
    return Answer(got.status, {name.lower(): value for name, value in got.getheaders()}, content)


def ask(
    port: int, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None, **where: Any
) -> Answer:
    """One request on a connection of its own."""
    connection = connect(port, **where)
    try:
        return send(connection, method, path, body, headers)
    finally:
        connection.close()


def infer_json(model: str, inputs: Any, **more: Any) -> tuple[str, str, dict[str, Any]]:
    """Arguments for ask(): `inputs` is a list of input objects, `more` further members of the request."""
    return "POST", f"/v2/models/{model}/infer", {"inputs": inputs, **more}
