"""Checks of batch_input and batch_output, the tensors that describe a ragged batch."""

from __future__ import annotations

from argosy.errors import ConfigError
from argosy.protos import Message


def check_batch_tensors(config: Message) -> None:
    """Raises ConfigError with a field path when a batch tensor names what does not exist."""
    inputs = {tensor.name for tensor in config.input}
    outputs = {tensor.name for tensor in config.output}
    for index, tensor in enumerate(config.batch_input):
        here = f"batch_input[{index}]"
        _check_sources(tensor, here, "batch input", inputs)
        if tensor.data_type not in (8, 11):  # TYPE_INT32, TYPE_FP32
            raise ConfigError(
                f"{here}.data_type",
                "batch input data type must be TYPE_INT32 or TYPE_FP32",
                fix="data_type: TYPE_INT32",
            )
    targets: set[str] = set()
    for index, tensor in enumerate(config.batch_output):
        here = f"batch_output[{index}]"
        _check_sources(tensor, here, "batch output", inputs)
        for at, name in enumerate(tensor.target_name):
            if name not in outputs:
                raise ConfigError(f"{here}.target_name[{at}]", f"unknown target output name '{name}'")
            if name in targets:
                raise ConfigError(
                    f"{here}.target_name[{at}]", f"target output name '{name}' can only be specified once"
                )
            targets.add(name)


def _check_sources(tensor: Message, here: str, what: str, inputs: set[str]) -> None:
    kind = tensor.DESCRIPTOR.fields_by_name["kind"].enum_type.values_by_number[tensor.kind].name
    if len(tensor.source_input) != 1:
        raise ConfigError(
            f"{here}.source_input", f"{what} kind '{kind}' expects 1 source input, got {len(tensor.source_input)}"
        )
    if tensor.source_input[0] not in inputs:
        raise ConfigError(f"{here}.source_input[0]", f"unknown source input name '{tensor.source_input[0]}'")
