"""Exported programs: what torch.export.save wrote.

The file holds the graph with types, shapes and the ranges of dynamic dimensions, so a
configuration can be made from it. The graph is called with flat tensors, without the
checks and trees of ExportedProgram.module(), which take longer than small programs;
what they check is checked here or against the configuration.

Format: PT2 archive with an exported program, as the installed PyTorch reads it.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch.export.graph_signature import ConstantArgument, InputKind, OutputKind, TensorArgument
from torch.utils import _pytree as pytree

from argosy.backends.torch.program import Argument, read_failed
from argosy.backends.torch.values import WIRE_TYPES
from argosy.config import ArtifactSignature, TensorSignature
from argosy.errors import InvalidArgument, Unsupported

# PyTorch's reader of programs keeps its state in a global variable: one at a time in a process.
_READING = threading.Lock()


class ExportedProgram:
    """The flat graph of a program with its state, on one device."""

    dictionary_written = False

    def __init__(self, program: Any, artifact: Path) -> None:
        self._program, self._artifact = program, artifact
        self._forward = program.graph_module.forward
        signature = program.graph_signature
        self._fixed: list[Any] = []  # per graph input: a weight or constant, or _HOLE for what requests bring
        self._holes: list[tuple[int, str]] = []
        self._targets: dict[str, int] = {}  # name of a buffer -> its graph input
        for at, spec in enumerate(signature.input_specs):
            self._fixed.append(self._value_of(spec, at))
        self._results: list[int] = []
        self._updates: list[tuple[int, int]] = []  # result that replaces a buffer, and the buffer's graph input
        for at, spec in enumerate(signature.output_specs):
            if spec.kind == OutputKind.USER_OUTPUT:
                self._results.append(at)
            elif spec.kind == OutputKind.BUFFER_MUTATION:
                self._updates.append((at, self._targets[spec.target]))
            elif spec.kind != OutputKind.USER_INPUT_MUTATION:  # what a caller's tensor would become: nobody looks
                raise Unsupported(f"'{artifact}': a result of kind {spec.kind.name} cannot be served")
        self.stateful = bool(self._updates)
        if self.stateful:  # the program's own tensors stay as they were saved, for copies
            self._fixed = [_cloned(one) for one in self._fixed]
        names = _names(program.call_spec.in_spec, [name for _, name in self._holes])
        self.arguments: Sequence[Argument] | None = tuple(Argument(name=name) for name in names)
        self.result_names = _result_names(program.call_spec.out_spec, len(self._results))
        self._bounds = self._read_bounds()

    @classmethod
    def load(cls, artifact: Path, device: str) -> ExportedProgram:
        """Raises InvalidArgument when PyTorch refuses the file, Unsupported for programs that take no plain tensors."""
        try:
            with _READING:
                program = torch.export.load(str(artifact))
                if any(_writes(node) for node in program.graph.nodes):
                    program = program.run_decompositions({})  # writes become values: inputs are other people's memory
                if device != "cpu":
                    from torch.export.passes import move_to_device_pass

                    program = move_to_device_pass(program, device)
        except Exception as error:  # versions, schemas, missing operators: PyTorch has many classes for them
            raise read_failed(artifact, error) from None
        return cls(program, artifact)

    def call(self, values: Sequence[Any], names: Sequence[str]) -> Any:
        for (position, axis, most), name in self._bounds:
            if values[position].shape[axis] > most:
                raise InvalidArgument(
                    f"input '{name}': dimension {axis} is {values[position].shape[axis]}, the program was exported for "
                    f"up to {most}"
                )
        flat = list(self._fixed)
        for (at, _), value in zip(self._holes, values, strict=True):
            flat[at] = value
        out = self._forward(*flat)
        for at, target in self._updates:
            self._fixed[target].copy_(out[at])
        return [out[at] for at in self._results]

    def copy(self) -> ExportedProgram:
        made = ExportedProgram(self._program, self._artifact)
        made._fixed = [_cloned(one) for one in made._fixed]
        return made

    def signature(self) -> ArtifactSignature:
        nodes = {node.name: node for node in self._program.graph.nodes}
        specs = self._program.graph_signature.output_specs
        assert self.arguments is not None
        inputs = [
            self._tensor(argument.name, nodes[name])
            for argument, (_, name) in zip(self.arguments, self._holes, strict=True)
        ]
        outputs = [
            self._tensor(name, nodes[specs[at].arg.name])
            for name, at in zip(self.result_names, self._results, strict=True)
        ]
        leading = [nodes[name].meta["val"].shape for _, name in self._holes]
        leading += [nodes[specs[at].arg.name].meta["val"].shape for at in self._results]
        rows = {str(shape[0]) if len(shape) else "" for shape in leading}
        most = [most for (_, axis, most), _ in self._bounds if axis == 0]
        return ArtifactSignature(
            inputs=tuple(inputs),
            outputs=tuple(outputs),
            max_rows=min(most, default=0) if len(rows) == 1 else 0,
            positional=True,
            same_rows=len(rows) == 1,
        )

    def _value_of(self, spec: Any, at: int) -> Any:
        if spec.kind == InputKind.USER_INPUT:
            if isinstance(spec.arg, ConstantArgument):
                return spec.arg.value
            if not isinstance(spec.arg, TensorArgument):
                raise Unsupported(
                    f"'{self._artifact}': input '{spec.arg.name}' is a {type(spec.arg).__name__}; "
                    "requests bring tensors only"
                )
            self._holes.append((at, spec.arg.name))
            return None
        if spec.kind in (InputKind.PARAMETER, InputKind.BUFFER, InputKind.CONSTANT_TENSOR, InputKind.CUSTOM_OBJ):
            self._targets[spec.target] = at
            state = self._program.state_dict
            return state[spec.target] if spec.target in state else self._program.constants[spec.target]
        raise Unsupported(f"'{self._artifact}': an input of kind {spec.kind.name} cannot be served")

    def _tensor(self, name: str, node: Any) -> TensorSignature:
        value = node.meta["val"]
        dtype = WIRE_TYPES.get(value.dtype)
        if dtype is None:
            raise Unsupported(f"'{self._artifact}', tensor '{name}': type {value.dtype} cannot be served")
        return TensorSignature(
            name=name, dtype=dtype, dims=tuple(dim if isinstance(dim, int) else -1 for dim in value.shape)
        )

    def _read_bounds(self) -> list[tuple[tuple[int, int, int], str]]:
        """Dynamic dimensions with an upper bound: (position, axis, bound) and the input's name."""
        nodes = {node.name: node for node in self._program.graph.nodes}
        ranges = {str(symbol): bound for symbol, bound in self._program.range_constraints.items()}
        found = []
        assert self.arguments is not None
        for position, (_, name) in enumerate(self._holes):
            for axis, dim in enumerate(nodes[name].meta["val"].shape):
                upper = ranges[str(dim)].upper if str(dim) in ranges else None
                if upper is not None and upper.is_Integer and upper < 2**31:
                    found.append(((position, axis, int(upper)), self.arguments[position].name))
        return found


def _cloned(value: Any) -> Any:
    return value.clone() if isinstance(value, torch.Tensor) else value


def _writes(node: Any) -> bool:
    schema = getattr(node.target, "_schema", None)
    return bool(schema is not None and schema.is_mutable)


def _names(spec: Any, placeholders: list[str]) -> list[str]:
    """Of a single dictionary its keys, else the names of forward()'s arguments."""
    try:
        args, kwargs = pytree.tree_unflatten(list(range(spec.num_leaves)), spec)
    except Exception:
        return placeholders
    if len(args) == 1 and not kwargs and isinstance(args[0], dict) and len(args[0]) == len(placeholders):
        return [str(key) for key, _ in sorted(args[0].items(), key=lambda item: item[1])]
    return placeholders


def _result_names(spec: Any, count: int) -> tuple[str, ...]:
    tree = pytree.tree_unflatten(list(range(spec.num_leaves)), spec)
    if isinstance(tree, dict) and len(tree) == count:
        return tuple(str(key) for key, _ in sorted(tree.items(), key=lambda item: item[1]))
    return tuple(f"OUTPUT__{at}" for at in range(count))
