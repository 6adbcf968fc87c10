"""batch_input and batch_output: tensors that describe a ragged batch, and outputs that are cut like an input.

One value per target name, so that everything after this module meets one tensor at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from argosy.config.tensors import TensorConfig, show_dims, wire_name
from argosy.errors import ConfigError
from argosy.protos import Message


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchInput:
    """An input that the server makes. `kind` as the configuration calls it; `source`: the input it is about."""

    name: str
    dtype: str
    kind: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchOutput:
    """An output whose elements are handed out as `source` has them."""

    name: str
    source: str


def batch_inputs_from(config: Message, inputs: Sequence[TensorConfig]) -> tuple[BatchInput, ...]:
    """Raises ConfigError with a field path when one is of a wrong type, or names what does not exist or is taken."""
    made: list[BatchInput] = []
    taken = {tensor.name for tensor in inputs}
    for index, tensor in enumerate(config.batch_input):
        here = f"batch_input[{index}]"
        source, kind = _source(tensor, here, "batch input", inputs)
        if tensor.data_type not in (8, 11):  # TYPE_INT32, TYPE_FP32
            raise ConfigError(
                f"{here}.data_type",
                "batch input data type must be TYPE_INT32 or TYPE_FP32",
                fix="data_type: TYPE_INT32",
            )
        _check_targets(tensor, here, "batch input")
        for at, name in enumerate(tensor.target_name):
            if name in taken:
                raise ConfigError(
                    f"{here}.target_name[{at}]",
                    f"target input name '{name}' is taken: the server makes batch inputs, requests bring the others",
                )
            taken.add(name)
            made.append(BatchInput(name=name, dtype=wire_name(tensor.data_type), kind=kind, source=source.name))
    return tuple(made)


def batch_outputs_from(
    config: Message, inputs: Sequence[TensorConfig], outputs: Sequence[TensorConfig]
) -> tuple[BatchOutput, ...]:
    """Raises ConfigError with a field path, also when an open dimension of an output is not in its source."""
    known = {tensor.name: tensor for tensor in outputs}
    made: list[BatchOutput] = []
    for index, tensor in enumerate(config.batch_output):
        here = f"batch_output[{index}]"
        source, _ = _source(tensor, here, "batch output", inputs)
        _check_targets(tensor, here, "batch output")
        for at, name in enumerate(tensor.target_name):
            where = f"{here}.target_name[{at}]"
            if name not in known:
                raise ConfigError(where, f"unknown target output name '{name}'")
            if any(other.name == name for other in made):
                raise ConfigError(where, f"target output name '{name}' can only be specified once")
            own, theirs = _backend_dims(known[name]), _backend_dims(source)
            if -1 in own[len(theirs) :]:
                raise ConfigError(
                    where,
                    f"output '{name}' of dims {show_dims(own)} takes its variable-size dimensions from input "
                    f"'{source.name}', which has only {show_dims(theirs)}",
                )
            made.append(BatchOutput(name=name, source=source.name))
    return tuple(made)


def _backend_dims(tensor: TensorConfig) -> tuple[int, ...]:
    return tensor.dims if tensor.reshape is None else tensor.reshape


def _check_targets(tensor: Message, here: str, what: str) -> None:
    if not len(tensor.target_name) or not all(tensor.target_name):
        raise ConfigError(here, f"{what} must specify 'target_name'", fix='target_name: "..."')


def _source(tensor: Message, here: str, what: str, inputs: Sequence[TensorConfig]) -> tuple[TensorConfig, str]:
    kind: str = tensor.DESCRIPTOR.fields_by_name["kind"].enum_type.values_by_number[tensor.kind].name
    if len(tensor.source_input) != 1:
        raise ConfigError(
            f"{here}.source_input", f"{what} kind '{kind}' expects 1 source input, got {len(tensor.source_input)}"
        )
    found = next((one for one in inputs if one.name == tensor.source_input[0]), None)
    where = f"{here}.source_input[0]"
    if found is None:
        raise ConfigError(where, f"unknown source input name '{tensor.source_input[0]}'")
    if found.optional:
        raise ConfigError(where, f"source input '{found.name}' is optional, so a batch may be without it")
    return found, kind
