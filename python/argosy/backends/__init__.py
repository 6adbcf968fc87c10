"""Backends: what runs a model's artifact."""

from argosy.backends.contract import Backend, Batch, Instance, LoadedModel
from argosy.backends.registry import ENTRY_POINT_GROUP, BackendRegistry, Inspectors

__all__ = ["ENTRY_POINT_GROUP", "Backend", "BackendRegistry", "Batch", "Inspectors", "Instance", "LoadedModel"]
