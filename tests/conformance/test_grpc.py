"""gRPC: every method, contents of every kind, errors, streams, cancellation and reflection."""

from __future__ import annotations

import json
import queue
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc as rpc
import numpy as np
import pytest
import tritonclient.grpc as grpcclient
from google.protobuf import descriptor_pb2
from serving import Server, add_model, identity_config, serve
from serving.values import PACK, encode, sample, values
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc
from tritonclient.utils import InferenceServerException

statement = pytest.mark.statement
UNARY = {
    "ServerLive", "ServerReady", "ModelReady", "ServerMetadata", "ModelMetadata", "ModelConfig", "ModelStatistics",
    "RepositoryIndex", "RepositoryModelLoad", "RepositoryModelUnload", "TraceSetting", "LogSettings",
    "SystemSharedMemoryStatus", "SystemSharedMemoryRegister", "SystemSharedMemoryUnregister",
    "CudaSharedMemoryStatus", "CudaSharedMemoryRegister", "CudaSharedMemoryUnregister", "ModelInfer",
}  # fmt: skip
LIMITS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
# Protocol type -> the list of InferTensorContents that carries it.
CONTENTS = {
    "BOOL": "bool_contents", "INT8": "int_contents", "INT16": "int_contents", "INT32": "int_contents",
    "INT64": "int64_contents", "UINT8": "uint_contents", "UINT16": "uint_contents", "UINT32": "uint_contents",
    "UINT64": "uint64_contents", "FP32": "fp32_contents", "FP64": "fp64_contents", "BYTES": "bytes_contents",
}  # fmt: skip


@pytest.fixture(scope="module")
def channel(server: Server) -> Iterator[rpc.Channel]:
    with rpc.insecure_channel(server.grpc, options=LIMITS) as opened:
        yield opened


@pytest.fixture(scope="module")
def stub(channel: rpc.Channel) -> Any:
    return service_pb2_grpc.GRPCInferenceServiceStub(channel)


def request(model: str = "identity", count: int = 2, dtype: str = "FP32", **more: Any) -> pb.ModelInferRequest:
    out = pb.ModelInferRequest(model_name=model, **more)
    out.inputs.add(name="INPUT0", datatype=dtype, shape=[1, count])
    return out


def full_request(model: str, **more: Any) -> pb.ModelInferRequest:
    out = request(model, **more)
    out.raw_input_contents.append(b"\0" * 8)
    return out


def refused(call: Any, message: Any, code: rpc.StatusCode, text: str, **options: Any) -> None:
    with pytest.raises(rpc.RpcError) as caught:
        call(message, timeout=60, **options)
    assert (caught.value.code(), text in caught.value.details()) == (code, True), caught.value.details()


@statement("T172")
def test_every_method_of_the_service_is_known(stub: Any, channel: rpc.Channel) -> None:
    service = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"]
    assert {method.name for method in service.methods} == UNARY | {"ModelStreamInfer"}
    for name in sorted(UNARY):
        message = getattr(pb, service.methods_by_name[name].input_type.name)()
        try:
            getattr(stub, name)(message, timeout=60)
        except rpc.RpcError as error:
            known = "unknown method" not in error.details()  # any other refusal is fine
        else:
            known = True
        assert known, name
    refused(
        channel.unary_unary("/inference.GRPCInferenceService/Nope", lambda m: b"", bytes),
        None,
        rpc.StatusCode.UNIMPLEMENTED,
        "Nope",
    )


@statement("T172")
def test_field_numbers_are_those_of_the_official_client() -> None:
    from argosy import protos

    ours = {
        message.DESCRIPTOR.name: {field.name: (field.number, field.type) for field in message.DESCRIPTOR.fields}
        for message in (protos.ModelMetadataResponse, protos.ModelConfigResponse, protos.ModelStatisticsResponse)
    }
    for name, fields in ours.items():
        theirs = pb.DESCRIPTOR.message_types_by_name[name]
        assert {field.name: (field.number, field.type) for field in theirs.fields} == fields


def health(channel: rpc.Channel, method: str) -> Any:
    return channel.unary_unary(f"/grpc.health.v1.Health/{method}", lambda message: message, lambda data: data)


@statement("T173", "T362")
@pytest.mark.parametrize("message", [b"", b"\x0a\x03any"])
def test_health_check_says_serving(channel: rpc.Channel, message: bytes) -> None:
    assert health(channel, "Check")(message, timeout=60) == b"\x08\x01"


@statement("T173", "T003")
def test_health_check_follows_readiness(tmp_path) -> None:
    add_model(tmp_path, "bad", "nonsense: 1\n")
    with (
        serve(tmp_path, "--exit-on-error=false") as running,
        rpc.insecure_channel(running.grpc) as opened,
        grpcclient.InferenceServerClient(running.grpc) as client,
    ):
        assert health(opened, "Check")(b"", timeout=60) == b"\x08\x02"
        assert (client.is_server_live(), client.is_server_ready()) == (True, False)


@statement("T174")
def test_health_watch_is_unimplemented(channel: rpc.Channel) -> None:
    watch = channel.unary_stream("/grpc.health.v1.Health/Watch", lambda message: message, lambda data: data)
    with pytest.raises(rpc.RpcError) as caught:
        list(watch(b"", timeout=60))
    assert caught.value.code() == rpc.StatusCode.UNIMPLEMENTED


@statement("T175", "T092")
@pytest.mark.parametrize("dtype", sorted(PACK))
@pytest.mark.parametrize("batched", [True, False], ids=["batched", "unbatched"])
def test_raw_contents_of_every_type_come_back(stub: Any, dtype: str, batched: bool) -> None:
    shape, raw = ([2, 3] if batched else [6]), sample(dtype, 6)
    ask = pb.ModelInferRequest(model_name=f"{'rows' if batched else 'flat'}_{dtype.lower()}", id="i")
    ask.inputs.add(name="INPUT0", datatype=dtype, shape=shape)
    ask.raw_input_contents.append(raw)
    got = stub.ModelInfer(ask, timeout=60)
    assert (got.id, got.model_version) == ("i", "1")
    assert [(one.name, one.datatype, list(one.shape)) for one in got.outputs] == [("OUTPUT0", dtype, shape)]
    assert list(got.raw_output_contents) == [raw]


@statement("T176")
@pytest.mark.parametrize("dtype", sorted(CONTENTS))
def test_typed_contents_of_every_type_come_back_raw(stub: Any, dtype: str) -> None:
    ask = request(f"rows_{dtype.lower()}", 6, dtype)
    getattr(ask.inputs[0].contents, CONTENTS[dtype]).extend(values(dtype, 6).tolist())
    assert list(stub.ModelInfer(ask, timeout=60).raw_output_contents) == [sample(dtype, 6)]


@statement("T176")
@pytest.mark.parametrize("dtype", ["FP16", "BF16"])
def test_typed_contents_do_not_exist_for_half_floats(stub: Any, dtype: str) -> None:
    ask = request(f"rows_{dtype.lower()}", 2, dtype)
    ask.inputs[0].contents.fp32_contents.extend([1, 2])
    refused(stub.ModelInfer, ask, rpc.StatusCode.INVALID_ARGUMENT, "INPUT0")


@statement("T177")
def test_typed_contents_outside_the_type_keep_their_low_bytes(stub: Any) -> None:
    ask = request("rows_int8", 2, "INT8")
    ask.inputs[0].contents.int_contents.extend([1, 300])
    assert list(stub.ModelInfer(ask, timeout=60).raw_output_contents) == [b"\x01\x2c"]


@statement("T178", "T179")
def test_contents_must_come_one_way(stub: Any) -> None:
    both = request()
    both.inputs[0].contents.fp32_contents.extend([1, 2])
    both.raw_input_contents.append(b"\0" * 8)
    text = "contents field must not be specified when using raw_input_contents for 'INPUT0' for model 'identity'"
    refused(stub.ModelInfer, both, rpc.StatusCode.INVALID_ARGUMENT, text)
    refused(
        stub.ModelInfer, request(), rpc.StatusCode.INVALID_ARGUMENT, "unable to find data for input tensor 'INPUT0'"
    )
    wrong = request()
    wrong.inputs[0].contents.int_contents.extend([1, 2])
    refused(stub.ModelInfer, wrong, rpc.StatusCode.INVALID_ARGUMENT, "expected datatype 'FP32'")
    twice = request()
    twice.inputs[0].contents.fp32_contents.extend([1, 2])
    twice.inputs[0].contents.int_contents.extend([1, 2])
    refused(stub.ModelInfer, twice, rpc.StatusCode.INVALID_ARGUMENT, "binary data was already supplied")


@statement("T180", "T182", "T006", "T007")
def test_codes_are_those_of_the_protocol(stub: Any) -> None:
    code = rpc.StatusCode
    refused(stub.ModelReady, pb.ModelReadyRequest(name="no"), code.NOT_FOUND, "unknown model: 'no' is not found")
    refused(stub.ModelReady, pb.ModelReadyRequest(name="two", version="9"), code.NOT_FOUND, "version 9 is not found")
    refused(stub.ModelMetadata, pb.ModelMetadataRequest(name="no"), code.NOT_FOUND, "unknown model: 'no' is not found")
    refused(stub.ModelConfig, pb.ModelConfigRequest(name="no"), code.NOT_FOUND, "unknown model: 'no' is not found")
    refused(stub.ModelInfer, full_request("no"), code.NOT_FOUND, "unknown model: 'no' is not found")
    text = "failed to get model version from specified version string 'x'"
    refused(stub.ModelInfer, full_request("identity", model_version="x"), code.INVALID_ARGUMENT, text)
    refused(stub.ModelReady, pb.ModelReadyRequest(name="two", version="x"), code.INVALID_ARGUMENT, text)
    refused(
        stub.ModelInfer,
        full_request("identity", model_version="-1"),
        code.INVALID_ARGUMENT,
        "should be an integral value > 0",
    )
    refused(stub.RepositoryModelLoad, pb.RepositoryModelLoadRequest(model_name="two"), code.UNAVAILABLE, "not allowed")
    register = pb.SystemSharedMemoryRegisterRequest(name="r", key="/k", byte_size=4)
    refused(stub.SystemSharedMemoryRegister, register, code.UNIMPLEMENTED, "Client shared memory is disabled")
    refused(stub.TraceSetting, pb.TraceSettingRequest(), code.UNIMPLEMENTED, "tracing is not served")
    refused(stub.ModelStatistics, pb.ModelStatisticsRequest(name="no"), code.INVALID_ARGUMENT, "'no' is not available")


@statement("T190", "T191", "T192")
@pytest.mark.parametrize(
    ("key", "kind", "value", "text"),
    [
        ("sequence_id", "int64_param", 5, ""),
        ("sequence_id", "string_param", "five", ""),
        ("sequence_id", "uint64_param", 5, "invalid value type for 'sequence_id' parameter"),
        ("sequence_start", "bool_param", True, ""),
        ("priority", "uint64_param", 1, ""),
        ("priority", "int64_param", 1, ""),
        ("priority", "int64_param", -1, "invalid value for 'priority', expected value >= 0"),
        ("priority", "string_param", "1", "invalid value type for 'priority' parameter"),
        ("timeout", "int64_param", 60_000_000, ""),
        ("timeout", "uint64_param", 60_000_000, "invalid value type for 'timeout' parameter"),
        ("triton_other", "bool_param", True, "parameter keys starting with 'triton_' are reserved"),
        ("triton_enable_empty_final_response", "bool_param", True, ""),
        ("mine", "string_param", "x", ""),
        ("mine", "double_param", 0.5, ""),
        ("mine", "uint64_param", 5, "invalid value type for 'mine' parameter"),
    ],
)
def test_parameters_have_the_documented_types(stub: Any, key: str, kind: str, value: Any, text: str) -> None:
    ask = request()
    ask.raw_input_contents.append(b"\0" * 8)
    setattr(ask.parameters[key], kind, value)
    if text:
        refused(stub.ModelInfer, ask, rpc.StatusCode.INVALID_ARGUMENT, text)
    else:
        assert stub.ModelInfer(ask, timeout=60).raw_output_contents[0] == b"\0" * 8


@statement("T194", "T098")
def test_classification_over_grpc(stub: Any) -> None:
    ask = request(count=3)
    ask.raw_input_contents.append(struct.pack("<3f", 0.5, 3.3, -1))
    output = ask.outputs.add(name="OUTPUT0")
    output.parameters["classification"].int64_param = 1
    got = stub.ModelInfer(ask, timeout=60)
    assert (got.outputs[0].datatype, list(got.outputs[0].shape)) == ("BYTES", [1, 1])
    assert got.raw_output_contents[0] == struct.pack("<I", 10) + b"3.300000:1"
    output.parameters["classification"].int64_param = 0
    refused(stub.ModelInfer, ask, rpc.StatusCode.INVALID_ARGUMENT, "invalid value for 'classification' parameter")


@statement("T195")
@pytest.mark.slow
def test_a_hundred_megabytes_go_both_ways(stub: Any) -> None:
    raw = np.arange(25_000_000, dtype="<i4").tobytes()
    ask = request("rows_int32", 25_000_000, "INT32")
    ask.raw_input_contents.append(raw)
    assert stub.ModelInfer(ask, timeout=60).raw_output_contents[0] == raw


@statement("T198", "T199", "T015")
def test_config_and_statistics_are_those_of_http(server: Server, grpc: grpcclient.InferenceServerClient) -> None:
    config = grpc.get_model_config("digits", as_json=True)["config"]
    assert config["max_batch_size"] == 64 and config["input"][0]["dims"] == ["64"]
    rows = grpc.get_inference_statistics("digits", as_json=True)["model_stats"][0]
    ours = server.stats("digits")
    assert int(rows.get("inference_count", 0)) == ours["inference_count"]
    assert set(ours["inference_stats"]) == set(pb.DESCRIPTOR.message_types_by_name["InferStatistics"].fields_by_name)


@statement("T200", "T326", "T327", "T328")
def test_log_settings_over_grpc(grpc: grpcclient.InferenceServerClient, stub: Any) -> None:
    before = grpc.get_log_settings(as_json=True)["settings"]
    assert set(before) == {"log_file", "log_info", "log_warning", "log_error", "log_verbose_level", "log_format"}
    grpc.update_log_settings({"log_verbose_level": 2})
    assert grpc.get_log_settings(as_json=True)["settings"]["log_verbose_level"]["uint32_param"] == 2
    grpc.update_log_settings({"log_verbose_level": 0})
    for key, kind, value, code in (
        ("log_file", "string_param", "/tmp/x", rpc.StatusCode.UNIMPLEMENTED),
        ("log_format", "string_param", "xml", rpc.StatusCode.INVALID_ARGUMENT),
        ("log_info", "string_param", "yes", rpc.StatusCode.INVALID_ARGUMENT),
    ):
        ask = pb.LogSettingsRequest()
        setattr(ask.settings[key], kind, value)
        refused(stub.LogSettings, ask, code, "log")


def stream_of(client: grpcclient.InferenceServerClient) -> queue.Queue[Any]:
    got: queue.Queue[Any] = queue.Queue()
    client.start_stream(lambda result, error: got.put(error if error is not None else result.get_response()))
    return got


def tensor(*numbers: float, name: str = "INPUT0") -> grpcclient.InferInput:
    out = grpcclient.InferInput(name, [1, len(numbers)], "FP32")
    out.set_data_from_numpy(np.array([numbers], np.float32))
    return out


@statement("T183", "T186", "T355")
def test_a_stream_answers_in_the_order_of_its_requests(server: Server) -> None:
    with grpcclient.InferenceServerClient(server.grpc) as client:
        got = stream_of(client)
        for number in range(200):
            model = ("identity", "rows_fp32", "plain_batch")[number % 3]
            client.async_stream_infer(model, [tensor(number)], request_id=str(number))
        answers = [got.get(timeout=60) for _ in range(200)]
        client.stop_stream()
    assert [one.id for one in answers] == [str(number) for number in range(200)]
    assert [struct.unpack("<f", one.raw_output_contents[0])[0] for one in answers] == list(range(200))
    assert got.empty()
    assert all(one.parameters["triton_final_response"].bool_param for one in answers)


@statement("T187")
def test_an_error_in_a_stream_leaves_the_stream_open(server: Server) -> None:
    with grpcclient.InferenceServerClient(server.grpc) as client:
        got = stream_of(client)
        client.async_stream_infer("identity", [tensor(1, name="WRONG")], request_id="bad")
        client.async_stream_infer("no_such_model", [tensor(1)], request_id="worse")
        client.async_stream_infer("identity", [tensor(1)], request_id="good")
        first, second, third = (got.get(timeout=60) for _ in range(3))
        client.stop_stream()
    assert isinstance(first, InferenceServerException) and "WRONG" in str(first)
    assert isinstance(second, InferenceServerException) and "no_such_model" in str(second)
    assert third.id == "good"


@statement("T188")
def test_a_stream_that_asks_for_it_ends_with_the_status_of_its_first_error(stub: Any) -> None:
    calls = stub.ModelStreamInfer(iter([full_request("no")]), metadata=(("triton_grpc_error", "true"),), timeout=60)
    with pytest.raises(rpc.RpcError) as caught:
        list(calls)
    assert caught.value.code() == rpc.StatusCode.NOT_FOUND


@statement("T202")
def test_compressed_requests_and_answers(tmp_path) -> None:
    add_model(tmp_path, "identity", identity_config())
    with (
        serve(tmp_path, "--grpc-infer-response-compression-level=high") as running,
        grpcclient.InferenceServerClient(running.grpc) as client,
    ):
        for algorithm in ("gzip", "deflate", None):
            result = client.infer("identity", [tensor(*[1.5] * 4000)], compression_algorithm=algorithm)
            assert (result.as_numpy("OUTPUT0") == 1.5).all()


@statement("T204")
def test_forwarded_metadata_must_not_take_a_reserved_name(tmp_path) -> None:
    add_model(tmp_path, "identity", identity_config())
    with (
        serve(tmp_path, "--grpc-header-forward-pattern=^(my-.*|timeout)$") as running,
        rpc.insecure_channel(running.grpc) as opened,
    ):
        call = service_pb2_grpc.GRPCInferenceServiceStub(opened).ModelInfer
        ask = request()
        ask.raw_input_contents.append(b"\0" * 8)
        assert call(ask, metadata=(("my-header", "1"),), timeout=60).raw_output_contents
        refused(call, ask, rpc.StatusCode.INVALID_ARGUMENT, "is reserved", metadata=(("timeout", "1"),))


@statement("T172")
def test_reflection_lists_the_services_and_describes_them(channel: rpc.Channel) -> None:
    def ask(payload: bytes) -> bytes:
        call = channel.stream_stream(
            "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", lambda m: m, lambda data: data
        )
        return next(iter(call(iter([payload]), timeout=60)))

    services = ask(b"\x3a\x00")  # list_services = 7, ""
    assert b"inference.GRPCInferenceService" in services and b"grpc.health.v1.Health" in services
    name = b"inference.GRPCInferenceService"
    answer = ask(b"\x22" + bytes([len(name)]) + name)  # file_containing_symbol = 4
    descriptors = [bytes(one) for one in _file_descriptors(answer)]
    found = [descriptor_pb2.FileDescriptorProto.FromString(one) for one in descriptors]
    methods = {method.name for file in found for service in file.service for method in service.method}
    assert methods >= UNARY


def _fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """The length-delimited fields of a protobuf message."""
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(message):
        tag = varint()
        size = varint()
        if tag & 7 == 2:
            yield tag >> 3, message[at : at + size]
            at += size


def _file_descriptors(answer: bytes) -> Iterator[bytes]:
    for number, inner in _fields(answer):
        if number == 4:
            yield from (data for field, data in _fields(inner) if field == 1)


@statement("T175")
def test_inputs_without_contents_take_raw_entries_in_order(stub: Any) -> None:
    ask = pb.ModelInferRequest(model_name="two")
    for name in "BA":
        ask.inputs.add(name=name, datatype="FP32", shape=[1, 1])
        ask.raw_input_contents.append(encode("FP32", np.array([ord(name)], np.float32)))
    got = stub.ModelInfer(ask, timeout=60)
    assert [struct.unpack("<f", one)[0] for one in got.raw_output_contents] == [65.0, 66.0]


@statement("T189", "T244")
def test_a_deadline_of_the_client_is_kept(stub: Any, server: Server, tmp_path) -> None:
    add_model(tmp_path, "slow", identity_config(delay_ms=30_000))
    with serve(tmp_path) as running, rpc.insecure_channel(running.grpc) as opened:
        call = service_pb2_grpc.GRPCInferenceServiceStub(opened).ModelInfer
        ask = request("slow")
        ask.raw_input_contents.append(b"\0" * 8)
        with pytest.raises(rpc.RpcError) as caught:
            call(ask, timeout=0.2)
        assert caught.value.code() == rpc.StatusCode.DEADLINE_EXCEEDED
        running.process.kill()


def test_a_call_has_an_access_line_when_asked_for(tmp_path: Path) -> None:
    add_model(tmp_path, "m", identity_config())
    with serve(tmp_path, "--log-format=json", "--access-log=true") as running:
        with grpcclient.InferenceServerClient(running.grpc) as client:
            client.infer("m", [tensor(1.0)], request_id="the-request")
            with pytest.raises(InferenceServerException):
                client.infer("unknown", [tensor(1.0)], request_id="in-vain")
        running.send_signal()
        running.wait()
        events = [json.loads(line) for line in running.log.splitlines()]
    lines = {event.get("request_id"): event["message"] for event in events if " gRPC " in event["message"]}
    assert lines["the-request"].endswith(" gRPC /inference.GRPCInferenceService/ModelInfer 0")
    assert lines["in-vain"].endswith(" gRPC /inference.GRPCInferenceService/ModelInfer 5")
