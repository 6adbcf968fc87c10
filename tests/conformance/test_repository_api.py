"""The repository extension over HTTP and gRPC: index, load, unload, overrides, versions."""

from __future__ import annotations

import base64
import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc as rpc
import pytest
import tritonclient.grpc as grpcclient
import tritonclient.http as httpclient
from serving import Ended, Server, Tensor, add_model, identity_config, serve
from serving.models import onnx_scale
from serving.waiting import until
from tritonclient.grpc import service_pb2
from tritonclient.utils import InferenceServerException

statement = pytest.mark.statement
ONNX = 'backend: "onnxruntime"\nmax_batch_size: 4\n'
REFUSED = "explicit model load / unload is not allowed if polling is enabled"


def scaled(server: Server, model: str, version: str = "") -> float:
    """What the serving version multiplies with."""
    path = f"/v2/models/{model}" + (f"/versions/{version}" if version else "")
    tensor = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 1, 1, 1]}
    answer = server.ask("POST", f"{path}/infer", {"inputs": [tensor]})
    assert answer.status == 200, answer.body
    return float(answer.json["outputs"][0]["data"][0])


def index(server: Server, body: object = None) -> list[dict[str, Any]]:
    answer = server.ask("POST", "/v2/repository/index", body)
    assert answer.status == 200, answer.body
    return list(answer.json)


def load(server: Server, model: str, **parameters: str):
    return server.ask("POST", f"/v2/repository/models/{model}/load", {"parameters": parameters} if parameters else None)


def touch(path: Path) -> None:
    """A later time, however coarse the file system's clock."""
    later = path.stat().st_mtime_ns + 2_000_000_000
    os.utime(path, ns=(later, later))


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("explicit")
    add_model(root, "id", identity_config())
    add_model(root, "untouched", identity_config())
    add_model(root, "scale", ONNX, onnx_model=onnx_scale(2.0))
    broken = add_model(root, "broken", ONNX)
    (broken / "1" / "model.onnx").write_bytes(b"this is no model")
    add_model(root, "badconfig", "no_such_field: 1\n")
    return root


@pytest.fixture(scope="module")
def explicit(repository: Path) -> Iterator[Server]:
    with serve(repository, "--model-control-mode=EXPLICIT", "--load-model=id") as running:
        yield running


@statement("T129", "T154", "T340")
def test_index_lists_loaded_versions_with_state_and_the_rest_by_name(explicit: Server) -> None:
    rows = {row["name"]: row for row in index(explicit)}
    assert rows["id"] == {"name": "id", "version": "1", "state": "READY"}
    assert rows["untouched"] == {"name": "untouched"}
    assert list(rows) == sorted(rows)
    ready = index(explicit, {"ready": True})
    assert rows["id"] in ready and {row["state"] for row in ready} == {"READY"}


@statement("T130", "T131")
@pytest.mark.parametrize("ready", ["yes", 1, None])
def test_ready_that_is_no_boolean_is_400(explicit: Server, ready: object) -> None:
    answer = explicit.ask("POST", "/v2/repository/index", {"ready": ready})
    assert (answer.status, answer.error) == (400, "Invalid value for 'ready': expected a boolean")


@statement("T132", "T137")
def test_a_broken_artefact_is_400_with_the_reason_and_unavailable_in_the_index(explicit: Server) -> None:
    answer = load(explicit, "broken")
    assert answer.status == 400
    assert answer.error.startswith("load failed for model 'broken': version 1 is at UNAVAILABLE state: ")
    row = next(row for row in index(explicit) if row["name"] == "broken")
    assert row["state"] == "UNAVAILABLE" and "model.onnx" in row["reason"]
    explicit.ask("POST", "/v2/repository/models/broken/unload")


@statement("T134", "T147")
def test_load_answers_when_the_model_serves_and_unload_withdraws_it(tmp_path: Path) -> None:
    for name in ("stays", "other"):
        add_model(tmp_path, name, identity_config())
    with serve(tmp_path, "--model-control-mode=explicit", "--load-model=stays") as running:
        answer = load(running, "other")
        assert (answer.status, answer.body) == (200, b"")
        assert running.ask("GET", "/v2/models/other/ready").status == 200
        answer = running.ask("POST", "/v2/repository/models/other/unload")
        assert (answer.status, answer.body) == (200, b"")
        answer = running.infer("other", [])
        assert answer.status == 404 and "has no available versions" in answer.error
        until(lambda: any(row.get("reason") == "unloaded" for row in index(running) if row["name"] == "other"))
        assert running.ask("GET", "/v2/health/ready").status == 200


@statement("T135")
@pytest.mark.parametrize("mode", ["none", "poll"])
def test_load_and_unload_outside_explicit_mode_are_503(tmp_path: Path, mode: str) -> None:
    add_model(tmp_path, "m", identity_config())
    with serve(tmp_path, f"--model-control-mode={mode}") as running:
        for verb in ("load", "unload"):
            answer = running.ask("POST", f"/v2/repository/models/m/{verb}")
            assert (answer.status, answer.error) == (503, REFUSED)


@statement("T136")
def test_a_missing_model_cannot_be_loaded(explicit: Server) -> None:
    answer = load(explicit, "nowhere")
    assert (answer.status, answer.error) == (500, "failed to load 'nowhere', failed to poll from model repository")


@statement("T138", "T139")
def test_a_config_of_the_load_call_wins_and_a_bad_one_changes_nothing(explicit: Server) -> None:
    assert load(explicit, "scale").status == 200
    assert explicit.ask("GET", "/v2/models/scale/config").json["max_batch_size"] == 4
    config = {"name": "scale", "backend": "onnxruntime", "maxBatchSize": 2}
    assert load(explicit, "scale", config=json.dumps(config)).status == 200
    assert explicit.ask("GET", "/v2/models/scale/config").json["max_batch_size"] == 2
    for bad in ("{", '{"no_such": 1}', '{"max_batch_size": -1}'):
        answer = load(explicit, "scale", config=bad)
        assert answer.status == 500 and "failed to poll from model repository" in answer.error
        assert scaled(explicit, "scale") == 2.0
    assert load(explicit, "scale").status == 200
    assert explicit.ask("GET", "/v2/models/scale/config").json["max_batch_size"] == 4


@statement("T140", "T197")
def test_a_model_can_come_with_the_load_call(explicit: Server) -> None:
    content = onnx_scale(5.0).SerializeToString()
    client = httpclient.InferenceServerClient(explicit.http)
    client.load_model("sent", config=json.dumps({"backend": "onnxruntime"}), files={"file:1/model.onnx": content})
    client.close()
    assert scaled(explicit, "sent") == 5.0
    with grpcclient.InferenceServerClient(explicit.grpc) as stub:
        more = onnx_scale(6.0).SerializeToString()
        stub.load_model("sent", config=json.dumps({"backend": "onnxruntime"}), files={"file:2/model.onnx": more})
        assert scaled(explicit, "sent") == 6.0
        stub.unload_model("sent")


@statement("T141", "T142")
@pytest.mark.parametrize(
    "parameters",
    [
        {"file:1/model.onnx": base64.b64encode(b"x").decode()},
        {"config": "{}", "file:../1/model.onnx": base64.b64encode(b"x").decode()},
        {"config": "{}", "file:/tmp/model.onnx": base64.b64encode(b"x").decode()},
        {"config": "{}", "file:1/model.onnx": "not base64!"},
    ],
    ids=["no config", "escapes", "absolute", "not base64"],
)
def test_file_overrides_that_do_not_fit_are_refused(explicit: Server, parameters: dict[str, str]) -> None:
    answer = load(explicit, "scale", **parameters)
    assert answer.status == 400 and answer.error


@statement("T143")
def test_an_unknown_load_parameter_is_refused_by_name(explicit: Server) -> None:
    answer = load(explicit, "id", colour="red")
    assert answer.status == 400 and "unrecognized load parameter 'colour'" in answer.error
    with grpcclient.InferenceServerClient(explicit.grpc) as client:
        message = service_pb2.RepositoryModelLoadRequest(model_name="id")
        for key, kind, value, text in (
            ("config", "bytes_param", b"{}", "expected string_param"),
            ("file:1/model.onnx", "string_param", "x", "expected bytes_param"),
            ("colour", "string_param", "red", "unrecognized load parameter 'colour'"),
        ):
            message.parameters.clear()
            setattr(message.parameters[key], kind, value)
            with pytest.raises(rpc.RpcError, match=text) as caught:
                client._client_stub.RepositoryModelLoad(message)
            assert caught.value.code() == rpc.StatusCode.INVALID_ARGUMENT


@statement("T144", "T145")
def test_an_unchanged_model_is_left_alone_and_a_touched_one_is_loaded_again(explicit: Server, repository: Path) -> None:
    model = add_model(repository, "again", ONNX, onnx_model=onnx_scale(2.0))
    assert load(explicit, "again").status == 200
    scaled(explicit, "again")
    assert load(explicit, "again").status == 200
    assert explicit.stats("again")["inference_count"] == 1  # a reload would start at 0
    (model / "1" / "model.onnx").write_bytes(onnx_scale(3.0).SerializeToString())
    touch(model / "1" / "model.onnx")
    assert load(explicit, "again").status == 200
    assert scaled(explicit, "again") == 3.0
    (model / "1" / "model.onnx").write_bytes(b"broken now")
    touch(model / "1" / "model.onnx")
    touch(model / "1" / "model.onnx")
    assert load(explicit, "again").status == 400
    assert scaled(explicit, "again") == 3.0


@statement("T146")
def test_more_instances_drop_no_request(explicit: Server, repository: Path) -> None:
    model = add_model(repository, "grow", identity_config(more="instance_group { count: 1 kind: KIND_CPU }\n"))
    assert load(explicit, "grow").status == 200
    done, bad, asked = threading.Event(), [], [0, 0, 0]

    def ask(number: int) -> None:
        tensor = {"name": "INPUT0", "shape": [1, 1], "datatype": "FP32", "data": [1]}
        while not done.is_set():
            answer = explicit.infer("grow", [tensor])
            if answer.status != 200:
                bad.append(answer)
            asked[number] += 1

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    try:
        for turn, count in enumerate((2, 3, 1), 1):
            since = list(asked)
            until(lambda since=since: all(now > before for now, before in zip(asked, since, strict=True)))
            (model / "config.pbtxt").write_text(
                identity_config(more=f"instance_group {{ count: {count} kind: KIND_CPU }}\n")
            )
            later = time.time_ns() + turn * 1000 * 10**9  # another time each turn, however coarse the clock is
            os.utime(model / "config.pbtxt", ns=(later, later))
            assert load(explicit, "grow").status == 200
            groups = explicit.ask("GET", "/v2/models/grow/config").json["instance_group"]
            assert [group["count"] for group in groups] == [count]
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert bad == []


@statement("T148")
def test_unloading_what_was_never_loaded_is_fine(explicit: Server) -> None:
    assert explicit.ask("POST", "/v2/repository/models/never/unload").status == 200


@statement("T151")
@pytest.mark.parametrize("verb", ["load", "unload"])
def test_naming_a_repository_is_501(explicit: Server, verb: str) -> None:
    answer = explicit.ask("POST", f"/v2/repository/foo/models/m/{verb}")
    assert (answer.status, answer.error) == (501, "'repository_name' specification is not supported")
    assert explicit.ask("POST", "/v2/repository/foo/index").status == 200


@statement("T152")
def test_a_name_that_climbs_out_is_400(explicit: Server) -> None:
    answer = load(explicit, "..")
    assert (answer.status, answer.error) == (
        400,
        "invalid model name '..', model name must not contain path traversal characters",
    )
    with grpcclient.InferenceServerClient(explicit.grpc) as client:
        with pytest.raises(InferenceServerException, match="must not contain path traversal"):
            client.load_model("a/b")
        with pytest.raises(InferenceServerException, match="Model name cannot be empty"):
            client.load_model(" ")


def test_a_config_that_is_refused_is_named_in_the_log(explicit: Server) -> None:
    answer = load(explicit, "badconfig")
    assert (answer.status, answer.error) == (500, "failed to load 'badconfig', failed to poll from model repository")
    until(lambda: "no_such_field" in explicit.log and "config.pbtxt:1" in explicit.log)


@statement("T153")
def test_poll_mode_follows_the_directory(tmp_path: Path) -> None:
    add_model(tmp_path, "first", ONNX, onnx_model=onnx_scale(1.0))
    with serve(tmp_path, "--model-control-mode=poll", "--repository-poll-secs=0.05") as running:
        assert scaled(running, "first") == 1.0
        staged = tmp_path.parent / f"{tmp_path.name}-staged"
        add_model(staged, "second", ONNX, onnx_model=onnx_scale(2.0))
        (staged / "second").rename(tmp_path / "second")
        until(lambda: running.ask("GET", "/v2/models/second/ready").status == 200)
        replacement = staged / "model.onnx"
        replacement.write_bytes(onnx_scale(7.0).SerializeToString())
        touch(replacement)
        replacement.rename(tmp_path / "first" / "1" / "model.onnx")
        until(lambda: scaled(running, "first") == 7.0)
        (tmp_path / "second").rename(staged / "second")
        until(lambda: running.ask("GET", "/v2/models/second/ready").status == 404)
        assert running.ask("GET", "/v2/health/ready").status == 200


@statement("T154")
def test_a_star_loads_everything(tmp_path: Path) -> None:
    for name in "ab":
        add_model(tmp_path, name, identity_config())
    with serve(tmp_path, "--model-control-mode=explicit", "--load-model=*") as running:
        assert [row["state"] for row in index(running)] == ["READY", "READY"]


@statement("T155")
def test_a_star_beside_a_name_refuses_the_start(tmp_path: Path) -> None:
    add_model(tmp_path, "a", identity_config())
    with (
        pytest.raises(Ended) as ended,
        serve(tmp_path, "--model-control-mode=explicit", "--load-model=*", "--load-model=a"),
    ):
        pass
    assert ended.value.code == 1 and "must be the ONLY startup model" in ended.value.log


@statement("T156")
@pytest.mark.parametrize("kind", ["artefact", "config"])
def test_a_model_that_fails_ends_the_start(tmp_path: Path, kind: str) -> None:
    model = add_model(tmp_path, "bad", ONNX if kind == "artefact" else "nonsense: 1\n")
    (model / "1" / "model.onnx").write_bytes(b"no model")
    with pytest.raises(Ended) as ended, serve(tmp_path):
        pass
    assert ended.value.code == 1 and "bad" in ended.value.log


@statement("T133")
def test_a_model_in_two_repositories_is_in_neither(tmp_path: Path) -> None:
    for root in ("one", "two"):
        add_model(tmp_path / root, "twice", identity_config())
    add_model(tmp_path / "one", "once", identity_config())
    with serve(tmp_path / "one", "--model-repository", tmp_path / "two", "--exit-on-error=false") as running:
        rows = {row["name"]: row for row in index(running)}
        assert rows["twice"] == {
            "name": "twice",
            "state": "UNAVAILABLE",
            "reason": "model appears in two or more repositories",
        }
        assert rows["once"]["state"] == "READY"


@statement("T157")
def test_a_named_config_is_used_where_it_exists(tmp_path: Path) -> None:
    for name in ("with", "without"):
        add_model(tmp_path, name, identity_config(batch=8))
    (tmp_path / "with" / "configs").mkdir()
    (tmp_path / "with" / "configs" / "h100.pbtxt").write_text(identity_config(batch=16))
    with serve(tmp_path, "--model-config-name=h100") as running:
        assert running.ask("GET", "/v2/models/with/config").json["max_batch_size"] == 16
        assert running.ask("GET", "/v2/models/without/config").json["max_batch_size"] == 8


@statement("T158", "T159", "T160")
@pytest.mark.parametrize(
    ("policy", "versions"),
    [
        ("", ["10"]),
        ("version_policy { latest { num_versions: 2 } }", ["2", "10"]),
        ("version_policy { all {} }", ["1", "2", "10"]),
        ("version_policy { specific { versions: [1, 7] } }", ["1"]),
    ],
)
def test_the_version_policy_chooses_the_versions(tmp_path: Path, policy: str, versions: list[str]) -> None:
    model = add_model(tmp_path, "m", identity_config(more=policy), versions=(1, 2, 10))
    (model / "011").mkdir()
    (model / "notes").mkdir()
    with serve(tmp_path) as running:
        assert running.ask("GET", "/v2/models/m").json["versions"] == versions


@statement("T196")
def test_grpc_index_refuses_a_repository_name(explicit: Server) -> None:
    with grpcclient.InferenceServerClient(explicit.grpc) as client:
        request = service_pb2.RepositoryIndexRequest(repository_name="x")
        with pytest.raises(Exception, match="'repository_name' specification is not supported") as caught:
            client._client_stub.RepositoryIndex(request)
        assert caught.value.code().name == "UNIMPLEMENTED"
        rows = client.get_model_repository_index()
        assert ("id", "1", "READY") in {(row.name, row.version, row.state) for row in rows.models}


@statement("T206")
def test_a_model_directory_and_a_model_file_are_repositories_of_one(tmp_path: Path) -> None:
    model = add_model(tmp_path, "m", onnx_model=onnx_scale(4.0))
    with serve(model) as running:
        assert scaled(running, "m") == 4.0
    lonely = tmp_path / "doubler.onnx"
    lonely.write_bytes(onnx_scale(2.0).SerializeToString())
    with serve(lonely) as running:
        assert scaled(running, "doubler") == 2.0
    assert "curl" in running.out and "models/doubler/infer" in running.out


def test_tensors_of_a_served_file_are_those_of_the_model(tmp_path: Path) -> None:
    add_model(tmp_path, "t", identity_config((Tensor("x", "INT8", (2, 3)),), (Tensor("y", "INT8", (2, 3)),)))
    with serve(tmp_path / "t") as running:
        assert running.ask("GET", "/v2/models/t").json["inputs"] == [
            {"name": "x", "datatype": "INT8", "shape": [-1, 2, 3]}
        ]
