"""Control requests over HTTP: a path to a handler.

The native front has answered inference, health and metrics already, and 404 and 405
for what no route has; what comes here is a known route.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from argosy.config import to_json
from argosy.control import metadata, settings, shared_memory
from argosy.control.context import NO_TRACE, Answer, Call, Context, JsonValue
from argosy.control.statistics import statistics
from argosy.errors import InvalidArgument, NotFound, Unavailable, Unsupported
from argosy.repository import overrides_from

_REGION = r"/v2/(?P<kind>system|cuda)sharedmemory(?:/region/(?P<name>[^/]+))?"
_MODEL = r"/v2/models/(?P<name>[^/]+)(?:/versions/(?P<version>\d+))?"
Handler = Callable[[Context, Call, dict[str, str | None]], JsonValue | None]


def handle(context: Context, call: Call) -> Answer:
    """Raises ArgosyError; the dispatcher makes the error body."""
    for pattern, handler in _ROUTES:
        match = pattern.fullmatch(call.path)
        if match:
            value = handler(context, call, match.groupdict())
            return Answer(body=b"" if value is None else json.dumps(value, separators=(",", ":")).encode())
    raise NotFound("Not Found")


def is_slow(call: Call) -> bool:
    """Whether the call may take as long as a model takes to load."""
    return bool(_SLOW.fullmatch(call.path))


def _version(groups: dict[str, str | None]) -> int | None:
    text = groups.get("version")
    return None if text is None else int(text)


def _name(groups: dict[str, str | None]) -> str:
    return groups["name"] or ""


def _body(call: Call, *, empty: JsonValue | None = None) -> dict[str, Any]:
    if not call.body.strip() and empty is not None:
        return dict(empty)
    try:
        value = json.loads(call.body)
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"failed to parse the request JSON buffer: {error}") from None
    if not isinstance(value, dict):
        raise InvalidArgument(f"expected a JSON object as the request's body, got {type(value).__name__}")
    return value


def _server(context: Context, call: Call, groups: dict[str, str | None]) -> JsonValue:
    return metadata.server_metadata(context)


def _metadata(context: Context, call: Call, groups: dict[str, str | None]) -> JsonValue:
    return metadata.model_metadata(context, _name(groups), _version(groups))


def _config(context: Context, call: Call, groups: dict[str, str | None]) -> JsonValue:
    rendered: JsonValue = to_json(metadata.config_of(context, _name(groups), _version(groups)).message)
    return rendered


def _all_statistics(context: Context, call: Call, groups: dict[str, str | None]) -> JsonValue:
    return {"model_stats": statistics(context, "", None)}


def _statistics(context: Context, call: Call, groups: dict[str, str | None]) -> JsonValue:
    return {"model_stats": statistics(context, _name(groups), _version(groups))}


def _index(context: Context, call: Call, groups: dict[str, str | None]) -> JsonValue:
    ready = _body(call, empty={}).get("ready", False)
    if not isinstance(ready, bool):
        raise InvalidArgument("Invalid value for 'ready': expected a boolean")
    return [row.to_json() for row in context.index(ready_only=ready)]


def _parameters(call: Call) -> dict[str, Any]:
    parameters = _body(call, empty={}).get("parameters", {})
    if not isinstance(parameters, dict):
        raise InvalidArgument(f"'parameters': expected a JSON object, got {type(parameters).__name__}")
    return parameters


def _refuse_repository(groups: dict[str, str | None]) -> None:
    if groups.get("repository"):
        raise Unsupported("'repository_name' specification is not supported")


def _load(context: Context, call: Call, groups: dict[str, str | None]) -> None:
    _refuse_repository(groups)
    parameters = _parameters(call)
    for key, value in parameters.items():
        if not isinstance(value, str):
            raise InvalidArgument(f"load parameter '{key}': expected a string, got {type(value).__name__}")
    context.repository.load(_name(groups), overrides_from(parameters) if parameters else None)


def _unload(context: Context, call: Call, groups: dict[str, str | None]) -> None:
    _refuse_repository(groups)
    dependents = _parameters(call).get("unload_dependents", False)
    if not isinstance(dependents, bool):
        raise InvalidArgument(f"Unable to parse 'unload_dependents': expected a boolean, got {dependents!r}")
    context.repository.unload(_name(groups), unload_dependents=dependents)


def _logging(context: Context, call: Call, groups: dict[str, str | None]) -> JsonValue:
    if call.method != "POST":
        return settings.shown(context.logs.settings)
    wanted = _body(call)
    try:
        changes = settings.changes(wanted)
    except InvalidArgument as error:
        if "log_format" in error.message:
            raise Unavailable(f"invalid argument for --log_format, got: {wanted.get('log_format')}") from None
        raise
    return settings.shown(context.logs.change(**changes))


def _shared_memory_status(context: Context, call: Call, groups: dict[str, str | None]) -> JsonValue:
    return shared_memory.status(context.shared_memory, groups["kind"] or "", _name(groups))


def _shared_memory_register(context: Context, call: Call, groups: dict[str, str | None]) -> None:
    kind, name = groups["kind"] or "", _name(groups)
    shared_memory.register_http(context.shared_memory, kind, name, _body(call, empty={}))


def _shared_memory_unregister(context: Context, call: Call, groups: dict[str, str | None]) -> None:
    shared_memory.unregister(context.shared_memory, groups["kind"] or "", _name(groups))


def _trace(context: Context, call: Call, groups: dict[str, str | None]) -> JsonValue:
    raise Unsupported(NO_TRACE)


_ROUTES: tuple[tuple[re.Pattern[str], Handler], ...] = tuple(
    (re.compile(pattern), handler)
    for pattern, handler in (
        (r"/v2/?", _server),
        (r"/v2/models/stats", _all_statistics),
        (_MODEL, _metadata),
        (_MODEL + r"/config", _config),
        (_MODEL + r"/stats", _statistics),
        (r"/v2/repository(?:/(?P<repository>[^/]+))?/index", _index),
        (r"/v2/repository(?:/(?P<repository>[^/]+))?/models/(?P<name>.*)/load", _load),
        (r"/v2/repository(?:/(?P<repository>[^/]+))?/models/(?P<name>.*)/unload", _unload),
        (r"/v2/logging", _logging),
        (_REGION + r"/status", _shared_memory_status),
        (_REGION + r"/register", _shared_memory_register),
        (_REGION + r"/unregister", _shared_memory_unregister),
        (r"/v2/trace/setting", _trace),
        (_MODEL + r"/trace/setting", _trace),
    )
)
_SLOW = re.compile(r"/v2/repository/.*")
