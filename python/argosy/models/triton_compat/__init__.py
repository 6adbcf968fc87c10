"""Models written against `triton_python_backend_utils`, unchanged."""

from argosy.models.triton_compat.backend_utils import install
from argosy.models.triton_compat.runner import TritonModelRunner

__all__ = ["TritonModelRunner", "install"]
