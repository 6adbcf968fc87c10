"""Server options: what `argosy serve` and `argosy.Server` are told, as one frozen value.

Names and defaults are the ecosystem's (docs/compat.md lists the few that differ).
Fields without a unit in their name say it in their comment.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from argosy.errors import InvalidArgument
from argosy.repository import ControlMode

# What --http-restricted-api and --grpc-restricted-protocol may name.
CATEGORIES = (
    "health",
    "metadata",
    "inference",
    "shared-memory",
    "model-config",
    "model-repository",
    "statistics",
    "trace",
    "logging",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One listening address. `port` 0 takes a free one."""

    enabled: bool = True
    address: str = "127.0.0.1"
    port: int = 0
    reuse_port: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """PEM files; an empty certificate means plain text. `mutual` demands a client certificate of `client_ca`."""

    certificate: str = ""
    key: str = ""
    client_ca: str = ""
    mutual: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Restriction:
    """APIs that need a header `key` with exactly `value`."""

    categories: tuple[str, ...]
    key: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GrpcSettings:
    """HTTP/2 settings of the gRPC endpoint; times in milliseconds, 0 in the ages means for ever."""

    keepalive_time_ms: int = 7_200_000
    keepalive_timeout_ms: int = 20_000
    keepalive_permit_without_calls: bool = False
    max_pings_without_data: int = 2
    min_recv_ping_interval_ms: int = 300_000
    max_ping_strikes: int = 2
    max_connection_age_ms: int = 0
    max_connection_age_grace_ms: int = 0
    response_compression: str = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """Everything about one server."""

    repositories: tuple[str, ...] = ()
    server_id: str = "argosy"
    control_mode: ControlMode = ControlMode.NONE
    startup_models: tuple[str, ...] = ()
    poll_secs: float = 15.0
    config_name: str = ""
    load_threads: int = 4
    load_retries: int = 0
    exit_on_error: bool = True
    strict_readiness: bool = True
    auto_complete: bool = True
    backend_config: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    http: Endpoint = Endpoint(port=8000)
    grpc: Endpoint = Endpoint(port=8001)
    metrics: Endpoint = Endpoint(port=8002)
    http_tls: Tls = Tls()
    grpc_tls: Tls = Tls()
    grpc_settings: GrpcSettings = GrpcSettings()
    io_threads: int = 1
    max_input_bytes: int = 64 << 20
    allow_client_shm: bool = False  # clients may register memory of this machine by name
    http_header_forward_pattern: str = ""
    grpc_header_forward_pattern: str = ""
    http_restricted: tuple[Restriction, ...] = ()
    grpc_restricted: tuple[Restriction, ...] = ()

    devices: str = "cuda"  # "host": the processor stands for one GPU, number 0; for tests of backends
    pinned_memory_pool_bytes: int = 256 << 20  # half for received bytes, half for batches and answers
    cuda_memory_pool_bytes: Mapping[int, int] = field(default_factory=dict)  # by GPU; 64 MiB for one not named
    min_compute_capability: float = 7.5
    peer_access: bool = True
    gpu_metrics: bool = True
    metrics_interval_ms: int = 2000

    cpu_threads: int = 0  # 0: as many as the control group grants
    max_queued_bytes: int = 0  # 0: a quarter of the memory
    exit_timeout_secs: float = 30.0
    drain_delay_secs: float = 0.0
    access_log: bool = False

    def __post_init__(self) -> None:
        served = {"HTTP": self.http, "GRPC": self.grpc, "metrics": self.metrics}
        taken: dict[tuple[str, int], str] = {}
        for name, endpoint in served.items():
            if not endpoint.enabled or endpoint.port == 0:
                continue
            if not 0 <= endpoint.port <= 65535:
                raise InvalidArgument(f"{name} port: expected 0..65535, got {endpoint.port}")
            place = (endpoint.address, endpoint.port)
            if place in taken:
                raise InvalidArgument(
                    f"The server cannot listen to {taken[place]} requests and {name} requests at the same address "
                    f"and port {endpoint.address}:{endpoint.port}"
                )
            taken[place] = name
        for restrictions in (self.http_restricted, self.grpc_restricted):
            seen: set[str] = set()
            for category in (one for restriction in restrictions for one in restriction.categories):
                if category not in CATEGORIES:
                    raise InvalidArgument(
                        f"unknown restricted api '{category}'; expected one of {', '.join(CATEGORIES)}"
                    )
                if category in seen:
                    raise InvalidArgument(f"restricted api '{category}' can not be specified in multiple config groups")
                seen.add(category)
        if self.startup_models and self.control_mode is not ControlMode.EXPLICIT:
            raise InvalidArgument(
                "Error: Use of '--load-model' requires setting '--model-control-mode=explicit' as well."
            )
        if self.devices not in ("cuda", "host"):
            raise InvalidArgument(f"devices: expected 'cuda' or 'host', got '{self.devices}'")
        for tls, name in ((self.http_tls, "HTTP"), (self.grpc_tls, "gRPC")):
            if bool(tls.certificate) != bool(tls.key):
                raise InvalidArgument(f"{name} TLS needs both a certificate and a key")


def granted_cpus() -> int:
    """Whole CPUs this process may use: affinity, and the control group's quota where there is one."""
    allowed = len(os.sched_getaffinity(0))
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        if quota != "max":
            return max(1, min(allowed, -(-int(quota) // int(period))))
    except (OSError, ValueError):
        pass
    return allowed


def granted_memory_bytes() -> int:
    """Bytes of memory this process may use: the machine's, or the control group's limit when it is smaller."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
        return min(total, int(limit)) if limit != "max" else total
    except (OSError, ValueError):
        return total
