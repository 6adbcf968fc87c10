"""Python models: the server's own class, and those written for the ecosystem's Python backend.

Runs inside a model's process, under any CPython 3.9+ with numpy. `open_runner` is the door.
"""

from argosy.models import bls
from argosy.models.opening import open_runner

__all__ = ["bls", "open_runner"]
