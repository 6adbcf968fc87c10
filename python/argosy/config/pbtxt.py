"""config.pbtxt: protobuf text -> ModelConfig message, with places.

Only the text and the field names are judged here, with file, line and column and
the nearest known name. What the values mean is checked by config.model.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from pathlib import Path

from google.protobuf import text_format

from argosy.config.locations import Locations, scan
from argosy.errors import ConfigError
from argosy.protos import POOL, Message, ModelConfig

_PLACE = re.compile(r"^\d+:\d+ : ?")
_QUOTED_LINE = re.compile(r"^'.*?': ", re.DOTALL)
_UNKNOWN_FIELD = re.compile(r'Message type "([\w.]+)" has no field named "([^"]*)"')
_UNKNOWN_VALUE = re.compile(r'Enum type "([\w.]+)" has no value named (\w+)')


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedConfig:
    """A ModelConfig message and where its fields came from."""

    message: Message
    locations: Locations


def parse_text(text: str, file: str) -> ParsedConfig:
    """Parses protobuf text. `file` is how messages call it. Raises ConfigError("file:line:column", ...)."""
    locations = scan(text, file)
    message = ModelConfig()
    try:
        text_format.Parse(text, message, descriptor_pool=POOL)
    except text_format.ParseError as error:
        raise _explain(error, text, file) from None
    except (ValueError, OverflowError) as error:
        raise ConfigError(file, f"cannot be read as a ModelConfig: {error}") from None
    return ParsedConfig(message=message, locations=locations)


def read_file(path: Path) -> ParsedConfig:
    """Reads and parses one file. Raises ConfigError, also when it cannot be read or is not UTF-8."""
    try:
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        raise ConfigError(str(path), f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(
            str(path), f"is not UTF-8 text: byte {error.start} is 0x{error.object[error.start]:02x}"
        ) from None
    return parse_text(text, str(path))


def _explain(error: text_format.ParseError, text: str, file: str) -> ConfigError:
    line, column = error.GetLine(), error.GetColumn()
    where = f"{file}:{line}:{column}" if line is not None and column is not None else file
    problem = _QUOTED_LINE.sub("", _PLACE.sub("", str(error))).strip()
    unknown_field = _UNKNOWN_FIELD.search(problem)
    unknown_value = _UNKNOWN_VALUE.search(problem)
    if unknown_field:
        kind, got = unknown_field.groups()
        known = [field.name for field in POOL.FindMessageTypeByName(kind).fields]
        problem = f"unknown field '{got}' in {_short(kind)}"
    elif unknown_value:
        kind, got = unknown_value.groups()
        known = [value.name for value in POOL.FindEnumTypeByName(kind).values]
        problem = f"unknown value '{got}' of {_short(kind)}"
    else:
        return ConfigError(where, problem)
    nearest = _nearest(got, known)
    if not nearest:
        return ConfigError(where, f"{problem}; known are {', '.join(known)}")
    return ConfigError(where, f"{problem}; did you mean '{nearest}'?", fix=_corrected_line(text, line, got, nearest))


def _nearest(got: str, known: list[str]) -> str:
    folded = {name.lower(): name for name in known}
    ending = [name for low, name in folded.items() if low.endswith("_" + got.lower())]
    if len(ending) == 1:
        return ending[0]
    close = difflib.get_close_matches(got.lower(), list(folded), n=1)
    return folded[close[0]] if close else ""


def _corrected_line(text: str, line: int | None, got: str, nearest: str) -> str:
    lines = text.splitlines()
    if line is None or not 1 <= line <= len(lines):
        return ""
    return re.sub(rf"\b{re.escape(got)}\b", nearest, lines[line - 1].strip(), count=1)


def _short(full_name: str) -> str:
    return full_name.removeprefix("inference.")
