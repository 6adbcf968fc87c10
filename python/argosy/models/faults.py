"""What a model's exception is told as: to its caller, and in the log.

The caller's text is the ecosystem's: the exception, then the places it came through,
innermost first. The frames of this package are left out of both.
"""

from __future__ import annotations

import traceback
from pathlib import Path
from types import TracebackType

_OURS = str(Path(__file__).resolve().parent)


def failure_text(error: BaseException) -> str:
    """`ZeroDivisionError: division by zero`, an empty line, `At:`, and a line per place."""
    lines = [f"  {frame.filename}({frame.lineno}): {frame.name}\n" for frame in _frames(error.__traceback__)]
    places = "\n\nAt:\n" + "".join(reversed(lines)) if lines else ""
    return f"{summary(error)}{places}"


def summary(error: BaseException) -> str:
    """`ValueError: what it says`, without places."""
    kind = type(error)
    name = (
        kind.__qualname__ if kind.__module__ in ("builtins", "__main__") else f"{kind.__module__}.{kind.__qualname__}"
    )
    text = str(error)
    return f"{name}: {text}" if text else name


def log_text(what: str, error: BaseException) -> str:
    """`what`, and the traceback as Python prints it, causes included."""
    shown = traceback.TracebackException.from_exception(error)
    shown.stack = traceback.StackSummary.from_list(_frames(error.__traceback__))
    return f"{what}\n{''.join(shown.format()).rstrip()}"


def _frames(trace: TracebackType | None) -> list[traceback.FrameSummary]:
    return [frame for frame in traceback.extract_tb(trace) if not frame.filename.startswith(_OURS)]
