"""TLS with and without client certificates on both protocols, restricted APIs, forwarded headers."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
from pathlib import Path
from typing import Any

import grpc as rpc
import pytest
import tritonclient.grpc as grpcclient
import tritonclient.http as httpclient
from serving import Ended, Server, add_model, ask, identity_config, serve
from serving.waiting import until
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc
from tritonclient.utils import InferenceServerException

statement = pytest.mark.statement
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"  # with empty settings
TENSOR = {"name": "INPUT0", "shape": [1, 1], "datatype": "FP32", "data": [1]}


def openssl(*words: str) -> None:
    subprocess.run(["openssl", *words], check=True, capture_output=True)


def certificate(folder: Path, name: str, authority: Path | None = None) -> Path:
    """Writes NAME.pem and NAME.key for 127.0.0.1; signed by `authority`, or by itself."""
    pem, key = folder / f"{name}.pem", folder / f"{name}.key"
    words = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    words += ["-subj", f"/CN={name}", "-keyout", str(key), "-out", str(pem)]
    if authority is None:
        openssl(*words, "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost")
        return pem
    request = folder / f"{name}.csr"
    words[1:2] = []
    openssl(*[word for word in words if word not in ("-days", "2")][:-1], str(request))
    extension = folder / f"{name}.ext"
    extension.write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
    signer = ["-CA", str(authority), "-CAkey", str(authority.with_suffix(".key")), "-CAcreateserial"]
    openssl("x509", "-req", "-days", "2", "-in", str(request), *signer, "-out", str(pem), "-extfile", str(extension))
    return pem


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    authority = certificate(folder, "authority")
    for name in ("server", "client"):
        certificate(folder, name, authority)
    certificate(folder, "stranger")
    return folder


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    add_model(tmp_path, "m", identity_config())
    return tmp_path


def flags(folder: Path, *, mutual: bool) -> list[str]:
    out = ["--grpc-use-ssl=true"]
    for name in ("http", "grpc"):
        out += [f"--{name}-server-cert={folder / 'server.pem'}", f"--{name}-server-key={folder / 'server.key'}"]
        if mutual:
            out += [f"--{name}-root-cert={folder / 'authority.pem'}", f"--{name}-use-ssl-mutual=true"]
    return out


def context(folder: Path, identity: str = "") -> ssl.SSLContext:
    out = ssl.create_default_context(cafile=str(folder / "authority.pem"))
    if identity:
        out.load_cert_chain(folder / f"{identity}.pem", folder / f"{identity}.key")
    return out


def credentials(folder: Path, identity: str = "") -> rpc.ChannelCredentials:
    pair = [(folder / f"{identity}.{kind}").read_bytes() if identity else None for kind in ("key", "pem")]
    return rpc.ssl_channel_credentials((folder / "authority.pem").read_bytes(), *pair)


def live(server: Server, folder: Path, identity: str = "") -> bool:
    with rpc.secure_channel(server.grpc, credentials(folder, identity)) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        return bool(stub.ServerLive(pb.ServerLiveRequest(), timeout=60).live)


@statement("T201")
def test_tls_on_both_protocols_with_the_official_clients(repository: Path, certificates: Path) -> None:
    with serve(repository, *flags(certificates, mutual=False)) as server:
        tls = context(certificates)
        assert ask(server.ports["http"], "POST", "/v2/models/m/infer", {"inputs": [TENSOR]}, tls=tls).status == 200
        root = str(certificates / "authority.pem")
        with httpclient.InferenceServerClient(server.http, ssl=True, ssl_options={"ca_certs": root}) as client:
            assert client.is_server_live()
        with grpcclient.InferenceServerClient(server.grpc, ssl=True, root_certificates=root) as client:
            assert client.is_server_live()
        with pytest.raises((OSError, ValueError)):
            ask(server.ports["http"], "GET", "/v2/health/live", tls=ssl.create_default_context())
        with pytest.raises(OSError):
            ask(server.ports["http"], "GET", "/v2/health/live")
        assert ask(server.ports["metrics"], "GET", "/metrics").status == 200
        assert live(server, certificates)


@statement("T201")
def test_client_certificates_are_demanded_and_checked(repository: Path, certificates: Path) -> None:
    with serve(repository, *flags(certificates, mutual=True)) as server:
        port = server.ports["http"]
        assert ask(port, "GET", "/v2/health/live", tls=context(certificates, "client")).status == 200
        assert live(server, certificates, "client")
        for identity in ("", "stranger"):
            with pytest.raises(OSError):
                ask(port, "GET", "/v2/health/live", tls=context(certificates, identity))
            with pytest.raises(rpc.RpcError) as caught:
                live(server, certificates, identity)
            assert caught.value.code() == rpc.StatusCode.UNAVAILABLE
        assert ask(port, "GET", "/v2/health/live", tls=context(certificates, "client")).status == 200


def test_replaced_key_files_are_read_again(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("turn")
    authority = certificate(folder, "authority")
    certificate(folder, "server", authority)
    with serve(repository, *flags(folder, mutual=False)) as server:
        assert ask(server.ports["http"], "GET", "/v2/health/live", tls=context(folder)).status == 200
        fresh = tmp_path_factory.mktemp("fresh")
        certificate(fresh, "server", certificate(fresh, "authority"))
        for name in ("server.key", "server.pem"):
            (fresh / name).replace(folder / name)

        def answers() -> bool:
            try:
                return ask(server.ports["http"], "GET", "/v2/health/live", tls=context(fresh)).status == 200
            except OSError:
                return False

        until(answers)


@pytest.mark.parametrize("broken", ["missing", "no certificate", "wrong key"])
def test_a_certificate_that_cannot_be_used_ends_the_start(repository: Path, certificates: Path, broken: str) -> None:
    pem, key = certificates / "server.pem", certificates / "server.key"
    if broken == "missing":
        pem = certificates / "nowhere.pem"
    elif broken == "wrong key":
        key = certificates / "client.key"
    else:
        pem = repository / "text.pem"
        pem.write_text("nothing")
    with pytest.raises(Ended) as ended, serve(repository, f"--http-server-cert={pem}", f"--http-server-key={key}"):
        pass
    assert ended.value.code == 1 and os.path.basename(pem if broken != "wrong key" else key) in ended.value.log


@statement("T330")
def test_restricted_http_apis_need_the_header(repository: Path) -> None:
    flags = [
        "--http-restricted-api=model-repository,logging:Secret-Key=open sesame",
        "--http-restricted-api=metadata:k=v",
    ]
    with serve(repository, *flags) as server:
        for path, method, headers in (
            ("/v2/repository/index", "POST", {"secret-KEY": "open sesame"}),
            ("/v2/logging", "GET", {"Secret-Key": "open sesame"}),
            ("/v2/models/m", "GET", {"k": "v"}),
        ):
            for wrong in ({}, {next(iter(headers)): "wrong"}):
                answer = server.ask(method, path, headers=wrong)
                assert answer.status == 403
                assert answer.error.startswith("This API is restricted, expecting header '")
            assert server.ask(method, path, headers=headers).status == 200
        assert server.ask("PUT", "/v2/repository/index").status == 403  # before the method is looked at
        assert server.infer("m", [TENSOR]).status == 200
        assert server.ask("GET", "/v2/health/ready").status == 200


@statement("T331")
def test_restricted_grpc_protocols_need_the_metadata(repository: Path) -> None:
    with (
        serve(repository, "--grpc-restricted-protocol=inference,health:key=value") as server,
        rpc.insecure_channel(server.grpc) as channel,
    ):
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        with pytest.raises(rpc.RpcError, match="expecting header 'triton-grpc-protocol-key'") as caught:
            stub.ServerLive(pb.ServerLiveRequest(), timeout=30)
        assert caught.value.code() == rpc.StatusCode.UNAVAILABLE
        with pytest.raises(rpc.RpcError, match="expecting header 'triton-grpc-protocol-key'"):
            list(stub.ModelStreamInfer(iter([pb.ModelInferRequest(model_name="m")]), timeout=30))
        allowed = (("triton-grpc-protocol-key", "value"),)
        assert stub.ServerLive(pb.ServerLiveRequest(), metadata=allowed, timeout=30).live
        assert stub.ServerMetadata(pb.ServerMetadataRequest(), timeout=30).name


@statement("T333")
def test_forwarded_headers_are_matched_in_any_case_and_must_not_be_reserved(repository: Path) -> None:
    with serve(repository, "--http-header-forward-pattern=my_.*|PRIORITY|triton_") as server:
        assert server.infer("m", [TENSOR], {"MY_header": "x"}).status == 200
        for name in ("priority", "triton_x"):
            answer = server.infer("m", [TENSOR], {name: "1"})
            assert answer.status == 400
            assert "is reserved for Triton usage and cannot be forwarded" in answer.error
        assert server.infer("m", [TENSOR], {"timeout": "1"}).status == 200


def test_a_pattern_that_is_no_pattern_ends_the_start(repository: Path) -> None:
    with pytest.raises(Ended) as ended, serve(repository, "--http-header-forward-pattern=("):
        pass
    assert ended.value.code == 1 and "(" in ended.value.log


def until_closed(raw: socket.socket) -> bytes:
    data = b""
    while part := raw.recv(4096):
        data += part
    return data


@statement("T203")
def test_a_client_that_pings_too_often_is_sent_away(repository: Path) -> None:
    keepalive: list[tuple[str, Any]] = [
        ("grpc.keepalive_time_ms", 20),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.http2.min_time_between_pings_ms", 20),
        ("grpc.http2.min_ping_interval_without_data_ms", 20),
    ]
    (repository / "m" / "config.pbtxt").write_text(identity_config(delay_ms=600_000))
    with (
        serve(repository, "--grpc-http2-max-ping-strikes=1", "--exit-timeout-secs=0") as server,
        rpc.insecure_channel(server.grpc, options=keepalive) as channel,
    ):
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        message = pb.ModelInferRequest(model_name="m", raw_input_contents=[b"\0" * 4])
        message.inputs.add(name="INPUT0", datatype="FP32", shape=[1, 1])
        with pytest.raises(rpc.RpcError) as caught:
            stub.ModelInfer(message, timeout=100)
        # The library may have seen the connection's end before the words that came with it.
        assert caught.value.code() == rpc.StatusCode.UNAVAILABLE
        with socket.create_connection(("127.0.0.1", server.ports["grpc"]), 60) as raw:
            raw.sendall(PREFACE + (b"\0\0\x08\x06\0" + bytes(4) + b"12345678") * 5)
            assert b"\0\0\0\x0btoo_many_pings" in until_closed(raw)  # ENHANCE_YOUR_CALM, and why


@statement("T203")
def test_a_connection_over_its_age_is_told_to_leave(repository: Path) -> None:
    with serve(repository, "--grpc-max-connection-age=100", "--grpc-max-connection-age-grace=100") as server:
        with socket.create_connection(("127.0.0.1", server.ports["grpc"]), 60) as raw:
            raw.sendall(PREFACE)
            data = until_closed(raw)
        assert b"\x07\0\0\0\0\0" in data  # a GOAWAY frame, before the end


def test_a_failed_login_leaves_no_trace_in_the_client(repository: Path, certificates: Path) -> None:
    with serve(repository, *flags(certificates, mutual=True)) as server:
        with grpcclient.InferenceServerClient(server.grpc) as client, pytest.raises(InferenceServerException):
            client.is_server_live(client_timeout=2)
        assert live(server, certificates, "client")
