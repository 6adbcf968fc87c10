"""Every rule of a configuration, with the whole message and the place."""

from __future__ import annotations

import pytest
from argosy.config import Capabilities, model_from, parse_text
from argosy.config.autofill import fill_backend, normalise
from argosy.config.instances import fill_instances
from argosy.errors import ConfigError

X = "input { name: 'x' data_type: TYPE_FP32 dims: 4 }"
Y = "output { name: 'y' data_type: TYPE_FP32 dims: 4 }"
HEAD = "name: 'm' backend: 'identity' max_batch_size: 8"
BODY = f"{HEAD} {X} {Y}"
WILDCARD = "must be integer >= 1, or -1 to indicate a variable-size dimension for m"


def judge(text: str, capabilities: Capabilities | None = None):
    capabilities = capabilities or Capabilities()
    parsed = parse_text(text, "c")
    fill_backend(parsed.message, ())
    normalise(parsed.message)
    fill_instances(parsed.message, capabilities)
    try:
        return model_from(parsed.message, capabilities)
    except ConfigError as error:
        raise parsed.locations.located(error) from None


def refusal(text: str, capabilities: Capabilities | None = None) -> str:
    with pytest.raises(ConfigError) as error:
        judge(text, capabilities)
    return error.value.message


def tensor(text: str, rows: int = 8) -> str:
    return f"name: 'm' backend: 'identity' max_batch_size: {rows}\ninput {{ {text} }}"


def dynamic(text: str, rows: int = 8) -> str:
    return f"name: 'm' backend: 'identity' max_batch_size: {rows}\ndynamic_batching {{ {text} }}"


def sequence(text: str) -> str:
    return f"{HEAD}\nsequence_batching {{ {text} }}"


def control(text: str) -> str:
    return sequence(f"control_input {{ name: 'C' control {{ {text} }} }}")


def ensemble(steps: str, rest: str = "") -> str:
    return f"name: 'e' platform: 'ensemble' {X} {Y} {rest}\nensemble_scheduling {{ {steps} }}"


def step(inputs: str, outputs: str, model: str = "a") -> str:
    def entries(field: str, pairs: str) -> str:
        return " ".join(
            f"{field} {{ key: '{pair.split('=')[0]}' value: '{pair.split('=')[1]}' }}" for pair in pairs.split()
        )

    maps = f"{entries('input_map', inputs)} {entries('output_map', outputs)}"
    return f"step {{ model_name: '{model}' model_version: -1 {maps} }}"


FT = "'int32_false_true', 'fp32_false_true' or 'bool_false_true'"
START = "CONTROL_SEQUENCE_START"
CASES = {
    "no name": ("backend: 'identity'", "c: model configuration must specify 'name'"),
    "unknown platform": ("name: 'm'\nplatform: 'caffe'", "c:2:1: unexpected platform type 'caffe' for m"),
    "ensemble with a backend": (
        "name: 'm' platform: 'ensemble'\nbackend: 'python'",
        "c:2:1: Ensemble model 'm' must have platform type 'ensemble' and empty backend type",
    ),
    "platform of another backend": (
        "name: 'm' backend: 'onnxruntime'\nplatform: 'tensorrt_plan'",
        "c:2:1: unexpected 'platform' and 'backend' pair, got:tensorrt_plan, onnxruntime",
    ),
    "negative batch": (
        "name: 'm' backend: 'identity'\nmax_batch_size: -1",
        "c:2:1: 'max_batch_size' must be non-negative value for m",
    ),
    "tensor without name": (tensor("data_type: TYPE_FP32 dims: 1"), "c:2:1: model input must specify 'name' for m"),
    "tensor without type": (tensor("name: 'x' dims: 1"), "c:2:1: model input 'x' must specify 'data_type' for m"),
    "tensor without dims": (
        tensor("name: 'x' data_type: TYPE_FP32"),
        "c:2:1: model input 'x' must specify 'dims' for m",
    ),
    "output without dims": (
        f"{HEAD} {X}\noutput {{ name: 'y' data_type: TYPE_FP32 }}",
        "c:2:1: model output 'y' must specify 'dims' for m",
    ),
    "dim 0": (
        tensor("name: 'x' data_type: TYPE_FP32 dims: [ 4, 0 ]"),
        f"c:2:51: model input 'x' dimension {WILDCARD}",
    ),
    "dim -2": (tensor("name: 'x' data_type: TYPE_FP32 dims: -2"), f"c:2:40: model input 'x' dimension {WILDCARD}"),
    "reshape dim 0": (
        tensor("name: 'x' data_type: TYPE_FP32 dims: 1 reshape { shape: 0 }"),
        f"c:2:58: model input 'x' reshape dimensions {WILDCARD}",
    ),
    "empty reshape without batching": (
        tensor("name: 'x' data_type: TYPE_FP32 dims: 1 reshape { shape: [] }", rows=0),
        "c:2:48: model input 'x' cannot have empty reshape for non-batching model as scalar tensors are not supported "
        "for m",
    ),
    "reshape of another size": (
        tensor("name: 'x' data_type: TYPE_FP32 dims: [ 2, 3 ] reshape { shape: [ 5 ] }"),
        "c:2:55: model input 'x' has different size for dims and reshape for m",
    ),
    "reshape fixed, dims variable": (
        tensor("name: 'x' data_type: TYPE_FP32 dims: [ -1 ] reshape { shape: [ 5 ] }"),
        "c:2:53: model input 'x' has different size for dims and reshape for m",
    ),
    "reshape with fewer variable dims": (
        tensor("name: 'x' data_type: TYPE_FP32 dims: [ -1, -1 ] reshape { shape: [ -1 ] }"),
        "c:2:57: model input 'x' has different number of variable-size dimensions for dims and reshape for m",
    ),
    "reshape with other runs": (
        tensor("name: 'x' data_type: TYPE_FP32 dims: [ 2, -1, 3 ] reshape { shape: [ 3, -1, 2 ] }"),
        "c:2:59: model input 'x' has different size for dims and reshape for m",
    ),
    "format needs 3 dims": (
        tensor("name: 'x' data_type: TYPE_FP32 dims: 4 format: FORMAT_NHWC"),
        "c:2:48: model input NHWC/NCHW require 3 dims for m",
    ),
    "shape tensor": (
        tensor("name: 'x' data_type: TYPE_FP32 dims: 4 is_shape_tensor: true"),
        "c:2:48: shape tensors are only supported for TensorRT platform for m",
    ),
    "non-linear format": (
        tensor("name: 'x' data_type: TYPE_FP32 dims: 4 is_non_linear_format_io: true"),
        "c:2:48: Non-linear IO format is only supported for the TensorRT platform for m",
    ),
    "the same input twice": (f"{HEAD} {X}\n{X}", "c:2:9: model input 'x' is specified more than once for m"),
    "batch input without source": (
        f"{BODY}\nbatch_input {{ kind: BATCH_ELEMENT_COUNT data_type: TYPE_FP32 }}",
        "c:2:1: batch input kind 'BATCH_ELEMENT_COUNT' expects 1 source input, got 0",
    ),
    "batch input of a wrong type": (
        f"{BODY}\nbatch_input {{ data_type: TYPE_INT64 source_input: 'x' }}",
        "c:2:15: batch input data type must be TYPE_INT32 or TYPE_FP32",
    ),
    "batch input of an unknown source": (
        f"{BODY}\nbatch_input {{ data_type: TYPE_INT32 source_input: 'q' }}",
        "c:2:37: unknown source input name 'q'",
    ),
    "batch input without a target": (
        f"{BODY}\nbatch_input {{ data_type: TYPE_INT32 source_input: 'x' }}",
        "c:2:1: batch input must specify 'target_name'",
    ),
    "batch input that requests bring already": (
        f"{BODY}\nbatch_input {{ data_type: TYPE_INT32 target_name: 'x' source_input: 'x' }}",
        "c:2:37: target input name 'x' is taken: the server makes batch inputs, requests bring the others",
    ),
    "batch input with a target twice": (
        f"{BODY}\nbatch_input {{ data_type: TYPE_INT32 target_name: [ 'n', 'n' ] source_input: 'x' }}",
        "c:2:57: target input name 'n' is taken: the server makes batch inputs, requests bring the others",
    ),
    "batch output without a target": (
        f"{BODY}\nbatch_output {{ source_input: 'x' }}",
        "c:2:1: batch output must specify 'target_name'",
    ),
    "batch output with an unknown target": (
        f"{BODY}\nbatch_output {{ target_name: 'q' source_input: 'x' }}",
        "c:2:16: unknown target output name 'q'",
    ),
    "batch output with a target twice": (
        f"{BODY}\nbatch_output {{ target_name: [ 'y', 'y' ] source_input: 'x' }}",
        "c:2:36: target output name 'y' can only be specified once",
    ),
    "preferred size 0": (
        dynamic("preferred_batch_size: [ 4, 0 ]"),
        "c:2:47: dynamic batching preferred size must be positive for m",
    ),
    "preferred size over the limit": (
        dynamic("preferred_batch_size: [ 4, 16 ]"),
        "c:2:47: dynamic batching preferred size must be <= max batch size for m",
    ),
    "preferred size without batching": (
        dynamic("preferred_batch_size: 1", rows=0),
        "c:2:20: dynamic batching preferred size must be <= max batch size for m",
    ),
    "default level 0": (
        dynamic("priority_levels: 2"),
        "c:2:20: default priority level must be in range [1, 2] for m",
    ),
    "default level over the limit": (
        dynamic("priority_levels: 2 default_priority_level: 3"),
        "c:2:39: default priority level must be in range [1, 2] for m",
    ),
    "policy of a level that does not exist": (
        dynamic(
            "priority_levels: 2 default_priority_level: 1 priority_queue_policy { key: 3 value { max_queue_size: 1 } }"
        ),
        "c:2:65: priority queue policy must have priority level in range [1, 2] for m",
    ),
    "ordering with priorities": (
        dynamic("priority_levels: 2 default_priority_level: 1 preserve_ordering: true"),
        "c:2:65: Only one priority level is allowed when 'preserve_ordering' is true for m",
    ),
    "ordering with delay": (
        dynamic(
            "preserve_ordering: true default_queue_policy { timeout_action: DELAY default_timeout_microseconds: 1 }"
        ),
        "c:2:44: Queue policy can not have DELAY as timeout action when 'preserve_ordering' is true for m",
    ),
    "ordering with delay in a level": (
        dynamic(
            "preserve_ordering: true priority_levels: 1 default_priority_level: 1 "
            "priority_queue_policy { key: 1 value { timeout_action: DELAY default_timeout_microseconds: 1 } }"
        ),
        "c:2:89: Queue policy can not have DELAY as timeout action when 'preserve_ordering' is true for m",
    ),
    "no version kept": (
        f"{BODY}\nversion_policy {{ latest {{ num_versions: 0 }} }}",
        "c:2:27: must be at least 1, got 0 for m",
    ),
    "control without a name": (
        sequence("control_input { }"),
        "c:2:21: sequence batching control tensor must have a name for m",
    ),
    "control kind twice": (
        sequence(
            "control_input { name: 'A' control { int32_false_true: [0, 1] } } "
            "control_input { name: 'B' control { int32_false_true: [0, 1] } }"
        ),
        f"c:2:112: sequence batching specifies multiple {START} tensors for m",
    ),
    "control with two pairs": (
        control("int32_false_true: [0, 1] fp32_false_true: [0, 1]"),
        f"c:2:82: sequence batching specifies both 'int32_false_true' and 'fp32_false_true' for {START} for m",
    ),
    "control without a pair": (control(""), f"c:2:47: sequence batching must specify either {FT} for {START} for m"),
    "control with one entry": (
        control("bool_false_true: [ true ]"),
        f"c:2:57: sequence batching control 'bool_false_true' must have exactly 2 entries for {START}, got 1 for m",
    ),
    "corrid with a pair": (
        control("kind: CONTROL_SEQUENCE_CORRID int32_false_true: [0, 1]"),
        f"c:2:87: sequence batching must not specify either {FT} for CONTROL_SEQUENCE_CORRID for m",
    ),
    "corrid of a wrong type": (
        control("kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_FP32"),
        "c:2:87: unexpected data type for control CONTROL_SEQUENCE_CORRID, got FP32. Allowed data types are "
        "TYPE_UINT64, TYPE_INT64, TYPE_UINT32, TYPE_INT32 and TYPE_STRING for m",
    ),
    "sequence preferred over the limit": (
        sequence("oldest { preferred_batch_size: 9 }"),
        "c:2:30: sequence batching preferred batch size must be <= max batch size for m",
    ),
    "sequence preferred 0": (
        sequence("oldest { preferred_batch_size: 0 }"),
        "c:2:30: sequence batching preferred batch size must be positive for m",
    ),
    "slot utilization": (
        sequence("direct { minimum_slot_utilization: 1.5 }"),
        "c:2:30: sequence batching minimum slot utilization must be in range (0.0, 1.0] for m",
    ),
    "state with variable initial dims": (
        sequence(
            "state { input_name: 'i' output_name: 'o' data_type: TYPE_FP32 dims: -1 "
            "initial_state { name: 's' data_type: TYPE_FP32 dims: -1 zero_data: true } }"
        ),
        "c:2:139: 'initial_state' field for state input name 'i' contains variable dimensions. for m",
    ),
    "cache with sequences": (
        f"{BODY} sequence_batching {{ }}\nresponse_cache {{ enable: true }}",
        "c:2:1: response cache is not supported with sequence batching for m",
    ),
    "cache with decoupled": (
        f"{BODY} model_transaction_policy {{ decoupled: true }}\nresponse_cache {{ enable: true }}",
        "c:2:1: response cache is not supported with a decoupled transaction policy for m",
    ),
    "metrics without identifier": (
        f"{BODY}\nmodel_metrics {{ metric_control {{ }} }}",
        "c:2:17: model metrics must specify 'metric_identifier' for m",
    ),
    "metrics without family": (
        f"{BODY}\nmodel_metrics {{ metric_control {{ metric_identifier {{ }} }} }}",
        "c:2:34: model metrics must specify 'family' in 'metric_identifier' for m",
    ),
    "metrics without options": (
        f"{BODY}\nmodel_metrics {{ metric_control {{ metric_identifier {{ family: 'f' }} }} }}",
        "c:2:17: model metrics must specify 'histogram_options' for m",
    ),
    "metrics without buckets": (
        f"{BODY}\nmodel_metrics {{ metric_control {{ metric_identifier {{ family: 'f' }} histogram_options {{ }} }} }}",
        "c:2:68: model metrics must specify non-empty 'buckets' in 'histogram_options' for m",
    ),
    "cpu group with gpus": (
        f"{BODY}\ninstance_group {{ kind: KIND_CPU gpus: 0 }}",
        "c:2:33: instance group m_0 of model m has kind KIND_CPU but specifies one or more GPUs",
    ),
    "model group with gpus": (
        f"{BODY}\ninstance_group {{ name: 'g' kind: KIND_MODEL gpus: 0 }}",
        "c:2:45: instance group g of model m has kind KIND_MODEL but specifies one or more GPUs",
    ),
    "gpu group on a cpu build": (
        f"{BODY}\ninstance_group {{ kind: KIND_GPU }}",
        "c:2:18: instance group m_0 of model m has kind KIND_GPU but server does not support GPUs "
        "(it was built without CUDA)",
    ),
    "profile without TensorRT": (
        f"{BODY}\ninstance_group {{ kind: KIND_CPU profile: '1' }}",
        "c:2:33: instance group m_0 of model m specifies profile, which only platform tensorrt_plan has",
    ),
    "ensemble with instances": (
        ensemble(step("i=x", "o=y"), "\ninstance_group { kind: KIND_CPU }"),
        "c:2:1: instance group should not be specified for ensemble 'e'",
    ),
    "ensemble with warm-up": (
        ensemble(step("i=x", "o=y"), "\nmodel_warmup { }"),
        "c:2:1: model warmup should not be specified for ensemble 'e'",
    ),
    "ensemble with optimization": (
        ensemble(step("i=x", "o=y"), "\noptimization { }"),
        "c:2:1: optimization should not be specified for ensemble 'e'",
    ),
    "ensemble without steps": (ensemble(""), "c:2:1: must specify 'step' for ensemble 'e'"),
    "step without a model": (
        ensemble("step { }"),
        "c:2:23: must specify 'model_name' in step 0 of ensemble 'e'",
    ),
    "step without inputs": (
        ensemble("step { model_name: 'a' }"),
        "c:2:23: must specify 'input_map' in step 0 of ensemble 'e'",
    ),
    "tensor written twice": (
        ensemble(step("i=x", "o=y") + step("i=x", "o=y")),
        "c:2:209: ensemble tensor 'y' can appear in an output map only once for ensemble 'e' step 1",
    ),
    "ensemble input unused": (
        ensemble(step("i=q", "o=y")),
        "c:1:32: ensemble input 'x' for ensemble 'e' is not used",
    ),
    "ensemble output not written": (
        ensemble(step("i=x j=q", "o=y")),
        "c:1:81: output 'y' for ensemble 'e' is not written: at least one of its depending tensors, 'q', is not "
        "connected",
    ),
    "tensor unused": (
        ensemble(step("i=x", "o=y p=z")),
        "c:2:98: ensemble tensor 'z' is unused in ensemble 'e'",
    ),
    "warm-up input without type": (
        f"{BODY}\nmodel_warmup {{ name: 's' inputs {{ key: 'x' value {{ dims: 4 zero_data: true }} }} }}",
        "c:2:26: model warmup input 'x' must specify 'data_type' for m",
    ),
    "warm-up input with variable dims": (
        f"{BODY}\nmodel_warmup {{ inputs {{ key: 'x' value {{ data_type: TYPE_FP32 dims: -1 zero_data: true }} }} }}",
        "c:2:16: warmup setting expects all variable-size dimensions are specified for input 'x' for m",
    ),
    "warm-up input without data": (
        f"{BODY}\nmodel_warmup {{ inputs {{ key: 'x' value {{ data_type: TYPE_FP32 dims: 4 }} }} }}",
        "c:2:16: model warmup input 'x' must specify one of 'zero_data', 'random_data' and 'input_data_file' for m",
    ),
}


@pytest.mark.parametrize(("text", "message"), CASES.values(), ids=CASES.keys())
def test_says_where_and_what_is_wrong(text, message):
    assert refusal(text) == message


def test_the_unbroken_base_of_the_cases_is_accepted():
    config = judge(BODY)
    assert (config.name, config.max_batch_rows, config.inputs[0].dims) == ("m", 8, (4,))
    assert judge(ensemble(step("i=x", "o=t") + step("i=t", "o=y", "b"))).ensemble.steps[1].model == "b"


def test_a_cycle_in_an_ensemble_is_refused():
    text = ensemble(step("i=x j=b", "o=y p=c") + step("i=c", "o=b"))
    assert "output 'y' for ensemble 'e' is not written" in refusal(text)


def test_a_control_tensor_named_twice_is_refused():
    twice = "control_input { name: 'C' control { int32_false_true: [0, 1] } } control_input { name: 'C' }"
    assert "sequence batching control tensor 'C' is specified multiple times for m" in refusal(sequence(twice))


def test_gpu_groups_are_judged_against_the_gpus_of_the_machine():
    text = f"{BODY}\ninstance_group {{ kind: KIND_GPU gpus: [ 0, 3 ] }}"
    who = "instance group m_0 of model m"
    none = f"c:2:18: {who} has kind KIND_GPU but no GPUs are available"
    assert refusal(text, Capabilities(gpu_build=True)) == none
    assert refusal(text, Capabilities(gpu_build=True, gpus_left_alone=("GPU 0 is old",))) == f"{none} (GPU 0 is old)"
    assert refusal(text, Capabilities(gpu_build=True, gpus=(0, 1))) == (
        f"c:2:44: {who} specifies invalid or unsupported gpu id 3. Usable GPUs are: 0, 1"
    )
    two = judge(f"{BODY}\ninstance_group {{ kind: KIND_GPU }}", Capabilities(gpu_build=True, gpus=(0, 1)))
    assert (two.instances[0].kind, two.instances[0].gpus) == ("gpu", (0, 1))


def test_the_corrected_snippet_is_what_passes():
    with pytest.raises(ConfigError) as error:
        judge(dynamic("preferred_batch_size: [ 4, 16 ]"))
    assert error.value.fix == "preferred_batch_size: [ 4 ]"
    assert judge(dynamic(error.value.fix)).batching.preferred_rows == (4,)
    with pytest.raises(ConfigError) as error:
        judge(tensor("name: 'x' data_type: TYPE_FP32 dims: [ 4, 0 ]"))
    assert judge(tensor(f"name: 'x' data_type: TYPE_FP32 {error.value.fix}")).inputs[0].dims == (4, -1)


def test_an_empty_reshape_is_a_scalar_for_a_batching_model_only():
    assert judge(tensor("name: 'x' data_type: TYPE_FP32 dims: 1 reshape { }")).inputs[0].reshape == ()
