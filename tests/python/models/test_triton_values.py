"""Tensors, data types, DLPack and the other values of triton_python_backend_utils."""

from __future__ import annotations

import gc
import json
from typing import Any

import numpy as np
import pytest
from argosy.models.triton_compat import backend_utils as pb_utils
from argosy.models.triton_compat import dlpack
from argosy.worker.host import NUMPY_TYPES, TensorValue
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

NUMERIC = [kind for name, kind in NUMPY_TYPES.items() if name not in ("BYTES", "BF16")]
arrays = st.sampled_from(NUMERIC).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
)


@given(arrays)
def test_a_numeric_tensor_keeps_its_values_type_and_shape(array: Any) -> None:
    tensor = pb_utils.Tensor("x", array)
    np.testing.assert_array_equal(tensor.as_numpy(), array)
    assert tensor.as_numpy().dtype == array.dtype
    assert tensor.shape() == list(array.shape)
    assert pb_utils.triton_to_numpy_type(tensor.triton_dtype()) == array.dtype


@given(arrays)
def test_dlpack_carries_every_numeric_tensor_there_and_back(array: Any) -> None:
    back = pb_utils.Tensor.from_dlpack("y", pb_utils.Tensor("x", array).to_dlpack())
    np.testing.assert_array_equal(back.as_numpy(), array)
    assert back.as_numpy().dtype == array.dtype and back.as_numpy().shape == array.shape


@given(st.lists(st.binary(max_size=9), max_size=6))
def test_bytes_survive_serialising(items: list[bytes]) -> None:
    array = np.empty(len(items), dtype=object)
    array[:] = items
    encoded = pb_utils.serialize_byte_tensor(array)
    assert list(pb_utils.deserialize_bytes_tensor(encoded or b"")) == items


@given(st.binary(max_size=40))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        items = pb_utils.deserialize_bytes_tensor(data)
    except pb_utils.TritonModelException:
        return
    assert (pb_utils.serialize_byte_tensor(items) or b"") == data


def test_arrays_are_taken_without_a_copy_where_they_are_contiguous() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert pb_utils.Tensor("x", array).value().data is array
    turned = pb_utils.Tensor("x", array.T).value().data
    assert turned.flags.c_contiguous
    np.testing.assert_array_equal(turned, array.T)


def test_other_byte_orders_become_the_machines_own() -> None:
    value = pb_utils.Tensor("x", np.array([1, 2], dtype=">i4")).value()
    assert value.dtype == "INT32" and value.data.dtype.isnative
    np.testing.assert_array_equal(value.data, [1, 2])


def test_bytes_tensors_are_object_arrays_of_bytes() -> None:
    value = pb_utils.Tensor("x", np.array(["é", b"\0b", 7], dtype=object)).value()
    assert value.dtype == "BYTES" and value.data.tolist() == ["é".encode(), b"\0b", b"7"]
    assert pb_utils.Tensor("x", np.array([b"ab"])).value().data.tolist() == [b"ab"]


@pytest.mark.parametrize("array", [np.array(["text"]), np.array([1j]), np.array(["2020-01-01"], dtype="M8[D]")])
def test_other_numpy_types_are_refused(array: Any) -> None:
    with pytest.raises(pb_utils.TritonModelException, match=r"NumPy dtype is not supported\."):
        pb_utils.Tensor("x", array)


def test_a_tensor_has_a_name() -> None:
    with pytest.raises(pb_utils.TritonModelException, match="Tensor name cannot be an empty string"):
        pb_utils.Tensor("", np.zeros(1))


def bf16(bits: list[int]) -> Any:
    data = np.array(bits, dtype=np.uint16)
    return pb_utils.Tensor.of(TensorValue("x", "BF16", data.shape, data))


def test_bf16_goes_through_dlpack_only() -> None:
    tensor = bf16([0x3F80, 0x4000])
    with pytest.raises(pb_utils.TritonModelException, match="Tensor dtype is BF16 and cannot be converted to NumPy"):
        tensor.as_numpy()
    value = pb_utils.Tensor.from_dlpack("y", tensor).value()
    assert (value.dtype, value.data.tolist()) == ("BF16", [0x3F80, 0x4000])


def test_numpy_reads_our_dlpack() -> None:
    source = np.arange(4, dtype=np.int16).reshape(2, 2)
    taken = np.from_dlpack(pb_utils.Tensor("x", source))
    np.testing.assert_array_equal(taken, source)
    assert np.shares_memory(taken, source)


def test_read_only_arrays_can_be_exported() -> None:
    source = np.arange(3, dtype=np.float64)
    source.flags.writeable = False
    np.testing.assert_array_equal(pb_utils.Tensor.from_dlpack("y", pb_utils.Tensor("x", source)).as_numpy(), source)


def test_exported_memory_lives_as_long_as_its_consumer_and_no_longer() -> None:
    gc.collect()  # what earlier tests left
    before = len(dlpack._exported)
    capsule = pb_utils.Tensor("x", np.arange(1000)).to_dlpack()
    taken = pb_utils.Tensor.from_dlpack("y", capsule).as_numpy()
    del capsule
    gc.collect()
    assert len(dlpack._exported) == before + 1 and int(taken.sum()) == 499500
    del taken
    gc.collect()
    unused = pb_utils.Tensor("x", np.arange(3)).to_dlpack()
    assert len(dlpack._exported) == before + 1
    del unused
    gc.collect()
    assert len(dlpack._exported) == before


def test_dlpack_refuses_what_it_cannot_carry() -> None:
    with pytest.raises(pb_utils.TritonModelException, match="DLPack does not have support for string tensors"):
        pb_utils.Tensor("x", np.array([b"a"], dtype=object)).to_dlpack()
    with pytest.raises(pb_utils.TritonModelException, match="DLPack tensor is not contiguous"):
        pb_utils.Tensor.from_dlpack("x", np.zeros((3, 2)).T)
    with pytest.raises(pb_utils.TritonModelException, match="must be a DLPack capsule or have"):
        pb_utils.Tensor.from_dlpack("x", [1, 2])
    capsule = pb_utils.Tensor("x", np.zeros(1)).to_dlpack()
    pb_utils.Tensor.from_dlpack("x", capsule)
    with pytest.raises(pb_utils.TritonModelException, match="taken already"):
        pb_utils.Tensor.from_dlpack("x", capsule)


def test_memory_of_a_device_is_refused() -> None:
    class OnDevice:
        def __dlpack__(self) -> Any: ...

        def __dlpack_device__(self) -> tuple[int, int]:
            return (2, 0)

    with pytest.raises(pb_utils.TritonModelException, match="DLDevice type 2 is not supported"):
        pb_utils.Tensor.from_dlpack("x", OnDevice())
    with pytest.raises(pb_utils.TritonModelException, match="got TRITONSERVER_MEMORY_GPU"):
        pb_utils.PreferredMemory(pb_utils.TRITONSERVER_MEMORY_GPU, 0)


def test_data_types_have_three_names() -> None:
    assert pb_utils.triton_string_to_numpy("TYPE_STRING") is np.object_
    assert pb_utils.triton_string_to_numpy("TYPE_FP16") is np.float16
    assert pb_utils.triton_string_to_numpy("TYPE_BOOL") is bool
    assert pb_utils.numpy_to_triton_type(np.float32) == 11
    assert pb_utils.numpy_to_triton_type(np.bytes_) == 13
    assert pb_utils.numpy_to_triton_type(np.complex64) is None
    assert pb_utils.triton_to_numpy_type(14) is None


def test_parameters_of_a_response_are_checked_and_shown_as_json() -> None:
    response = pb_utils.InferenceResponse([], parameters={"a": 1, "b": True, "c": "x"})
    assert json.loads(response.parameters()) == {"a": 1, "b": True, "c": "x"}
    with pytest.raises(pb_utils.TritonModelException, match="have type bool/int/str, found type <class 'list'"):
        pb_utils.InferenceResponse([], parameters={"a": []})
    with pytest.raises(pb_utils.TritonModelException, match="keys to have type str, found type <class 'int'"):
        pb_utils.InferenceResponse([], parameters={1: 1})


def test_a_response_without_a_tensor_where_one_is_due_is_refused() -> None:
    with pytest.raises(pb_utils.TritonModelException, match="Output tensor for inference response should not be empty"):
        pb_utils.InferenceResponse([None])


def test_errors_default_to_internal() -> None:
    error = pb_utils.TritonError("text")
    assert (error.code(), error.message(), str(error)) == (pb_utils.TritonError.INTERNAL, "text", "text")


def test_configuration_helpers_find_entries_by_name() -> None:
    config = {"input": [{"name": "A"}], "output": [{"name": "B"}], "model_transaction_policy": {"decoupled": True}}
    assert pb_utils.get_input_config_by_name(config, "A") == {"name": "A"}
    assert pb_utils.get_output_config_by_name(config, "A") is None
    assert pb_utils.using_decoupled_model_transaction_policy(config)
    assert not pb_utils.using_decoupled_model_transaction_policy({})


CONFIG = json.dumps(
    {"name": "m", "max_batch_size": 8, "input": [{"name": "A", "data_type": "TYPE_FP32", "dims": [4]}], "output": []}
)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda c: c.set_max_batch_size(4), "configuration specified max_batch_size 8, but in"),
        (lambda c: c.add_input({"name": "A", "data_type": "TYPE_FP16", "dims": [4]}), "expects datatype TYPE_FP32 for"),
        (lambda c: c.add_input({"name": "A", "data_type": "TYPE_FP32", "dims": [5]}), "the model expects dims"),
        (
            lambda c: c.add_input({"name": "B", "dims": [5]}),
            "is missing 'data_type' property.",
        ),
        (lambda c: c.add_output({"data_type": "TYPE_FP32", "dims": [5]}), "output in auto-complete-config function"),
        (lambda c: c.add_output({"name": "B", "dim": [5]}), "contains property other than"),
        (lambda c: c.set_model_transaction_policy({"x": 1}), "contains property other than 'decoupled'"),
    ],
)
def test_a_model_that_contradicts_its_configuration_is_told(change: Any, text: str) -> None:
    with pytest.raises(ValueError) as raised:
        change(pb_utils.ModelConfig(CONFIG))
    assert text in str(raised.value)


def test_dynamic_batching_does_not_replace_another_scheduler() -> None:
    config = pb_utils.ModelConfig(json.dumps({"name": "m", "sequence_batching": {}}))
    with pytest.raises(ValueError, match="specified scheduling_choice as 'sequence_batching'"):
        config.set_dynamic_batching()


def test_what_the_configuration_leaves_open_is_filled() -> None:
    config = pb_utils.ModelConfig(json.dumps({"name": "m", "input": [{"name": "A", "data_type": "TYPE_INVALID"}]}))
    config.add_input({"name": "A", "data_type": "TYPE_FP32", "dims": [2], "optional": True})
    assert config.as_dict()["input"] == [{"name": "A", "data_type": "TYPE_FP32", "dims": [2], "optional": True}]


@pytest.mark.parametrize("name", [None, 5, b"x"])
def test_a_name_that_is_no_text_is_refused(name: Any) -> None:
    for make in (pb_utils.Tensor, pb_utils.Tensor.from_dlpack):
        with pytest.raises(TypeError, match="expected its name to be str"):
            make(name, np.zeros(1, np.float32))


def test_a_name_of_a_texts_own_kind_is_a_name() -> None:
    assert pb_utils.Tensor(np.str_("x"), np.zeros(1, np.float32)).name() == "x"


def test_a_type_without_a_tensor_is_told_with_its_tensor() -> None:
    with pytest.raises(pb_utils.TritonModelException, match=r"not supported\. Tensor 'z': got complex128"):
        pb_utils.Tensor("z", np.zeros(1, np.complex128))


def test_an_element_without_a_utf8_form_is_told_with_its_tensor() -> None:
    tensor = pb_utils.Tensor("words", np.array(["\ud800"], dtype=object))
    with pytest.raises(pb_utils.TritonModelException, match="Tensor 'words': an element has no UTF-8 form"):
        tensor.value()
