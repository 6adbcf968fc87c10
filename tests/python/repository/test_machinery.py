from __future__ import annotations

import base64
import json
import os
import threading
from pathlib import Path

import pytest
from argosy.config import ArtifactSignature, TensorSignature
from argosy.errors import ArgosyError, Internal, InvalidArgument, NotFound, Unavailable
from argosy.repository import (
    ControlMode,
    LoadFailed,
    Overrides,
    Repository,
    RepositoryOptions,
    Resolver,
    check,
    overrides_from,
    scan,
)
from argosy.repository.poll import Change

IDENTITY = 'backend: "identity" max_batch_size: 8\n'
POLL_FAILURE = "failed to load '{0}', failed to poll from model repository"


class RecordingLoader:
    """A Loader that remembers, and refuses the models it is told to."""

    def __init__(self) -> None:
        self.loads: list[tuple[str, list[int]]] = []
        self.specs: dict[str, list[dict]] = {}
        self.refuse: dict[str, ArgosyError] = {}
        self.busy: set[str] = set()
        self.lock = threading.Lock()

    def load(self, name, specs):
        with self.lock:
            self.loads.append((name, [spec["version"] for spec in specs]))
            if name in self.refuse:
                raise self.refuse[name]
            self.specs[name] = list(specs)

    def unload(self, name):
        self.specs.pop(name)

    def draining(self, name):
        return name in self.busy


def put(root: Path, name: str, config: str = IDENTITY, versions=("1",)) -> Path:
    model = root / name
    for version in versions:
        (model / version).mkdir(parents=True, exist_ok=True)
    model.mkdir(exist_ok=True)
    (model / "config.pbtxt").write_text(config)
    return model


def touch(path: Path, later_s: int = 10) -> None:
    stamp = path.stat().st_mtime_ns + later_s * 10**9
    os.utime(path, ns=(stamp, stamp))


def repository(root, mode=ControlMode.EXPLICIT, **options):
    loader = RecordingLoader()
    roots = tuple(str(r) for r in (root if isinstance(root, list | tuple) else [root]))
    made = Repository(RepositoryOptions(roots=roots, mode=mode, **options), Resolver(), loader)
    return made, loader


def rows(repo, **options):
    return [row.to_json() for row in repo.index(**options)]


def test_mode_none_loads_everything_and_refuses_callers(tmp_path):
    put(tmp_path, "b", versions=("1", "2"))
    put(tmp_path, "a")
    repo, loader = repository(tmp_path, ControlMode.NONE)
    assert repo.start() == {}
    assert sorted(loader.loads) == [("a", [1]), ("b", [2])]
    assert rows(repo) == [
        {"name": "a", "version": "1", "state": "READY"},
        {"name": "b", "version": "2", "state": "READY"},
    ]
    for call in (repo.load, repo.unload):
        with pytest.raises(Unavailable) as error:
            call("a")
        assert error.value.message == "explicit model load / unload is not allowed if polling is enabled"
    repo.stop()
    repo.stop()
    assert loader.specs == {}


def test_explicit_mode_loads_the_named_models_and_lists_the_others_by_name(tmp_path):
    put(tmp_path, "a")
    put(tmp_path, "b")
    repo, loader = repository(tmp_path, startup=("b",))
    assert repo.start() == {}
    assert loader.loads == [("b", [1])]
    assert rows(repo) == [{"name": "a"}, {"name": "b", "version": "1", "state": "READY"}]
    assert rows(repo, ready_only=True) == [{"name": "b", "version": "1", "state": "READY"}]


@pytest.mark.parametrize(
    ("mode", "startup", "message"),
    [
        (
            ControlMode.NONE,
            ("a",),
            "Use of '--load-model' requires setting '--model-control-mode=explicit' as well.",
        ),
        (
            ControlMode.EXPLICIT,
            ("*", "a"),
            "Wildcard model name '*' must be the ONLY startup model if specified at all.",
        ),
    ],
)
def test_startup_names_that_do_not_fit_are_refused(mode, startup, message, tmp_path):
    put(tmp_path, "a")
    repo, _ = repository(tmp_path, mode, startup=startup)
    with pytest.raises(InvalidArgument) as error:
        repo.start()
    assert error.value.message == message


def test_the_wildcard_loads_all(tmp_path):
    put(tmp_path, "a")
    put(tmp_path, "b")
    repo, _ = repository(tmp_path, startup=("*",))
    repo.start()
    assert repo.serving() == ("a", "b")


@pytest.mark.parametrize("name", ["", "  "])
def test_an_empty_name_is_refused(name, tmp_path):
    with pytest.raises(InvalidArgument, match=r"^Model name cannot be empty. Please enter a valid name to deploy.$"):
        repository(tmp_path)[0].load(name)


@pytest.mark.parametrize("name", ["../a", "a/b", ".."])
def test_a_name_that_is_a_path_is_refused(name, tmp_path):
    with pytest.raises(InvalidArgument) as error:
        repository(tmp_path)[0].load(name)
    assert error.value.message == f"invalid model name '{name}', model name must not contain path traversal characters"


def test_a_model_that_is_missing_or_misconfigured_fails_to_poll_and_the_log_says_why(tmp_path, caplog):
    put(tmp_path, "bad", IDENTITY + "max_batchsize: 3")
    repo, loader = repository(tmp_path)
    for name in ("nope", "bad"):
        with pytest.raises(Internal) as error:
            repo.load(name)
        assert error.value.message == POLL_FAILURE.format(name)
    assert f"{tmp_path}/bad/config.pbtxt:2:1: unknown field 'max_batchsize' in ModelConfig" in caplog.text
    assert loader.loads == []
    assert rows(repo) == [{"name": "bad"}]
    assert not repo.all_ready()


def test_a_failed_load_names_the_version_and_the_reason(tmp_path):
    put(tmp_path, "m")
    repo, loader = repository(tmp_path, retries=2)
    loader.refuse["m"] = Internal("broken artefact")
    with pytest.raises(LoadFailed) as error:
        repo.load("m")
    assert error.value.code == "invalid_argument"
    assert error.value.message == (
        "load failed for model 'm': version 1 is at UNAVAILABLE state: Internal: broken artefact;\n"
    )
    assert rows(repo) == [{"name": "m", "version": "1", "state": "UNAVAILABLE", "reason": "Internal: broken artefact"}]
    assert len(loader.loads) == 3
    assert not repo.all_ready()


def test_loading_an_unchanged_model_does_nothing_and_a_touched_one_reloads(tmp_path):
    model = put(tmp_path, "m")
    repo, loader = repository(tmp_path)
    repo.load("m")
    repo.load("m")
    assert len(loader.loads) == 1
    touch(model / "1")
    repo.load("m")
    assert len(loader.loads) == 2
    assert repo.last_change("m") is Change.FULL
    touch(model / "1", later_s=-100)
    repo.load("m")
    assert len(loader.loads) == 2


def test_a_failed_reload_keeps_the_old_model_serving(tmp_path):
    model = put(tmp_path, "m")
    repo, loader = repository(tmp_path)
    repo.load("m")
    touch(model / "1")
    loader.refuse["m"] = Internal("no")
    with pytest.raises(LoadFailed):
        repo.load("m")
    with pytest.raises(Internal):
        repo.load("m", Overrides(config='{"max_batch_size": "many"}'))
    assert rows(repo) == [{"name": "m", "version": "1", "state": "READY"}]
    assert repo.config("m").max_batch_rows == 8


def test_a_change_of_instances_alone_is_told_apart(tmp_path):
    model = put(tmp_path, "m")
    repo, loader = repository(tmp_path)
    repo.load("m")
    (model / "config.pbtxt").write_text(IDENTITY + "instance_group { count: 3 }")
    touch(model / "config.pbtxt")
    repo.load("m")
    assert repo.last_change("m") is Change.INSTANCES_OR_VERSIONS
    assert loader.specs["m"][0]["instances"][0]["count"] == 3
    (model / "config.pbtxt").write_text(IDENTITY + "dynamic_batching { }")
    touch(model / "config.pbtxt", later_s=20)
    repo.load("m")
    assert repo.last_change("m") is Change.FULL


def test_unloading_withdraws_at_once_and_is_done_when_the_last_request_is(tmp_path):
    put(tmp_path, "m")
    repo, loader = repository(tmp_path)
    repo.unload("never")
    repo.load("m")
    loader.busy.add("m")
    repo.unload("m")
    assert rows(repo) == [{"name": "m", "version": "1", "state": "UNLOADING"}]
    loader.busy.clear()
    assert rows(repo) == [{"name": "m", "version": "1", "state": "UNAVAILABLE", "reason": "unloaded"}]
    assert repo.all_ready()
    repo.load("m")
    assert repo.serving() == ("m",)


def test_a_configuration_override_replaces_the_file_until_the_next_load(tmp_path):
    put(tmp_path, "m")
    repo, _ = repository(tmp_path)
    repo.load("m")
    repo.load("m", overrides_from({"config": json.dumps({"backend": "identity", "maxBatchSize": 2})}))
    assert repo.config("m").max_batch_rows == 2
    repo.load("m")
    assert repo.config("m").max_batch_rows == 8


def test_file_overrides_make_a_model_of_their_own_that_vanishes_with_it(tmp_path):
    repo, loader = repository(tmp_path)
    parameters = {"config": '{"backend": "identity"}', "file:1/weights.bin": base64.b64encode(b"abc").decode()}
    repo.load("virtual", overrides_from(parameters))
    folder = Path(loader.specs["virtual"][0]["path"])
    assert (folder / "weights.bin").read_bytes() == b"abc"
    repo.unload("virtual")
    assert not folder.exists()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"file:1/a": "eA=="}, "Load parameter 'config' must be specified for model file override"),
        ({"config": "{}", "file:../a": b""}, "file override '../a' must name a file inside the model directory"),
        ({"config": "{}", "file:/a": b""}, "file override '/a' must name a file inside the model directory"),
        ({"k": "1"}, "unrecognized load parameter 'k'."),
    ],
)
def test_load_parameters_that_cannot_be_meant_are_refused(parameters, message):
    with pytest.raises(InvalidArgument) as error:
        overrides_from(parameters)
    assert error.value.message == message


def test_a_name_in_two_repositories_is_loaded_from_neither(tmp_path):
    for root in ("one", "two"):
        put(tmp_path / root, "m")
    repo, loader = repository([tmp_path / "one", tmp_path / "two"])
    with pytest.raises(Internal):
        repo.load("m")
    assert loader.loads == []
    assert rows(repo) == [{"name": "m", "state": "UNAVAILABLE", "reason": "model appears in two or more repositories"}]


def test_polling_follows_what_is_added_changed_and_removed(tmp_path):
    put(tmp_path, "a")
    repo, loader = repository(tmp_path, ControlMode.POLL)
    repo.start()
    assert repo.poll() == {}
    assert len(loader.loads) == 1
    put(tmp_path, "b")
    touch(tmp_path / "a" / "1")
    assert repo.poll() == {}
    assert sorted(loader.loads[1:]) == [("a", [1]), ("b", [1])]
    (tmp_path / "a" / "config.pbtxt").unlink()
    (tmp_path / "a" / "1").rmdir()
    (tmp_path / "a").rmdir()
    repo.poll()
    assert repo.serving() == ("b",)


def test_polling_tries_a_failed_model_again_only_when_it_changes(tmp_path):
    put(tmp_path, "m")
    repo, loader = repository(tmp_path, ControlMode.POLL)
    loader.refuse["m"] = Internal("no")
    assert list(repo.start()) == ["m"]
    assert repo.poll() == {}
    assert len(loader.loads) == 1
    loader.refuse.clear()
    touch(tmp_path / "m" / "1")
    assert repo.poll() == {}
    assert repo.serving() == ("m",)


def test_loads_and_unloads_from_many_threads_end_in_one_of_the_two_states(tmp_path):
    for index in range(4):
        put(tmp_path, f"m{index}")
    repo, loader = repository(tmp_path)

    def work(turn: int) -> None:
        for step in range(12):
            name = f"m{(turn + step) % 4}"
            (repo.load if (turn + step) % 3 else repo.unload)(name)

    threads = [threading.Thread(target=work, args=(turn,)) for turn in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(repo.serving()) == set(loader.specs)


def signature(dims=(-1, 4)):
    return ArtifactSignature(
        inputs=(TensorSignature(name="x", dtype="FP32", dims=dims),),
        outputs=(TensorSignature(name="y", dtype="FP32", dims=dims),),
    )


def test_a_single_model_file_is_a_repository_of_one(tmp_path):
    (tmp_path / "net.onnx").write_bytes(b"")
    loader = RecordingLoader()
    resolver = Resolver(inspectors={"onnxruntime": lambda path, parameters: signature()})
    repo = Repository(RepositoryOptions(roots=(str(tmp_path / "net.onnx"),)), resolver, loader)
    assert repo.start() == {}
    spec = loader.specs["net"][0]
    assert (spec["path"], spec["artifact"], spec["max_batch_size"]) == (str(tmp_path), "net.onnx", 4)
    assert spec["batching"]["preferred_rows"] == [4]


def test_a_model_directory_is_a_repository_of_one_and_a_missing_path_is_refused(tmp_path):
    model = put(tmp_path, "m")
    assert list(scan([str(model)]).models) == ["m"]
    with pytest.raises(NotFound):
        scan([str(tmp_path / "nope")])
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(InvalidArgument):
        scan([str(tmp_path / "notes.txt")])


def test_an_artifact_that_cannot_be_read_is_a_failed_load_not_a_failed_poll(tmp_path):
    (tmp_path / "m" / "1").mkdir(parents=True)
    (tmp_path / "m" / "1" / "model.onnx").write_bytes(b"")

    def broken(path, parameters):
        raise InvalidArgument(f"cannot read '{path.name}'")

    repo = Repository(
        RepositoryOptions(roots=(str(tmp_path),)), Resolver(inspectors={"onnxruntime": broken}), RecordingLoader()
    )
    failed = repo.start()["m"]
    assert failed.message == (
        "load failed for model 'm': version 1 is at UNAVAILABLE state: Invalid argument: cannot read 'model.onnx';\n"
    )


def test_without_auto_complete_a_missing_configuration_is_refused(tmp_path, caplog):
    (tmp_path / "m.identity" / "1").mkdir(parents=True)
    loader = RecordingLoader()
    strict = Repository(RepositoryOptions(roots=(str(tmp_path),)), Resolver(auto_complete=False), loader)
    assert list(strict.start()) == ["m.identity"]
    assert "auto-complete of configurations is disabled" in caplog.text
    assert Repository(RepositoryOptions(roots=(str(tmp_path),)), Resolver(), loader).start() == {}


def test_a_named_configuration_is_used_where_it_exists(tmp_path):
    model = put(tmp_path, "m")
    put(tmp_path, "n")
    (model / "configs").mkdir()
    (model / "configs" / "h100.pbtxt").write_text('backend: "identity" max_batch_size: 64')
    repo, _ = repository(tmp_path, ControlMode.NONE, config_name="h100")
    repo.start()
    assert (repo.config("m").max_batch_rows, repo.config("n").max_batch_rows) == (64, 8)


def test_check_reports_place_problem_and_correction_of_every_model(tmp_path):
    put(tmp_path, "good")
    put(tmp_path, "typo", 'backend: "identity"\nmax_batchsize: 3')
    put(
        tmp_path,
        "net",
        'backend: "onnxruntime" max_batch_size: 8 input { name: "x" data_type: TYPE_FP32 dims: 5 }'
        'output { name: "y" data_type: TYPE_FP32 dims: 4 }',
    )
    findings = check([str(tmp_path)], {"onnxruntime": lambda path, parameters: signature()})
    assert [(f.model, f.where, f.fix) for f in findings] == [
        ("net", str(tmp_path / "net" / "1" / "model.onnx"), ""),
        ("typo", f"{tmp_path}/typo/config.pbtxt:2:1", "max_batch_size: 3"),
    ]
    assert "model configuration specifies shape [-1,5]" in findings[0].problem
    assert str(findings[1]).endswith("write instead:\n    max_batch_size: 3")
