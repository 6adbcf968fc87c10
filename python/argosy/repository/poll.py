"""What a new scan means for what is loaded: pure functions, from seen to actions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from argosy.protos import Message, ModelConfig
from argosy.repository.layout import ModelDirectory, Scan


class Change(Enum):
    """How a model on disk differs from the one that was loaded."""

    NONE = "none"
    INSTANCES_OR_VERSIONS = "instances_or_versions"  # only instance_group or version_policy
    FULL = "full"


@dataclass(frozen=True, slots=True, kw_only=True)
class Actions:
    """Names to load for the first time, to load again, and to unload; each sorted, all disjoint."""

    load: tuple[str, ...] = ()
    reload: tuple[str, ...] = ()
    unload: tuple[str, ...] = ()


def actions(seen: Mapping[str, ModelDirectory], scan: Scan) -> Actions:
    """What to do so that the loaded models follow the scan.

    `seen` are the directories at the last attempt, failed or not: a model that could not be loaded
    is tried again when it changes, not at every poll. A name that became ambiguous is unloaded.
    """
    return Actions(
        load=tuple(sorted(set(scan.models) - set(seen))),
        reload=tuple(sorted(name for name, model in scan.models.items() if name in seen and moved(seen[name], model))),
        unload=tuple(sorted(set(seen) - set(scan.models))),
    )


def moved(old: ModelDirectory, new: ModelDirectory) -> bool:
    """Whether the directory changed: a newer time, another place, or a configuration that came or went.

    An older time is not a change.
    """
    return (
        new.path != old.path
        or new.config_path != old.config_path
        or set(new.versions) != set(old.versions)
        or new.stamps.newest > old.stamps.newest
    )


def change(old: ModelDirectory, new: ModelDirectory, old_config: Message, new_config: Message) -> Change:
    """How far a changed model has to be loaded again; the configurations are the filled ones."""
    if not moved(old, new):
        return Change.NONE
    same_files = new.path == old.path and new.stamps.others <= old.stamps.others
    if same_files and _without_placement(old_config) == _without_placement(new_config):
        return Change.INSTANCES_OR_VERSIONS
    return Change.FULL


def _without_placement(config: Message) -> Message:
    rest = ModelConfig()
    rest.CopyFrom(config)
    rest.ClearField("instance_group")
    rest.ClearField("version_policy")
    return rest
