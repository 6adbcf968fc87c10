from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from argosy import protos
from google.protobuf import descriptor_pb2

ROOT = Path(__file__).resolve().parents[2]
pytest.importorskip("tritonclient.grpc")
from tritonclient.grpc import model_config_pb2, service_pb2  # noqa: E402


def plain(file: descriptor_pb2.FileDescriptorProto) -> dict[str, object]:
    """Everything that matters on the wire, keyed by its dotted name."""
    found: dict[str, object] = {"package": file.package, "syntax": file.syntax}

    def enum(scope: str, value: descriptor_pb2.EnumDescriptorProto) -> None:
        found[f"{scope}.{value.name}"] = [(v.name, v.number) for v in value.value]

    def message(scope: str, value: descriptor_pb2.DescriptorProto) -> None:
        here = f"{scope}.{value.name}"
        found[here] = ("map" if value.options.map_entry else "message", [o.name for o in value.oneof_decl])
        for field in value.field:
            found[f"{here}.{field.name}"] = (
                field.number,
                field.type,
                field.label,
                field.type_name,
                field.oneof_index if field.HasField("oneof_index") else None,
            )
        for nested in value.nested_type:
            message(here, nested)
        for nested_enum in value.enum_type:
            enum(here, nested_enum)

    for top in file.message_type:
        message(file.package, top)
    for top_enum in file.enum_type:
        enum(file.package, top_enum)
    for service in file.service:
        for method in service.method:
            found[f"{service.name}/{method.name}"] = (
                method.input_type,
                method.output_type,
                method.client_streaming,
                method.server_streaming,
            )
    return found


def ours(name: str) -> descriptor_pb2.FileDescriptorProto:
    files = {one["name"]: one["descriptor"] for one in protos.reflection_files()}
    return descriptor_pb2.FileDescriptorProto.FromString(files[name])


@pytest.mark.parametrize(
    ("name", "module"), [("model_config.proto", model_config_pb2), ("grpc_service.proto", service_pb2)]
)
def test_every_name_number_and_type_is_the_one_that_clients_were_compiled_against(name, module):
    theirs = descriptor_pb2.FileDescriptorProto()
    module.DESCRIPTOR.CopyToProto(theirs)
    assert plain(ours(name)) == plain(theirs)


def test_fields_are_declared_in_the_order_in_which_the_config_endpoint_prints_them():
    theirs = [field.name for field in model_config_pb2.ModelConfig.DESCRIPTOR.fields]
    assert [field.name for field in protos.ModelConfig.DESCRIPTOR.fields] == theirs


def test_the_committed_descriptor_set_is_a_fresh_compile_of_the_proto_files():
    pytest.importorskip("grpc_tools")
    spec = importlib.util.spec_from_file_location("compile_protos", ROOT / "protos" / "compile.py")
    compiler = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(compiler)
    fresh = descriptor_pb2.FileDescriptorSet.FromString(compiler.compile_set())
    committed = descriptor_pb2.FileDescriptorSet.FromString(compiler.TARGET.read_bytes())
    assert committed == fresh


def test_a_client_library_in_the_same_process_reads_our_bytes_and_we_read_theirs():
    theirs = service_pb2.ModelInferRequest(model_name="m", raw_input_contents=[b"\x01\x02"])
    theirs.parameters["priority"].int64_param = 7
    mine = protos.ModelInferRequest.FromString(theirs.SerializeToString())
    assert mine.parameters["priority"].int64_param == 7
    assert service_pb2.ModelInferRequest.FromString(mine.SerializeToString()) == theirs


def test_health_check_has_the_numbers_of_the_grpc_health_protocol():
    status = protos.HealthCheckResponse.DESCRIPTOR.enum_types_by_name["ServingStatus"]
    assert {v.name: v.number for v in status.values} == {
        "UNKNOWN": 0,
        "SERVING": 1,
        "NOT_SERVING": 2,
        "SERVICE_UNKNOWN": 3,
    }
    methods = protos.service_methods("grpc.health.v1.Health")
    assert {name: method.input_type.full_name for name, method in methods.items()} == {
        "Check": "grpc.health.v1.HealthCheckRequest",
        "Watch": "grpc.health.v1.HealthCheckRequest",
    }
