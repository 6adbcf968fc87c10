"""The rows of the repository index."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum


class State(Enum):
    """What one version is doing."""

    UNKNOWN = "UNKNOWN"
    READY = "READY"
    UNAVAILABLE = "UNAVAILABLE"
    LOADING = "LOADING"
    UNLOADING = "UNLOADING"


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionState:
    """State of one version, and why when it is not ready."""

    state: State
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexRow:
    """One line of the index; empty fields are left out of JSON."""

    name: str
    version: str = ""
    state: str = ""
    reason: str = ""

    def to_json(self) -> dict[str, str]:
        """The row with the fields that it has, in the order clients know."""
        pairs = (("name", self.name), ("version", self.version), ("state", self.state), ("reason", self.reason))
        return {key: value for key, value in pairs if value}


def index_rows(
    on_disk: Iterable[str],
    ambiguous: Iterable[str],
    versions: Mapping[str, Mapping[int, VersionState]],
    *,
    ready_only: bool = False,
) -> list[IndexRow]:
    """All models, by name and then version. A model without any version state is listed by name alone."""
    twice = set(ambiguous)
    rows: list[IndexRow] = []
    for name in sorted(set(on_disk) | twice | set(versions)):
        states = versions.get(name, {})
        if name in twice and not any(state.state is State.READY for state in states.values()):
            if not ready_only:
                reason = "model appears in two or more repositories"
                rows.append(IndexRow(name=name, state=State.UNAVAILABLE.value, reason=reason))
            continue
        if not states and not ready_only:
            rows.append(IndexRow(name=name))
        for version in sorted(states):
            state = states[version]
            if not ready_only or state.state is State.READY:
                rows.append(IndexRow(name=name, version=str(version), state=state.state.value, reason=state.reason))
    return rows
