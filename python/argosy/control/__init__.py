"""Everything a server answers that is not an inference."""

from argosy.control.context import Context
from argosy.control.dispatch import Control

__all__ = ["Context", "Control"]
