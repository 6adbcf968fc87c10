"""ServerOptions to what the native front is told: a plain dictionary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from argosy.options import Endpoint, Restriction, ServerOptions, Tls


def front_options(options: ServerOptions, proto_files: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """`proto_files`: what server reflection shows (protos.reflection_files). Times in microseconds."""
    grpc = options.grpc_settings
    return {
        "http": _endpoint(options.http),
        "grpc": _endpoint(options.grpc),
        "metrics": _endpoint(options.metrics),
        "http_tls": _tls(options.http_tls),
        "grpc_tls": _tls(options.grpc_tls),
        "io_threads": options.io_threads,
        "max_input_bytes": options.max_input_bytes,
        "http_header_forward_pattern": options.http_header_forward_pattern,
        "grpc_header_forward_pattern": options.grpc_header_forward_pattern,
        "http_restricted": _restrictions(options.http_restricted),
        "grpc_restricted": _restrictions(options.grpc_restricted),
        "access_log": options.access_log,
        "keepalive_time_us": grpc.keepalive_time_ms * 1000,
        "keepalive_timeout_us": grpc.keepalive_timeout_ms * 1000,
        "keepalive_without_calls": grpc.keepalive_permit_without_calls,
        "max_pings_without_data": grpc.max_pings_without_data,
        "min_ping_interval_us": grpc.min_recv_ping_interval_ms * 1000,
        "max_ping_strikes": grpc.max_ping_strikes,
        "max_connection_age_us": grpc.max_connection_age_ms * 1000,
        "max_connection_age_grace_us": grpc.max_connection_age_grace_ms * 1000,
        "response_compression": grpc.response_compression,
        "proto_files": list(proto_files),
    }


def _endpoint(endpoint: Endpoint) -> dict[str, Any]:
    return {
        "enabled": endpoint.enabled,
        "address": endpoint.address,
        "port": endpoint.port,
        "reuse_port": endpoint.reuse_port,
    }


def _tls(tls: Tls) -> dict[str, Any]:
    return {"certificate": tls.certificate, "key": tls.key, "client_ca": tls.client_ca, "mutual": tls.mutual}


def _restrictions(restrictions: tuple[Restriction, ...]) -> list[tuple[str, str, str]]:
    return [(category, one.key, one.value) for one in restrictions for category in one.categories]
