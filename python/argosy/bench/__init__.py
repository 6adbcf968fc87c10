"""`argosy bench`: measure one model of any KServe V2 server.

The load itself is made by the native generator (`argosy-load`); this package finds
it, shows its progress and presents its results.
"""

from __future__ import annotations

from .command import add_arguments, main
from .measurement import BenchError, Measurement
from .native import find_generator, measure

__all__ = ["BenchError", "Measurement", "add_arguments", "find_generator", "main", "measure"]
