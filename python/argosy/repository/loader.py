"""What the repository asks of whoever runs models, and how that one says no."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from argosy.errors import ArgosyError, InvalidArgument

_PREFIXES = {
    "invalid_argument": "Invalid argument",
    "not_found": "Not found",
    "already_exists": "Already exists",
    "unavailable": "Unavailable",
    "deadline_exceeded": "Deadline exceeded",
    "cancelled": "Cancelled",
    "unsupported": "Unsupported",
    "resource_exhausted": "Resource exhausted",
    "internal": "Internal",
}


class LoadFailed(InvalidArgument):
    """Some versions of a model could not be loaded; `failures` says why, by version."""

    def __init__(self, model: str, failures: Mapping[int, ArgosyError]) -> None:
        clauses = (
            f"version {version} is at UNAVAILABLE state: {status_text(failures[version])};\n"
            for version in sorted(failures)
        )
        super().__init__(f"load failed for model '{model}': {''.join(clauses)}")
        self.failures = dict(failures)


class Loader(Protocol):
    """Runs models. Called from several threads at once, never twice at once for one name."""

    def load(self, name: str, specs: Sequence[dict[str, Any]]) -> None:
        """Makes exactly these versions of the model serve, replacing what serves now in one step.

        Returns when they are ready. Raises ArgosyError, best a LoadFailed, with the old versions
        still serving.
        """

    def unload(self, name: str) -> None:
        """Withdraws all versions: when it returns no new request is taken. Requests that run may finish later."""

    def draining(self, name: str) -> bool:
        """Whether requests of an unloaded model still run."""


def status_text(error: ArgosyError) -> str:
    """An error as the index and load messages print it: "Invalid argument: ..."."""
    return f"{_PREFIXES.get(error.code, 'Unknown')}: {error.message}"
