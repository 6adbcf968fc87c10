"""TritonError and TritonModelException, and their codes towards the server's."""

from __future__ import annotations

from enum import IntEnum

from argosy.errors import ArgosyError
from argosy.worker.host import Failure


class ErrorCode(IntEnum):
    """The values of the ecosystem's C interface."""

    UNKNOWN = 0
    INTERNAL = 1
    NOT_FOUND = 2
    INVALID_ARG = 3
    UNAVAILABLE = 4
    UNSUPPORTED = 5
    ALREADY_EXISTS = 6
    CANCELLED = 7


_TO_SERVER = {
    ErrorCode.UNKNOWN: "internal",  # the server has no code for "unknown"
    ErrorCode.INTERNAL: "internal",
    ErrorCode.NOT_FOUND: "not_found",
    ErrorCode.INVALID_ARG: "invalid_argument",
    ErrorCode.UNAVAILABLE: "unavailable",
    ErrorCode.UNSUPPORTED: "unsupported",
    ErrorCode.ALREADY_EXISTS: "already_exists",
    ErrorCode.CANCELLED: "cancelled",
}
_FROM_SERVER = {
    **{server: code for code, server in _TO_SERVER.items() if code is not ErrorCode.UNKNOWN},
    "deadline_exceeded": ErrorCode.UNAVAILABLE,
    "resource_exhausted": ErrorCode.UNAVAILABLE,
}


class TritonError:
    """Why a request has no result; the `error` of an InferenceResponse. Not an exception."""

    UNKNOWN = ErrorCode.UNKNOWN
    INTERNAL = ErrorCode.INTERNAL
    NOT_FOUND = ErrorCode.NOT_FOUND
    INVALID_ARG = ErrorCode.INVALID_ARG
    UNAVAILABLE = ErrorCode.UNAVAILABLE
    UNSUPPORTED = ErrorCode.UNSUPPORTED
    ALREADY_EXISTS = ErrorCode.ALREADY_EXISTS
    CANCELLED = ErrorCode.CANCELLED

    def __init__(self, message: str, code: int = ErrorCode.INTERNAL) -> None:
        self._message = str(message)
        self._code = ErrorCode(code)

    def message(self) -> str:
        return self._message

    def code(self) -> ErrorCode:
        return self._code

    def __str__(self) -> str:
        return self._message

    def __repr__(self) -> str:
        return f"TritonError({self._message!r}, {self._code.name})"


class TritonModelException(Exception):
    """What the calls of this module raise."""

    def message(self) -> str:
        return str(self)


def failure_of(error: TritonError) -> Failure:
    """For the server."""
    return Failure(_TO_SERVER[error.code()], error.message())


def error_of(failure: Failure) -> TritonError:
    """Of a model that was called."""
    return TritonError(failure.message, _FROM_SERVER.get(failure.code, ErrorCode.INTERNAL))


def model_exception(what: str, error: ArgosyError) -> TritonModelException:
    """`what` names the operation: "Failed to load model: "."""
    return TritonModelException(f"{what}{error.message}")
