"""The flag table: names, defaults and contradictions, without a server."""

from __future__ import annotations

import pytest
from argosy.cli.flags import make_parser, parse
from argosy.errors import InvalidArgument
from argosy.options import ServerOptions


def test_no_flags_are_the_defaults_of_the_options() -> None:
    assert parse(["repository"]).options == ServerOptions(repositories=("repository",))


def test_every_flag_shows_its_default_or_is_a_switch() -> None:
    for action in make_parser()._actions:
        assert action.help, action.option_strings


@pytest.mark.parametrize(
    ("flags", "field", "value"),
    [
        (["--exit-on-error=false"], "exit_on_error", False),
        (["--strict-readiness", "0"], "strict_readiness", False),
        (["--model-load-thread-count=7"], "load_threads", 7),
        (["--http-thread-count=3"], "io_threads", 3),
        (["--http-max-input-size=5"], "max_input_bytes", 5),
        (["--exit-timeout-secs=0.5"], "exit_timeout_secs", 0.5),
        (["--id=x"], "server_id", "x"),
        (["--pinned-memory-pool-byte-size=0"], "pinned_memory_pool_bytes", 0),
        (["--cuda-memory-pool-byte-size=0:5", "--cuda-memory-pool-byte-size=3:7"], "cuda_memory_pool_bytes",
         {0: 5, 3: 7}),
        (["--min-supported-compute-capability=9.0"], "min_compute_capability", 9.0),
        (["--enable-peer-access=off"], "peer_access", False),
        (["--allow-gpu-metrics=false"], "gpu_metrics", False),
        (["--metrics-interval-ms=5"], "metrics_interval_ms", 5),
        (["--disable-auto-complete-config"], "auto_complete", False),
        (["--strict-model-config=true"], "auto_complete", False),
        (["--model-repository=a", "--model-store=b"], "repositories", ("repository", "a", "b")),
        (["--backend-config=onnxruntime,a=1", "--backend-config=b=2"], "backend_config",
         {"onnxruntime": {"a": "1"}, "": {"b": "2"}}),
    ],
)  # fmt: skip
def test_a_flag_sets_its_field(flags: list[str], field: str, value: object) -> None:
    assert getattr(parse(["repository", *flags]).options, field) == value


def test_addresses_follow_host_and_metrics_follow_http() -> None:
    options = parse(["r", "--host=10.0.0.1"]).options
    assert {one.address for one in (options.http, options.grpc, options.metrics)} == {"10.0.0.1"}
    options = parse(["r", "--http-address=10.0.0.2"]).options
    assert (options.http.address, options.grpc.address, options.metrics.address) == (
        "10.0.0.2",
        "127.0.0.1",
        "10.0.0.2",
    )


@pytest.mark.parametrize("value", ["false", "off", "0", "FALSE"])
def test_what_is_not_served_may_be_switched_off(value: str) -> None:
    parse(["r", f"--model-namespacing={value}"])
    with pytest.raises(InvalidArgument, match="--model-namespacing"):
        parse(["r", "--model-namespacing=true"])


def test_clients_may_share_memory_only_when_told() -> None:
    assert not parse(["r"]).options.allow_client_shm
    assert not parse(["r", "--allow-client-shm=off"]).options.allow_client_shm
    assert parse(["r", "--allow-client-shm=true"]).options.allow_client_shm


def test_flags_without_effect_are_listed() -> None:
    assert parse(["r", "--grpc-infer-thread-count=5", "--allow-cpu-metrics=true"]).ignored == (
        "--allow-cpu-metrics",
        "--grpc-infer-thread-count",
    )


@pytest.mark.parametrize(
    "flag",
    [
        "--model-load-thread-count=0",
        "--http-thread-count=-1",
        "--http-restricted-api=health",
        "--backend-config=x",
        "--cuda-memory-pool-byte-size=67108864",
        "--pinned-memory-pool-byte-size=1MB",
    ],
)
def test_a_value_that_cannot_be_is_a_usage_error(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(["r", flag])
    assert ended.value.code == 2
    assert flag.partition("=")[0] in capsys.readouterr().err
