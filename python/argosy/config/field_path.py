"""Where in a configuration something stands, as a path of field names.

'input[0].dims[1]' is a path; a map entry is 'parameters["key"]'. Checks raise
ConfigError with the path as they know it, callers put their own part in front,
and whoever knows the file turns the whole path into a line.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from argosy.errors import ConfigError


def join(outer: str, inner: str) -> str:
    """One path below another; either may be empty."""
    if not outer or not inner or inner.startswith("["):
        return outer + inner
    return f"{outer}.{inner}"


def parents(path: str) -> Iterator[str]:
    """The path itself, then each enclosing one, up to but without the empty path."""
    while path:
        yield path
        cut = path.rfind("[") if path.endswith("]") else path.rfind(".")
        path = path[: max(cut, 0)]


@contextmanager
def inside(path: str, suffix: str = "") -> Iterator[None]:
    """Puts `path` before, and `suffix` behind, what a ConfigError raised within says."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(join(path, error.where), error.problem + suffix, fix=error.fix) from None
