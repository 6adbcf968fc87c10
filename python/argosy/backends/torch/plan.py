"""How a configuration's tensors meet a program's arguments and results.

Made once per model; instances follow it for every batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from argosy.backends.torch.program import Argument, Program
from argosy.config import ModelInput, model_inputs
from argosy.config.tensor_names import assign
from argosy.errors import Internal, InvalidArgument


@dataclass(frozen=True, slots=True, kw_only=True)
class InputPlace:
    """One argument: the batch input that fills it (-1: none, the argument's default), and how."""

    name: str
    dtype: str = ""
    input: int = -1
    kind: str = "tensor"
    written: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputPlace:
    """One configured output: where it is among the results, by key in a dictionary or by position."""

    name: str
    dtype: str
    position: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """`max_rows` 0: no batch dimension. `fixed_dims`: per argument its dimensions without rows, None where dynamic."""

    model: str
    max_rows: int
    inputs: tuple[InputPlace, ...]
    outputs: tuple[OutputPlace, ...]
    fixed_dims: tuple[tuple[int, ...] | None, ...]

    @property
    def names(self) -> list[str]:
        return [place.name for place in self.inputs]

    def pick(self, results: Any) -> list[Any]:
        """The configured outputs out of what a call returned. Raises Internal naming the one that is missing."""
        if isinstance(results, dict):
            return [self._of_dictionary(results, output) for output in self.outputs]
        if isinstance(results, tuple) or (isinstance(results, list) and not _is_texts(results)):
            return [self._of_sequence(results, output) for output in self.outputs]
        return [self._of_sequence((results,), output) for output in self.outputs]

    def _of_dictionary(self, results: Mapping[str, Any], output: OutputPlace) -> Any:
        if output.name in results:
            return results[output.name]
        if not any(other.name in results for other in self.outputs) and output.position < len(results):
            return list(results.values())[output.position]
        keys = ", ".join(f"'{key}'" for key in results)
        raise Internal(f"model '{self.model}', output '{output.name}': the model returned only {keys}")

    def _of_sequence(self, results: Sequence[Any], output: OutputPlace) -> Any:
        if output.position < len(results):
            return results[output.position]
        raise Internal(
            f"model '{self.model}', output '{output.name}' is result {output.position}: the model returned "
            f"{len(results)} value{'s' if len(results) != 1 else ''}"
        )


def plan_for(spec: Mapping[str, Any], program: Program) -> Plan:
    """Raises InvalidArgument when names, kinds or counts do not fit the program."""
    model, rows = spec["name"], spec["max_batch_size"]
    for role in ("input", "output"):
        if not spec[f"{role}s"]:
            raise InvalidArgument(f"model '{model}': the configuration has no {role}s; the program's are not known")
    own_inputs = model_inputs(spec)
    inputs = (
        _dictionary(own_inputs, program.dictionary_written)
        if program.arguments is None
        else _inputs(model, own_inputs, program.arguments, batched=rows > 0)
    )
    names = [tensor["name"] for tensor in spec["outputs"]]
    own = program.result_names
    positions = assign(names, own or [], role="output", model=model, count=None if own is None else len(own))
    outputs = tuple(
        OutputPlace(name=tensor["name"], dtype=tensor["dtype"], position=position)
        for tensor, position in zip(spec["outputs"], positions, strict=True)
    )
    for tensor in (*spec["inputs"], *spec["outputs"]):
        if tensor["dtype"] == "BYTES" and len(_dims(tensor)) > 1 - bool(rows) and _dims(tensor) != (1,):
            raise InvalidArgument(
                f"model '{model}', tensor '{tensor['name']}': strings are one List[str] in PyTorch, so dims must be "
                f"[ {1 if rows else -1} ], got {list(_dims(tensor))}"
            )
    fixed = [None if place.input < 0 else _fixed(own_inputs[place.input], batched=rows > 0) for place in inputs]
    return Plan(
        model=model,
        max_rows=rows,
        inputs=tuple(inputs),
        outputs=outputs,
        fixed_dims=tuple(fixed),
    )


def _dims(tensor: Mapping[str, Any]) -> tuple[int, ...]:
    return tuple(tensor["dims"] if tensor["reshape"] is None else tensor["reshape"])


def _fixed(tensor: ModelInput, *, batched: bool) -> tuple[int, ...] | None:
    dims = tensor.dims[1:] if batched else tensor.dims
    return None if tensor.flat or any(dim < 0 for dim in dims) else dims


def _dictionary(tensors: Sequence[ModelInput], written: bool) -> list[InputPlace]:
    return [
        InputPlace(name=tensor.name, dtype=tensor.dtype, input=at, written=written) for at, tensor in enumerate(tensors)
    ]


def _inputs(
    model: str, tensors: Sequence[ModelInput], arguments: Sequence[Argument], *, batched: bool
) -> list[InputPlace]:
    names = [tensor.name for tensor in tensors]
    own = [argument.name for argument in arguments]
    found = assign(names, own, role="input", model=model, count=len(arguments))
    filled = {position: at for at, position in enumerate(found)}
    places = []
    for position, argument in enumerate(arguments):
        at = filled.get(position, -1)
        if at < 0 and not argument.optional:
            called = f"argument '{argument.name}'" if argument.name else f"argument {position}"
            raise InvalidArgument(f"model '{model}': forward() needs {called}, and no input of the configuration is it")
        if at >= 0:
            _check_kind(model, tensors[at], argument, batched=batched)
        places.append(
            InputPlace(
                name=names[at] if at >= 0 else argument.name,
                dtype=tensors[at].dtype if at >= 0 else "",
                input=at,
                kind=argument.kind,
                written=argument.written,
            )
        )
    return places


def _check_kind(model: str, tensor: ModelInput, argument: Argument, *, batched: bool) -> None:
    subject = f"model '{model}', input '{tensor.name}'"
    if tensor.optional and not argument.optional:
        raise InvalidArgument(f"{subject} is optional, but forward() needs '{argument.name or 'it'}'")
    if (tensor.dtype == "BYTES") != (argument.kind == "texts"):
        takes = "List[str]" if argument.kind == "texts" else "a tensor" if argument.kind == "tensor" else argument.kind
        raise InvalidArgument(f"{subject}: forward() takes {takes}, the configuration says {tensor.dtype}")
    if argument.kind in ("int", "float", "bool"):
        if batched:
            raise InvalidArgument(
                f"{subject}: forward() takes one {argument.kind} for the whole call, so rows of different requests "
                "cannot run together; set max_batch_size: 0"
            )
        if tensor.dims not in ((1,), ()):
            raise InvalidArgument(f"{subject}: forward() takes one {argument.kind}, so dims must be [ 1 ]")


def _is_texts(results: Sequence[Any]) -> bool:
    return bool(results) and all(isinstance(one, str) for one in results)
