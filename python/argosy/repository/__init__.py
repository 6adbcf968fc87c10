"""Model repositories: what is on disk, what shall be served, and what became of it."""

from argosy.repository.check import Finding, check
from argosy.repository.explicit import ControlMode
from argosy.repository.index import IndexRow, State, VersionState
from argosy.repository.layout import ModelDirectory, Scan, scan
from argosy.repository.loader import Loader, LoadFailed
from argosy.repository.overrides import Overrides, overrides_from
from argosy.repository.repository import Repository, RepositoryOptions
from argosy.repository.resolve import ResolvedModel, Resolver

__all__ = [
    "ControlMode",
    "Finding",
    "IndexRow",
    "LoadFailed",
    "Loader",
    "ModelDirectory",
    "Overrides",
    "Repository",
    "RepositoryOptions",
    "ResolvedModel",
    "Resolver",
    "Scan",
    "State",
    "VersionState",
    "check",
    "overrides_from",
    "scan",
]
