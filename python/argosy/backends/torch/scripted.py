"""TorchScript files: what torch.jit.script or trace made and torch.jit.save wrote.

A file says the names and kinds of forward()'s arguments, not the types and shapes of
its tensors. The graph tells whether the program writes to an input, and whether it
keeps state in its attributes.

Format: TorchScript archive, as the installed PyTorch reads it.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from argosy.backends.torch.program import Argument, read_failed
from argosy.config import ArtifactSignature, NoSignature
from argosy.errors import Unsupported

_NUMBERS = {"IntType": "int", "FloatType": "float", "BoolType": "bool"}


class ScriptedProgram:
    """A TorchScript module on one device."""

    def __init__(self, module: Any, artifact: Path) -> None:
        self._module, self._artifact = module, artifact
        self._forward = module.forward
        schema = self._forward.schema
        graph = module.inlined_graph
        self._written = _written_inputs(graph)
        self.dictionary_written = bool(self._written)
        self.stateful = _keeps_state(graph)
        self.arguments: Sequence[Argument] | None = self._read_arguments(schema.arguments[1:])
        self.result_names = _result_names(schema.returns)

    @classmethod
    def load(cls, artifact: Path, device: str) -> ScriptedProgram:
        """Raises InvalidArgument when PyTorch refuses the file, Unsupported for arguments that requests have not."""
        try:
            module = torch.jit.load(str(artifact), map_location=device).eval()
        except Exception as error:  # PyTorch raises RuntimeError, ValueError and classes of its own
            raise read_failed(artifact, error) from None
        if not hasattr(module, "forward"):
            raise Unsupported(f"'{artifact}' has no method forward()")
        return cls(module, artifact)

    def call(self, values: Sequence[Any], names: Sequence[str]) -> Any:
        if self.arguments is None:
            return self._forward({name: value for name, value in zip(names, values, strict=True) if value is not None})
        if all(value is not None for value in values):
            return self._forward(*values)
        return self._forward(
            **{
                argument.name: value
                for argument, value in zip(self.arguments, values, strict=True)
                if value is not None
            }
        )

    def copy(self) -> ScriptedProgram:
        return ScriptedProgram(copy.deepcopy(self._module), self._artifact)

    def signature(self) -> ArtifactSignature:
        raise NoSignature(
            f"'{self._artifact}' is TorchScript, which does not say the types and shapes of tensors; write a "
            f"config.pbtxt with them for {self.declaration()}, or serve a program of torch.export instead"
        )

    def declaration(self) -> str:
        """The program's own head, for people: forward(Tensor x, Tensor y) -> Tensor."""
        head, _, tail = str(self._forward.schema).partition("(")
        return f"{head}({tail.partition(', ')[2] or tail}"

    def _read_arguments(self, arguments: Sequence[Any]) -> tuple[Argument, ...] | None:
        kinds = [argument.type.kind() for argument in arguments]
        if kinds == ["DictType"] and str(arguments[0].type) == "Dict[str, Tensor]":
            return None
        return tuple(self._argument(argument, at) for at, argument in enumerate(arguments))

    def _argument(self, argument: Any, at: int) -> Argument:
        declared, optional = argument.type, argument.has_default_value()
        if declared.kind() == "OptionalType":
            declared, optional = declared.getElementType(), True
        kind = "texts" if str(declared) == "List[str]" else _NUMBERS.get(declared.kind(), "tensor")
        if kind == "tensor" and declared.kind() != "TensorType":
            raise Unsupported(
                f"'{self._artifact}': forward() takes '{argument.name}' as {declared}; served are Tensor, List[str], "
                "int, float, bool, Optional of these, and one Dict[str, Tensor]"
            )
        return Argument(name=argument.name, kind=kind, optional=optional, written=at in self._written)


def _written_inputs(graph: Any) -> frozenset[int]:
    """Positions of inputs that may be written to. A tensor taken out of a container stands for every input."""
    inputs = list(graph.inputs())[1:]
    aliases = graph.alias_db()
    if any(
        aliases.has_writers(output)
        for kind in ("aten::__getitem__", "prim::TupleUnpack", "prim::ListUnpack", "aten::values", "aten::items")
        for node in graph.findAllNodes(kind)
        for output in node.outputs()
    ) and any(value.type().kind() in ("DictType", "ListType", "TupleType") for value in inputs):
        return frozenset(range(len(inputs)))
    return frozenset(at for at, value in enumerate(inputs) if aliases.has_writers(value))


def _keeps_state(graph: Any) -> bool:
    aliases = graph.alias_db()
    return bool(graph.findAllNodes("prim::SetAttr")) or any(
        aliases.has_writers(node.output()) for node in graph.findAllNodes("prim::GetAttr")
    )


def _result_names(returns: Sequence[Any]) -> tuple[str, ...] | None:
    declared = returns[0].type
    if declared.kind() == "TupleType":
        return ("",) * len(declared.elements())
    return ("",) if declared.kind() == "TensorType" else None
