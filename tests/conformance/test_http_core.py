"""HTTP: health, metadata, routing and error bodies."""

from __future__ import annotations

import json

import pytest
from serving import Ended, Server, add_model, ask, identity_config, serve
from serving.http import connect, send

statement = pytest.mark.statement
EXTENSIONS = [
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
]


@statement("T002", "T003", "T005", "T362")
@pytest.mark.parametrize("path", ["/v2/health/live", "/v2/health/ready", "/v2/models/two/ready"])
def test_health_of_a_good_server_is_200_without_a_body(server: Server, path: str) -> None:
    answer = server.ask("GET", path)
    assert (answer.status, answer.body) == (200, b"")


@statement("T002", "T003", "T004")
@pytest.mark.parametrize(("strict", "ready"), [("true", 400), ("false", 200)])
def test_a_failed_model_spoils_only_strict_readiness(tmp_path, strict: str, ready: int) -> None:
    add_model(tmp_path, "good", identity_config())
    add_model(tmp_path, "bad", identity_config(more="no_such_field: 1\n"))
    with serve(tmp_path, "--exit-on-error=false", f"--strict-readiness={strict}") as running:
        assert running.ask("GET", "/v2/health/live").status == 200
        answer = running.ask("GET", "/v2/health/ready")
        assert (answer.status, answer.body) == (ready, b"")
        assert running.ask("GET", "/v2/models/good/ready").status == 200


@statement("T006")
def test_readiness_of_an_unknown_model_is_404(server: Server) -> None:
    answer = server.ask("GET", "/v2/models/unknown/ready")
    assert (answer.status, answer.error) == (404, "Request for unknown model: 'unknown' is not found")


@statement("T007")
def test_readiness_of_an_unknown_version_is_404(server: Server) -> None:
    answer = server.ask("GET", "/v2/models/two/versions/99/ready")
    assert (answer.status, answer.error) == (404, "Request for unknown model: 'two' version 99 is not found")


@statement("T008", "T147")
def test_readiness_of_an_unloaded_version_is_503(tmp_path) -> None:
    add_model(tmp_path, "m", identity_config())
    with serve(tmp_path, "--model-control-mode=explicit", "--load-model=m") as running:
        assert running.ask("POST", "/v2/repository/models/m/unload").status == 200
        answer = running.ask("GET", "/v2/models/m/versions/1/ready")
        assert (answer.status, answer.error) == (503, "Request for unknown model: 'm' version 1 is not at ready state")
        answer = running.infer("m", [])
        assert (answer.status, answer.error) == (404, "Request for unknown model: 'm' has no available versions")


@statement("T009", "T010")
def test_server_metadata_has_name_version_and_extensions_in_order(server: Server) -> None:
    answer = server.ask("GET", "/v2")
    assert list(answer.json) == ["name", "version", "extensions"]
    assert answer.json["name"] == "conformance"
    assert answer.json["extensions"] == EXTENSIONS
    assert answer.headers["content-type"] == "application/json"


@statement("T011", "T013")
def test_model_metadata_shows_the_batch_dimension_and_the_backend(server: Server) -> None:
    assert server.ask("GET", "/v2/models/two").json == {
        "name": "two",
        "versions": ["1"],
        "platform": "identity",
        "inputs": [{"name": name, "datatype": "FP32", "shape": [-1, -1]} for name in "AB"],
        "outputs": [{"name": name, "datatype": "FP32", "shape": [-1, -1]} for name in ("Y0", "Y1")],
    }
    assert server.ask("GET", "/v2/models/two_flat").json["inputs"][0]["shape"] == [-1]
    assert server.ask("GET", "/v2/models/add_sub").json["platform"] == "onnxruntime_onnx"


@statement("T012", "T158")
def test_metadata_lists_ready_versions_ascending_as_text(server: Server) -> None:
    assert server.ask("GET", "/v2/models/versions").json["versions"] == ["3", "10"]
    assert server.ask("GET", "/v2/models/versions/versions/3").json["versions"] == ["3"]
    assert server.ask("GET", "/v2/models/versions/versions/1").status == 404


@statement("T014")
def test_string_tensors_are_bytes_in_metadata(server: Server) -> None:
    assert server.ask("GET", "/v2/models/word").json["inputs"][0]["datatype"] == "BYTES"


@statement("T015", "T016")
def test_config_is_snake_case_with_numbers_and_defaults(server: Server) -> None:
    config = server.ask("GET", "/v2/models/two/config").json
    assert config["max_batch_size"] == 8
    assert config["input"][0]["dims"] == [-1]
    assert config["input"][0]["allow_ragged_batch"] is False
    assert config["version_policy"] == {"latest": {"num_versions": 1}}
    assert config["backend"] == "identity"


@statement("T017")
def test_config_shows_the_preferred_size_that_an_empty_dynamic_batching_means(server: Server) -> None:
    config = server.ask("GET", "/v2/models/plain_batch/config").json
    assert config["dynamic_batching"]["preferred_batch_size"] == [8]


@statement("T018", "T019", "T023", "T024", "T151")
@pytest.mark.parametrize(
    "path", ["/", "/nope", "/v2/nope", "/v2/models/two/", "/v2/health/live/", "/v2/models/two/versions/abc/ready"]
)
def test_an_unknown_path_is_404_json(server: Server, path: str) -> None:
    answer = server.ask("GET", path)
    assert (answer.status, answer.error) == (404, "Not Found")


@statement("T023")
def test_a_version_that_is_no_number_is_404(server: Server) -> None:
    assert server.ask("POST", "/v2/models/two/versions/abc/infer", {}).status == 404


@statement("T020")
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v2/models/two/infer"),
        ("PUT", "/v2/models/two/infer"),
        ("POST", "/v2"),
        ("GET", "/v2/repository/index"),
    ],
)
def test_a_wrong_method_on_a_known_route_is_405(server: Server, method: str, path: str) -> None:
    answer = server.ask(method, path)
    assert (answer.status, answer.error) == (405, "Method Not Allowed")


@statement("T021")
def test_query_strings_do_not_route(server: Server) -> None:
    assert server.ask("GET", "/v2/health/ready?x=/v2/nope").status == 200
    assert server.ask("GET", "/v2/models/two?version=9").json["name"] == "two"
    tensor = {"name": "INPUT0", "shape": [1, 1], "datatype": "FP32", "data": [1]}
    assert server.ask("POST", "/v2/models/identity/infer?a=b", {"inputs": [tensor]}).status == 200


@statement("T022")
def test_stats_of_all_models_win_over_a_model_called_stats(server: Server) -> None:
    rows = server.ask("GET", "/v2/models/stats").json["model_stats"]
    names = [row["name"] for row in rows]
    assert names == sorted(names) and {"stats", "two", "digits"} <= set(names)


@statement("T025", "T024")
@pytest.mark.parametrize("body", ["{", '{"inputs": [}', '{"inputs": []} x', '{"a": 01}', '{"a": "', '{"a" 1}'])
def test_malformed_json_is_400_and_names_the_place(server: Server, body: str) -> None:
    answer = server.ask("POST", "/v2/models/two/infer", body)
    assert answer.status == 400
    assert answer.error.startswith("failed to parse the request JSON buffer: ")
    assert " at " in answer.error


@statement("T025")
@pytest.mark.parametrize(
    ("body", "got"), [("null", "null"), ("[1]", "an array"), ("3", "a number"), ('"x"', "a string")]
)
def test_a_body_that_is_no_object_is_400_and_says_what_came(server: Server, body: str, got: str) -> None:
    answer = server.ask("POST", "/v2/models/two/infer", body)
    assert answer.status == 400 and f"expected an object, got {got}" in answer.error


@statement("T026", "T064")
def test_nan_and_infinity_go_in_and_come_out_bare(server: Server) -> None:
    body = '{"inputs":[{"name":"INPUT0","shape":[1,3],"datatype":"FP32","data":[NaN,Infinity,-Infinity]}]}'
    answer = server.ask("POST", "/v2/models/identity/infer", body)
    assert answer.status == 200 and b'"data":[NaN,Infinity,-Infinity]' in answer.body


@statement("T077")
def test_a_connection_stays_usable_after_an_error(server: Server) -> None:
    connection = connect(server.ports["http"])
    for _ in range(3):
        assert send(connection, "POST", "/v2/models/two/infer", "{").status == 400
        assert send(connection, "GET", "/v2/nope").status == 404
        assert send(connection, "GET", "/v2/health/live").status == 200
    connection.close()


@statement("T001")
def test_default_ports_and_addresses_are_the_documented_ones() -> None:
    from argosy.cli.flags import parse

    options = parse(["repository"]).options
    assert [(one.address, one.port) for one in (options.http, options.grpc, options.metrics)] == [
        ("127.0.0.1", 8000),
        ("127.0.0.1", 8001),
        ("127.0.0.1", 8002),
    ]
    opened = parse(["repository", "--host=0.0.0.0"]).options
    assert {opened.http.address, opened.grpc.address, opened.metrics.address} == {"0.0.0.0"}


@statement("T027")
def test_an_ipv6_address_works(tmp_path) -> None:
    add_model(tmp_path, "m", identity_config())
    with serve(tmp_path, "--http-address=ipv6:[::1]", "--metrics-address=127.0.0.1") as running:
        assert ask(running.ports["http"], "GET", "/v2/health/live", host="::1").status == 200


@statement("T028")
def test_a_port_in_use_ends_the_start_and_reuse_port_shares_it(tmp_path, server: Server) -> None:
    add_model(tmp_path, "m", identity_config())
    with pytest.raises(Ended) as ended:
        serve(tmp_path, f"--http-port={server.ports['http']}").__enter__()
    assert ended.value.code == 1
    assert "already in use" in ended.value.log
    with (
        serve(tmp_path, "--reuse-http-port=true") as first,
        serve(tmp_path, "--reuse-http-port=true", f"--http-port={first.ports['http']}") as second,
    ):
        assert second.ports["http"] == first.ports["http"]
        assert second.ask("GET", "/v2/health/live").status == 200


def test_error_bodies_are_valid_json_whatever_the_name(server: Server) -> None:
    answer = server.ask("GET", "/v2/models/%22%5C%01/ready")
    assert answer.status == 404 and json.loads(answer.body)["error"]
