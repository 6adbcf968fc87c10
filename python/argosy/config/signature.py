"""What a model's artifact says about its own inputs and outputs.

A backend's inspector returns an ArtifactSignature; auto-complete fills a
configuration from it, and `mismatch` says where a lowered specification and the
artifact disagree. No backend is imported here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from argosy.config.tensor_names import assign
from argosy.config.tensors import CONFIG_NAMES, show_dims
from argosy.errors import ArgosyError, Unsupported


class NoSignature(Unsupported):
    """The artifact's format does not say what its tensors are; a configuration has to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSignature:
    """`dtype` as on the wire ("FP32", "BYTES"); `dims` complete, the batch dimension included, -1 when dynamic."""

    name: str
    dtype: str
    dims: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactSignature:
    """The tensors in the artifact's own order.

    `max_rows`: the largest batch the artifact was made for, 0 when that is open. `positional`: a configuration may
    also call tensors by position, see config.tensor_names. `same_rows`: False when the dynamic leading dimensions are
    known not to be one and the same.
    """

    inputs: tuple[TensorSignature, ...]
    outputs: tuple[TensorSignature, ...]
    max_rows: int = 0
    positional: bool = False
    same_rows: bool = True

    @property
    def batches(self) -> bool:
        """Whether every tensor has the same dynamic leading dimension: nothing else is taken for a batch."""
        return self.same_rows and all(tensor.dims and tensor.dims[0] == -1 for tensor in self.inputs + self.outputs)


# Artifact path and backend parameters -> signature. Raises NoSignature when the format has none, another ArgosyError
# when the artifact cannot be read.
Inspector: TypeAlias = Callable[[Path, Mapping[str, str]], ArtifactSignature]


def mismatch(spec: Mapping[str, Any], signature: ArtifactSignature) -> str:
    """Why the artifact cannot serve this lowered specification, "" when it can.

    Inputs must be complete; outputs may be a subset. The texts are those of the ONNX Runtime
    backend of the ecosystem.
    """
    name, rows = spec["name"], spec["max_batch_size"]
    if signature.positional:
        try:
            signature = _renamed(spec, signature)
        except ArgosyError as error:
            return error.message
    if len(spec["inputs"]) != len(signature.inputs):
        return (
            f"unable to load model '{name}', configuration expects {len(spec['inputs'])} inputs, "
            f"model provides {len(signature.inputs)}"
        )
    for role, tensors, provided in (
        ("input", spec["inputs"], signature.inputs),
        ("output", spec["outputs"], signature.outputs),
    ):
        known = {tensor.name: tensor for tensor in provided}
        for tensor in tensors:
            problem = _tensor_mismatch(name, rows, role, tensor, known)
            if problem:
                return problem
    if rows > signature.max_rows > 0:
        return (
            f"unable to load model '{name}', configuration expects max_batch_size {rows}, the model was made for "
            f"batches of up to {signature.max_rows}"
        )
    return ""


def _renamed(spec: Mapping[str, Any], signature: ArtifactSignature) -> ArtifactSignature:
    """The signature with the tensors that the configuration calls otherwise under its names."""

    def tensors(role: str, own: tuple[TensorSignature, ...]) -> tuple[TensorSignature, ...]:
        names = [tensor["name"] for tensor in spec[f"{role}s"]]
        found = assign(names, [tensor.name for tensor in own], role=role, model=spec["name"], count=len(own))
        called = dict(zip(found, names, strict=True))
        return tuple(replace(tensor, name=called.get(at, tensor.name)) for at, tensor in enumerate(own))

    return replace(signature, inputs=tensors("input", signature.inputs), outputs=tensors("output", signature.outputs))


def _tensor_mismatch(
    model: str, rows: int, role: str, tensor: Mapping[str, Any], known: Mapping[str, TensorSignature]
) -> str:
    found = known.get(tensor["name"])
    if found is None:
        allowed = ", ".join(sorted(known))
        return f"unexpected inference {role} '{tensor['name']}', allowed {role}s are: {allowed}"
    if tensor["dtype"] != found.dtype:
        return (
            f"unable to load model '{model}', configuration expects datatype {CONFIG_NAMES[tensor['dtype']]} "
            f"for {role} '{found.name}', model provides {CONFIG_NAMES.get(found.dtype, found.dtype)}"
        )
    if rows > 0 and tensor.get("optional"):
        return (
            f"unable to load model '{model}', optional input '{found.name}' is not supported for models "
            "that support batching"
        )
    own = tuple(tensor["dims"] if tensor["reshape"] is None else tensor["reshape"])
    return _shape_mismatch(model, rows, found, own)


def _shape_mismatch(model: str, rows: int, found: TensorSignature, own: tuple[int, ...]) -> str:
    subject = f"model '{model}', tensor '{found.name}':"
    complete = (-1, *own) if rows > 0 else own
    if rows > 0 and (not found.dims or found.dims[0] != -1):
        return (
            f"{subject} for the model to support batching the shape should have at least 1 dimension and the "
            f"first dimension must be -1; but shape expected by the model is {show_dims(found.dims)}"
        )
    if rows == 0 and not found.dims and own == (1,):
        return ""  # a scalar, which a configuration without batching can only call [1]
    if len(complete) != len(found.dims):
        explicit = (
            f"(an initial batch dimension because max_batch_size > 0 followed by the explicit tensor shape, "
            f"making complete shape {show_dims(complete)})"
            if rows > 0
            else f"(shape {show_dims(complete)})"
        )
        return (
            f"{subject} the model expects {len(found.dims)} dimensions (shape {show_dims(found.dims)}) but the model "
            f"configuration specifies {len(complete)} dimensions {explicit}"
        )
    if any(have not in (-1, want) for have, want in zip(found.dims, complete, strict=True)):
        return (
            f"{subject} the model expects {len(found.dims)} dimensions (shape {show_dims(found.dims)}) but the model "
            f"configuration specifies shape {show_dims(complete)}"
        )
    return ""
