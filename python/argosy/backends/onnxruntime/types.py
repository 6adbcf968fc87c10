"""Element types as ONNX Runtime, numpy and the protocol call them."""

from __future__ import annotations

from typing import Any

import numpy as np

# What a session says of its tensors -> protocol.
PROTOCOL = {
    "tensor(bool)": "BOOL",
    "tensor(uint8)": "UINT8",
    "tensor(uint16)": "UINT16",
    "tensor(uint32)": "UINT32",
    "tensor(uint64)": "UINT64",
    "tensor(int8)": "INT8",
    "tensor(int16)": "INT16",
    "tensor(int32)": "INT32",
    "tensor(int64)": "INT64",
    "tensor(float16)": "FP16",
    "tensor(bfloat16)": "BF16",
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    "tensor(string)": "BYTES",
}
# ONNX TensorProto.DataType numbers, which bindings take where numpy has no type.
ONNX_NUMBER = {"BF16": 16}
_NUMPY: dict[str, Any] = {
    "BOOL": np.bool_,
    "UINT8": np.uint8,
    "UINT16": np.uint16,
    "UINT32": np.uint32,
    "UINT64": np.uint64,
    "INT8": np.int8,
    "INT16": np.int16,
    "INT32": np.int32,
    "INT64": np.int64,
    "FP16": np.float16,
    "FP32": np.float32,
    "FP64": np.float64,
}


def element_type(dtype: str) -> Any:
    """What bindings and values of ONNX Runtime take for a numeric protocol type."""
    return ONNX_NUMBER.get(dtype, _NUMPY.get(dtype))
