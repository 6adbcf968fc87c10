"""What is on disk: repositories, models, version directories, and when they changed.

Reads names and modification times only; no configuration is parsed here. A path may
also be one model's directory or one model file: then it is a repository of one.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from argosy.errors import InvalidArgument, NotFound

_log = logging.getLogger(__name__)
_NUMBER = re.compile(r"[+-]?\d+")
_NOT_VERSIONS = ("warmup", "initial_state", "configs")
# A single file of this kind is a model.
_MODEL_FILES = {
    ".onnx": "onnxruntime",
    ".plan": "tensorrt",
    ".pt": "pytorch",
    ".pt2": "pytorch",
    ".py": "python",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamps:
    """Newest modification times in ns: of the configuration, and of everything else below the model.

    The model directory's own time is in `others_and_self` only, because an editor that
    replaces config.pbtxt changes it too.
    """

    config: int = 0
    others: int = 0
    others_and_self: int = 0

    @property
    def newest(self) -> int:
        return max(self.config, self.others_and_self)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDirectory:
    """One model as found. `backend` and `artifact` are set only for a single file."""

    name: str
    path: Path
    root: str
    versions: Mapping[int, Path] = field(default_factory=dict)
    config_path: Path | None = None
    stamps: Stamps = Stamps()
    backend: str = ""
    artifact: str = ""

    def artifacts(self) -> frozenset[str]:
        """Names in the lexicographically first version directory, by which a backend is recognised."""
        if not self.versions:
            return frozenset()
        first = min(self.versions.values(), key=lambda path: path.name)
        return frozenset(entry.name for entry in os.scandir(first))


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """All models of all repositories, by name. `ambiguous` names stand in more than one."""

    models: Mapping[str, ModelDirectory]
    ambiguous: frozenset[str] = frozenset()


def scan(roots: Iterable[str], config_name: str = "") -> Scan:
    """Scans repositories, model directories and model files.

    Raises NotFound for a root that does not exist, InvalidArgument for a file that is no model.
    """
    models: dict[str, ModelDirectory] = {}
    ambiguous: set[str] = set()
    for root in dict.fromkeys(os.path.abspath(root) for root in roots):
        for found in _models_of(Path(root), config_name):
            if found.name in models:
                ambiguous.add(found.name)
            models[found.name] = found
    for name in ambiguous:
        del models[name]
    return Scan(models=dict(sorted(models.items())), ambiguous=frozenset(ambiguous))


def scan_model(path: Path, root: str, config_name: str = "") -> ModelDirectory:
    """One model's directory. Raises OSError when it vanishes meanwhile."""
    config = path / "configs" / f"{config_name}.pbtxt" if config_name else None
    if config is None or not config.is_file():
        config = path / "config.pbtxt"
    return ModelDirectory(
        name=path.name,
        path=path,
        root=root,
        versions=_versions(path),
        config_path=config if config.is_file() else None,
        stamps=_stamps(path, config),
    )


def version_number(name: str) -> int | None:
    """The version that a directory name means; None when it is not a version.

    A number with a suffix counts as the number, and one with a leading zero does not count, as
    existing repositories expect.
    """
    match = _NUMBER.match(name)
    if match is None or (len(name) > 1 and name.startswith("0")):
        return None
    number = int(match.group())
    return number if -(2**63) <= number < 2**63 else None


def _models_of(root: Path, config_name: str) -> Iterable[ModelDirectory]:
    if root.is_file():
        return [_single_file(root)]
    if not root.is_dir():
        raise NotFound(f"model repository '{root}' does not exist")
    if _is_model_directory(root):
        return [scan_model(root, str(root), config_name)]
    found = []
    for entry in sorted(os.scandir(root), key=lambda entry: entry.name):
        if entry.is_dir() and not entry.name.startswith("."):
            try:
                found.append(scan_model(Path(entry.path), str(root), config_name))
            except FileNotFoundError:
                continue  # removed while we looked: the next scan tells
    return found


def _single_file(path: Path) -> ModelDirectory:
    backend = _MODEL_FILES.get(path.suffix)
    if backend is None:
        known = ", ".join(sorted(_MODEL_FILES))
        raise InvalidArgument(f"'{path}' is neither a model repository nor a model file ({known})")
    stamp = path.stat().st_mtime_ns
    return ModelDirectory(
        name=path.stem,
        path=path.parent,
        root=str(path),
        versions={1: path.parent},
        stamps=Stamps(others=stamp, others_and_self=stamp),
        backend=backend,
        artifact=path.name,
    )


def _is_model_directory(path: Path) -> bool:
    if (path / "config.pbtxt").is_file():
        return True
    versions = [entry for entry in path.iterdir() if entry.is_dir() and entry.name.isdecimal()]
    return any(
        child.name.startswith("model.") and not child.name.endswith(".pbtxt")
        for version in versions
        for child in version.iterdir()
    )


def _versions(path: Path) -> dict[int, Path]:
    found: dict[int, Path] = {}
    for entry in sorted(os.scandir(path), key=lambda entry: entry.name):
        if not entry.is_dir():
            continue
        number = version_number(entry.name)
        if number is not None:
            found.setdefault(number, Path(entry.path))
        elif entry.name not in _NOT_VERSIONS:
            _log.warning("model '%s': directory '%s' is not a version number and is ignored", path.name, entry.name)
    return dict(sorted(found.items()))


def _stamps(path: Path, config: Path) -> Stamps:
    newest_config = newest_other = 0
    for folder, folders, files in os.walk(path):
        for name in [*folders, *files]:
            full = os.path.join(folder, name)
            try:
                stamp = os.stat(full).st_mtime_ns
            except FileNotFoundError:
                continue
            if full == str(config):
                newest_config = stamp
            else:
                newest_other = max(newest_other, stamp)
    own = os.stat(path).st_mtime_ns
    return Stamps(config=newest_config, others=newest_other, others_and_self=max(newest_other, own))
