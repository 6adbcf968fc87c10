"""Model repositories on disk, as small as each test needs them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnx import TensorProto, helper

# Protocol name -> (configuration name, ONNX element type)
DTYPES = {
    "BOOL": ("TYPE_BOOL", TensorProto.BOOL),
    "UINT8": ("TYPE_UINT8", TensorProto.UINT8),
    "UINT16": ("TYPE_UINT16", TensorProto.UINT16),
    "UINT32": ("TYPE_UINT32", TensorProto.UINT32),
    "UINT64": ("TYPE_UINT64", TensorProto.UINT64),
    "INT8": ("TYPE_INT8", TensorProto.INT8),
    "INT16": ("TYPE_INT16", TensorProto.INT16),
    "INT32": ("TYPE_INT32", TensorProto.INT32),
    "INT64": ("TYPE_INT64", TensorProto.INT64),
    "FP16": ("TYPE_FP16", TensorProto.FLOAT16),
    "FP32": ("TYPE_FP32", TensorProto.FLOAT),
    "FP64": ("TYPE_FP64", TensorProto.DOUBLE),
    "BYTES": ("TYPE_STRING", TensorProto.STRING),
    "BF16": ("TYPE_BF16", TensorProto.BFLOAT16),
}


@dataclass(frozen=True)
class Tensor:
    name: str
    dtype: str = "FP32"
    dims: Sequence[int] = (-1,)
    more: str = ""

    def text(self, kind: str) -> str:
        dims = ", ".join(map(str, self.dims))
        return f'{kind} {{ name: "{self.name}" data_type: {DTYPES[self.dtype][0]} dims: [ {dims} ] {self.more} }}\n'


def identity_config(
    inputs: Sequence[Tensor] = (Tensor("INPUT0"),),
    outputs: Sequence[Tensor] = (Tensor("OUTPUT0"),),
    *,
    batch: int = 8,
    delay_ms: int = 0,
    more: str = "",
) -> str:
    """A config.pbtxt of the identity backend. `delay_ms`: how long each batch takes."""
    text = f'backend: "identity"\nmax_batch_size: {batch}\n'
    text += "".join(tensor.text("input") for tensor in inputs) + "".join(tensor.text("output") for tensor in outputs)
    if delay_ms:
        text += f'parameters {{ key: "execute_delay_ms" value {{ string_value: "{delay_ms}" }} }}\n'
    return text + more


def add_model(
    repository: Path,
    name: str,
    config: str | None = None,
    *,
    versions: Sequence[int] = (1,),
    onnx_model: onnx.ModelProto | None = None,
) -> Path:
    """Writes one model's directory and returns it."""
    root = repository / name
    for version in versions:
        (root / str(version)).mkdir(parents=True, exist_ok=True)
        if onnx_model is not None:
            (root / str(version) / "model.onnx").write_bytes(onnx_model.SerializeToString())
    if config is not None:
        (root / "config.pbtxt").write_text(config, encoding="utf-8")
    return root


def onnx_graph(
    inputs: Sequence[tuple[str, str, Sequence[int | str]]],
    outputs: Sequence[tuple[str, str, Sequence[int | str]]],
    make_nodes: Callable[[], Sequence[onnx.NodeProto]],
) -> onnx.ModelProto:
    """Tensors are (name, protocol dtype, dims); a text dim is a dynamic one."""

    def values(tensors: Sequence[tuple[str, str, Sequence[int | str]]]) -> list[onnx.ValueInfoProto]:
        return [helper.make_tensor_value_info(name, DTYPES[dtype][1], list(dims)) for name, dtype, dims in tensors]

    graph = helper.make_graph(list(make_nodes()), "g", values(inputs), values(outputs))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def onnx_identity(dtype: str, dims: Sequence[int | str]) -> onnx.ModelProto:
    return onnx_graph([("x", dtype, dims)], [("y", dtype, dims)], lambda: [helper.make_node("Identity", ["x"], ["y"])])


def onnx_scale(factor: float, dims: Sequence[int | str] = ("n", 4)) -> onnx.ModelProto:
    """y = factor * x: versions of one model that can be told apart."""

    def nodes() -> list[onnx.NodeProto]:
        constant = helper.make_tensor("f", TensorProto.FLOAT, [], [factor])
        return [
            helper.make_node("Constant", [], ["c"], value=constant),
            helper.make_node("Mul", ["x", "c"], ["y"]),
        ]

    return onnx_graph([("x", "FP32", dims)], [("y", "FP32", dims)], nodes)
