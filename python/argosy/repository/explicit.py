"""Which models are loaded at start, and which names a load call may carry."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

from argosy.errors import InvalidArgument
from argosy.repository.layout import Scan


class ControlMode(Enum):
    """Who decides what is loaded: the repository once, the repository always, or the callers."""

    NONE = "none"
    POLL = "poll"
    EXPLICIT = "explicit"


def startup_models(mode: ControlMode, named: Sequence[str], scan: Scan) -> tuple[str, ...]:
    """The names to load at start. Raises InvalidArgument for names that fit neither mode nor each other."""
    if mode is not ControlMode.EXPLICIT:
        if named:
            raise InvalidArgument("Use of '--load-model' requires setting '--model-control-mode=explicit' as well.")
        return tuple(scan.models)
    if "*" in named:
        if len(set(named)) > 1:
            raise InvalidArgument("Wildcard model name '*' must be the ONLY startup model if specified at all.")
        return tuple(scan.models)
    return tuple(dict.fromkeys(named))


def check_name(name: str) -> None:
    """Raises InvalidArgument for a name that cannot be a model's."""
    if not name.strip():
        raise InvalidArgument("Model name cannot be empty. Please enter a valid name to deploy.")
    if ".." in name or "/" in name:
        raise InvalidArgument(f"invalid model name '{name}', model name must not contain path traversal characters")
