"""The logging extension: what is written, changed while the server runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from argosy.errors import InvalidArgument, Unsupported
from argosy.logs import FORMATS, LogSettings

NETWORK_KEYS = ("log_file", "log_info", "log_warning", "log_error", "log_verbose_level", "log_format")


def shown(settings: LogSettings) -> dict[str, Any]:
    """The six settings in the extension's order."""
    return {
        "log_file": settings.file,
        "log_info": settings.info,
        "log_warning": settings.warning,
        "log_error": settings.error,
        "log_verbose_level": settings.verbose_level,
        "log_format": settings.format,
    }


def changes(wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Checked changes by LogSettings field; keys of others are ignored.

    Raises Unsupported for log_file, InvalidArgument for a value that does not fit.
    """
    if wanted.get("log_file"):
        raise Unsupported("log file location can not be updated through network protocol")
    out: dict[str, Any] = {}
    for key, target in (("log_info", "info"), ("log_warning", "warning"), ("log_error", "error")):
        if key in wanted:
            if not isinstance(wanted[key], bool):
                raise InvalidArgument(f"expect boolean for '{key}', got {wanted[key]!r}")
            out[target] = wanted[key]
    if "log_verbose_level" in wanted:
        level = wanted["log_verbose_level"]
        if isinstance(level, bool) or not isinstance(level, int) or level < 0:
            raise InvalidArgument(f"expect a number >= 0 for 'log_verbose_level', got {level!r}")
        out["verbose_level"] = level
    if "log_format" in wanted:
        if wanted["log_format"] not in FORMATS:
            raise InvalidArgument(
                f"invalid argument for log_format, got: {wanted['log_format']}; expected one of {', '.join(FORMATS)}"
            )
        out["format"] = wanted["log_format"]
    return out
