"""The native half of this package, where there is one for this interpreter.

The server brings it for its own interpreter; under another one (a model's own environment)
everything is done in Python, with the same result.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

native: Any  # argosy._worker; None: there is none
try:
    native = import_module("argosy._worker")
except ImportError:
    native = None
