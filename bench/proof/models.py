"""The models of the proofs, made on the spot: an MLP, a CNN of a few milliseconds, identities.

Needs: numpy, onnx
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def mlp() -> onnx.ModelProto:
    """x FP32 [rows, 128] -> y FP32 [rows, 10] through 512 and 512."""
    random = np.random.default_rng(1)
    sizes = (128, 512, 512, 10)
    nodes, weights, name = [], [], "x"
    for layer, (wide_in, wide_out) in enumerate(pairwise(sizes)):
        last = layer == len(sizes) - 2
        w = random.normal(0, 0.05, (wide_in, wide_out)).astype(np.float32)
        weights += [
            numpy_helper.from_array(w, f"w{layer}"),
            numpy_helper.from_array(np.zeros(wide_out, np.float32), f"b{layer}"),
        ]
        out = "y" if last else f"sum{layer}"
        nodes.append(helper.make_node("Gemm", [name, f"w{layer}", f"b{layer}"], [out]))
        if not last:
            nodes.append(helper.make_node("Relu", [out], [f"act{layer}"]))
            name = f"act{layer}"
    return _model("mlp", nodes, [("x", ["rows", 128])], [("y", ["rows", 10])], weights)


def cnn() -> onnx.ModelProto:
    """image FP32 [rows, 3, 224, 224] (602,112 bytes a row) -> y FP32 [rows, 512]; 0.8 G multiplications a row."""
    random = np.random.default_rng(2)
    nodes, weights, name, channels = [], [], "image", 3
    for layer, (wide, stride) in enumerate((wide, stride) for wide in (32, 64, 128, 256, 512) for stride in (2, 1)):
        w = random.normal(0, (2 / (9 * channels)) ** 0.5, (wide, channels, 3, 3)).astype(np.float32)
        weights.append(numpy_helper.from_array(w, f"w{layer}"))
        nodes += [
            helper.make_node("Conv", [name, f"w{layer}"], [f"c{layer}"], strides=[stride, stride], pads=[1, 1, 1, 1]),
            helper.make_node("Relu", [f"c{layer}"], [f"a{layer}"]),
        ]
        name, channels = f"a{layer}", wide
    nodes += [
        helper.make_node("GlobalAveragePool", [name], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["y"]),
    ]
    return _model("cnn", nodes, [("image", ["rows", 3, 224, 224])], [("y", ["rows", 512])], weights)


def write_repository(root: Path) -> None:
    """mlp, mlp_plain (no batching), cnn1, cnn2 (one and two instances), identity, big, slow, bounded."""
    for name, model, extra in (
        ("mlp", mlp(), "max_batch_size: 64 dynamic_batching {} instance_group { count: 1 kind: KIND_CPU }"),
        ("mlp_plain", mlp(), "max_batch_size: 64 instance_group { count: 1 kind: KIND_CPU }"),
        ("cnn1", cnn(), "max_batch_size: 8 instance_group { count: 1 kind: KIND_CPU }"),
        ("cnn2", cnn(), "max_batch_size: 8 instance_group { count: 2 kind: KIND_CPU }"),
    ):
        inputs = [_config_tensor(value) for value in model.graph.input]
        outputs = [_config_tensor(value) for value in model.graph.output]
        text = "\n".join([*(f"input {{ {one} }}" for one in inputs), *(f"output {{ {one} }}" for one in outputs)])
        _write(root, name, f'backend: "onnxruntime" {extra}\n{text}\n')
        onnx.save(model, root / name / "1" / "model.onnx")
    tensors = (
        'input { name: "INPUT0" data_type: TYPE_FP32 dims: -1 }\n'
        'output { name: "OUTPUT0" data_type: TYPE_FP32 dims: -1 }'
    )
    _write(root, "identity", f'backend: "identity" max_batch_size: 256 dynamic_batching {{}} {tensors}\n')
    _write(root, "big", f'backend: "identity" {tensors}\n')
    policy = "dynamic_batching { default_queue_policy { max_queue_size: 64 } }"
    delay = 'parameters { key: "execute_delay_ms" value: { string_value: "2" } }'
    _write(root, "bounded", f'backend: "identity" max_batch_size: 8 {policy} {delay} {tensors}\n')


def _write(root: Path, name: str, config: str) -> None:
    (root / name / "1").mkdir(parents=True, exist_ok=True)
    (root / name / "config.pbtxt").write_text(config, encoding="utf-8")


def _config_tensor(value: onnx.ValueInfoProto) -> str:
    dims = [dim.dim_value for dim in value.type.tensor_type.shape.dim][1:]
    return f'name: "{value.name}" data_type: TYPE_FP32 dims: {dims}'


def _model(
    name: str,
    nodes: list[onnx.NodeProto],
    inputs: list[tuple[str, list[int | str]]],
    outputs: list[tuple[str, list[int | str]]],
    weights: list[onnx.TensorProto],
) -> onnx.ModelProto:
    def info(tensors: list[tuple[str, list[int | str]]]) -> list[onnx.ValueInfoProto]:
        return [helper.make_tensor_value_info(one, TensorProto.FLOAT, shape) for one, shape in tensors]

    graph = helper.make_graph(nodes, name, info(inputs), info(outputs), weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model
