from __future__ import annotations

import json
from pathlib import Path

import pytest
from argosy.config import (
    ArtifactSignature,
    Capabilities,
    TensorSignature,
    lower,
    mismatch,
    model_from,
    not_served,
    parse_text,
    to_bytes,
    to_json,
)
from argosy.config.autofill import fill_backend, normalise
from argosy.config.instances import fill_instances
from argosy.errors import ConfigError
from argosy.protos import ModelConfig
from google.protobuf import json_format

FILES = Path(__file__).parent / "files"


def checked(text: str, capabilities: Capabilities | None = None):
    message = parse_text(text, "c").message
    fill_backend(message, ())
    normalise(message)
    fill_instances(message, capabilities or Capabilities())
    return model_from(message, capabilities or Capabilities())


def test_the_lowered_specification_is_plain_and_complete(tmp_path):
    (tmp_path / "labels.txt").write_text("cat\ndog\n")
    (tmp_path / "warmup").mkdir()
    (tmp_path / "warmup" / "x.bin").write_bytes(b"\0" * 16)
    config = checked("""
        name: "m" backend: "onnxruntime" max_batch_size: 8
        input { name: "x" data_type: TYPE_FP32 dims: [ 2, 2 ] reshape { shape: 4 } }
        input { name: "s" data_type: TYPE_STRING dims: -1 optional: true }
        output { name: "y" data_type: TYPE_BF16 dims: 2 label_filename: "labels.txt" }
        dynamic_batching {
          max_queue_delay_microseconds: 100 priority_levels: 2 default_priority_level: 1
          default_queue_policy { max_queue_size: 5 }
          priority_queue_policy { key: 2 value { timeout_action: DELAY default_timeout_microseconds: 7
                                                  allow_timeout_override: true } }
        }
        instance_group { count: 3 }
        parameters { key: "intra_op_thread_count" value { string_value: "2" } }
        optimization { graph { level: -1 } }
        model_warmup { name: "w" batch_size: 2
          inputs { key: "x" value { data_type: TYPE_FP32 dims: [ 2, 2 ] input_data_file: "x.bin" } } }
        model_warmup { name: "skipped" inputs { key: "x" value { data_type: TYPE_FP32 zero_data: true } } }
        metric_tags { key: "a" value: "b" }
    """)
    spec = lower(config, version=3, version_path=tmp_path / "3", model_path=tmp_path)
    assert spec == {
        "name": "m",
        "version": 3,
        "platform": "onnxruntime_onnx",
        "backend": "onnxruntime",
        "path": str(tmp_path / "3"),
        "artifact": "model.onnx",
        "max_batch_size": 8,
        "inputs": [
            {
                "name": "x",
                "dtype": "FP32",
                "dims": [2, 2],
                "reshape": [4],
                "optional": False,
                "ragged": False,
                "labels": [],
            },
            {
                "name": "s",
                "dtype": "BYTES",
                "dims": [-1],
                "reshape": None,
                "optional": True,
                "ragged": False,
                "labels": [],
            },
        ],
        "outputs": [
            {
                "name": "y",
                "dtype": "BF16",
                "dims": [2],
                "reshape": None,
                "optional": False,
                "ragged": False,
                "labels": ["cat", "dog"],
            }
        ],
        "batch_inputs": [],
        "batch_outputs": [],
        "decoupled": False,
        "batching": {
            "preferred_rows": [8],
            "max_queue_delay_us": 100,
            "preserve_ordering": False,
            "priority_levels": 2,
            "default_priority": 1,
            "default_policy": {
                "timeout_action": "reject",
                "default_timeout_us": 0,
                "allow_timeout_override": False,
                "max_queue_size": 5,
            },
            "level_policies": {
                2: {
                    "timeout_action": "delay",
                    "default_timeout_us": 7,
                    "allow_timeout_override": True,
                    "max_queue_size": 0,
                }
            },
        },
        "instances": [{"name": "m_0", "kind": "cpu", "count": 3, "gpus": []}],
        "parameters": {"intra_op_thread_count": "2", "optimization.graph.level": "-1"},
        "warmup": [
            {
                "name": "w",
                "batch_size": 2,
                "count": 1,
                "inputs": {
                    "x": {
                        "dtype": "FP32",
                        "dims": [2, 2],
                        "source": "file",
                        "file": str(tmp_path / "warmup" / "x.bin"),
                    }
                },
            }
        ],
        "sequence": None,
        "ensemble": None,
        "metric_tags": {"a": "b"},
        "config_json": "",  # for backends in processes of their own only
    }


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("output { name: 'y' data_type: TYPE_FP32 dims: 2 label_filename: 'no.txt' }", "output[0].label_filename"),
        ("output { name: 'y' data_type: TYPE_FP32 dims: 2 label_filename: '../x' }", "output[0].label_filename"),
        (
            "model_warmup { batch_size: 1 inputs { key: 'x' value { data_type: TYPE_FP32 input_data_file: 'no' } } }",
            'model_warmup[0].inputs["x"].value.input_data_file',
        ),
        (
            "model_warmup { batch_size: 1 inputs { key:'x' value { data_type: TYPE_FP32 input_data_file: '../../x' }}}",
            'model_warmup[0].inputs["x"].value.input_data_file',
        ),
    ],
)
def test_files_that_are_missing_or_outside_are_refused_by_field(text, where, tmp_path):
    with pytest.raises(ConfigError) as error:
        lower(checked(f"name: 'm' backend: 'identity' {text}"), version=1, version_path=tmp_path, model_path=tmp_path)
    assert error.value.where == where


@pytest.mark.parametrize(
    ("text", "where", "sentence"),
    [
        ("sequence_batching { }", "sequence_batching", "sequence batching is not served yet"),
        ("response_cache { enable: true }", "response_cache.enable", "the response cache is not served yet"),
        ("runtime: 'model.py'", "runtime", "choosing a backend library (runtime) is not served"),
        ("instance_group { passive: true }", "instance_group[0].passive", "passive instances are not served yet"),
        (
            "instance_group { kind: KIND_CPU secondary_devices { kind: KIND_NVDLA device_id: 0 } }",
            "instance_group[0].secondary_devices",
            "secondary devices are not served",
        ),
        (
            "model_operations { op_library_filename: 'a.so' }",
            "model_operations",
            "custom operator libraries (model_operations) are not served yet",
        ),
        (
            "optimization { execution_accelerators { cpu_execution_accelerator { name: 'openvino' } } }",
            "optimization.execution_accelerators.cpu_execution_accelerator[0]",
            "CPU execution accelerators are not served yet",
        ),
        (
            "model_repository_agents { agents { name: 'checksum' } }",
            "model_repository_agents",
            "model repository agents are not served",
        ),
    ],
)
def test_a_setting_that_is_not_served_is_refused_by_name(text, where, sentence):
    found = not_served(checked(f"name: 'm' backend: 'identity' max_batch_size: 4 {text}"), Capabilities())
    assert [(error.where, error.problem) for error in found] == [
        (where, f"model 'm' cannot be served as configured: {sentence}")
    ]


def test_an_ensemble_is_refused_by_name():
    text = (FILES / "pipeline.pbtxt").read_text()
    assert [error.where for error in not_served(checked(text), Capabilities())] == ["ensemble_scheduling"]


def test_hints_and_settings_without_effect_are_accepted():
    text = """name: 'm' backend: 'onnxruntime' max_batch_size: 4 response_cache { enable: false }
        instance_group { host_policy: 'p' rate_limiter { resources { name: 'R' count: 1 } priority: 2 } }
        optimization { priority: PRIORITY_MAX cuda { graphs: true } eager_batching: true
          execution_accelerators { gpu_execution_accelerator { name: 'tensorrt' } } }"""
    assert not_served(checked(text), Capabilities()) == ()
    limited = Capabilities(rate_limiting=True)
    assert [error.where for error in not_served(checked(text, limited), limited)] == ["instance_group[0].rate_limiter"]


def test_what_backends_do_on_a_gpu_is_among_the_parameters(tmp_path):
    text = """name: 'm' backend: 'onnxruntime' max_batch_size: 8
        optimization {
          cuda { graphs: true graph_spec { batch_size: 4 input { key: 'x' value { dim: [ 3, 5 ] } } }
                              graph_spec { batch_size: 8 graph_lower_bound { batch_size: 6 } } }
          execution_accelerators { gpu_execution_accelerator [
            { name: 'tensorrt' parameters { key: 'precision_mode' value: 'FP16' } }, { name: 'cuda' } ] } }"""
    gpu = Capabilities(gpu_build=True, gpus=(0,), cpu_only=())
    config = checked(text, gpu)
    spec = lower(config, version=1, version_path=tmp_path, model_path=tmp_path)
    assert spec["instances"] == [{"name": "m", "kind": "gpu", "count": 1, "gpus": [0]}]
    assert {key: json.loads(value) for key, value in spec["parameters"].items()} == {
        "optimization.cuda.graphs": 1,
        "optimization.cuda.graph_spec": [
            {"batch_size": 4, "input": {"x": [3, 5]}, "lower_bound": False},
            {"batch_size": 8, "input": {}, "lower_bound": True},
        ],
        "optimization.gpu_execution_accelerator": [
            {"name": "tensorrt", "parameters": {"precision_mode": "FP16"}},
            {"name": "cuda", "parameters": {}},
        ],
    }
    assert not_served(config, gpu) == ()
    (refusal,) = not_served(checked(text.replace("onnxruntime", "pytorch"), gpu), gpu)
    assert "GPU execution accelerators are those of the backend onnxruntime" in refusal.problem


def all_defaults(message: ModelConfig) -> dict:
    return json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


def numbers(value):
    """Digits as numbers, which is all that sets protobuf's JSON apart from the endpoint's."""
    if isinstance(value, dict):
        return {key: numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [numbers(item) for item in value]
    return int(value) if isinstance(value, str) and value.lstrip("-").isdigit() else value


@pytest.mark.parametrize("path", sorted(FILES.glob("*.pbtxt")), ids=lambda path: path.stem)
def test_json_says_what_protobufs_own_json_says_with_numbers_and_in_declaration_order(path):
    message = parse_text(path.read_text(), "c").message
    shown = to_json(message)
    assert numbers(shown) == numbers(all_defaults(message))
    order = [field.name for field in ModelConfig.DESCRIPTOR.fields]
    assert list(shown) == [name for name in order if name in shown]


def test_wide_integers_are_numbers_but_for_the_paths_that_clients_know_as_strings():
    message = parse_text(
        """name: "m" input { name: "x" dims: [ -1, 4611686018427387904 ] }
        sequence_batching { max_sequence_idle_microseconds: 5 direct { minimum_slot_utilization: 0.1 }
          state { dims: 3 initial_state { dims: 3 zero_data: true } } }
        instance_group { secondary_devices { device_id: 1 } }""",
        "c",
    ).message
    shown = json.loads(json.dumps(to_json(message)))
    assert shown["input"][0]["dims"] == [-1, 4611686018427387904]
    sequence = shown["sequence_batching"]
    assert sequence["max_sequence_idle_microseconds"] == 5
    assert sequence["direct"]["minimum_slot_utilization"] == 0.1
    assert (sequence["state"][0]["dims"], sequence["state"][0]["initial_state"][0]["dims"]) == ([3], ["3"])
    assert shown["instance_group"][0]["secondary_devices"][0]["device_id"] == "1"


def test_the_bytes_are_the_message():
    message = parse_text((FILES / "bert.pbtxt").read_text(), "c").message
    assert ModelConfig.FromString(to_bytes(message)) == message


def tensor(name="x", dtype="FP32", dims=(4,), reshape=None, optional=False):
    return {"name": name, "dtype": dtype, "dims": list(dims), "reshape": reshape, "optional": optional}


def found(name="x", dtype="FP32", dims=(-1, 4)):
    return TensorSignature(name=name, dtype=dtype, dims=tuple(dims))


@pytest.mark.parametrize(
    ("rows", "inputs", "outputs", "model_inputs", "problem"),
    [
        (8, [tensor()], [], [found()], ""),
        (8, [tensor(dims=(-1,))], [], [found(dims=(-1, -1))], ""),
        (8, [tensor(dims=(2, 2), reshape=[4])], [], [found()], ""),
        (8, [tensor(dims=(1,), reshape=[])], [], [found(dims=(-1,))], ""),
        (0, [tensor(dims=(1,))], [], [found(dims=())], ""),
        (0, [tensor(dims=(3, 4))], [], [found()], ""),
        (
            8,
            [tensor(), tensor("z")],
            [],
            [found()],
            "unable to load model 'm', configuration expects 2 inputs, model provides 1",
        ),
        (8, [tensor("z")], [], [found()], "unexpected inference input 'z', allowed inputs are: x"),
        (8, [tensor()], [tensor("z")], [found()], "unexpected inference output 'z', allowed outputs are: y"),
        (
            8,
            [tensor(dtype="INT64")],
            [],
            [found()],
            "unable to load model 'm', configuration expects datatype TYPE_INT64 for input 'x', "
            "model provides TYPE_FP32",
        ),
        (
            8,
            [tensor(dims=(4, 4))],
            [],
            [found()],
            "model 'm', tensor 'x': the model expects 2 dimensions (shape [-1,4]) but the model configuration "
            ""
            "specifies 3 dimensions (an initial batch dimension because max_batch_size > 0 followed by the explicit "
            "tensor "
            "shape, making complete shape [-1,4,4])",
        ),
        (
            0,
            [tensor()],
            [],
            [found()],
            "model 'm', tensor 'x': the model expects 2 dimensions (shape [-1,4]) but the model configuration "
            "specifies 1 dimensions (shape [4])",
        ),
        (
            8,
            [tensor(dims=(5,))],
            [],
            [found()],
            "model 'm', tensor 'x': the model expects 2 dimensions (shape [-1,4]) but the model configuration "
            "specifies shape [-1,5]",
        ),
        (
            8,
            [tensor()],
            [],
            [found(dims=(1, 4))],
            "model 'm', tensor 'x': for the model to support batching the shape should have at least 1 dimension and "
            "the first dimension must be -1; but shape expected by the model is [1,4]",
        ),
        (
            8,
            [tensor(optional=True)],
            [],
            [found()],
            "unable to load model 'm', optional input 'x' is not supported for models that support batching",
        ),
    ],
)
def test_says_how_configuration_and_artifact_disagree(rows, inputs, outputs, model_inputs, problem):
    spec = {"name": "m", "max_batch_size": rows, "inputs": inputs, "outputs": outputs}
    signature = ArtifactSignature(inputs=tuple(model_inputs), outputs=(found("y"),))
    assert mismatch(spec, signature) == problem
