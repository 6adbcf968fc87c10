"""The module that models import as `triton_python_backend_utils`; install() puts it there."""

from __future__ import annotations

import sys

from argosy.models.triton_compat.datatypes import (
    TRITON_STRING_TO_NUMPY,
    deserialize_bytes_tensor,
    numpy_to_triton_type,
    serialize_byte_tensor,
    triton_string_to_numpy,
    triton_to_numpy_type,
)
from argosy.models.triton_compat.errors import TritonError, TritonModelException
from argosy.models.triton_compat.logger import Logger, LogLevel
from argosy.models.triton_compat.lookup import (
    get_input_config_by_name,
    get_input_tensor_by_name,
    get_output_config_by_name,
    get_output_tensor_by_name,
    using_decoupled_model_transaction_policy,
)
from argosy.models.triton_compat.memory import TRITONSERVER_MEMORY_CPU, TRITONSERVER_MEMORY_GPU, PreferredMemory
from argosy.models.triton_compat.metrics import Metric, MetricFamily, MetricKind
from argosy.models.triton_compat.model_config import ModelConfig
from argosy.models.triton_compat.model_control import get_model_dir, is_model_ready, load_model, unload_model
from argosy.models.triton_compat.request import InferenceRequest, InferenceTrace
from argosy.models.triton_compat.response import InferenceResponse
from argosy.models.triton_compat.response_iterator import ResponseIterator
from argosy.models.triton_compat.sender import InferenceResponseSender
from argosy.models.triton_compat.tensor import Tensor
from argosy.worker.host import SEQUENCE_END, SEQUENCE_START

TRITONSERVER_REQUEST_FLAG_SEQUENCE_START = SEQUENCE_START
TRITONSERVER_REQUEST_FLAG_SEQUENCE_END = SEQUENCE_END
TRITONSERVER_RESPONSE_COMPLETE_FINAL = 1
TRITONSERVER_REQUEST_RELEASE_ALL = 1
TRITONSERVER_REQUEST_RELEASE_RESCHEDULE = 2

__all__ = [
    "TRITONSERVER_MEMORY_CPU",
    "TRITONSERVER_MEMORY_GPU",
    "TRITONSERVER_REQUEST_FLAG_SEQUENCE_END",
    "TRITONSERVER_REQUEST_FLAG_SEQUENCE_START",
    "TRITONSERVER_REQUEST_RELEASE_ALL",
    "TRITONSERVER_REQUEST_RELEASE_RESCHEDULE",
    "TRITONSERVER_RESPONSE_COMPLETE_FINAL",
    "TRITON_STRING_TO_NUMPY",
    "InferenceRequest",
    "InferenceResponse",
    "InferenceResponseSender",
    "InferenceTrace",
    "LogLevel",
    "Logger",
    "Metric",
    "MetricFamily",
    "MetricKind",
    "ModelConfig",
    "PreferredMemory",
    "ResponseIterator",
    "Tensor",
    "TritonError",
    "TritonModelException",
    "deserialize_bytes_tensor",
    "get_input_config_by_name",
    "get_input_tensor_by_name",
    "get_model_dir",
    "get_output_config_by_name",
    "get_output_tensor_by_name",
    "is_model_ready",
    "load_model",
    "numpy_to_triton_type",
    "serialize_byte_tensor",
    "triton_string_to_numpy",
    "triton_to_numpy_type",
    "unload_model",
    "using_decoupled_model_transaction_policy",
]


def install() -> None:
    """Makes `import triton_python_backend_utils` find this module, and its native half's name too."""
    module = sys.modules[__name__]
    sys.modules["triton_python_backend_utils"] = module
    sys.modules["c_python_backend_utils"] = module
