"""InferenceResponse: what a model answers, and what a called model answered."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from argosy.models.triton_compat.errors import TritonError, TritonModelException, error_of, failure_of
from argosy.models.triton_compat.tensor import Tensor
from argosy.worker.host import InferResponse, Parameter


def checked_parameters(parameters: Any) -> dict[str, Parameter]:
    """A copy. Raises TritonModelException for keys that are not text and values that no parameter can be."""
    if parameters is None:
        return {}
    if not isinstance(parameters, Mapping):
        raise TritonModelException(f"Expect parameters to have type dict, found type {type(parameters)}")
    for key, value in parameters.items():
        if not isinstance(key, str):
            raise TritonModelException(f"Expect parameters keys to have type str, found type {type(key)}")
        if not isinstance(value, (bool, int, float, str)):
            raise TritonModelException(f"Expect parameters values to have type bool/int/str, found type {type(value)}")
    return dict(parameters)


# What a named tuple's own constructor does, without a Python function in between.
_new: Callable[[type[InferResponse], tuple[Any, ...]], InferResponse] = tuple.__new__


class InferenceResponse:
    """Output tensors, or an error that makes them void."""

    __slots__ = ("_error", "_parameters", "_tensors")

    def __init__(
        self, output_tensors: Sequence[Any] = (), error: TritonError | None = None, parameters: Any = None
    ) -> None:
        for tensor in output_tensors:
            if not isinstance(tensor, Tensor):
                if tensor is None:
                    raise TritonModelException("Output tensor for inference response should not be empty.")
                raise TypeError(f"output_tensors: expected Tensor objects, got {type(tensor)}")
        if error is not None and not isinstance(error, TritonError):
            raise TypeError(f"error: expected a TritonError or None, got {type(error)}")
        self._tensors = list(output_tensors)
        self._error = error
        self._parameters = checked_parameters(parameters) if parameters else {}

    @classmethod
    def of(cls, response: InferResponse) -> InferenceResponse:
        """A called model's answer."""
        made = cls.__new__(cls)
        made._tensors = [Tensor.of(value) for value in response.outputs]
        made._parameters = dict(response.parameters)
        made._error = error_of(response.failure) if response.failure is not None else None
        return made

    def for_server(self, requested: Collection[str]) -> InferResponse:
        """Only the requested outputs, in the model's order; all of them when nothing was named."""
        if self._error is not None:
            return InferResponse(parameters=self._parameters, failure=failure_of(self._error))
        tensors = self._tensors
        if requested:
            tensors = [tensor for tensor in tensors if tensor.name() in requested]
        return _new(InferResponse, (tuple([tensor.value() for tensor in tensors]), self._parameters, None))

    def output_tensors(self) -> list[Tensor]:
        return self._tensors

    def has_error(self) -> bool:
        return self._error is not None

    def error(self) -> TritonError | None:
        return self._error

    def parameters(self) -> str:
        """As JSON text."""
        return json.dumps(self._parameters)
