"""The version, which is the native core's."""

from argosy._core import __version__

__all__ = ["__version__"]
