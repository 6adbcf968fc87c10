"""The message classes of protos/*.proto.

They live in a descriptor pool of their own: another package in the process, such
as a client library, may register files of the same names in protobuf's default
pool, and the two would refuse each other there. Bytes and text are the same.

The classes are made at run time, so their fields are not known to type checkers:
a message is `Message` to the outside, and its fields are Any.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

Message: TypeAlias = Any  # a google.protobuf message whose fields are attributes

_files = descriptor_pb2.FileDescriptorSet.FromString(Path(__file__).with_name("protos.desc").read_bytes())
POOL = descriptor_pool.DescriptorPool()
for _file in _files.file:
    POOL.Add(_file)


def message_class(full_name: str) -> Any:
    """The class of a message, by its full name ("inference.ModelConfig"). Raises KeyError."""
    return message_factory.GetMessageClass(POOL.FindMessageTypeByName(full_name))


def service_methods(full_name: str) -> dict[str, Any]:
    """Method name -> method descriptor of a service ("inference.GRPCInferenceService")."""
    return {method.name: method for method in POOL.FindServiceByName(full_name).methods}


def reflection_files() -> list[dict[str, Any]]:
    """What server reflection hands out, one entry a file: name, dependencies, symbols, services, descriptor."""
    return [
        {
            "name": file.name,
            "dependencies": list(file.dependency),
            "symbols": _symbols(file),
            "services": [f"{file.package}.{service.name}" for service in file.service],
            "descriptor": file.SerializeToString(),
        }
        for file in _files.file
    ]


def _symbols(file: descriptor_pb2.FileDescriptorProto) -> list[str]:
    def inside(prefix: str, message: descriptor_pb2.DescriptorProto) -> Iterator[str]:
        name = f"{prefix}.{message.name}"
        yield name
        yield from (f"{name}.{enum.name}" for enum in message.enum_type)
        for nested in message.nested_type:
            yield from inside(name, nested)

    names = [name for message in file.message_type for name in inside(file.package, message)]
    names += [f"{file.package}.{enum.name}" for enum in file.enum_type]
    for service in file.service:
        names.append(f"{file.package}.{service.name}")
        names += [f"{file.package}.{service.name}.{method.name}" for method in service.method]
    return names


def _inference(name: str) -> Any:
    return message_class(f"inference.{name}")


DataType = POOL.FindEnumTypeByName("inference.DataType")

ModelConfig = _inference("ModelConfig")
ModelInput = _inference("ModelInput")
ModelOutput = _inference("ModelOutput")

ServerLiveRequest = _inference("ServerLiveRequest")
ServerLiveResponse = _inference("ServerLiveResponse")
ServerReadyRequest = _inference("ServerReadyRequest")
ServerReadyResponse = _inference("ServerReadyResponse")
ModelReadyRequest = _inference("ModelReadyRequest")
ModelReadyResponse = _inference("ModelReadyResponse")
ServerMetadataRequest = _inference("ServerMetadataRequest")
ServerMetadataResponse = _inference("ServerMetadataResponse")
ModelMetadataRequest = _inference("ModelMetadataRequest")
ModelMetadataResponse = _inference("ModelMetadataResponse")
ModelInferRequest = _inference("ModelInferRequest")
ModelInferResponse = _inference("ModelInferResponse")
ModelStreamInferResponse = _inference("ModelStreamInferResponse")
ModelConfigRequest = _inference("ModelConfigRequest")
ModelConfigResponse = _inference("ModelConfigResponse")
ModelStatisticsRequest = _inference("ModelStatisticsRequest")
ModelStatisticsResponse = _inference("ModelStatisticsResponse")
RepositoryIndexRequest = _inference("RepositoryIndexRequest")
RepositoryIndexResponse = _inference("RepositoryIndexResponse")
RepositoryModelLoadRequest = _inference("RepositoryModelLoadRequest")
RepositoryModelLoadResponse = _inference("RepositoryModelLoadResponse")
RepositoryModelUnloadRequest = _inference("RepositoryModelUnloadRequest")
RepositoryModelUnloadResponse = _inference("RepositoryModelUnloadResponse")
TraceSettingRequest = _inference("TraceSettingRequest")
TraceSettingResponse = _inference("TraceSettingResponse")
LogSettingsRequest = _inference("LogSettingsRequest")
LogSettingsResponse = _inference("LogSettingsResponse")
SystemSharedMemoryStatusRequest = _inference("SystemSharedMemoryStatusRequest")
SystemSharedMemoryStatusResponse = _inference("SystemSharedMemoryStatusResponse")
CudaSharedMemoryStatusRequest = _inference("CudaSharedMemoryStatusRequest")
CudaSharedMemoryStatusResponse = _inference("CudaSharedMemoryStatusResponse")
SystemSharedMemoryRegisterRequest = _inference("SystemSharedMemoryRegisterRequest")
SystemSharedMemoryRegisterResponse = _inference("SystemSharedMemoryRegisterResponse")
CudaSharedMemoryRegisterRequest = _inference("CudaSharedMemoryRegisterRequest")
CudaSharedMemoryRegisterResponse = _inference("CudaSharedMemoryRegisterResponse")
SystemSharedMemoryUnregisterRequest = _inference("SystemSharedMemoryUnregisterRequest")
SystemSharedMemoryUnregisterResponse = _inference("SystemSharedMemoryUnregisterResponse")
CudaSharedMemoryUnregisterRequest = _inference("CudaSharedMemoryUnregisterRequest")
CudaSharedMemoryUnregisterResponse = _inference("CudaSharedMemoryUnregisterResponse")
HealthCheckRequest = message_class("grpc.health.v1.HealthCheckRequest")
HealthCheckResponse = message_class("grpc.health.v1.HealthCheckResponse")
