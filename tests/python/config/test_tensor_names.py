"""Tensors called by name, by index and by order."""

from __future__ import annotations

import pytest
from argosy.config import ArtifactSignature, TensorSignature, mismatch
from argosy.config.tensor_names import assign
from argosy.errors import InvalidArgument
from hypothesis import given
from hypothesis import strategies as st


def assigned(names: list[str], own: list[str], count: int | None = None) -> list[int]:
    return assign(names, own, role="input", model="m", count=len(own) if count is None else count)


@pytest.mark.parametrize(
    ("names", "own", "found"),
    [
        (["b", "a"], ["a", "b"], [1, 0]),
        (["INPUT__1", "INPUT__0"], ["a", "b"], [1, 0]),
        (["x__10", "y__2"], [""] * 11, [10, 2]),
        (["one", "two"], ["a", "b"], [0, 1]),
        (["b", "INPUT__0"], ["a", "b"], [0, 1]),  # neither rule holds for both, so order counts
        (["b"], ["a", "b"], [1]),
        (["a__1", "a__0"], ["a__1", "a__0"], [0, 1]),  # the model's own names come first
        (["a__", "__1"], ["", ""], [0, 1]),
        ([], ["a"], []),
    ],
)
def test_names_then_indices_then_order(names: list[str], own: list[str], found: list[int]) -> None:
    assert assigned(names, own) == found


def test_positions_that_there_are_not_are_named() -> None:
    with pytest.raises(InvalidArgument) as caught:
        assigned(["X__0", "X__2"], ["a", "b"])
    assert caught.value.message == (
        "model 'm', input 'X__2': the model has 2 inputs ('a', 'b'), none at position 2; name inputs as the model "
        "does, as '<name>__<position>', or list them in the model's order"
    )
    assert assign(["X__7"], [], role="output", model="m") == [7]  # known only after a run


def test_one_position_meant_twice_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="inputs 'X__0', 'Y__0' all mean position 0"):
        assigned(["X__0", "Y__0"], ["a", "b"])


@given(st.lists(st.sampled_from(["a", "b", "c", "T__0", "T__1", "T__2", "other"]), unique=True, max_size=3))
def test_every_accepted_name_has_a_place_of_its_own(names: list[str]) -> None:
    """The law: places are different, inside the model, and a model's own name means itself when all are own."""
    found = assigned(names, ["a", "b", "c"])
    assert len(set(found)) == len(names) and all(0 <= at < 3 for at in found)
    if set(names) <= {"a", "b", "c"}:
        assert [["a", "b", "c"][at] for at in found] == names


def tensor(name: str, *dims: int, dtype: str = "FP32") -> dict[str, object]:
    return {"name": name, "dtype": dtype, "dims": list(dims), "reshape": None, "optional": False}


def test_a_positional_signature_is_compared_under_the_configurations_names() -> None:
    found = ArtifactSignature(
        inputs=(
            TensorSignature(name="x", dtype="FP32", dims=(-1, 4)),
            TensorSignature(name="m", dtype="INT64", dims=(-1,)),
        ),
        outputs=(TensorSignature(name="OUTPUT__0", dtype="FP32", dims=(-1, 2)),),
        positional=True,
        max_rows=16,
    )
    spec = {
        "name": "m",
        "max_batch_size": 8,
        "inputs": [tensor("INPUT__1", dtype="INT64") | {"reshape": []}, tensor("INPUT__0", 4)],
        "outputs": [tensor("scores", 2)],
    }
    assert mismatch(spec, found) == ""
    assert mismatch({**spec, "max_batch_size": 32}, found) == (
        "unable to load model 'm', configuration expects max_batch_size 32, the model was made for batches of up to 16"
    )
    spec["inputs"] = [tensor("INPUT__0", dtype="INT64"), tensor("INPUT__1", 4)]
    assert "configuration expects datatype TYPE_INT64 for input 'INPUT__0', model provides TYPE_FP32" in mismatch(
        spec, found
    )
    spec["inputs"] = [tensor("INPUT__0", 4), tensor("INPUT__5", 4)]
    assert "input 'INPUT__5': the model has 2 inputs" in mismatch(spec, found)
