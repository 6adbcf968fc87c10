"""Which line of a protobuf text sets which field.

A scanner beside protobuf's own text parser, which tells positions only for its
errors: it knows braces, lists and names, and no types, so it accepts more than
the parser does. It also bounds the nesting, before a recursive parser sees it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from argosy.config.field_path import join, parents
from argosy.errors import ConfigError

MAX_NESTING = 64
_TOKEN = re.compile(
    r"""(?P<skip>[ \t\r\f\v\n]+|\#[^\n]*)
      | (?P<text>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
      | (?P<word>[A-Za-z0-9_.+\-/]+)
      | (?P<mark>.)""",
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """A place in a text; both numbers count from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Locations:
    """Field path -> position, for one text. `file` is how messages call the text.

    The scanner cannot tell a single field from the first of several, so keys have no "[0]",
    but for a first element within brackets.
    """

    file: str
    positions: dict[str, Position] = field(default_factory=dict)

    def where(self, path: str) -> str:
        """ "file:line:column" of the field, or of the nearest enclosing one that the text sets."""
        for candidate in parents(path):
            plain = candidate.replace("[0]", "")
            exact = plain + "[0]" if candidate.endswith("[0]") else plain
            position = self.positions.get(exact) or self.positions.get(plain)
            if position:
                return f"{self.file}:{position.line}:{position.column}"
        return self.file

    def located(self, error: ConfigError) -> ConfigError:
        """The same error with the place in the file instead of the field path."""
        return ConfigError(self.where(error.where), error.problem, fix=error.fix)


@dataclass(slots=True)
class _Frame:
    prefix: str  # path of the message that is open
    closes: str
    list_name: str = ""  # the field whose list is open, "" for a message
    counts: dict[str, int] = field(default_factory=dict)
    name: str = ""  # the field that waits for its value
    name_at: Position = Position(line=1, column=1)


def _tokens(text: str) -> Iterator[tuple[str, str, Position]]:
    line, start = 1, 0
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup or ""
        value = match.group()
        if kind != "skip":
            yield kind, value, Position(line=line, column=match.start() - start + 1)
        breaks = value.count("\n")
        if breaks:
            line += breaks
            start = match.start() + value.rfind("\n") + 1


def scan(text: str, file: str) -> Locations:
    """The positions of all fields of a protobuf text.

    Never fails on a malformed text, whose rest it leaves out. Raises ConfigError when messages
    are nested deeper than MAX_NESTING.
    """
    found = Locations(file=file)
    stack = [_Frame(prefix="", closes="")]

    def record(frame: _Frame, name: str, at: Position, bracketed: bool) -> str:
        index = frame.counts.get(name, 0)
        frame.counts[name] = index + 1
        path = join(frame.prefix, name) + (f"[{index}]" if index else "")
        found.positions.setdefault(path, at)
        if bracketed and not index:
            found.positions[f"{path}[0]"] = at
        return path

    for kind, value, at in _tokens(text):
        frame = stack[-1]
        owner = stack[-2] if frame.list_name else frame
        name = frame.list_name or frame.name
        if value == frame.closes and kind == "mark":
            stack.pop()
            stack[-1].name = ""
        elif kind == "mark" and value in "{<" and name:
            path = record(owner, name, at if frame.list_name else frame.name_at, bool(frame.list_name))
            if len(stack) >= MAX_NESTING:
                raise ConfigError(
                    f"{file}:{at.line}:{at.column}", f"messages are nested deeper than {MAX_NESTING} levels"
                )
            stack.append(_Frame(prefix=path, closes="}" if value == "{" else ">"))
        elif kind == "mark" and value == "[" and frame.name and not frame.list_name:
            found.positions.setdefault(join(frame.prefix, frame.name), frame.name_at)
            stack.append(_Frame(prefix=frame.prefix, closes="]", list_name=frame.name))
        elif kind in ("word", "text") and name:
            _alias_map_entry(found, owner.prefix, name, value)
            record(owner, name, at if frame.list_name else frame.name_at, bool(frame.list_name))
            frame.name = ""
        elif kind == "word" and not frame.list_name:
            frame.name, frame.name_at = value, at
    return found


def _alias_map_entry(found: Locations, prefix: str, name: str, value: str) -> None:
    if name == "key" and prefix:
        alias = re.sub(r"\[\d+\]$", "", prefix) + f'["{value.strip(chr(34) + chr(39))}"]'
        found.positions.setdefault(alias, found.positions[prefix])
