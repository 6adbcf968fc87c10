"""Configurations: what is completed, what is refused and with which words."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import onnx
import pytest
from argosy import Server as Embedded
from argosy.cli import main
from argosy.errors import ArgosyError
from serving import Ended, Server, add_model, identity_config, serve
from serving.models import onnx_identity, onnx_scale

statement = pytest.mark.statement
ONNX = 'backend: "onnxruntime"\n'
X = 'input { name: "x" data_type: TYPE_FP32 dims: 4 }\n'
Y = 'output { name: "y" data_type: TYPE_FP32 dims: 4 }\n'


def config_of(server: Server, model: str) -> dict[str, Any]:
    return dict(server.ask("GET", f"/v2/models/{model}/config").json)


@statement("T206", "T207", "T226")
def test_a_bare_onnx_model_is_completed(server: Server) -> None:
    config = config_of(server, "bare")
    assert config["max_batch_size"] == 4 and "dynamic_batching" in config
    assert [(one["name"], one["data_type"], one["dims"]) for one in config["input"]] == [("x", "TYPE_FP32", [4])]
    assert config["instance_group"][0]["kind"] == "KIND_CPU"


@statement("T211")
def test_a_fixed_first_dimension_is_never_a_batch(server: Server) -> None:
    config = config_of(server, "fixed")
    assert config["max_batch_size"] == 0 and config["input"][0]["dims"] == [4, 4]


@statement("T208")
def test_a_configured_model_keeps_its_batch_size(tmp_path: Path) -> None:
    add_model(
        tmp_path,
        "m",
        ONNX + X.replace("dims: 4", "dims: [ -1, 4 ]") + Y.replace("dims: 4", "dims: [ -1, 4 ]"),
        onnx_model=onnx_scale(1),
    )
    with serve(tmp_path) as running:
        assert config_of(running, "m")["max_batch_size"] == 0


@statement("T209", "T213")
def test_the_default_batch_size_is_a_flag_and_a_name_may_choose_the_backend(tmp_path: Path) -> None:
    add_model(tmp_path, "m", onnx_model=onnx_scale(1))
    tensors = identity_config().replace('backend: "identity"\n', "")
    add_model(tmp_path, "echo.identity", tensors)
    with serve(tmp_path, "--backend-config=onnxruntime,default-max-batch-size=8") as running:
        assert config_of(running, "m")["max_batch_size"] == 8
        assert config_of(running, "echo.identity")["backend"] == "identity"


@statement("T210")
def test_without_auto_complete_a_missing_config_fails(tmp_path: Path) -> None:
    add_model(tmp_path, "m", onnx_model=onnx_scale(1))
    with pytest.raises(Ended) as ended, serve(tmp_path, "--disable-auto-complete-config"):
        pass
    assert "config.pbtxt" in ended.value.log


def dynamic(body: str) -> str:
    return identity_config(more=f"dynamic_batching {{ {body} }}\n")


BROKEN: dict[str, tuple[str, onnx.ModelProto | None, str]] = {
    "T212": (identity_config(more='name: "other"\n'), None, "directory name must equal model name"),
    "T214": (identity_config(more="no_such_field: 1\n"), None, "no_such_field"),
    "T215": (identity_config().replace("max_batch_size: 8", "max_batch_size: -1"), None, "max_batch_size"),
    "T216": (identity_config().replace("dims: [ -1 ]", "dims: [ 0 ]"), None, "dimension must be integer >= 1"),
    "T217": (
        identity_config().replace("dims: [ -1 ]", "dims: [ 4 ] reshape { shape: [ 3 ] }"),
        None,
        "has different size for dims and reshape",
    ),
    "T218": (dynamic("preferred_batch_size: [ 9 ]"), None, "9"),
    "T219": (dynamic("priority_levels: 2 default_priority_level: 3"), None, "default priority level"),
    "T220": (
        dynamic("preserve_ordering: true priority_levels: 2 default_priority_level: 1"),
        None,
        "preserve_ordering",
    ),
    "T221": (
        identity_config(
            more="sequence_batching { control_input { name: 'S' control { kind: CONTROL_SEQUENCE_START "
            "int32_false_true: [0, 1] fp32_false_true: [0, 1] } } }\n"
        ),
        None,
        "sequence",
    ),
    "T222": (
        'platform: "ensemble"\nensemble_scheduling { step { model_name: "a" model_version: -1 } }\n'
        "instance_group { count: 1 }\n" + X + Y,
        None,
        "nsemble",
    ),
    "T224": (
        identity_config(more="instance_group { kind: KIND_CPU gpus: [ 0 ] }\n"),
        None,
        "has kind KIND_CPU but specifies one or more GPUs",
    ),
    "T224-gpu": (identity_config(more="instance_group { kind: KIND_GPU }\n"), None, "KIND_GPU"),
    "T225": (identity_config(more="response_cache { enable: true }\n"), None, "response cache"),
    "T227": (ONNX + "max_batch_size: 4\n" + X.replace("FP32", "INT32") + Y, onnx_scale(1), "TYPE_INT32"),
    "T227-shape": (ONNX + "max_batch_size: 4\n" + X.replace("dims: 4", "dims: 5") + Y, onnx_scale(1), "shape"),
    "T227-name": (ONNX + "max_batch_size: 4\n" + X.replace('"x"', '"z"') + Y, onnx_scale(1), "z"),
    "T211": (ONNX + "max_batch_size: 4\n", onnx_identity("FP32", [4, 4]), "model does not support batching"),
    "backend": (identity_config().replace("identity", "no_such_backend"), None, "no_such_backend"),
    "T278": (
        identity_config(
            more="model_warmup { name: 'w' batch_size: 1 inputs { key: 'INPUT0' value { "
            "data_type: TYPE_FP32 dims: [ 4 ] input_data_file: 'missing' } } }\n"
        ),
        None,
        "missing",
    ),
}


@pytest.mark.parametrize(
    ("config", "model", "text"),
    [
        pytest.param(*case, id=key, marks=[statement(key[:4])] if key.startswith("T") else [])
        for key, case in BROKEN.items()
    ],
)
def test_a_config_that_cannot_be_served_ends_the_start_and_says_why(
    tmp_path: Path, config: str, model: onnx.ModelProto | None, text: str
) -> None:
    add_model(tmp_path, "m", config, onnx_model=model)
    server = Embedded(tmp_path, exit_on_error=False)
    with server:
        failure = server.failures["m"]
        assert isinstance(failure, ArgosyError)
        assert server.models() == []
        assert not server.ready()
    # The place and the reason are what `argosy check` prints, and what the log of a server has.
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        code = main(["check", str(tmp_path)])
    if code == 0:  # only a load can tell
        assert text in failure.message
    else:
        assert text in out.getvalue()


@statement("T216")
def test_open_dimensions_are_accepted(server: Server) -> None:
    assert config_of(server, "identity")["input"][0]["dims"] == [-1]


@statement("T277")
def test_warm_up_runs_before_ready_and_is_not_counted(tmp_path: Path) -> None:
    sample = "inputs { key: 'INPUT0' value { data_type: TYPE_FP32 dims: [ 4 ] %s } }"
    more = "".join(
        f"model_warmup {{ name: 'w{n}' batch_size: 2 count: 3 {sample % kind} }}\n"
        for n, kind in enumerate(("zero_data: true", "random_data: true", "input_data_file: 'sample'"))
    )
    model = add_model(tmp_path, "m", identity_config(more=more))
    (model / "warmup").mkdir()
    (model / "warmup" / "sample").write_bytes(b"\0" * 16)
    with serve(tmp_path) as running:
        stats = running.stats("m")
        assert (stats["inference_count"], stats["execution_count"]) == (0, 0)
    (model / "warmup" / "sample").write_bytes(b"\0" * 8)
    with pytest.raises(Ended) as ended, serve(tmp_path):
        pass
    assert "warmup setting expects" in ended.value.log and "8 bytes" in ended.value.log


def test_the_shown_config_is_one_that_loads(server: Server, tmp_path: Path) -> None:
    shown = json.dumps(config_of(server, "add_sub"))
    add_model(tmp_path, "add_sub")
    source = Path(__file__).parents[2] / "model_repository" / "add_sub" / "1" / "model.onnx"
    (tmp_path / "add_sub" / "1" / "model.onnx").write_bytes(source.read_bytes())
    with serve(tmp_path, "--model-control-mode=explicit") as running:
        answer = running.ask("POST", "/v2/repository/models/add_sub/load", {"parameters": {"config": shown}})
        assert answer.status == 200, answer.body
        assert config_of(running, "add_sub") == json.loads(shown)
