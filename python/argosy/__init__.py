"""Argosy: serves trained models over the KServe V2 protocol, or in process.

with argosy.Server("model.onnx") as server:
    result = server.infer("model", {"x": array})
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from argosy.errors import (
    AlreadyExists,
    ArgosyError,
    Cancelled,
    ConfigError,
    DeadlineExceeded,
    Internal,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    Unavailable,
    Unsupported,
)

if TYPE_CHECKING:
    from argosy.models import bls
    from argosy.models.model import Model
    from argosy.options import Endpoint, GrpcSettings, Restriction, ServerOptions, Tls
    from argosy.repository import ControlMode
    from argosy.server import InferResult, Server
    from argosy.version import __version__

# Imported when first used: reading a configuration needs no native core, and a
# package that adds a backend should not start one.
_LATER = {
    "ControlMode": "repository",
    "Endpoint": "options",
    "GrpcSettings": "options",
    "InferResult": "server",
    "Model": "models.model",
    "Restriction": "options",
    "Server": "server",
    "ServerOptions": "options",
    "Tls": "options",
    "__version__": "version",
    "bls": "models",
}

__all__ = [
    "AlreadyExists",
    "ArgosyError",
    "Cancelled",
    "ConfigError",
    "ControlMode",
    "DeadlineExceeded",
    "Endpoint",
    "GrpcSettings",
    "InferResult",
    "Internal",
    "InvalidArgument",
    "Model",
    "NotFound",
    "ResourceExhausted",
    "Restriction",
    "Server",
    "ServerOptions",
    "Tls",
    "Unavailable",
    "Unsupported",
    "__version__",
    "bls",
]


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'argosy' has no attribute '{name}'")
    return getattr(import_module(f"argosy.{_LATER[name]}"), name)
