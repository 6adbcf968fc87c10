"""The signature of predict(), read once: which tensors a model takes and gives, and in which Python form.

`NDArray[np.float32]` is a vector of any length; `Annotated[NDArray[np.float32], (-1, 3)]`
says its dimensions. `str bytes int float bool` are single values, `list[...]` of them
vectors, `X | None` or a default makes an input optional. Several outputs are a tuple, a
TypedDict or a NamedTuple; an iterator of outputs is a stream.
"""

from __future__ import annotations

import collections.abc
import inspect
import sys
import typing
from typing import Annotated, Any, Callable, NamedTuple, Union

import numpy as np

from argosy.errors import InvalidArgument
from argosy.models.tensors import wire_name

_SCALARS = {bool: "BOOL", int: "INT64", float: "FP64", str: "BYTES", bytes: "BYTES"}
_STREAMS = (
    collections.abc.Iterator,
    collections.abc.Iterable,
    collections.abc.Generator,
    collections.abc.AsyncIterator,
    collections.abc.AsyncIterable,
    collections.abc.AsyncGenerator,
)
_EXPECTED = "expected NDArray[np.float32], str, bytes, int, float, bool, a list of those"


class Form(NamedTuple):
    """How a tensor looks in Python. `kind`: "array", "value" or "list"; `element`: the Python type of the latter two.

    `dims` are those of one row where the model batches; `fixed` when the author wrote them.
    """

    kind: str
    dtype: str
    dims: tuple[int, ...]
    fixed: bool = False
    element: Any = None


class Argument(NamedTuple):
    """One input. Without `required`, a request may leave it out and predict() gets `default`."""

    name: str
    form: Form
    required: bool = True
    default: Any = None


class Signature(NamedTuple):
    """`results` in order; `shape` of what predict returns: "one", "tuple" or "mapping"."""

    arguments: tuple[Argument, ...]
    results: tuple[tuple[str, Form], ...]
    shape: str
    streams: bool
    is_async: bool


def read_signature(predict: Callable[..., Any], *, batched: bool) -> Signature:
    """Raises InvalidArgument naming the argument and what to write instead."""
    try:
        hints = typing.get_type_hints(predict, include_extras=True)
    except (NameError, TypeError) as error:
        raise InvalidArgument(
            f"the annotations of predict cannot be read: {error} (Python {sys.version_info.major}."
            f"{sys.version_info.minor})"
        ) from None
    parameters = list(inspect.signature(predict).parameters.values())
    if not parameters or parameters[0].name in hints or inspect.ismethod(predict):
        raise InvalidArgument("predict: expected a plain method, whose first argument is self")
    parameters = parameters[1:]
    if "return" not in hints:
        raise InvalidArgument(f"predict has no return annotation; {_EXPECTED}, or an Iterator of one for a stream")
    returned, streams = _unstreamed(hints["return"])
    if not streams and (inspect.isgeneratorfunction(predict) or inspect.isasyncgenfunction(predict)):
        raise InvalidArgument("predict has a yield, so it is a stream: expected -> Iterator[...] of what it yields")
    if streams and batched:
        raise InvalidArgument("predict streams, so max_batch_size must be 0: rows of one batch end at different times")
    shape, results = _results(returned, batched)
    return Signature(
        arguments=tuple(_argument(parameter, hints, batched) for parameter in parameters),
        results=results,
        shape=shape,
        streams=streams,
        is_async=inspect.iscoroutinefunction(predict) or inspect.isasyncgenfunction(predict),
    )


def _argument(parameter: inspect.Parameter, hints: dict[str, Any], batched: bool) -> Argument:
    where = f"predict, argument '{parameter.name}'"
    if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
        raise InvalidArgument(f"{where}: expected a named argument, got *args, **kwargs or a positional-only one")
    if parameter.name not in hints:
        raise InvalidArgument(f"{where} has no annotation; {_EXPECTED}")
    annotation, nullable = _unwrapped(hints[parameter.name])
    has_default = parameter.default is not parameter.empty
    return Argument(
        name=parameter.name,
        form=_form(annotation, where, batched),
        required=not nullable and not has_default,
        default=parameter.default if has_default else None,
    )


def _results(annotation: Any, batched: bool) -> tuple[str, tuple[tuple[str, Form], ...]]:
    where = "predict, return value"
    if typing.get_origin(annotation) is tuple:
        parts = typing.get_args(annotation)
        if Ellipsis in parts:
            raise InvalidArgument(f"{where}: expected a tuple of a fixed length, got {annotation}")
        named = [(f"output{index}", part) for index, part in enumerate(parts)]
        return "tuple", tuple((name, _form(part, f"{where} {name}", batched)) for name, part in named)
    if isinstance(annotation, type) and issubclass(annotation, (dict, tuple)) and _fields(annotation):
        fields = _fields(annotation)
        shape = "tuple" if issubclass(annotation, tuple) else "mapping"
        return shape, tuple((name, _form(part, f"{where} '{name}'", batched)) for name, part in fields.items())
    return "one", (("output", _form(annotation, where, batched)),)


def _fields(annotation: type) -> dict[str, Any]:
    return typing.get_type_hints(annotation, include_extras=True)


def _form(annotation: Any, where: str, batched: bool) -> Form:
    dims: tuple[int, ...] | None = None
    if typing.get_origin(annotation) is Annotated:
        inner, *notes = typing.get_args(annotation)
        annotation, _ = _unwrapped(inner)
        given = [note for note in notes if isinstance(note, tuple)]
        if given:
            dims = _dims(given[0], where)
    if annotation in _SCALARS:
        if batched:
            raise InvalidArgument(f"{where}: with max_batch_size > 0 expected list[{annotation.__name__}], one per row")
        return Form("value", _SCALARS[annotation], (1,), True, annotation)
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is list and arguments and arguments[0] in _SCALARS:
        return Form("list", _SCALARS[arguments[0]], (1,) if batched else (-1,), batched, arguments[0])
    if origin is np.ndarray:
        return Form("array", _dtype(arguments, annotation, where), dims or (-1,), dims is not None)
    shown = getattr(annotation, "__name__", None) or str(annotation)
    raise InvalidArgument(f"{where}: {_EXPECTED}, got {shown}")


def _dtype(arguments: tuple[Any, ...], annotation: Any, where: str) -> str:
    scalars = typing.get_args(arguments[1]) if len(arguments) == 2 else ()
    scalar = scalars[0] if scalars else None
    if not isinstance(scalar, type) or not issubclass(scalar, np.generic) or scalar is np.generic:
        raise InvalidArgument(f"{where}: expected an element type, as NDArray[np.float32], got {annotation}")
    try:
        return wire_name(np.dtype(scalar))
    except InvalidArgument as error:
        raise InvalidArgument(f"{where}: {error}") from None


def _dims(given: tuple[Any, ...], where: str) -> tuple[int, ...]:
    if not given or not all(isinstance(dim, int) and (dim == -1 or dim > 0) for dim in given):
        raise InvalidArgument(f"{where}: expected dimensions as (-1, 3), -1 for any length, got {given}")
    return given


def _unstreamed(annotation: Any) -> tuple[Any, bool]:
    if typing.get_origin(annotation) in _STREAMS and typing.get_args(annotation):
        return typing.get_args(annotation)[0], True
    return annotation, False


def _unwrapped(annotation: Any) -> tuple[Any, bool]:
    if typing.get_origin(annotation) is Annotated:
        return annotation, _unwrapped(typing.get_args(annotation)[0])[1]
    is_union = typing.get_origin(annotation) is Union or type(annotation).__name__ == "UnionType"
    if not is_union:
        return annotation, False
    others = [one for one in typing.get_args(annotation) if one is not type(None)]
    if len(others) == 1 and len(others) < len(typing.get_args(annotation)):
        return others[0], True
    return annotation, False
