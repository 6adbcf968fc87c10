"""What the repository remembers about one model."""

from __future__ import annotations

from dataclasses import dataclass, field

from argosy.config.model import ModelConfig
from argosy.repository.index import State, VersionState
from argosy.repository.layout import ModelDirectory
from argosy.repository.loader import LoadFailed, status_text
from argosy.repository.overrides import OverrideDirectory
from argosy.repository.poll import Change


@dataclass(slots=True)
class Record:
    """State of one model name that was ever touched.

    `attempted` is the directory at the last try, `loaded` at the last success. Thread: inside the
    repository's lock.
    """

    attempted: ModelDirectory | None = None
    loaded: ModelDirectory | None = None
    config: ModelConfig | None = None
    overridden: bool = False
    files: OverrideDirectory | None = None
    versions: dict[int, VersionState] = field(default_factory=dict)
    change: Change = Change.NONE
    failure: str = ""  # why the last attempt failed before any version was tried

    @property
    def serving(self) -> bool:
        return any(state.state is State.READY for state in self.versions.values())

    def begin(self, versions: tuple[int, ...]) -> None:
        """Versions that do not serve are loading now."""
        for version in versions:
            if self.versions.get(version, VersionState(state=State.UNKNOWN)).state is not State.READY:
                self.versions[version] = VersionState(state=State.LOADING)

    def succeed(self, versions: tuple[int, ...]) -> None:
        """These versions serve, and the others do not any more."""
        for version, state in self.versions.items():
            if version not in versions and state.state is not State.UNAVAILABLE:
                self.versions[version] = VersionState(state=State.UNAVAILABLE, reason="unloaded")
        self.versions.update(dict.fromkeys(versions, VersionState(state=State.READY)))
        self.versions = dict(sorted(self.versions.items()))
        self.failure = ""

    def fail(self, error: LoadFailed, versions: tuple[int, ...]) -> None:
        """The attempt failed as a whole; what served before serves on."""
        for version in versions:
            if self.versions.get(version, VersionState(state=State.UNKNOWN)).state is State.READY:
                continue
            failed = error.failures.get(version)
            reason = status_text(failed) if failed else "another version of the model failed to load"
            self.versions[version] = VersionState(state=State.UNAVAILABLE, reason=reason)

    def withdraw(self) -> None:
        """No version takes requests any more; some may still run."""
        self._replace(State.READY, VersionState(state=State.UNLOADING))

    def drained(self) -> None:
        """The last request of the withdrawn versions has been answered."""
        self._replace(State.UNLOADING, VersionState(state=State.UNAVAILABLE, reason="unloaded"))

    def _replace(self, old: State, new: VersionState) -> None:
        self.versions = {version: new if state.state is old else state for version, state in self.versions.items()}
