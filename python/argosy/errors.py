"""What can go wrong, as exceptions with the codes that the core uses.

One class per code of csrc/base/status.h; the binding raises the class of a
Status's code, and the control plane picks the HTTP and gRPC status by `code`.
The message is for people: it names the thing, what came and what was expected.
"""

from __future__ import annotations


class ArgosyError(Exception):
    """Base of every error of this package. `code` is the name of a core status code."""

    code = "internal"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class InvalidArgument(ArgosyError):
    """The request is wrong, and stays wrong."""

    code = "invalid_argument"


class NotFound(ArgosyError):
    """No such model, version, tensor or region."""

    code = "not_found"


class AlreadyExists(ArgosyError):
    """The name is taken."""

    code = "already_exists"


class Unavailable(ArgosyError):
    """Not now; a retry may work."""

    code = "unavailable"


class DeadlineExceeded(ArgosyError):
    """The time that the caller allowed is over."""

    code = "deadline_exceeded"


class Cancelled(ArgosyError):
    """The caller left, or took the request back."""

    code = "cancelled"


class Unsupported(ArgosyError):
    """A valid request that this build, model or version does not serve."""

    code = "unsupported"


class ResourceExhausted(ArgosyError):
    """A server-wide bound was reached."""

    code = "resource_exhausted"


class Internal(ArgosyError):
    """A fault of the server or of a backend."""

    code = "internal"


class ConfigError(InvalidArgument):
    """A model configuration that cannot be served.

    `where` is a field path ("input[0].dims") until the file is known, then
    "file:line:column". `fix`, when there is one, is what to write instead, as
    protobuf text.
    """

    def __init__(self, where: str, problem: str, *, fix: str = "") -> None:
        super().__init__(f"{where}: {problem}" if where else problem)
        self.where = where
        self.problem = problem
        self.fix = fix

    def explained(self) -> str:
        """The message and, on lines of their own, the corrected snippet."""
        if not self.fix:
            return self.message
        snippet = "\n".join(f"    {line}" for line in self.fix.splitlines())
        return f"{self.message}\n  write instead:\n{snippet}"


BY_CODE: dict[str, type[ArgosyError]] = {
    kind.code: kind
    for kind in (
        InvalidArgument,
        NotFound,
        AlreadyExists,
        Unavailable,
        DeadlineExceeded,
        Cancelled,
        Unsupported,
        ResourceExhausted,
        Internal,
    )
}


def error_of(code: str, message: str) -> ArgosyError:
    """The exception of a core status. An unknown code becomes Internal, with the code in its message."""
    kind = BY_CODE.get(code)
    return kind(message) if kind else Internal(f"unknown status code '{code}': {message}")
