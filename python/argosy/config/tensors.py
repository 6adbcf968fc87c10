"""Inputs and outputs of one model.

Holds only what has been checked. `dims` are as clients see them, without the
batch dimension when the model batches; `reshape` is what the backend sees instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from argosy.errors import ConfigError
from argosy.protos import DataType, Message

VARIABLE = -1

# Configuration name -> name on the wire.
WIRE_NAMES: dict[str, str] = {
    value.name: "BYTES" if value.name == "TYPE_STRING" else value.name.removeprefix("TYPE_")
    for value in DataType.values
    if value.number != 0
}
CONFIG_NAMES: dict[str, str] = {wire: name for name, wire in WIRE_NAMES.items()}


def wire_name(number: int) -> str:
    """DataType number -> "FP32", ..., "" for TYPE_INVALID."""
    return WIRE_NAMES.get(DataType.values_by_number[number].name, "")


def config_number(wire: str) -> int:
    """ "FP32" -> DataType number. Raises KeyError."""
    number: int = DataType.values_by_name[CONFIG_NAMES[wire]].number
    return number


def show_dims(dims: tuple[int, ...]) -> str:
    """[1,16] as messages print shapes."""
    return "[" + ",".join(str(dim) for dim in dims) + "]"


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorConfig:
    """One input or output (`role`). `batched`: whether the model has a batch dimension."""

    role: str
    name: str
    dtype: str
    dims: tuple[int, ...]
    batched: bool
    reshape: tuple[int, ...] | None = None
    optional: bool = False
    ragged: bool = False
    label_filename: str = ""
    image_format: str = "FORMAT_NONE"

    def __post_init__(self) -> None:
        if not self.name:
            raise ConfigError("name", f"model {self.role} must specify 'name'", fix='name: "..."')
        who = f"model {self.role} '{self.name}'"
        if not self.dtype:
            raise ConfigError("data_type", f"{who} must specify 'data_type'", fix="data_type: TYPE_FP32")
        if not self.dims:
            raise ConfigError("dims", f"{who} must specify 'dims'", fix="dims: [ -1 ]")
        if self.reshape == () and not self.batched:
            raise ConfigError(
                "reshape",
                f"{who} cannot have empty reshape for non-batching model as scalar tensors are not supported",
                fix="(remove reshape)",
            )
        self._check_dims(self.dims, "dims", f"{who} dimension")
        if self.reshape is not None:
            self._check_dims(self.reshape, "reshape.shape", f"{who} reshape dimensions")
            self._check_reshape(self.reshape, who)
        if self.image_format != "FORMAT_NONE" and len(self.dims) != 3:
            raise ConfigError("format", "model input NHWC/NCHW require 3 dims", fix="format: FORMAT_NONE")

    @staticmethod
    def _check_dims(dims: tuple[int, ...], field: str, what: str) -> None:
        for index, dim in enumerate(dims):
            if dim < 1 and dim != VARIABLE:
                mended = ", ".join(str(d if d >= 1 else VARIABLE) for d in dims)
                raise ConfigError(
                    f"{field}[{index}]",
                    f"{what} must be integer >= 1, or -1 to indicate a variable-size dimension",
                    fix=f"{field.rsplit('.', 1)[-1]}: [ {mended} ]",
                )

    def _check_reshape(self, reshape: tuple[int, ...], who: str) -> None:
        fixed_to, fixed_from = _products(reshape), _products(self.dims)
        fix = f"reshape {{ shape: [ {', '.join(map(str, self.dims))} ] }}"
        if (len(fixed_to) == 1) != (len(fixed_from) == 1):
            raise ConfigError("reshape", f"{who} has different size for dims and reshape", fix=fix)
        if len(fixed_to) != len(fixed_from):
            raise ConfigError(
                "reshape", f"{who} has different number of variable-size dimensions for dims and reshape", fix=fix
            )
        if fixed_to != fixed_from:
            raise ConfigError("reshape", f"{who} has different size for dims and reshape", fix=fix)


def _products(dims: tuple[int, ...]) -> list[int]:
    """Element counts of the runs of fixed dimensions between the variable ones."""
    runs: list[list[int]] = [[]]
    for dim in dims:
        if dim == VARIABLE:
            runs.append([])
        else:
            runs[-1].append(dim)
    return [prod(run) for run in runs]


def tensor_from(message: Message, role: str, *, batched: bool, platform: str) -> TensorConfig:
    """A ModelInput or ModelOutput message -> TensorConfig. Raises ConfigError with a path below the message."""
    is_input = role == "input"
    tensor = TensorConfig(
        role=role,
        name=message.name,
        dtype=wire_name(message.data_type),
        dims=tuple(message.dims),
        batched=batched,
        reshape=tuple(message.reshape.shape) if message.HasField("reshape") else None,
        optional=bool(is_input and message.optional),
        ragged=bool(is_input and message.allow_ragged_batch),
        label_filename="" if is_input else message.label_filename,
        image_format=_format_name(message) if is_input else "FORMAT_NONE",
    )
    if platform != "tensorrt_plan":
        if message.is_shape_tensor:
            raise ConfigError(
                "is_shape_tensor",
                "shape tensors are only supported for TensorRT platform",
                fix="is_shape_tensor: false",
            )
        if message.is_non_linear_format_io:
            raise ConfigError(
                "is_non_linear_format_io",
                "Non-linear IO format is only supported for the TensorRT platform",
                fix="is_non_linear_format_io: false",
            )
    return tensor


def _format_name(message: Message) -> str:
    name: str = message.DESCRIPTOR.fields_by_name["format"].enum_type.values_by_number[message.format].name
    return name
