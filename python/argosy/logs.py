"""Log lines: text or JSON, one event each, with request and trace ids where there are any.

The native core logs through the same handlers: it hands lines to `argosy.core`.
Levels can be changed while the server runs (the logging extension).
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
from dataclasses import dataclass, replace
from typing import Any

from argosy import _core

FORMATS = ("default", "ISO8601", "json")
_LETTERS = {logging.DEBUG: "I", logging.INFO: "I", logging.WARNING: "W", logging.ERROR: "E", logging.CRITICAL: "E"}


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """What is written. `verbose_level` 0 leaves verbose lines out; `file` "" is stderr."""

    info: bool = True
    warning: bool = True
    error: bool = True
    verbose_level: int = 0
    format: str = "default"
    file: str = ""


_LEVELS = {"error": logging.ERROR, "warning": logging.WARNING, "info": logging.INFO, "verbose": logging.DEBUG}


def native_record(
    level: str, when: float, file: str, line: int, message: str, model: str, request_id: str, trace_id: str
) -> None:
    """One line of the native core, at the time it was written there (seconds since the epoch)."""
    logger = logging.getLogger("argosy.core")
    if not logger.isEnabledFor(_LEVELS[level]):
        return
    record = logger.makeRecord(logger.name, _LEVELS[level], file, line, message, (), None)
    record.created, record.msecs = when, (when % 1) * 1000
    about = {"model": model, "request_id": request_id, "trace_id": trace_id}
    record.fields = {key: value for key, value in about.items() if value}
    logger.handle(record)


class _Format(logging.Formatter):
    def __init__(self, style: str) -> None:
        super().__init__()
        self._layout = style
        self._escape = os.environ.get("TRITON_SERVER_ESCAPE_LOG_MESSAGES", "1") != "0"

    def format(self, record: logging.LogRecord) -> str:
        message = record.getMessage()
        if record.exc_info:
            message += "\n" + self.formatException(record.exc_info)
        extra: dict[str, Any] = getattr(record, "fields", {})
        if self._layout == "json":
            stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"
            event = {"time": stamp, "level": record.levelname.lower(), "logger": record.name, "message": message}
            return json.dumps({**event, **extra}, ensure_ascii=False, default=str)
        letter = _LETTERS.get(record.levelno, "I")
        tail = "".join(f" {key}={value}" for key, value in extra.items())
        text = (json.dumps(message, ensure_ascii=False) if self._escape and "\n" not in message else message) + tail
        place = f"{record.filename}:{record.lineno}]"
        if self._layout == "ISO8601":
            stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created))
            return f"{stamp} {letter} {record.process} {place} {text}"
        stamp = time.strftime("%m%d %H:%M:%S", time.localtime(record.created)) + f".{int(record.msecs * 1000):06d}"
        return f"{letter}{stamp} {record.process} {place} {text}"


class Logs:
    """The package's log handler and its settings. Thread: any."""

    def __init__(self, settings: LogSettings) -> None:
        self._lock = threading.Lock()
        self._settings = settings
        self._handler: logging.Handler = (
            logging.FileHandler(settings.file, encoding="utf-8") if settings.file else logging.StreamHandler(sys.stderr)
        )
        self._handler.addFilter(self._wanted)
        self._root = logging.getLogger("argosy")
        self._root.propagate = False
        self._root.addHandler(self._handler)
        self._apply()

    @property
    def settings(self) -> LogSettings:
        return self._settings

    def change(self, **changes: Any) -> LogSettings:
        """Replaces settings by name; what is not named stays."""
        with self._lock:
            self._settings = replace(self._settings, **changes)
            self._apply()
            return self._settings

    def close(self) -> None:
        """Takes the handler away again; for servers inside a larger program."""
        self._root.removeHandler(self._handler)
        self._root.propagate = not self._root.handlers
        self._handler.close()

    def _apply(self) -> None:
        self._handler.setFormatter(_Format(self._settings.format))
        self._root.setLevel(logging.DEBUG if self._settings.verbose_level > 0 else logging.INFO)
        _core.log_verbose(self._settings.verbose_level > 0)

    def _wanted(self, record: logging.LogRecord) -> bool:
        if record.levelno >= logging.ERROR:
            return self._settings.error
        if record.levelno >= logging.WARNING:
            return self._settings.warning
        if record.levelno >= logging.INFO:
            return self._settings.info
        return self._settings.verbose_level > 0
