"""Control calls over gRPC: a method name to a handler. Messages are those of protos/."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from argosy import protos
from argosy.control import metadata, settings, shared_memory
from argosy.control.context import NO_TRACE, Answer, Call, Context
from argosy.control.statistics import statistics
from argosy.errors import InvalidArgument, Unsupported
from argosy.repository import overrides_from

if TYPE_CHECKING:
    from argosy._core import SharedMemory

SERVICE = "/inference.GRPCInferenceService/"
_NO_REPOSITORY = "'repository_name' specification is not supported"
Handler = Callable[[Context, Any], Any]


def handle(context: Context, call: Call) -> Answer:
    """Raises ArgosyError, which becomes the call's status."""
    name = call.path.removeprefix(SERVICE)
    entry = _METHODS.get(name)
    if entry is None:
        if name == "TraceSetting":
            raise Unsupported(NO_TRACE)
        raise Unsupported(f"method '{call.path}' is not served")
    request_class, handler = entry
    try:
        request = request_class.FromString(call.body)
    except Exception as error:  # protobuf's DecodeError differs between its implementations
        raise InvalidArgument(f"{name}: the message cannot be decoded: {error}") from None
    return Answer(body=handler(context, request).SerializeToString(), headers=())


def is_slow(call: Call) -> bool:
    """Whether the call may take as long as a model takes to load."""
    return call.path.removeprefix(SERVICE).startswith("Repository")


def _version(text: str) -> int | None:
    if not text:
        return None
    try:
        version = int(text)
    except ValueError:
        raise InvalidArgument(
            f"failed to get model version from specified version string '{text}' (details: stol), "
            "version should be an integral value > 0"
        ) from None
    if version < 0:
        raise InvalidArgument(f"invalid model version specified '{text}' , version should be an integral value > 0")
    return version


def _server_metadata(context: Context, request: Any) -> Any:
    return protos.ServerMetadataResponse(**metadata.server_metadata(context))


def _model_metadata(context: Context, request: Any) -> Any:
    return protos.ModelMetadataResponse(**metadata.model_metadata(context, request.name, _version(request.version)))


def _model_config(context: Context, request: Any) -> Any:
    config = metadata.config_of(context, request.name, _version(request.version))
    return protos.ModelConfigResponse(config=config.message)


def _model_statistics(context: Context, request: Any) -> Any:
    out = protos.ModelStatisticsResponse()
    for row in statistics(context, request.name, _version(request.version)):
        out.model_stats.add(**row)
    return out


def _index(context: Context, request: Any) -> Any:
    if request.repository_name:
        raise Unsupported(_NO_REPOSITORY)
    out = protos.RepositoryIndexResponse()
    for row in context.index(ready_only=request.ready):
        out.models.add(**row.to_json())
    return out


def _load(context: Context, request: Any) -> Any:
    if request.repository_name:
        raise Unsupported(_NO_REPOSITORY)
    parameters: dict[str, str | bytes] = {}
    for key, value in request.parameters.items():
        kind = value.WhichOneof("parameter_choice")
        wanted = "string_param" if key == "config" else "bytes_param"
        if kind != wanted and (key == "config" or key.startswith("file:")):
            raise InvalidArgument(f"invalid value type for load parameter '{key}', expected {wanted}.")
        parameters[key] = getattr(value, kind) if kind else ""
    context.repository.load(request.model_name, overrides_from(parameters) if parameters else None)
    return protos.RepositoryModelLoadResponse()


def _unload(context: Context, request: Any) -> Any:
    if request.repository_name:
        raise Unsupported(_NO_REPOSITORY)
    dependents = False
    for key, value in request.parameters.items():
        if key == "unload_dependents":
            if value.WhichOneof("parameter_choice") != "bool_param":
                raise InvalidArgument("invalid value type for 'unload_dependents' parameter, expected bool_param.")
            dependents = value.bool_param
    context.repository.unload(request.model_name, unload_dependents=dependents)
    return protos.RepositoryModelUnloadResponse()


def _log_settings(context: Context, request: Any) -> Any:
    kinds = {"log_verbose_level": "uint32_param", "log_file": "string_param", "log_format": "string_param"}
    wanted: dict[str, Any] = {}
    for key, value in request.settings.items():
        kind = value.WhichOneof("parameter_choice")
        if key in settings.NETWORK_KEYS:
            if kind != kinds.get(key, "bool_param"):
                expected = {"uint32_param": "int32", "string_param": "string"}.get(kinds.get(key, ""), "boolean")
                raise InvalidArgument(f"expect {expected} for '{key}'")
            wanted[key] = getattr(value, kind)
    current = context.logs.change(**settings.changes(wanted)) if wanted else context.logs.settings
    out = protos.LogSettingsResponse()
    for key, value in settings.shown(current).items():
        setattr(out.settings[key], kinds.get(key, "bool_param"), value)
    return out


def _shared(request_class: Any, handler: Callable[[SharedMemory | None, Any], Any]) -> tuple[Any, Handler]:
    """A call about memory of clients, which needs no more of the server."""
    return request_class, lambda context, request: handler(context.shared_memory, request)


_METHODS: dict[str, tuple[Any, Handler]] = {
    "ServerMetadata": (protos.ServerMetadataRequest, _server_metadata),
    "ModelMetadata": (protos.ModelMetadataRequest, _model_metadata),
    "ModelConfig": (protos.ModelConfigRequest, _model_config),
    "ModelStatistics": (protos.ModelStatisticsRequest, _model_statistics),
    "RepositoryIndex": (protos.RepositoryIndexRequest, _index),
    "RepositoryModelLoad": (protos.RepositoryModelLoadRequest, _load),
    "RepositoryModelUnload": (protos.RepositoryModelUnloadRequest, _unload),
    "LogSettings": (protos.LogSettingsRequest, _log_settings),
    "SystemSharedMemoryStatus": _shared(protos.SystemSharedMemoryStatusRequest, shared_memory.system_status_grpc),
    "SystemSharedMemoryRegister": _shared(protos.SystemSharedMemoryRegisterRequest, shared_memory.register_system_grpc),
    "SystemSharedMemoryUnregister": _shared(
        protos.SystemSharedMemoryUnregisterRequest, shared_memory.unregister_system_grpc
    ),
    "CudaSharedMemoryStatus": _shared(protos.CudaSharedMemoryStatusRequest, shared_memory.cuda_status_grpc),
    "CudaSharedMemoryRegister": _shared(protos.CudaSharedMemoryRegisterRequest, shared_memory.register_cuda_grpc),
    "CudaSharedMemoryUnregister": _shared(protos.CudaSharedMemoryUnregisterRequest, shared_memory.unregister_cuda_grpc),
}
