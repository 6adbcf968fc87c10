"""Memory that clients share with the server: status, register, unregister, for both protocols.

What is registered stands in the core (`_core.SharedMemory`); `None` there means that clients may not share memory.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any

from argosy import protos
from argosy.errors import InvalidArgument, NotFound, Unsupported

if TYPE_CHECKING:
    from argosy._core import SharedMemory

DISABLED = "Client shared memory is disabled. Start the server with '--allow-client-shm=true' to enable."
_MOST = 2**64 - 1


def status(regions: SharedMemory | None, kind: str, name: str) -> list[dict[str, Any]]:
    """Regions of a kind ("system" or "cuda"), by name; one where `name` is not empty. Raises NotFound."""
    if regions is not None:
        return regions.status(kind, name)
    if name:
        raise NotFound(f"Unable to find {kind} shared memory region: '{name}'")
    return []


def unregister(regions: SharedMemory | None, kind: str, name: str) -> None:
    """One region, or all of the kind without a name. Raises Unsupported where clients may not share memory."""
    _enabled(regions).unregister(kind, name)


def register_http(regions: SharedMemory | None, kind: str, name: str, body: dict[str, Any]) -> None:
    """What a register request's JSON body says. Raises ArgosyError."""
    open_to = _enabled(regions)
    if not name:
        raise InvalidArgument(f"'region name' is necessary to register {kind} shared memory region")
    if kind == "system":
        key = _field(body, "key")
        if not isinstance(key, str):
            raise InvalidArgument(f"Unable to parse 'key': expected a string, got {key!r:.100}")
        offset = _unsigned(body, "offset") if "offset" in body else 0
        open_to.register_system(name, key, offset, _unsigned(body, "byte_size"))
        return
    raw = _field(body, "raw_handle")
    text = raw.get("b64") if isinstance(raw, dict) else None
    if not isinstance(text, str):
        raise InvalidArgument('Unable to parse \'raw_handle\': expected {"b64": "<base64>"}')
    device_id, byte_size = _unsigned(body, "device_id"), _unsigned(body, "byte_size")
    open_to.register_cuda(name, _decoded(text), min(device_id, 2**31), byte_size)


def register_system_grpc(regions: SharedMemory | None, request: Any) -> Any:
    _enabled(regions).register_system(request.name, request.key, request.offset, request.byte_size)
    return protos.SystemSharedMemoryRegisterResponse()


def register_cuda_grpc(regions: SharedMemory | None, request: Any) -> Any:
    _enabled(regions).register_cuda(request.name, request.raw_handle, request.device_id, request.byte_size)
    return protos.CudaSharedMemoryRegisterResponse()


def unregister_system_grpc(regions: SharedMemory | None, request: Any) -> Any:
    unregister(regions, "system", request.name)
    return protos.SystemSharedMemoryUnregisterResponse()


def unregister_cuda_grpc(regions: SharedMemory | None, request: Any) -> Any:
    unregister(regions, "cuda", request.name)
    return protos.CudaSharedMemoryUnregisterResponse()


def system_status_grpc(regions: SharedMemory | None, request: Any) -> Any:
    return _by_name(protos.SystemSharedMemoryStatusResponse(), status(regions, "system", request.name))


def cuda_status_grpc(regions: SharedMemory | None, request: Any) -> Any:
    return _by_name(protos.CudaSharedMemoryStatusResponse(), status(regions, "cuda", request.name))


def _by_name(out: Any, rows: list[dict[str, Any]]) -> Any:
    for row in rows:
        region = out.regions[row["name"]]
        for key, value in row.items():
            setattr(region, key, value)
    return out


def _enabled(regions: SharedMemory | None) -> SharedMemory:
    if regions is None:
        raise Unsupported(DISABLED)
    return regions


def _field(body: dict[str, Any], name: str) -> Any:
    if name not in body:
        raise InvalidArgument(f"Shared memory register request has no '{name}' field")
    return body[name]


def _unsigned(body: dict[str, Any], name: str) -> int:
    value = _field(body, name)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MOST:
        raise InvalidArgument(f"Unable to parse '{name}': expected an unsigned integer, got {value!r:.100}")
    return value


def _decoded(text: str) -> bytes:
    """What is no base64 has no handle's length either; the core says what it expects."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
