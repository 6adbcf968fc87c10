"""Warm-up samples: what every instance executes before the model is ready."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from argosy.config.tensors import wire_name
from argosy.errors import ConfigError
from argosy.protos import Message


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmupInput:
    """One tensor of a sample: all dims concrete, without the batch dimension; `file` below <model>/warmup."""

    dtype: str
    dims: tuple[int, ...]
    source: str  # "zero", "random" or "file"
    file: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmupSample:
    """`batch_size` requests of one row in one batch, `count` times. A batch_size of 0 skips the sample."""

    name: str
    batch_size: int
    count: int
    inputs: Mapping[str, WarmupInput]


def warmup_from(message: Message) -> WarmupSample:
    """A ModelWarmup message -> WarmupSample. Raises ConfigError with a path below the message."""
    inputs: dict[str, WarmupInput] = {}
    for name in sorted(message.inputs):
        entry = message.inputs[name]
        here = f'inputs["{name}"]'
        dtype = wire_name(entry.data_type)
        if not dtype:
            raise ConfigError(here, f"model warmup input '{name}' must specify 'data_type'", fix="data_type: TYPE_FP32")
        if any(dim < 0 for dim in entry.dims):
            mended = ", ".join(str(dim if dim >= 0 else 1) for dim in entry.dims)
            raise ConfigError(
                f"{here}.value.dims",
                f"warmup setting expects all variable-size dimensions are specified for input '{name}'",
                fix=f"dims: [ {mended} ]",
            )
        choice = entry.WhichOneof("input_data_type")
        if choice is None:
            raise ConfigError(
                here,
                f"model warmup input '{name}' must specify one of 'zero_data', 'random_data' and 'input_data_file'",
                fix="zero_data: true",
            )
        inputs[name] = WarmupInput(
            dtype=dtype,
            dims=tuple(entry.dims),
            source={"zero_data": "zero", "random_data": "random", "input_data_file": "file"}[choice],
            file=entry.input_data_file,
        )
    return WarmupSample(name=message.name, batch_size=message.batch_size, count=max(1, message.count), inputs=inputs)
