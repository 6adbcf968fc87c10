"""Which versions of a model are wanted, as a checked value."""

from __future__ import annotations

from dataclasses import dataclass

from argosy.errors import ConfigError
from argosy.protos import Message


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionPolicy:
    """Exactly one of: the `latest` n, the `specific` ones, or, with neither, all."""

    latest: int | None = None
    specific: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.latest is not None and self.latest < 1:
            raise ConfigError(
                "latest.num_versions",
                f"must be at least 1, got {self.latest}",
                fix="version_policy: { latest: { num_versions: 1 } }",
            )


def version_policy_from(message: Message) -> VersionPolicy:
    """A ModelVersionPolicy message -> VersionPolicy; unset is latest 1. Raises ConfigError."""
    choice = message.WhichOneof("policy_choice")
    if choice == "all":
        return VersionPolicy()
    if choice == "specific":
        return VersionPolicy(specific=tuple(message.specific.versions))
    return VersionPolicy(latest=message.latest.num_versions if choice == "latest" else 1)
