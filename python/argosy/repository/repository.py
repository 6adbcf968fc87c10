"""The repository: intends what is served, and drives a Loader to it.

Decisions come from the pure modules beside this one (layout, versions, poll, explicit,
index); here are the state, its lock and the worker threads. A model that cannot be
loaded again keeps serving as it was.

Thread: any. One operation at a time per model name, different names in parallel;
the state lock is never held while the loader or the disk works.
"""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from argosy.config.model import ModelConfig
from argosy.errors import ArgosyError, ConfigError, Internal, Unavailable
from argosy.repository.explicit import ControlMode, check_name, startup_models
from argosy.repository.index import IndexRow, State, VersionState, index_rows
from argosy.repository.layout import ModelDirectory, Scan, scan
from argosy.repository.loader import Loader, LoadFailed
from argosy.repository.overrides import OverrideDirectory, Overrides
from argosy.repository.poll import Change, actions, change, moved
from argosy.repository.record import Record
from argosy.repository.resolve import ResolvedModel, Resolver

_log = logging.getLogger(__name__)
_REFUSED = "explicit model load / unload is not allowed if polling is enabled"


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryOptions:
    """Where models are, and who decides which are loaded. `retries`: further attempts after a failed load."""

    roots: tuple[str, ...]
    mode: ControlMode = ControlMode.NONE
    startup: tuple[str, ...] = ()
    config_name: str = ""
    load_threads: int = 4
    retries: int = 0


@dataclass(slots=True)
class _State:
    records: dict[str, Record] = field(default_factory=lambda: defaultdict(Record))
    ambiguous: frozenset[str] = frozenset()
    name_locks: dict[str, threading.Lock] = field(default_factory=lambda: defaultdict(threading.Lock))


class Repository:
    """All models of one server. `start` once, then `load`, `unload`, `poll` and the questions, then `stop`."""

    def __init__(self, options: RepositoryOptions, resolver: Resolver, loader: Loader) -> None:
        self._options = options
        self._resolver = resolver
        self._loader = loader
        self._lock = threading.Lock()
        self._state = _State()
        self._pool = ThreadPoolExecutor(max(1, options.load_threads), thread_name_prefix="load")

    # What changes the set of models.

    def start(self) -> dict[str, ArgosyError]:
        """Loads what shall be loaded at start; name -> error of those that could not be.

        Raises NotFound for a repository that does not exist, InvalidArgument for start-up names that
        do not fit.
        """
        found = self._scan()
        names = startup_models(self._options.mode, self._options.startup, found)
        return self._each(names, lambda name: self._load(name, found, None))

    def load(self, name: str, overrides: Overrides | None = None) -> None:
        """Loads or reloads on a caller's behalf; an unchanged, serving model is left alone.

        Returns when it serves. Raises Unavailable outside explicit mode, InvalidArgument for a name
        that cannot be one and for a load that failed, Internal when the model cannot be found or its
        configuration is refused (the log has the reason).
        """
        self._check_explicit()
        check_name(name)
        try:
            found = self._scan()
        except ArgosyError as error:
            _log.error("failed to scan the model repositories: %s", error)
            found = Scan(models={})
        self._load(name, found, overrides)

    def unload(self, name: str, *, unload_dependents: bool = False) -> None:
        """Withdraws a model: returns when no new request is taken; what runs may finish.

        A model that was never loaded is a success. `unload_dependents` concerns ensembles only.
        Raises Unavailable outside explicit mode.
        """
        del unload_dependents  # no model has dependents
        self._check_explicit()
        self._unload(name)

    def poll(self) -> dict[str, ArgosyError]:
        """One look at the repositories: loads, reloads and unloads; name -> error of what failed."""
        try:
            found = self._scan()
        except ArgosyError as error:
            _log.error("failed to scan the model repositories: %s", error)
            return {}
        with self._lock:
            seen = {name: record.attempted for name, record in self._state.records.items() if record.attempted}
        todo = actions(seen, found)
        failed = self._each(todo.unload, self._unload)
        return {**failed, **self._each((*todo.load, *todo.reload), lambda name: self._load(name, found, None))}

    def stop(self) -> None:
        """Withdraws every model and ends the worker threads; again is nothing."""
        with self._lock:
            names = [name for name, record in self._state.records.items() if record.serving]
        for name in names:
            self._unload(name)
        self._pool.shutdown(wait=True)

    # Questions.

    def index(self, *, ready_only: bool = False) -> list[IndexRow]:
        """The index: what is on disk now and what became of it."""
        try:
            found = self._scan()
        except ArgosyError as error:
            _log.error("failed to scan the model repositories: %s", error)
            found = Scan(models={})
        self._settle()
        with self._lock:
            versions = {name: dict(record.versions) for name, record in self._state.records.items() if record.versions}
        return index_rows(found.models, found.ambiguous, versions, ready_only=ready_only)

    def states(self, name: str) -> Mapping[int, VersionState]:
        """Version -> state of one model, ascending; empty when it never came to a load."""
        self._settle()
        with self._lock:
            record = self._state.records.get(name)
            return dict(record.versions) if record else {}

    def config(self, name: str) -> ModelConfig | None:
        """The configuration in force of a model that was loaded."""
        with self._lock:
            record = self._state.records.get(name)
            return record.config if record else None

    def serving(self) -> tuple[str, ...]:
        """Names of the models with a ready version, sorted."""
        with self._lock:
            return tuple(sorted(name for name, record in self._state.records.items() if record.serving))

    def last_change(self, name: str) -> Change:
        """How far the last successful load of a serving model had to go."""
        with self._lock:
            record = self._state.records.get(name)
            return record.change if record else Change.NONE

    def all_ready(self) -> bool:
        """Strict readiness: every touched model has versions, and each is ready or was unloaded."""
        with self._lock:
            return all(
                record.versions
                and all(s.state is State.READY or s.reason == "unloaded" for s in record.versions.values())
                for record in self._state.records.values()
                if record.attempted is not None
            )

    # How it is done.

    def _check_explicit(self) -> None:
        if self._options.mode is not ControlMode.EXPLICIT:
            raise Unavailable(_REFUSED)

    def _scan(self) -> Scan:
        found = scan(self._options.roots, self._options.config_name)
        with self._lock:
            self._state.ambiguous = found.ambiguous
        return found

    def _each(self, names: Iterable[str], job: Callable[[str], None]) -> dict[str, ArgosyError]:
        running = {name: self._pool.submit(job, name) for name in names}
        failed: dict[str, ArgosyError] = {}
        for name, future in running.items():
            try:
                future.result()
            except ArgosyError as error:
                failed[name] = error
        return failed

    def _name_lock(self, name: str) -> threading.Lock:
        with self._lock:
            return self._state.name_locks[name]

    def _load(self, name: str, found: Scan, overrides: Overrides | None) -> None:
        with self._name_lock(name):
            files: OverrideDirectory | None = None
            try:
                model = found.models.get(name)
                if overrides is not None and overrides.files:
                    files = OverrideDirectory(name, overrides.files)
                    model = files.model
                self._load_directory(name, model, overrides or Overrides(), files)
                files = None
            finally:
                if files is not None:
                    files.remove()

    def _load_directory(
        self, name: str, model: ModelDirectory | None, overrides: Overrides, files: OverrideDirectory | None
    ) -> None:
        with self._lock:
            known = self._state.records.get(name)
            old, old_config = (known.loaded, known.config) if known else (None, None)
            unchanged = (
                known is not None
                and known.serving
                and not known.overridden
                and not overrides
                and model is not None
                and old is not None
                and not moved(old, model)
            )
        if unchanged:
            return
        resolved = self._resolve(name, model, overrides)
        assert model is not None  # _resolve refuses a missing one
        extent = Change.FULL
        if old is not None and old_config is not None and not overrides and not (known and known.overridden):
            extent = change(old, model, old_config.message, resolved.config.message)
        self._hand_over(name, model, resolved)
        with self._lock:
            record = self._state.records[name]
            stale, record.files = record.files, files
            record.loaded, record.config, record.change = model, resolved.config, extent
            record.overridden = bool(overrides)
            record.succeed(resolved.selection.chosen)
        if stale is not None:
            stale.remove()
        _log.info("model '%s' is ready, versions %s (%s)", name, list(resolved.selection.chosen), extent.value)

    def _resolve(self, name: str, model: ModelDirectory | None, overrides: Overrides) -> ResolvedModel:
        problem = ""
        if model is None:
            with self._lock:
                twice = name in self._state.ambiguous
            problem = (
                "model appears in two or more repositories" if twice else "no repository has a directory of this name"
            )
        else:
            with self._lock:
                self._state.records[name].attempted = model
            try:
                return self._resolver.resolve(model, overrides.config)
            except LoadFailed as error:
                self._failed(name, error, tuple(error.failures))
                raise
            except ConfigError as error:
                problem = error.explained()
            except ArgosyError as error:
                problem = error.message
            except OSError as error:
                problem = f"the model's directory cannot be read: {error}"
        _log.error("failed to poll model '%s': %s", name, problem)
        with self._lock:
            if name in self._state.records:
                self._state.records[name].failure = problem
        raise Internal(f"failed to load '{name}', failed to poll from model repository")

    def _hand_over(self, name: str, model: ModelDirectory, resolved: ResolvedModel) -> None:
        versions = resolved.selection.chosen
        with self._lock:
            self._state.records[name].begin(versions)
        for left in range(self._options.retries, -1, -1):
            try:
                self._loader.load(name, list(resolved.specs))
                return
            except ArgosyError as error:
                failed = error if isinstance(error, LoadFailed) else LoadFailed(name, dict.fromkeys(versions, error))
                if left == 0:
                    self._failed(name, failed, versions)
                    raise failed from error
                _log.warning("model '%s' failed to load, trying again: %s", name, error)

    def _failed(self, name: str, error: LoadFailed, versions: Sequence[int]) -> None:
        _log.error("%s", error.message.rstrip())
        with self._lock:
            self._state.records[name].fail(error, tuple(versions))

    def _unload(self, name: str) -> None:
        with self._name_lock(name):
            with self._lock:
                record = self._state.records.get(name)
                if record is None:
                    return
                record.attempted = record.loaded = None
                was_serving = record.serving
                files, record.files = record.files, None
                if was_serving:
                    record.withdraw()
            if was_serving:
                self._loader.unload(name)
                _log.info("model '%s' takes no more requests", name)
            if files is not None:
                files.remove()
        self._settle()

    def _settle(self) -> None:
        """Models whose last request has been answered are unavailable from now on."""
        with self._lock:
            leaving = [
                name
                for name, record in self._state.records.items()
                if any(state.state is State.UNLOADING for state in record.versions.values())
            ]
        for name in leaving:
            if not self._loader.draining(name):
                with self._lock:
                    self._state.records[name].drained()
