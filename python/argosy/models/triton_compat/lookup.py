"""Finding tensors in requests and responses, and their entries in a configuration, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from argosy.models.triton_compat.request import InferenceRequest
from argosy.models.triton_compat.response import InferenceResponse
from argosy.models.triton_compat.tensor import Tensor


def get_input_tensor_by_name(inference_request: InferenceRequest, name: str) -> Tensor | None:
    """None when the request has no such input; optional inputs may be missing."""
    for tensor in inference_request.inputs():
        if tensor.name() == name:
            return tensor
    return None


def get_output_tensor_by_name(inference_response: InferenceResponse, name: str) -> Tensor | None:
    """None when the response has no such output."""
    for tensor in inference_response.output_tensors():
        if tensor.name() == name:
            return tensor
    return None


def get_input_config_by_name(model_config: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    """The input's entry of a configuration, None when there is none."""
    return _entry(model_config, "input", name)


def get_output_config_by_name(model_config: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    """The output's entry of a configuration, None when there is none."""
    return _entry(model_config, "output", name)


def using_decoupled_model_transaction_policy(model_config: Mapping[str, Any]) -> bool:
    """Whether the model may give any number of responses to a request."""
    return bool(model_config.get("model_transaction_policy", {}).get("decoupled", False))


def _entry(model_config: Mapping[str, Any], role: str, name: str) -> dict[str, Any] | None:
    found: dict[str, Any] | None = next((one for one in model_config.get(role, ()) if one["name"] == name), None)
    return found
