"""Backends: what runs a model's artifact."""

from argosy.backends.contract import Backend, Batch, DeviceBatch, DeviceInstance, Instance, LoadedModel
from argosy.backends.registry import ENTRY_POINT_GROUP, BackendRegistry, Inspectors, cpu_only_backends

__all__ = [
    "ENTRY_POINT_GROUP",
    "Backend",
    "BackendRegistry",
    "Batch",
    "DeviceBatch",
    "DeviceInstance",
    "Inspectors",
    "Instance",
    "LoadedModel",
    "cpu_only_backends",
]
