"""Argosy: serves trained models over the KServe V2 protocol, or in process.

    with argosy.Server("model.onnx") as server:
        result = server.infer("model", {"x": array})
"""

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
from argosy.options import Endpoint, GrpcSettings, Restriction, ServerOptions, Tls
from argosy.server import InferResult, Server
from argosy.version import __version__

__all__ = [
    "AlreadyExists",
    "ArgosyError",
    "Cancelled",
    "ConfigError",
    "DeadlineExceeded",
    "Endpoint",
    "GrpcSettings",
    "InferResult",
    "Internal",
    "InvalidArgument",
    "NotFound",
    "ResourceExhausted",
    "Restriction",
    "Server",
    "ServerOptions",
    "Tls",
    "Unavailable",
    "Unsupported",
    "__version__",
]
