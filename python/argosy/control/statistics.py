"""The statistics extension: counts and nanoseconds per model version."""

from __future__ import annotations

from typing import Any

from argosy.control.context import Context
from argosy.errors import InvalidArgument


def statistics(context: Context, name: str, version: int | None) -> list[dict[str, Any]]:
    """One entry per serving version, by name and version; all models for an empty name.

    Raises InvalidArgument for a model or version that does not serve.
    """
    serving = {(model, known) for model, known, _ in context.engine.models()}
    if name and not any(model == name for model, _ in serving):
        raise InvalidArgument(f"requested model '{name}' is not available")
    if version is not None and (name, version) not in serving:
        raise InvalidArgument(f"requested model version is not available for model '{name}'")
    rows = context.engine.statistics(name, -1 if version is None else version)
    rows.sort(key=lambda row: (row["name"], int(row["version"])))
    return [{**row, "memory_usage": []} for row in rows]
