"""The flags of `argosy serve`: one table, and how they become ServerOptions.

Names, types and defaults are the ecosystem's where the flag exists there. Those that
it has and this server does not serve yet are refused by name.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

from argosy.cli.values import (
    backend_setting,
    boolean,
    byte_count,
    control_mode,
    gpu_bytes,
    positive,
    restriction,
    verbose_level,
)
from argosy.errors import InvalidArgument
from argosy.logs import FORMATS, LogSettings
from argosy.options import CATEGORIES, Endpoint, GrpcSettings, ServerOptions, Tls
from argosy.repository import ControlMode

_NOT_SERVED = {
    "--trace-config": "tracing",
    "--cache-config": "the response cache",
    "--cache-directory": "the response cache",
    "--response-cache-byte-size": "the response cache",
    "--rate-limit": "the rate limiter",
    "--rate-limit-resource": "the rate limiter",
    "--host-policy": "host policies",
    "--model-namespacing": "model namespaces",
    "--allow-sagemaker": "the SageMaker endpoint",
    "--allow-vertex-ai": "the Vertex AI endpoint",
    "--repoagent-directory": "repository agents",
    "--metrics-config": "metrics settings",
}
# Accepted for start scripts: settings of machinery that does not exist here.
_NO_EFFECT = {
    "--grpc-infer-thread-count",
    "--grpc-infer-allocation-pool-size",
    "--grpc-max-response-pool-size",
    "--buffer-manager-thread-count",
    "--backend-directory",
    "--cuda-virtual-address-size",
    "--allow-cpu-metrics",
    "--model-load-gpu-limit",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """`ignored`: flags that were accepted without effect, to be said aloud."""

    options: ServerOptions
    logs: LogSettings
    ignored: tuple[str, ...]


def make_parser() -> argparse.ArgumentParser:
    """Every flag with its default and unit."""
    parser = argparse.ArgumentParser(
        prog="argosy serve",
        description="Serves models over HTTP (KServe V2), gRPC and Prometheus metrics.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("path", nargs="*", help="a model repository, one model's directory, or a model file such as model.onnx")
    group = parser.add_argument_group("models").add_argument
    group("--model-repository", "--model-store", action="append", default=[], metavar="DIR", help="further repository")
    group(
        "--model-control-mode",
        type=control_mode,
        default=ControlMode.NONE,
        metavar="none|poll|explicit",
        help="who decides what is loaded",
    )
    group("--load-model", action="append", default=[], metavar="NAME", help="explicit mode: load at start; '*' for all")
    group("--repository-poll-secs", type=float, default=15.0, metavar="SECONDS", help="poll mode: time between looks")
    group("--model-config-name", default="", metavar="NAME", help="use configs/NAME.pbtxt where it exists")
    group("--model-load-thread-count", type=positive, default=4, metavar="N", help="models loaded at a time")
    group("--model-load-retry-count", type=int, default=0, metavar="N", help="further attempts after a failed load")
    group("--exit-on-error", type=boolean, default=True, metavar="BOOL", help="exit when a model fails at start")
    group("--strict-readiness", type=boolean, default=True, metavar="BOOL", help="ready only when every model is")
    group("--disable-auto-complete-config", action="store_true", help="demand a complete config.pbtxt")
    group(
        "--strict-model-config",
        type=boolean,
        default=None,
        metavar="BOOL",
        help="deprecated: --disable-auto-complete-config",
    )
    group(
        "--backend-config",
        type=backend_setting,
        action="append",
        default=[],
        metavar="[BACKEND,]KEY=VALUE",
        help="setting of a backend",
    )
    group = parser.add_argument_group("endpoints").add_argument
    group("--host", default="", metavar="ADDRESS", help="address of all endpoints; 0.0.0.0 opens them to the network")
    for name, port in (("http", 8000), ("grpc", 8001), ("metrics", 8002)):
        group(f"--allow-{name}", type=boolean, default=True, metavar="BOOL", help=f"serve {name}")
        group(f"--{name}-address", default="", metavar="ADDRESS", help="default: --host, else 127.0.0.1")
        group(f"--{name}-port", type=int, default=port, metavar="PORT", help="0 takes a free one")
    group("--reuse-http-port", type=boolean, default=False, metavar="BOOL", help="share the port (SO_REUSEPORT)")
    group("--reuse-grpc-port", type=boolean, default=False, metavar="BOOL", help="share the port (SO_REUSEPORT)")
    group(
        "--http-thread-count",
        "--io-threads",
        dest="io_threads",
        type=positive,
        default=1,
        metavar="N",
        help="event loops, each of which serves both protocols",
    )
    group(
        "--http-max-input-size",
        type=positive,
        default=64 << 20,
        metavar="BYTES",
        help="limit of JSON and decompressed bodies",
    )
    group(
        "--allow-client-shm",
        type=boolean,
        default=False,
        metavar="BOOL",
        help="clients may register shared memory of this machine, and of its GPUs",
    )
    group(
        "--http-header-forward-pattern", default="", metavar="REGEX", help="HTTP headers that become request parameters"
    )
    group(
        "--grpc-header-forward-pattern",
        default="",
        metavar="REGEX",
        help="gRPC metadata that become request parameters",
    )
    group(
        "--http-restricted-api",
        type=restriction,
        action="append",
        default=[],
        metavar="APIS:KEY=VALUE",
        help=f"APIs that need a header; of {', '.join(CATEGORIES)}",
    )
    group(
        "--grpc-restricted-protocol",
        type=restriction,
        action="append",
        default=[],
        metavar="APIS:KEY=VALUE",
        help="the same for gRPC metadata",
    )
    group("--access-log", type=boolean, default=False, metavar="BOOL", help="one log line per request")
    group = parser.add_argument_group("TLS").add_argument
    group("--grpc-use-ssl", type=boolean, default=False, metavar="BOOL", help="TLS on gRPC")
    group(
        "--grpc-use-ssl-mutual",
        type=boolean,
        default=False,
        metavar="BOOL",
        help="TLS with client certificates on gRPC",
    )
    for name in ("http", "grpc"):
        group(f"--{name}-server-cert", default="", metavar="PEM", help="certificate chain")
        group(f"--{name}-server-key", default="", metavar="PEM", help="private key")
        group(f"--{name}-root-cert", default="", metavar="PEM", help="authority that signs client certificates")
    group("--http-use-ssl-mutual", type=boolean, default=False, metavar="BOOL", help="client certificates on HTTP")
    group = parser.add_argument_group("gRPC").add_argument
    group(
        "--grpc-infer-response-compression-level",
        choices=("none", "low", "medium", "high"),
        default="none",
        help="gzip of answers",
    )
    group("--grpc-keepalive-time", type=int, default=7_200_000, metavar="MS", help="ping a silent client after")
    group(
        "--grpc-keepalive-timeout",
        type=int,
        default=20_000,
        metavar="MS",
        help="close when the ping stays unanswered for",
    )
    group(
        "--grpc-keepalive-permit-without-calls",
        type=boolean,
        default=False,
        metavar="BOOL",
        help="ping without calls as well",
    )
    group(
        "--grpc-http2-max-pings-without-data", type=int, default=2, metavar="N", help="pings sent without data; 0: any"
    )
    group(
        "--grpc-http2-min-recv-ping-interval-without-data",
        type=int,
        default=300_000,
        metavar="MS",
        help="a client that pings more often strikes",
    )
    group(
        "--grpc-http2-max-ping-strikes",
        type=int,
        default=2,
        metavar="N",
        help="strikes before the connection ends; 0: any",
    )
    group("--grpc-max-connection-age", type=int, default=0, metavar="MS", help="0: for ever")
    group("--grpc-max-connection-age-grace", type=int, default=0, metavar="MS", help="0: for ever")
    group = parser.add_argument_group("resources and life").add_argument
    group("--id", default="argosy", metavar="NAME", help="server name in the metadata")
    group(
        "--cpu-threads",
        type=int,
        default=0,
        metavar="N",
        help="threads that all instances share; 0: what the control group grants",
    )
    group(
        "--max-queued-bytes",
        type=int,
        default=0,
        metavar="BYTES",
        help="bound of all queues; 0: a quarter of the memory",
    )
    group(
        "--pinned-memory-pool-byte-size",
        type=byte_count,
        default=256 << 20,
        metavar="BYTES",
        help="pinned host memory, where there is a GPU: half for received bytes, half for batches and answers",
    )
    group(
        "--cuda-memory-pool-byte-size",
        type=gpu_bytes,
        action="append",
        default=[],
        metavar="GPU:BYTES",
        help="memory of one GPU for batches; 67108864 for one that is not named",
    )
    group(
        "--min-supported-compute-capability",
        type=float,
        default=7.5,
        metavar="X.Y",
        help="GPUs of a lower compute capability are left alone",
    )
    group("--enable-peer-access", type=boolean, default=True, metavar="BOOL", help="GPUs may read each other's memory")
    group(
        "--allow-gpu-metrics",
        type=boolean,
        default=True,
        metavar="BOOL",
        help="GPU metrics, with nvidia-ml-py and a GPU",
    )
    group(
        "--metrics-interval-ms", type=positive, default=2000, metavar="MS", help="GPU metrics are read twice as often"
    )
    group(
        "--exit-timeout-secs", type=float, default=30.0, metavar="SECONDS", help="time to finish what runs at the end"
    )
    group("--drain-delay", type=float, default=0.0, metavar="SECONDS", help="keep serving, not ready, after SIGTERM")
    group = parser.add_argument_group("logging").add_argument
    group("--log-verbose", type=verbose_level, default=0, metavar="LEVEL", help="0: no verbose lines")
    for level in ("info", "warning", "error"):
        group(f"--log-{level}", type=boolean, default=True, metavar="BOOL", help=f"write {level} lines")
    group("--log-format", choices=FORMATS, default="default", help="line format")
    group("--log-file", default="", metavar="FILE", help="default: standard error")
    for flag in sorted({*_NOT_SERVED, *_NO_EFFECT}):
        parser.add_argument(flag, action="append", default=[], help=argparse.SUPPRESS, nargs="?", const="")
    return parser


def parse(arguments: Sequence[str]) -> Parsed:
    """Raises InvalidArgument for flags that are not served or contradict each other; exits 2 on usage."""
    parser = make_parser()
    given = vars(parser.parse_args(arguments))

    def value(flag: str) -> object:
        return given[flag.lstrip("-").replace("-", "_")]

    off = {"--model-namespacing", "--allow-sagemaker", "--allow-vertex-ai", "--rate-limit"}
    for flag, what in _NOT_SERVED.items():
        values = value(flag)
        assert isinstance(values, list)
        if values and not (flag in off and values[-1].lower() in ("false", "off", "0")):
            raise InvalidArgument(f"{flag}: {what} is not served by this version; leave the flag out")
    ignored = tuple(flag for flag in sorted(_NO_EFFECT) if value(flag))
    host = given["host"] or "127.0.0.1"
    # Two endpoints cannot listen on one path.
    beside_http = "" if given["http_address"].startswith("unix:") else given["http_address"]
    endpoints = {
        name: Endpoint(
            enabled=given[f"allow_{name}"],
            address=given[f"{name}_address"] or (beside_http if name == "metrics" else "") or host,
            port=given[f"{name}_port"],
            reuse_port=given.get(f"reuse_{name}_port", False),
        )
        for name in ("http", "grpc", "metrics")
    }
    repositories = (*given["path"], *given["model_repository"])
    if not repositories:
        raise InvalidArgument("--model-repository must be specified (or a path: argosy serve ./model_repository)")
    backend_config: dict[str, dict[str, str]] = {}
    for backend, key, setting in given["backend_config"]:
        backend_config.setdefault(backend, {})[key] = setting
    grpc_tls = given["grpc_use_ssl"] or given["grpc_use_ssl_mutual"]
    options = ServerOptions(
        repositories=repositories,
        server_id=given["id"],
        control_mode=given["model_control_mode"],
        startup_models=tuple(given["load_model"]),
        poll_secs=given["repository_poll_secs"],
        config_name=given["model_config_name"],
        load_threads=given["model_load_thread_count"],
        load_retries=given["model_load_retry_count"],
        exit_on_error=given["exit_on_error"],
        strict_readiness=given["strict_readiness"],
        auto_complete=not (given["disable_auto_complete_config"] or given["strict_model_config"]),
        backend_config=backend_config,
        http=endpoints["http"],
        grpc=endpoints["grpc"],
        metrics=endpoints["metrics"],
        http_tls=_tls(given, "http", enabled=True),
        grpc_tls=_tls(given, "grpc", enabled=grpc_tls),
        grpc_settings=GrpcSettings(
            keepalive_time_ms=given["grpc_keepalive_time"],
            keepalive_timeout_ms=given["grpc_keepalive_timeout"],
            keepalive_permit_without_calls=given["grpc_keepalive_permit_without_calls"],
            max_pings_without_data=given["grpc_http2_max_pings_without_data"],
            min_recv_ping_interval_ms=given["grpc_http2_min_recv_ping_interval_without_data"],
            max_ping_strikes=given["grpc_http2_max_ping_strikes"],
            max_connection_age_ms=given["grpc_max_connection_age"],
            max_connection_age_grace_ms=given["grpc_max_connection_age_grace"],
            response_compression=given["grpc_infer_response_compression_level"],
        ),
        io_threads=given["io_threads"],
        max_input_bytes=given["http_max_input_size"],
        allow_client_shm=given["allow_client_shm"],
        http_header_forward_pattern=given["http_header_forward_pattern"],
        grpc_header_forward_pattern=given["grpc_header_forward_pattern"],
        http_restricted=tuple(given["http_restricted_api"]),
        grpc_restricted=tuple(given["grpc_restricted_protocol"]),
        pinned_memory_pool_bytes=given["pinned_memory_pool_byte_size"],
        cuda_memory_pool_bytes=dict(given["cuda_memory_pool_byte_size"]),
        min_compute_capability=given["min_supported_compute_capability"],
        peer_access=given["enable_peer_access"],
        gpu_metrics=given["allow_gpu_metrics"],
        metrics_interval_ms=given["metrics_interval_ms"],
        cpu_threads=given["cpu_threads"],
        max_queued_bytes=given["max_queued_bytes"],
        exit_timeout_secs=given["exit_timeout_secs"],
        drain_delay_secs=given["drain_delay"],
        access_log=given["access_log"],
    )
    logs = LogSettings(
        info=given["log_info"],
        warning=given["log_warning"],
        error=given["log_error"],
        verbose_level=given["log_verbose"],
        format=given["log_format"],
        file=given["log_file"],
    )
    return Parsed(options=options, logs=logs, ignored=ignored)


def _tls(given: dict[str, object], name: str, *, enabled: bool) -> Tls:
    if not enabled:
        return Tls()
    return Tls(
        certificate=str(given[f"{name}_server_cert"]),
        key=str(given[f"{name}_server_key"]),
        client_ca=str(given[f"{name}_root_cert"]),
        mutual=bool(given[f"{name}_use_ssl_mutual"]),
    )
