from __future__ import annotations

import pytest
from argosy.config import ArtifactSignature, Capabilities, TensorSignature, parse_json, parse_text, to_json
from argosy.config.autofill import complete_tensors, fill_backend, fill_name, normalise
from argosy.config.instances import fill_instances
from argosy.errors import ArgosyError, ConfigError
from argosy.protos import ModelConfig
from hypothesis import given
from hypothesis import strategies as st


def config(text: str = ""):
    return parse_text(text, "c").message


def signature(*inputs: tuple[int, ...], outputs: tuple[tuple[int, ...], ...] = ((-1, 2),), dtype: str = "FP32"):
    return ArtifactSignature(
        inputs=tuple(TensorSignature(name=f"x{i}", dtype=dtype, dims=dims) for i, dims in enumerate(inputs)),
        outputs=tuple(TensorSignature(name=f"y{i}", dtype="FP32", dims=dims) for i, dims in enumerate(outputs)),
    )


def completed(text: str, found: ArtifactSignature, rows: int = 4):
    message = config(f'name: "m" backend: "onnxruntime" {text}')
    complete_tensors(message, found, rows)
    normalise(message)
    return message


def test_a_missing_name_is_the_directory_and_another_name_is_refused():
    message = config()
    fill_name(message, "dir")
    assert message.name == "dir"
    with pytest.raises(ConfigError) as error:
        fill_name(config('name: "other"'), "dir")
    assert error.value.message == (
        "name: unexpected directory name 'dir' for model 'other', directory name must equal model name"
    )


@pytest.mark.parametrize(
    ("text", "artifacts", "filled"),
    [
        ("name: 'm'", ["model.onnx"], ("onnxruntime", "onnxruntime_onnx", "model.onnx")),
        ("name: 'm'", ["model.onnx", "model.plan"], ("tensorrt", "tensorrt_plan", "model.plan")),
        ("name: 'm'", ["model.pt"], ("pytorch", "pytorch_libtorch", "model.pt")),
        ("name: 'm'", ["model.pt2"], ("pytorch", "torch_aoti", "model.pt2")),
        ("name: 'm'", ["model.py"], ("python", "", "model.py")),
        ("name: 'm' backend: 'pytorch'", ["model.pt2"], ("pytorch", "torch_aoti", "model.pt2")),
        ("name: 'm' backend: 'torch'", [], ("pytorch", "pytorch_libtorch", "model.pt")),
        ("name: 'm' default_model_filename: 'net.pt2'", ["net.pt2"], ("pytorch", "torch_aoti", "net.pt2")),
        ("name: 'm' platform: 'torch_aoti'", ["model.pt"], ("pytorch", "torch_aoti", "model.pt2")),
        ("name: 'm' backend: 'onnxruntime'", [], ("onnxruntime", "onnxruntime_onnx", "model.onnx")),
        ("name: 'm' platform: 'onnxruntime_onnx'", [], ("onnxruntime", "onnxruntime_onnx", "model.onnx")),
        (
            "name: 'm' backend: 'onnxruntime' default_model_filename: 'a.onnx'",
            [],
            ("onnxruntime", "onnxruntime_onnx", "a.onnx"),
        ),
        ("name: 'x.identity'", [], ("identity", "", "model.identity")),
        ("name: 'm' backend: 'identity'", [], ("identity", "", "")),
        ("name: 'm' ensemble_scheduling { }", [], ("", "ensemble", "")),
    ],
)
def test_the_backend_is_told_by_the_configuration_then_the_files_then_the_name(text, artifacts, filled):
    message = config(text)
    fill_backend(message, artifacts)
    assert (message.backend, message.platform, message.default_model_filename) == filled


def test_a_model_that_nothing_tells_the_backend_of_is_refused():
    with pytest.raises(ArgosyError) as error:
        fill_backend(config("name: 'm'"), ["weights.bin"])
    assert error.value.message == (
        "Invalid model name: Could not determine backend for model 'm' with no backend in model configuration. "
        "Expected model name of the form 'model.<backend_name>'."
    )


def test_a_dynamic_leading_dimension_becomes_a_batch_of_four_with_dynamic_batching():
    message = completed("", signature((-1, 16), (-1,)))
    shown = to_json(message)
    assert shown["max_batch_size"] == 4
    assert shown["dynamic_batching"]["preferred_batch_size"] == [4]
    assert [(t["dims"], t.get("reshape")) for t in shown["input"]] == [([16], None), ([1], {"shape": []})]
    assert [t["dims"] for t in shown["output"]] == [[2]]


def test_a_static_leading_dimension_is_never_taken_for_a_batch():
    message = completed("", signature((1, 16), outputs=((1, 2),)))
    assert message.max_batch_size == 0
    assert not message.HasField("dynamic_batching")
    assert (list(message.input[0].dims), list(message.output[0].dims)) == ([1, 16], [1, 2])


def test_one_tensor_without_a_dynamic_leading_dimension_keeps_the_model_from_batching():
    assert completed("", signature((-1, 4), (4,))).max_batch_size == 0
    assert completed("", signature((-1, 4), outputs=((),))).max_batch_size == 0


def test_scalars_of_a_model_without_batching_are_called_one_element():
    message = completed("", signature((), outputs=((),)))
    assert (list(message.input[0].dims), message.input[0].HasField("reshape")) == ([1], False)


def test_a_batch_size_that_the_model_cannot_have_is_refused_with_its_real_shape():
    with pytest.raises(ArgosyError) as error:
        completed("max_batch_size: 8", signature((1, 16)))
    assert error.value.message == (
        "autofill failed for model 'm': model does not support batching while non-zero max_batch_size is specified "
        "(tensor 'x0' has shape [1, 16], whose first dimension is not dynamic); write max_batch_size: 0"
    )


def test_a_model_with_inputs_and_outputs_is_left_alone():
    text = (
        "input { name: 'x0' data_type: TYPE_FP32 dims: [ -1, 16 ] } output { name: 'y0' data_type: TYPE_FP32 dims: -1 }"
    )
    message = completed(text, signature((-1, 16)))
    assert message.max_batch_size == 0
    assert message.WhichOneof("scheduling_choice") is None


def test_the_batch_an_artifact_was_made_for_is_the_models():
    found = signature((-1, 16))
    made_for = ArtifactSignature(inputs=found.inputs, outputs=found.outputs, max_rows=32)
    assert completed("", made_for).max_batch_size == 32
    assert completed("max_batch_size: 8", made_for).max_batch_size == 8


def test_leading_dimensions_that_are_not_one_are_no_batch():
    found = signature((-1, 16))
    differing = ArtifactSignature(inputs=found.inputs, outputs=found.outputs, same_rows=False)
    assert completed("", differing).max_batch_size == 0
    with pytest.raises(ArgosyError, match="the first dimensions of its tensors are different ones"):
        completed("max_batch_size: 8", differing)


def test_what_the_user_chose_is_kept():
    message = completed("max_batch_size: 64 output { name: 'y0' data_type: TYPE_FP32 dims: 2 }", signature((-1, 16)))
    assert message.max_batch_size == 64
    assert [t.name for t in message.output] == ["y0"]
    assert completed("", signature((-1, 3)), rows=1).WhichOneof("scheduling_choice") is None
    assert completed("", signature((-1, 3)), rows=8).max_batch_size == 8


def test_an_element_type_that_clients_cannot_name_is_refused():
    with pytest.raises(ArgosyError, match="tensor 'x0' has element type 'COMPLEX64'"):
        completed("", signature((-1, 3), dtype="COMPLEX64"))


@given(
    dims=st.lists(st.lists(st.one_of(st.just(-1), st.integers(1, 9)), max_size=3), min_size=1, max_size=3),
    rows=st.integers(0, 8),
)
def test_batching_is_added_exactly_when_every_leading_dimension_is_dynamic(dims, rows):
    """The law: completing never invents a batch, and dims with the batch put back are the model's."""
    found = signature(*(tuple(d) for d in dims))
    message = completed("", found, rows)
    assert (message.max_batch_size > 0) == (rows > 0 and all(d and d[0] == -1 for d in dims))
    for tensor, own in zip(message.input, dims, strict=True):
        shown = [] if tensor.HasField("reshape") else list(tensor.dims)
        if message.max_batch_size:
            assert [-1, *shown] == own
        else:
            assert shown == (own or [1])


def test_defaults_are_filled_and_filling_again_changes_nothing():
    message = config(
        "name: 'm' backend: 'onnxruntime' max_batch_size: 8 sequence_batching { oldest { } } instance_group { } "
        "instance_group { name: 'b' count: 3 }"
    )
    normalise(message)
    fill_instances(message, Capabilities())
    shown = to_json(message)
    assert shown["version_policy"] == {"latest": {"num_versions": 1}}
    assert shown["sequence_batching"]["max_sequence_idle_microseconds"] == 1000000
    assert shown["sequence_batching"]["oldest"]["preferred_batch_size"] == [8]
    assert shown["optimization"]["input_pinned_memory"] == {"enable": True}
    assert [(g["name"], g["kind"], g["count"]) for g in shown["instance_group"]] == [
        ("m_0", "KIND_CPU", 2),
        ("b", "KIND_CPU", 3),
    ]
    again = ModelConfig.FromString(message.SerializeToString())
    normalise(again)
    fill_instances(again, Capabilities())
    assert again == message


@pytest.mark.parametrize(("backend", "count"), [("onnxruntime", 2), ("python", 1), ("identity", 1)])
def test_a_model_without_groups_gets_one_of_its_own_name(backend, count):
    message = config(f"name: 'm' backend: '{backend}'")
    fill_instances(message, Capabilities())
    assert [(g.name, g.count, g.kind) for g in message.instance_group] == [("m", count, 2)]


def test_automatic_groups_go_to_the_gpus_that_exist():
    message = config("name: 'm' backend: 'pytorch' instance_group { } instance_group { gpus: 7 }")
    fill_instances(message, Capabilities(gpu_build=True, gpus=(0, 1)))
    assert [(g.kind, list(g.gpus), g.count) for g in message.instance_group] == [(1, [0, 1], 1), (2, [7], 1)]


def test_automatic_groups_of_a_backend_without_gpu_code_go_to_the_cpu():
    message = config("name: 'm' backend: 'onnxruntime' instance_group { }")
    fill_instances(message, Capabilities(gpu_build=True, gpus=(0, 1)))
    assert [(g.kind, list(g.gpus), g.count) for g in message.instance_group] == [(2, [], 2)]
    message = config("name: 'm' backend: 'onnxruntime' instance_group { }")
    fill_instances(message, Capabilities(gpu_build=True, gpus=(0, 1), cpu_only=("identity",)))
    assert [(g.kind, list(g.gpus), g.count) for g in message.instance_group] == [(1, [0, 1], 1)]


def test_json_takes_both_spellings_of_names_and_enums_in_any_case():
    snake = parse_json('{"max_batch_size": 2, "input": [{"name": "x", "data_type": "type_fp32", "dims": ["3"]}]}')
    camel = parse_json('{"maxBatchSize": 2, "input": [{"name": "x", "dataType": "TYPE_FP32", "dims": [3]}]}')
    assert snake == camel
    assert parse_json('{"instanceGroup": [{"kind": "kind_cpu"}]}').instance_group[0].kind == 2


@pytest.mark.parametrize(
    "text", ["{", "[]", "3", '{"nope": 1}', '{"max_batch_size": "x"}', '{"input": 3}', "[" * 10000]
)
def test_json_that_is_no_configuration_is_refused(text):
    with pytest.raises(ConfigError) as error:
        parse_json(text)
    assert error.value.problem.startswith("Invalid config override: ")


def test_json_of_the_config_endpoint_can_be_loaded_again():
    message = completed("parameters { key: 'a' value { string_value: 'b' } }", signature((-1, 16)))
    import json

    assert parse_json(json.dumps(to_json(message))) == message
