"""What control handlers need to answer, and what they answer with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from argosy.logs import Logs
from argosy.repository import Repository
from argosy.repository.index import IndexRow, State

if TYPE_CHECKING:
    from argosy._core import Engine, SharedMemory

EXTENSIONS = (
    "classification",
    "sequence",
    "model_repository",
    "model_repository(unload_dependents)",
    "schedule_policy",
    "model_configuration",
    "system_shared_memory",
    "cuda_shared_memory",
    "binary_tensor_data",
    "parameters",
    "statistics",
    "trace",
    "logging",
)

NO_TRACE = "tracing is not served by this version"


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """The server as its control handlers see it. Thread: any."""

    engine: Engine
    repository: Repository
    logs: Logs
    server_id: str
    version: str
    shared_memory: SharedMemory | None = None  # None: clients may not share memory

    def index(self, *, ready_only: bool) -> list[IndexRow]:
        """The repository's index, corrected by what the instances say: a loaded model whose process is down is
        unavailable, and why."""
        problems = {(name, str(version)): problem for name, version, problem in self.engine.models() if problem}
        rows = []
        for row in self.repository.index(ready_only=ready_only):
            problem = problems.get((row.name, row.version)) if row.state == State.READY.value else None
            if problem is None:
                rows.append(row)
            elif not ready_only:
                rows.append(replace(row, state=State.UNAVAILABLE.value, reason=problem))
        return rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One control request. HTTP: method and raw path; gRPC: the RPC's short name in `method`."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """`body` is JSON text for HTTP, message bytes for gRPC."""

    body: bytes = b""
    http_status: int = 200
    headers: tuple[tuple[str, str], ...] = (("content-type", "application/json"),)


JsonValue = dict[str, Any] | list[Any]
