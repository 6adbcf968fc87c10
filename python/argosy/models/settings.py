"""Settings of a model class: those the server reads, and the author's own, from the configuration's parameters.

The author's own are annotated class attributes (`threshold: float = 0.5`); a parameter
of the same name in config.pbtxt replaces the default. What nothing reads is said aloud.
"""

from __future__ import annotations

import difflib
import typing
from collections.abc import Mapping
from typing import Any

from argosy.errors import InvalidArgument

SERVER_SETTINGS = ("max_batch_size", "max_queue_delay_us", "instances", "max_concurrency")
# Parameters of config.pbtxt that are the server's business.
_SERVER_PARAMETERS = ("EXECUTION_ENV_PATH", "FORCE_CPU_ONLY_INPUT_TENSORS", "python", "requirements")


def check_settings(kind: type[Any]) -> None:
    """Raises InvalidArgument naming a server setting with a value that it cannot have."""
    for name in SERVER_SETTINGS:
        value, least = getattr(kind, name), 0 if name in ("max_batch_size", "max_queue_delay_us") else 1
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise InvalidArgument(f"{kind.__name__}.{name}: expected a whole number of at least {least}, got {value!r}")


def unused_settings(kind: type[Any], *, is_async: bool) -> list[str]:
    """A sentence per setting that has no effect, or looks like a misspelt one."""
    found = []
    own = {name: value for base in kind.__mro__[:-2] for name, value in vars(base).items()}
    if "max_queue_delay_us" in own and not kind.max_batch_size:
        found.append(f"{kind.__name__}.max_queue_delay_us has no effect: max_batch_size is 0, so nothing is batched")
    if "max_concurrency" in own and not is_async:
        found.append(f"{kind.__name__}.max_concurrency has no effect: predict is not async")
    for name, value in own.items():
        if name.startswith("_") or name in SERVER_SETTINGS or callable(value) or isinstance(value, property):
            continue
        close = difflib.get_close_matches(name, SERVER_SETTINGS, 1, 0.8)
        if close:
            found.append(f"{kind.__name__}.{name} is not a setting of the server; '{close[0]}' is")
    return found


def apply_parameters(model: Any, config: Mapping[str, Any]) -> list[str]:
    """Sets the author's settings from a configuration; returns a sentence per parameter that nothing reads.

    Raises InvalidArgument for a text that the setting's type does not accept.
    """
    not_settable = (*SERVER_SETTINGS, "predict")
    hints = {
        name: kind
        for name, kind in typing.get_type_hints(type(model)).items()
        if not name.startswith("_") and name not in not_settable
    }
    unused = []
    for name, parameter in config.get("parameters", {}).items():
        text = str(parameter.get("string_value", parameter.get("stringValue", "")))
        if name in _SERVER_PARAMETERS:
            continue
        if name not in hints:
            unused.append(
                f"parameter '{name}' of the configuration is not used; settings of {type(model).__name__}: "
                f"{', '.join(hints) or 'none'}"
            )
            continue
        setattr(model, name, _parsed(name, text, hints[name]))
    return unused


def _parsed(name: str, text: str, kind: Any) -> Any:
    if kind is bool:
        if text.lower() in ("true", "1", "yes", "on"):
            return True
        if text.lower() in ("false", "0", "no", "off"):
            return False
    elif kind is str:
        return text
    elif kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    else:
        raise InvalidArgument(f"parameter '{name}': only str, int, float and bool can be configured, not {kind}")
    raise InvalidArgument(f"parameter '{name}': expected {kind.__name__}, got '{text}'")
