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


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInput:
    """One input as the model has to have it. `dims` complete, the batch dimension included.

    `flat`: its first dimension is not the batch: a ragged input, joined element by element, or a batch_input.
    """

    name: str
    dtype: str
    dims: tuple[int, ...]
    flat: bool = False
    optional: bool = False


def model_inputs(spec: Mapping[str, Any]) -> list[ModelInput]:
    """Of a lowered specification, in the order in which batches hold them: the batch inputs are behind the others."""
    batches = spec["max_batch_size"] > 0
    made = []
    ranks = {}
    for tensor in spec["inputs"]:
        own = _own_dims(tensor)
        ranks[tensor["name"]] = len(own)
        flat = bool(batches and tensor.get("ragged"))
        dims = (-1,) if flat else (-1, *own) if batches else own
        optional = bool(tensor.get("optional"))
        made.append(ModelInput(name=tensor["name"], dtype=tensor["dtype"], dims=dims, flat=flat, optional=optional))
    for tensor in spec.get("batch_inputs", ()):
        dims = (-1, ranks[tensor["source"]]) if tensor["kind"] == "item_shape" else (-1,)
        made.append(ModelInput(name=tensor["name"], dtype=tensor["dtype"], dims=dims, flat=True))
    return made


def _own_dims(tensor: Mapping[str, Any]) -> tuple[int, ...]:
    reshape = tensor.get("reshape")
    return tuple(tensor["dims"] if reshape is None else reshape)


def is_ragged(spec: Mapping[str, Any]) -> bool:
    """Whether rows alone do not tell the shapes of a batch of this lowered specification."""
    return bool(spec.get("batch_outputs")) or any(tensor.flat for tensor in model_inputs(spec))


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
    inputs = model_inputs(spec)
    if len(inputs) != len(signature.inputs):
        return (
            f"unable to load model '{name}', configuration expects {len(inputs)} inputs, "
            f"model provides {len(signature.inputs)}"
        )
    known = {tensor.name: tensor for tensor in signature.inputs}
    for tensor in inputs:
        problem = _type_mismatch(name, "input", tensor.name, tensor.dtype, known)
        if not problem and rows > 0 and tensor.optional:
            problem = (
                f"unable to load model '{name}', optional input '{tensor.name}' is not supported for models "
                "that support batching"
            )
        if not problem and tensor.flat:
            problem = _flat_mismatch(name, known[tensor.name], tensor)
        elif not problem:
            problem = _shape_mismatch(name, rows, known[tensor.name], tensor.dims[1:] if rows > 0 else tensor.dims)
        if problem:
            return problem
    known = {tensor.name: tensor for tensor in signature.outputs}
    cut = {tensor["name"] for tensor in spec.get("batch_outputs", ())}
    for tensor in spec["outputs"]:
        problem = _type_mismatch(name, "output", tensor["name"], tensor["dtype"], known)
        if not problem and tensor["name"] not in cut:  # of those only the elements are counted
            problem = _shape_mismatch(name, rows, known[tensor["name"]], _own_dims(tensor))
        if problem:
            return problem
    if rows > signature.max_rows > 0 and not is_ragged(spec):
        return (
            f"unable to load model '{name}', configuration expects max_batch_size {rows}, the model was made for "
            f"batches of up to {signature.max_rows}"
        )
    return ""


def _renamed(spec: Mapping[str, Any], signature: ArtifactSignature) -> ArtifactSignature:
    """The signature with the tensors that the configuration calls otherwise under its names."""

    def tensors(role: str, own: tuple[TensorSignature, ...], names: list[str]) -> tuple[TensorSignature, ...]:
        found = assign(names, [tensor.name for tensor in own], role=role, model=spec["name"], count=len(own))
        called = dict(zip(found, names, strict=True))
        return tuple(replace(tensor, name=called.get(at, tensor.name)) for at, tensor in enumerate(own))

    return replace(
        signature,
        inputs=tensors("input", signature.inputs, [tensor.name for tensor in model_inputs(spec)]),
        outputs=tensors("output", signature.outputs, [tensor["name"] for tensor in spec["outputs"]]),
    )


def _type_mismatch(model: str, role: str, name: str, dtype: str, known: Mapping[str, TensorSignature]) -> str:
    found = known.get(name)
    if found is None:
        return f"unexpected inference {role} '{name}', allowed {role}s are: {', '.join(sorted(known))}"
    if dtype == found.dtype:
        return ""
    return (
        f"unable to load model '{model}', configuration expects datatype {CONFIG_NAMES[dtype]} "
        f"for {role} '{name}', model provides {CONFIG_NAMES.get(found.dtype, found.dtype)}"
    )


def _flat_mismatch(model: str, found: TensorSignature, tensor: ModelInput) -> str:
    fits = len(found.dims) == len(tensor.dims) and found.dims[:1] == (-1,)
    if fits and all(have in (-1, want) for have, want in zip(found.dims[1:], tensor.dims[1:], strict=True)):
        return ""
    return (
        f"unable to load model '{model}', configuration expects model provides input with shape "
        f"{show_dims(tensor.dims)} for ragged or batch input '{tensor.name}', model provides shape "
        f"{show_dims(found.dims)}"
    )


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
