"""Requests of unequal lengths in one batch: ONNX and PyTorch models that find their parts by batch inputs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from serving import Server, Tensor, add_model, identity_config, serve
from serving.models import onnx_graph

statement = pytest.mark.statement
LENGTHS = (3, 0, 7, 1, 12, 5, 2, 9)
TOGETHER = """dynamic_batching { preferred_batch_size: 8 max_queue_delay_microseconds: 300000000 }
instance_group { kind: KIND_CPU count: 1 }
"""


def batch_input(kind: str, name: str, dtype: str = "TYPE_INT32") -> str:
    return f'batch_input {{ kind: {kind} target_name: "{name}" data_type: {dtype} source_input: "x" }}\n'


RAGGED = 'input { name: "x" data_type: TYPE_FP32 dims: [ -1 ] allow_ragged_batch: true }\n'
ROW = 'output {{ name: "{}" data_type: {} dims: [ 1 ] }}\n'
WARM_UP = """model_warmup { name: "two of five" batch_size: 2
  inputs { key: "x" value { data_type: TYPE_FP32 dims: [ 5 ] random_data: true } } }
"""
LIKE_X = """output { name: "share" data_type: TYPE_FP32 dims: [ -1 ] }
batch_output { target_name: "share" kind: BATCH_SCATTER_WITH_INPUT_SHAPE source_input: "x" }
"""


def segment_sums() -> onnx.ModelProto:
    """sum[i] of part i between bounds, by running sums; share: each value over the sum of all parts in the batch."""

    def nodes() -> list[onnx.NodeProto]:
        def integers(name: str, *values: int) -> onnx.NodeProto:
            return helper.make_node(
                "Constant", [], [name], value=helper.make_tensor(name, TensorProto.INT64, [len(values)], values)
            )

        zero = helper.make_tensor("z", TensorProto.FLOAT, [1], [0.0])
        axis = helper.make_tensor("a", TensorProto.INT64, [], [0])
        return [
            helper.make_node("Constant", [], ["zero"], value=zero),
            helper.make_node("Constant", [], ["axis"], value=axis),
            integers("first", 0),
            integers("second", 1),
            integers("last", -1),
            integers("end", 2**31 - 1),
            helper.make_node("CumSum", ["x", "axis"], ["running"]),
            helper.make_node("Concat", ["zero", "running"], ["sums"], axis=0),
            helper.make_node("Gather", ["sums", "bounds"], ["at"]),
            helper.make_node("Slice", ["at", "second", "end", "first"], ["ends"]),
            helper.make_node("Slice", ["at", "first", "last", "first"], ["begins"]),
            helper.make_node("Sub", ["ends", "begins"], ["parts"]),
            helper.make_node("Unsqueeze", ["parts", "second"], ["sum"]),
            helper.make_node("ReduceSum", ["x"], ["all"], keepdims=0),
            helper.make_node("Div", ["x", "all"], ["share"]),
        ]

    return onnx_graph(
        [("x", "FP32", ["elements"]), ("bounds", "INT32", ["bounds"])],
        [("sum", "FP32", ["requests", 1]), ("share", "FP32", ["elements"])],
        nodes,
    )


DESCRIBED = {
    "count": ("BATCH_ELEMENT_COUNT", "TYPE_INT32"),
    "end": ("BATCH_ACCUMULATED_ELEMENT_COUNT", "TYPE_INT32"),
    "bounds": ("BATCH_ACCUMULATED_ELEMENT_COUNT_WITH_ZERO", "TYPE_FP32"),
    "widest": ("BATCH_MAX_ELEMENT_COUNT_AS_SHAPE", "TYPE_FP32"),
    "shape": ("BATCH_ITEM_SHAPE", "TYPE_INT32"),
    "flat": ("BATCH_ITEM_SHAPE_FLATTEN", "TYPE_FP32"),
}


def seen() -> onnx.ModelProto:
    """What the model was given, one row a request: the bounds' size and the widest size stand in every row."""

    def nodes() -> list[onnx.NodeProto]:
        one = helper.make_tensor("one", TensorProto.INT64, [1], [1])
        size = helper.make_tensor("size", TensorProto.INT64, [2], [-1, 1])
        made = [
            helper.make_node("Constant", [], ["one"], value=one),
            helper.make_node("Constant", [], ["column"], value=size),
            helper.make_node("Shape", ["count"], ["requests"]),
            helper.make_node("Reshape", ["count", "column"], ["saw_count"]),
            helper.make_node("Reshape", ["end", "column"], ["saw_end"]),
            helper.make_node("Identity", ["shape"], ["saw_shape"]),
            helper.make_node("Reshape", ["flat", "column"], ["saw_flat"]),
            helper.make_node("Shape", ["x"], ["elements"]),
        ]
        for name, of in (("bounds", "bounds"), ("widest", "widest"), ("x", "x")):
            made += [
                helper.make_node("Shape", [of], [f"{name}_size"]),
                helper.make_node("Concat", ["requests", "one"], [f"{name}_rows"], axis=0),
                helper.make_node("Expand", [f"{name}_size", f"{name}_rows"], [f"saw_{name}"]),
            ]
        return made

    inputs: list[tuple[str, str, list[int | str]]] = [("x", "FP32", ["elements"])]
    for name, (_, dtype) in DESCRIBED.items():
        inputs.append((name, dtype.removeprefix("TYPE_"), [name, 1] if name == "shape" else [name]))
    outputs: list[tuple[str, str, list[int | str]]] = [
        ("saw_count", "INT32", ["n", 1]),
        ("saw_end", "INT32", ["n", 1]),
        ("saw_shape", "INT32", ["n", 1]),
        ("saw_flat", "FP32", ["n", 1]),
        *((f"saw_{name}", "INT64", ["n", 1]) for name in ("bounds", "widest", "x")),
    ]
    return onnx_graph(inputs, outputs, nodes)


def fill(root: Path) -> None:
    head = 'backend: "onnxruntime"\nmax_batch_size: 8\n' + RAGGED
    bounds = batch_input("BATCH_ACCUMULATED_ELEMENT_COUNT_WITH_ZERO", "bounds")
    sums = head + bounds + ROW.format("sum", "TYPE_FP32") + LIKE_X + WARM_UP + TOGETHER
    add_model(root, "sums", sums, onnx_model=segment_sums())
    text = head + "".join(batch_input(kind, name, dtype) for name, (kind, dtype) in DESCRIBED.items())
    for output in seen().graph.output:
        kinds = {TensorProto.INT32: "TYPE_INT32", TensorProto.INT64: "TYPE_INT64", TensorProto.FLOAT: "TYPE_FP32"}
        text += ROW.format(output.name, kinds[output.type.tensor_type.elem_type])
    add_model(root, "seen", text + TOGETHER, onnx_model=seen())
    like = 'batch_output { target_name: "y" kind: BATCH_SCATTER_WITH_INPUT_SHAPE source_input: "x" }\n'
    echo = (Tensor("x", more="allow_ragged_batch: true"),), (Tensor("y"),)
    add_model(root, "echo", identity_config(*echo, more=like + TOGETHER))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("ragged")
    fill(root)
    with serve(root) as running:
        yield running


def ask(server: Server, model: str, values: np.ndarray) -> dict[str, Any]:
    sent = {"name": "x", "shape": list(values.shape), "datatype": "FP32", "data": values.ravel().tolist()}
    answer = server.infer(model, [sent])
    assert answer.status == 200, answer.body
    return {output["name"]: output for output in answer.json["outputs"]}


def ask_together(
    server: Server, model: str, shapes: Sequence[tuple[int, int]] = tuple((1, length) for length in LENGTHS)
) -> tuple[list[np.ndarray], list[dict[str, Any]]]:
    """Requests with eight rows in all; the preferred size keeps them until all are there."""
    source = np.random.default_rng(11)
    given = [source.integers(1, 9, shape).astype(np.float32) for shape in shapes]
    before = server.stats(model)
    with ThreadPoolExecutor(len(given)) as pool:
        answers = list(pool.map(lambda values: ask(server, model, values), given))
    after = server.stats(model)
    assert after["inference_count"] - before["inference_count"] == sum(len(values) for values in given)
    assert after["execution_count"] - before["execution_count"] == 1
    return given, answers


def test_sums_of_parts_come_back_to_those_whose_parts_they_are(server: Server) -> None:
    given, answers = ask_together(server, "sums")
    everything = sum(float(values.sum()) for values in given)
    for values, answer in zip(given, answers, strict=True):
        assert answer["sum"]["shape"] == [1, 1] and answer["sum"]["data"] == [float(values.sum())]
        assert answer["share"]["shape"] == list(values.shape)
        np.testing.assert_allclose(answer["share"]["data"], values.ravel() / everything, rtol=1e-6)


@statement("T243")
def test_a_model_is_told_about_its_batch_in_every_documented_way(server: Server) -> None:
    given, answers = ask_together(server, "seen")
    lengths = [values.size for values in given]
    counts = [answer["saw_count"]["data"][0] for answer in answers]
    assert counts == lengths
    # The order in which the requests arrived is the server's; the ends tell it.
    ends = [answer["saw_end"]["data"][0] for answer in answers]
    arrived = sorted(range(len(lengths)), key=lambda at: (ends[at], lengths[at] == 0))
    assert sorted(ends) == list(np.cumsum([lengths[at] for at in arrived]))
    for length, answer in zip(lengths, answers, strict=True):
        assert answer["saw_shape"]["data"] == [length]
        assert answer["saw_flat"]["data"] == [float(length)]
        assert answer["saw_bounds"]["data"] == [len(lengths) + 1]
        assert answer["saw_widest"]["data"] == [max(lengths)]
        assert answer["saw_x"]["data"] == [sum(lengths)]


def test_the_identity_of_a_ragged_input_is_cut_where_it_was_joined(server: Server) -> None:
    given, answers = ask_together(server, "echo")
    for values, answer in zip(given, answers, strict=True):
        assert answer["y"]["shape"] == list(values.shape) and answer["y"]["data"] == values.ravel().tolist()


def test_requests_may_have_several_rows(server: Server) -> None:
    given, answers = ask_together(server, "echo", ((3, 4), (1, 9), (2, 0), (2, 5)))
    for values, answer in zip(given, answers, strict=True):
        assert answer["y"]["shape"] == list(values.shape) and answer["y"]["data"] == values.ravel().tolist()


def test_an_identity_that_nothing_would_cut_is_refused(tmp_path: Path) -> None:
    ragged = (Tensor("x", more="allow_ragged_batch: true"),), (Tensor("y"),)
    add_model(tmp_path, "echo", identity_config(*ragged))
    with serve(tmp_path, "--exit-on-error=false") as server:
        (row,) = server.ask("POST", "/v2/repository/index").json
        assert "input 'x' is ragged, so output 'y' needs batch_output" in row["reason"]
