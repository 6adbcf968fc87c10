"""Tensors to the arguments of predict(), and what it returns to tensors, by its signature.

Errors of the client's data and of the model's are told apart by the text: the first
name the input, the second the output. Both raise InvalidArgument; the runner makes the
second an internal error.
"""

from __future__ import annotations

from collections.abc import Coroutine, Generator, Mapping, Sequence
from typing import Any

import numpy as np

from argosy.errors import InvalidArgument
from argosy.models.signature import Argument, Form, Signature
from argosy.models.tensors import tensor_value
from argosy.worker.host import Array, TensorValue

_UNRUN = (Coroutine, Generator)


def keyword_arguments(signature: Signature, inputs: Sequence[TensorValue]) -> dict[str, Any]:
    """The arguments of one request. Optional inputs that are missing get their default."""
    given = {value.name: value.data for value in inputs}
    return {
        argument.name: _python(argument, given[argument.name]) if argument.name in given else _missing(argument)
        for argument in signature.arguments
    }


def joined_arguments(signature: Signature, batch: Sequence[Sequence[TensorValue]]) -> dict[str, Any]:
    """The arguments of requests that run together; each has the same inputs and row shapes (see row_key)."""
    given = [{value.name: value.data for value in inputs} for inputs in batch]
    arguments: dict[str, Any] = {}
    for argument in signature.arguments:
        if argument.name not in given[0]:
            arguments[argument.name] = _missing(argument)
            continue
        parts = [tensors[argument.name] for tensors in given]
        data = parts[0] if len(parts) == 1 else np.concatenate(parts)
        arguments[argument.name] = _python(argument, data)
    return arguments


def row_key(inputs: Sequence[TensorValue]) -> tuple[Any, ...]:
    """Requests with equal keys can run together."""
    return tuple(sorted((value.name, value.shape[1:]) for value in inputs))


def outputs_of(signature: Signature, returned: Any) -> tuple[TensorValue, ...]:
    """The tensors of what predict returned or yielded."""
    values = zip(signature.results, _values(signature, returned))
    return tuple(_tensor(name, form, value) for (name, form), value in values)


def split_outputs(signature: Signature, returned: Any, rows: Sequence[int]) -> list[tuple[TensorValue, ...]]:
    """The tensors of each request, given how many rows each has."""
    total = sum(rows)
    columns = []
    for (name, form), value in zip(signature.results, _values(signature, returned)):
        tensor = _rows(name, form, value)
        if not tensor.shape or tensor.shape[0] != total:
            raise InvalidArgument(f"output '{name}': expected {total} rows, got shape {list(tensor.shape)}")
        edges = np.cumsum(rows)[:-1]
        columns.append([TensorValue(name, tensor.dtype, part.shape, part) for part in np.split(tensor.data, edges)])
    return [tuple(parts) for parts in zip(*columns)]


def _python(argument: Argument, data: Array) -> Any:
    form = argument.form
    if form.kind == "array":
        return data
    items = data.reshape(-1).tolist()
    if form.element is str:
        items = [_text(argument.name, item) for item in items]
    if form.kind == "list":
        return items
    if len(items) != 1:
        raise InvalidArgument(f"input '{argument.name}': expected one element, got shape {list(data.shape)}")
    return items[0]


def _text(name: str, item: bytes) -> str:
    try:
        return item.decode()
    except UnicodeDecodeError as error:
        raise InvalidArgument(f"input '{name}': not UTF-8 text: {error.reason} at byte {error.start}") from None


def _missing(argument: Argument) -> Any:
    if argument.required:
        raise InvalidArgument(f"input '{argument.name}' is missing")
    return argument.default


def _values(signature: Signature, returned: Any) -> Sequence[Any]:
    names = [name for name, _ in signature.results]
    if signature.shape == "one":
        return (returned,)
    if signature.shape == "mapping":
        if not isinstance(returned, Mapping) or set(returned) != set(names):
            found = sorted(returned) if isinstance(returned, Mapping) else type(returned)
            raise InvalidArgument(f"predict returned {found}: expected a mapping with the keys {names}")
        return [returned[name] for name in names]
    if not isinstance(returned, tuple) or len(returned) != len(names):
        what = f"a tuple of {len(returned)}" if isinstance(returned, tuple) else str(type(returned))
        raise InvalidArgument(f"predict returned {what}: expected a tuple of {len(names)}: {', '.join(names)}")
    return returned


def _tensor(name: str, form: Form, value: Any) -> TensorValue:
    tensor = _converted(name, form, [value] if form.kind == "value" else value)
    if form.fixed:
        _check_dims(name, form, tensor.shape, form.dims)
    return tensor


def _converted(name: str, form: Form, value: Any) -> TensorValue:
    if form.kind == "array":
        if value is None or isinstance(value, _UNRUN):
            raise InvalidArgument(f"output '{name}': expected an array, got {type(value).__name__}")
    elif isinstance(value, (str, bytes)) or not hasattr(value, "__len__"):
        raise InvalidArgument(
            f"output '{name}': expected a list of {form.element.__name__}, got {type(value).__name__}"
        )
    elif form.dtype == "BYTES":
        # As text, everything would be something: None a "None".
        odd = next((item for item in value if not isinstance(item, (str, bytes, bytearray, memoryview))), value)
        if odd is not value:
            raise InvalidArgument(f"output '{name}': expected {form.element.__name__}, got {type(odd).__name__}")
    try:
        return tensor_value(name, value, form.dtype)
    except InvalidArgument as error:
        raise InvalidArgument(f"output: {error}") from None
    except UnicodeEncodeError as error:
        raise InvalidArgument(f"output '{name}': text without a UTF-8 form: {error}") from None


def _rows(name: str, form: Form, value: Any) -> TensorValue:
    tensor = _converted(name, form, value)
    if form.kind == "list":
        data = tensor.data.reshape(-1, 1)
        return TensorValue(name, tensor.dtype, data.shape, data)
    if form.fixed:
        _check_dims(name, form, tensor.shape[1:], form.dims)
    return tensor


def _check_dims(name: str, form: Form, shape: Sequence[int], dims: Sequence[int]) -> None:
    if len(shape) != len(dims) or any(want not in (-1, have) for want, have in zip(dims, shape)):
        raise InvalidArgument(f"output '{name}': expected dimensions {list(form.dims)}, got {list(shape)}")
