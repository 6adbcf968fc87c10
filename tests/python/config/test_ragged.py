"""Ragged batches in a configuration: what it lowers to, what an artifact has to have, what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from argosy.config import (
    ArtifactSignature,
    Capabilities,
    TensorSignature,
    is_ragged,
    lower,
    mismatch,
    model_from,
    model_inputs,
    not_served,
    parse_text,
)
from argosy.config.autofill import complete_tensors, fill_backend, normalise
from argosy.config.instances import fill_instances
from argosy.config.model import ModelConfig
from argosy.errors import ConfigError

RAGGED = """name: "m" backend: "onnxruntime" max_batch_size: 8
input { name: "x" data_type: TYPE_FP32 dims: [ -1, 2 ] allow_ragged_batch: true }
input { name: "w" data_type: TYPE_FP32 dims: 3 }
output { name: "y" data_type: TYPE_FP32 dims: [ -1 ] }
output { name: "s" data_type: TYPE_FP32 dims: 1 }
batch_input { kind: BATCH_ACCUMULATED_ELEMENT_COUNT_WITH_ZERO target_name: "ends" data_type: TYPE_INT32
  source_input: "x" }
batch_input { kind: BATCH_ITEM_SHAPE target_name: [ "shapes", "more" ] data_type: TYPE_FP32 source_input: "x" }
batch_output { target_name: "y" kind: BATCH_SCATTER_WITH_INPUT_SHAPE source_input: "x" }
"""


def checked(text: str) -> ModelConfig:
    message = parse_text(text, "c").message
    fill_backend(message, ())
    normalise(message)
    fill_instances(message, Capabilities())
    return model_from(message, Capabilities())


def lowered(text: str = RAGGED) -> dict[str, Any]:
    return lower(checked(text), version=1, version_path=Path("m/1"), model_path=Path("m"))


def test_each_target_is_one_tensor_of_the_specification() -> None:
    spec = lowered()
    assert spec["batch_inputs"] == [
        {"name": "ends", "dtype": "INT32", "kind": "accumulated_element_count_with_zero", "source": "x"},
        {"name": "shapes", "dtype": "FP32", "kind": "item_shape", "source": "x"},
        {"name": "more", "dtype": "FP32", "kind": "item_shape", "source": "x"},
    ]
    assert spec["batch_outputs"] == [{"name": "y", "source": "x"}]
    assert [tensor["ragged"] for tensor in spec["inputs"]] == [True, False]
    assert not_served(checked(RAGGED), Capabilities()) == ()


@pytest.mark.parametrize(
    "kind",
    [
        "BATCH_ELEMENT_COUNT",
        "BATCH_ACCUMULATED_ELEMENT_COUNT",
        "BATCH_ACCUMULATED_ELEMENT_COUNT_WITH_ZERO",
        "BATCH_MAX_ELEMENT_COUNT_AS_SHAPE",
        "BATCH_ITEM_SHAPE",
        "BATCH_ITEM_SHAPE_FLATTEN",
    ],
)
def test_every_kind_has_a_name_of_its_own(kind: str) -> None:
    (first, *_) = lowered(RAGGED.replace("BATCH_ACCUMULATED_ELEMENT_COUNT_WITH_ZERO", kind))["batch_inputs"]
    assert first["kind"] == kind.removeprefix("BATCH_").lower()


def test_the_model_has_flat_inputs_and_the_servers_behind_those_of_requests() -> None:
    assert is_ragged(lowered())
    assert [(tensor.name, tensor.dtype, tensor.dims, tensor.flat) for tensor in model_inputs(lowered())] == [
        ("x", "FP32", (-1,), True),
        ("w", "FP32", (-1, 3), False),
        ("ends", "INT32", (-1,), True),
        ("shapes", "FP32", (-1, 2), True),
        ("more", "FP32", (-1, 2), True),
    ]


SIGNATURE: dict[str, tuple[str, tuple[int, ...]]] = {
    "x": ("FP32", (-1,)),
    "w": ("FP32", (-1, 3)),
    "ends": ("INT32", (-1,)),
    "shapes": ("FP32", (-1, 2)),
    "more": ("FP32", (-1, -1)),
}


def signature(inputs: dict[str, tuple[str, tuple[int, ...]]], max_rows: int = 0) -> ArtifactSignature:
    return ArtifactSignature(
        inputs=tuple(TensorSignature(name=name, dtype=dtype, dims=dims) for name, (dtype, dims) in inputs.items()),
        outputs=(
            TensorSignature(name="y", dtype="FP32", dims=(-1,)),
            TensorSignature(name="s", dtype="FP32", dims=(-1, 1)),
        ),
        max_rows=max_rows,
    )


def test_a_model_with_all_of_them_fits() -> None:
    assert mismatch(lowered(), signature(SIGNATURE)) == ""
    # The first dimensions of flat inputs say nothing about rows.
    assert mismatch(lowered(), signature(SIGNATURE, max_rows=2)) == ""


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (
            {"more": None},
            "unable to load model 'm', configuration expects 5 inputs, model provides 4",
        ),
        (
            {"more": None, "other": ("FP32", (-1, 2))},
            "unexpected inference input 'more', allowed inputs are: ends, other, shapes, w, x",
        ),
        (
            {"ends": ("INT64", (-1,))},
            "unable to load model 'm', configuration expects datatype TYPE_INT32 for input 'ends', model provides "
            "TYPE_INT64",
        ),
        (
            {"x": ("FP32", (-1, -1, 2))},
            "unable to load model 'm', configuration expects model provides input with shape [-1] for ragged or batch "
            "input 'x', model provides shape [-1,-1,2]",
        ),
        (
            {"shapes": ("FP32", (-1, 3))},
            "unable to load model 'm', configuration expects model provides input with shape [-1,2] for ragged or "
            "batch input 'shapes', model provides shape [-1,3]",
        ),
        (
            {"ends": ("INT32", (4,))},
            "unable to load model 'm', configuration expects model provides input with shape [-1] for ragged or batch "
            "input 'ends', model provides shape [4]",
        ),
    ],
)
def test_a_model_without_is_refused(changes: dict[str, Any], problem: str) -> None:
    changed = {name: value for name, value in {**SIGNATURE, **changes}.items() if value is not None}
    assert mismatch(lowered(), signature(changed)) == problem


def test_of_an_output_that_is_cut_like_an_input_only_the_type_is_compared() -> None:
    made = signature(SIGNATURE)
    other = TensorSignature(name="y", dtype="FP32", dims=(-1, 7))
    assert mismatch(lowered(), ArtifactSignature(inputs=made.inputs, outputs=(other, made.outputs[1]))) == ""
    other = TensorSignature(name="y", dtype="FP16", dims=(-1,))
    assert "datatype TYPE_FP32 for output 'y'" in mismatch(
        lowered(), ArtifactSignature(inputs=made.inputs, outputs=(other, made.outputs[1]))
    )


def test_a_source_that_may_be_missing_is_refused() -> None:
    with pytest.raises(ConfigError, match="source input 'x' is optional, so a batch may be without it") as error:
        checked(RAGGED.replace("allow_ragged_batch: true", "allow_ragged_batch: true optional: true"))
    assert error.value.where == "batch_input[0].source_input[0]"


def test_an_open_dimension_that_the_source_has_not_is_refused() -> None:
    text = RAGGED.replace("dims: [ -1 ] }", "dims: [ -1, 2, -1 ] }")
    with pytest.raises(ConfigError, match=r"output 'y' of dims \[-1,2,-1\] .* input 'x', which has only \[-1,2\]"):
        checked(text)


@pytest.mark.parametrize(
    ("text", "where", "sentence"),
    [
        (
            RAGGED.replace("max_batch_size: 8", ""),
            "input[0].allow_ragged_batch",
            "ragged batching has no effect on a model without batching (max_batch_size: 0)",
        ),
        (
            RAGGED.replace("max_batch_size: 8", "").replace("allow_ragged_batch: true", ""),
            "batch_input",
            "ragged batching has no effect on a model without batching (max_batch_size: 0)",
        ),
        (
            RAGGED.replace("onnxruntime", "identity"),
            "batch_input",
            "models of the backends python and identity see the requests' own inputs alone, not batch_input",
        ),
        (
            RAGGED[RAGGED.index("input") : RAGGED.index("batch_input")]
            + "name: 'm' backend: 'python' max_batch_size: 8 batch_output { target_name: 'y' source_input: 'x' }",
            "batch_output",
            "Python models answer each request themselves, so batch_output has no effect",
        ),
    ],
)
def test_what_would_do_nothing_is_refused_by_name(text: str, where: str, sentence: str) -> None:
    (refusal,) = not_served(checked(text), Capabilities())
    assert (refusal.where, refusal.problem) == (where, f"model 'm' cannot be served as configured: {sentence}")


def test_python_models_may_have_ragged_inputs() -> None:
    text = RAGGED[: RAGGED.index("batch_input")].replace("onnxruntime", "python")
    assert not_served(checked(text), Capabilities()) == ()


def test_auto_complete_adds_no_input_that_the_server_makes() -> None:
    text = 'name: "m" backend: "onnxruntime" max_batch_size: 8\n' + RAGGED[RAGGED.index("batch_input") :]
    text = text[: text.index("batch_output")]
    message = parse_text(text, "c").message
    complete_tensors(message, signature({**SIGNATURE, "x": ("FP32", (-1, -1, 2))}), 4)
    assert [(tensor.name, list(tensor.dims)) for tensor in message.input] == [("x", [-1, 2]), ("w", [3])]
    assert message.HasField("dynamic_batching")


def test_auto_complete_takes_the_batch_of_a_ragged_model_from_the_configuration() -> None:
    message = parse_text(RAGGED[: RAGGED.index("output")], "c").message
    made = signature(SIGNATURE)
    complete_tensors(message, ArtifactSignature(inputs=made.inputs, outputs=made.outputs[1:], same_rows=False), 4)
    assert [(tensor.name, list(tensor.dims)) for tensor in message.output] == [("s", [1])]
    assert message.max_batch_size == 8


def test_auto_complete_leaves_out_what_is_cut_like_an_input() -> None:
    text = RAGGED[: RAGGED.index("output")] + RAGGED[RAGGED.index("batch_input") :]
    message = parse_text(text, "c").message
    complete_tensors(message, signature(SIGNATURE), 4)
    assert [tensor.name for tensor in message.output] == ["s"]
    with pytest.raises(ConfigError, match="unknown target output name 'y'"):
        model_from(message, Capabilities())
