"""What flags take, from the text of the command line."""

from __future__ import annotations

import argparse

from argosy.options import Restriction
from argosy.repository import ControlMode


def boolean(text: str) -> bool:
    """true/on/1 and false/off/0, in any case. Raises ArgumentTypeError."""
    lowered = text.lower()
    if lowered in ("true", "on", "1"):
        return True
    if lowered in ("false", "off", "0"):
        return False
    raise argparse.ArgumentTypeError(f"invalid value for bool option: {text}")


def verbose_level(text: str) -> int:
    """A level, or a boolean for 1 and 0. Raises ArgumentTypeError."""
    return int(text) if text.isdigit() else int(boolean(text))


def positive(text: str) -> int:
    """A whole number above 0. Raises ArgumentTypeError."""
    if not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"expected a number above 0, got '{text}'")
    return int(text)


def byte_count(text: str) -> int:
    """A whole number. Raises ArgumentTypeError."""
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"expected a number of bytes, got '{text}'")
    return int(text)


def gpu_bytes(text: str) -> tuple[int, int]:
    """`<gpu>:<bytes>`. Raises ArgumentTypeError."""
    gpu, colon, size = text.partition(":")
    if not (colon and gpu.isdigit() and size.isdigit()):
        raise argparse.ArgumentTypeError(f"expected <gpu>:<bytes>, got '{text}'")
    return int(gpu), int(size)


def control_mode(text: str) -> ControlMode:
    """none, poll or explicit, in any case. Raises ArgumentTypeError."""
    try:
        return ControlMode(text.lower())
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected none, poll or explicit, got '{text}'") from None


def restriction(text: str) -> Restriction:
    """`<api>[,<api>]:<header>=<value>`. Raises ArgumentTypeError."""
    names, colon, pair = text.partition(":")
    key, equals, value = pair.partition("=")
    if not (names and colon and key and equals):
        raise argparse.ArgumentTypeError(f"expected <api>[,<api>]:<header>=<value>, got '{text}'")
    return Restriction(categories=tuple(names.split(",")), key=key, value=value)


def backend_setting(text: str) -> tuple[str, str, str]:
    """`[<backend>,]<key>=<value>`; no backend: all of them. Raises ArgumentTypeError."""
    backend, comma, pair = text.partition(",")
    if not comma:
        backend, pair = "", text
    key, equals, value = pair.partition("=")
    if not (key and equals):
        raise argparse.ArgumentTypeError(f"expected [<backend>,]<key>=<value>, got '{text}'")
    return backend, key, value
