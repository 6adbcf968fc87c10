"""Values of provider options: text in, the text that ONNX Runtime takes out."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from argosy.errors import InvalidArgument


def switch(where: str, value: str) -> str:
    """ "1" or "0". Raises InvalidArgument."""
    lowered = value.strip().lower()
    if lowered in ("1", "true"):
        return "1"
    if lowered in ("0", "false"):
        return "0"
    raise InvalidArgument(f"{where}: expected 0, 1, true or false, got '{value}'")


def count(where: str, value: str) -> str:
    """Digits. Raises InvalidArgument."""
    if not value.strip().isdecimal():
        raise InvalidArgument(f"{where}: expected a number, got '{value}'")
    return value.strip()


def text(where: str, value: str) -> str:
    """Anything but nothing. Raises InvalidArgument."""
    if not value.strip():
        raise InvalidArgument(f"{where}: expected a value, got none")
    return value


def choice(names: Mapping[str, str]) -> Callable[[str, str], str]:
    """One of the values of `names`, by its name or by its number, which is the key."""

    def check(where: str, value: str) -> str:
        chosen = names.get(value.strip(), value.strip())
        found = next((name for name in names.values() if name.lower() == chosen.lower()), None)
        if found is None:
            listed = ", ".join(f"{name} ({number})" for number, name in names.items())
            raise InvalidArgument(f"{where}: expected {listed}, got '{value}'")
        return found

    return check
