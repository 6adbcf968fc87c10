"""Writes model_repository/add_sub/1/model.onnx: OUTPUT0 = INPUT0 + INPUT1, OUTPUT1 = INPUT0 - INPUT1.

Needs: pip install onnx
"""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import TensorProto, helper


def make() -> onnx.ModelProto:
    """FP32, shape [rows, 16] for every tensor, any number of rows."""
    shape = ["rows", 16]
    tensors = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in _NAMES}
    graph = helper.make_graph(
        [
            helper.make_node("Add", ["INPUT0", "INPUT1"], ["OUTPUT0"]),
            helper.make_node("Sub", ["INPUT0", "INPUT1"], ["OUTPUT1"]),
        ],
        "add_sub",
        [tensors["INPUT0"], tensors["INPUT1"]],
        [tensors["OUTPUT0"], tensors["OUTPUT1"]],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model


_NAMES = ("INPUT0", "INPUT1", "OUTPUT0", "OUTPUT1")

if __name__ == "__main__":
    target = Path(__file__).resolve().parents[2] / "model_repository" / "add_sub" / "1" / "model.onnx"
    onnx.save(make(), target)
    print(f"wrote {target}")
