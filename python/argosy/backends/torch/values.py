"""Values across the border between batches and PyTorch, without a copy where none is needed.

Inputs are tensors over the batch's own bytes, on the host or on a device; outputs are
handed on as the memory that PyTorch wrote. BF16, which numpy has not, crosses as 16-bit words. Strings are UTF-8
text in PyTorch and bytes outside.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from argosy.backends.contract import Batch
from argosy.config.tensors import CONFIG_NAMES
from argosy.errors import Internal, InvalidArgument

TORCH_TYPES: dict[str, torch.dtype] = {
    "BOOL": torch.bool,
    "UINT8": torch.uint8,
    "UINT16": torch.uint16,
    "UINT32": torch.uint32,
    "UINT64": torch.uint64,
    "INT8": torch.int8,
    "INT16": torch.int16,
    "INT32": torch.int32,
    "INT64": torch.int64,
    "FP16": torch.float16,
    "BF16": torch.bfloat16,
    "FP32": torch.float32,
    "FP64": torch.float64,
}
WIRE_TYPES = {dtype: name for name, dtype in TORCH_TYPES.items()}
# Of the array interfaces, which have no BF16: its words are signed ones.
_TYPE_STRINGS = {
    "BOOL": "|b1",
    "UINT8": "|u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
    "INT8": "|i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "FP16": "<f2",
    "BF16": "<i2",
    "FP32": "<f4",
    "FP64": "<f8",
}


def accept_read_only_memory() -> None:
    """Uses up PyTorch's warning about read-only arrays, which it gives once per process.

    Received bytes are read-only on purpose; programs that write to their inputs get copies.
    """
    array = np.zeros(1, dtype=np.uint8)
    array.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.from_numpy(array)


def input_tensor(batch: Batch, index: int, dtype: str) -> torch.Tensor | None:
    """A tensor over the batch's own memory, of shape [rows, ...]; None for an optional input nobody sent."""
    array = batch.input(index)
    if array is None:
        return None
    tensor = torch.from_numpy(array)
    return tensor.view(torch.bfloat16) if dtype == "BF16" else tensor


def input_texts(batch: Batch, index: int, name: str) -> list[str] | None:
    """The elements of a BYTES input in order. Raises InvalidArgument when one is not UTF-8."""
    array = batch.input(index)
    if array is None:
        return None
    try:
        return [item.decode() for item in array.ravel()]
    except UnicodeDecodeError as error:
        raise InvalidArgument(
            f"input '{name}': PyTorch takes strings as UTF-8 text, and an element is not: {error}"
        ) from None


def device_tensor(address: int, shape: tuple[int, ...], dtype: str, device: torch.device) -> torch.Tensor:
    """A tensor over memory of `device` that somebody else owns: valid as long as that is. No copy."""
    if 0 in shape:
        return torch.empty(shape, dtype=TORCH_TYPES[dtype], device=device)
    described = {"shape": shape, "typestr": _TYPE_STRINGS[dtype], "data": (address, False), "version": 3}
    made: torch.Tensor
    if device.type == "cpu":
        made = torch.from_numpy(np.asarray(_Window("__array_interface__", described)))
    else:
        made = torch.as_tensor(_Window("__cuda_array_interface__", {**described, "version": 2}), device=device)
    return made.view(torch.bfloat16) if dtype == "BF16" else made


def checked_tensor(model: str, name: str, dtype: str, value: Any) -> torch.Tensor:
    """The result as a strided tensor of the configured wire type.

    Raises InvalidArgument when it has another type than the configuration says, Internal when it is no tensor.
    """
    if not isinstance(value, torch.Tensor):
        raise Internal(
            f"model '{model}', output '{name}': expected a tensor, the model returned {type(value).__name__}"
        )
    if value.dtype != TORCH_TYPES[dtype]:
        found = CONFIG_NAMES.get(WIRE_TYPES.get(value.dtype, ""), str(value.dtype))
        raise InvalidArgument(
            f"model '{model}': configuration expects datatype {CONFIG_NAMES[dtype]} for output '{name}', "
            f"model provides {found}"
        )
    if value.layout != torch.strided:
        raise Internal(f"model '{model}', output '{name}': a tensor of layout {value.layout} cannot be sent")
    return value


def host_array(tensor: torch.Tensor, dtype: str) -> npt.NDArray[Any]:
    """An array over a host tensor's own memory; BF16 as 16-bit words."""
    made: npt.NDArray[Any] = (tensor.view(torch.uint16) if dtype == "BF16" else tensor).numpy(force=True)
    return made


def host_texts(model: str, name: str, value: Any, *, batched: bool) -> npt.NDArray[Any]:
    """List[str] as UTF-8 bytes; texts of a batch become one column. Raises Internal when it is something else."""
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise Internal(
            f"model '{model}', output '{name}': expected List[str], the model returned {type(value).__name__}"
        )
    array = np.empty(len(value), dtype=object)
    array[:] = [text.encode() for text in value]
    return array.reshape(-1, 1) if batched else array


def give_output(batch: Batch, model: str, name: str, dtype: str, value: Any, *, batched: bool) -> None:
    """Hands one result in host memory over. Raises as checked_tensor() and host_texts() do."""
    if dtype == "BYTES":
        batch.set_output(name, host_texts(model, name, value, batched=batched))
        return
    # The array is over the tensor's own memory; the core makes it contiguous if it is not.
    batch.set_output(name, host_array(checked_tensor(model, name, dtype, value), dtype))


class _Window:
    """Describes memory in the terms of the array interfaces. What is made over it keeps this, not the memory."""

    def __init__(self, interface: str, described: dict[str, Any]) -> None:
        setattr(self, interface, described)
