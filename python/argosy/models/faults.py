"""What a model's exception is told as: to its caller, and in the log.

The caller's text is the ecosystem's: the exception, then the places it came through,
innermost first. The frames of this package and of import are left out of both, and what is long is
shortened: it goes into a header of the answer.

Raises nothing, whatever the exception is made of.
"""

from __future__ import annotations

import traceback
from pathlib import Path
from types import TracebackType

_NOT_THE_MODELS = (str(Path(__file__).resolve().parent.parent), "<frozen importlib")
_LONGEST_TEXT = 4096
_MOST_PLACES = 20


def failure_text(error: BaseException) -> str:
    """`ZeroDivisionError: division by zero`, an empty line, `At:`, and a line per place."""
    lines = [f"  {frame.filename}({frame.lineno}): {frame.name}\n" for frame in _frames(error.__traceback__)]
    lines.reverse()
    if len(lines) > _MOST_PLACES:
        half = _MOST_PLACES // 2
        lines[half:-half] = [f"  ... {len(lines) - 2 * half} places more\n"]
    places = "\n\nAt:\n" + "".join(lines) if lines else ""
    return f"{summary(error)}{places}"


def summary(error: BaseException) -> str:
    """`ValueError: what it says`, without places."""
    try:
        text = str(error)
    except Exception:
        text = "<exception str() failed>"
    name = type(error).__name__
    return _shortened(f"{name}: {text}" if text else name)


def log_text(what: str, error: BaseException) -> str:
    """`what`, and the traceback as Python prints it, causes included."""
    shown = traceback.TracebackException.from_exception(error)
    shown.stack = traceback.StackSummary.from_list(_frames(error.__traceback__))
    return f"{what}\n{''.join(_shortened(line) for line in shown.format()).rstrip()}"


def _frames(trace: TracebackType | None) -> list[traceback.FrameSummary]:
    return [frame for frame in traceback.extract_tb(trace) if not frame.filename.startswith(_NOT_THE_MODELS)]


def _shortened(text: str) -> str:
    left_out = len(text) - _LONGEST_TEXT
    if left_out <= 0:
        return text
    half = _LONGEST_TEXT // 2
    return f"{text[:half]} ... {left_out} characters more ... {text[-half:]}"
