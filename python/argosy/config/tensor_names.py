"""Which of a program's values a configured tensor name means, where programs do not name them all.

PyTorch programs know the arguments of forward() by name and their results by
position. The ecosystem's rules, in this order: every name is one of the program's
own; every name is `<anything>__<index>`; else the configuration's order counts.
Names are judged together: one that breaks a rule makes the next rule count for all.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from argosy.errors import InvalidArgument

_INDEXED = re.compile(r".+__(\d+)")


def assign(names: Sequence[str], own: Sequence[str], *, role: str, model: str, count: int | None = None) -> list[int]:
    """Per configured name, the position of the value it means.

    `own`: the program's names by position, "" where a value has none. `count`: how many values there are
    (None: not known before the program runs). Raises InvalidArgument naming the tensor when a position does
    not exist or is meant twice.
    """
    known = {name: position for position, name in enumerate(own) if name}
    indices = [_INDEXED.fullmatch(name) for name in names]
    if all(name in known for name in names):
        found = [known[name] for name in names]
    elif all(indices):
        found = [int(index[1]) for index in indices if index]
    else:
        found = list(range(len(names)))
    for name, position in zip(names, found, strict=True):
        if count is not None and position >= count:
            listed = ", ".join(f"'{one}'" for one in own if one)
            raise InvalidArgument(
                f"model '{model}', {role} '{name}': the model has {count} {role}s{f' ({listed})' if listed else ''}, "
                f"none at position {position}; name {role}s as the model does, as '<name>__<position>', or list them "
                "in the model's order"
            )
        if found.count(position) > 1:
            same = ", ".join(f"'{other}'" for other, at in zip(names, found, strict=True) if at == position)
            raise InvalidArgument(f"model '{model}': {role}s {same} all mean position {position} of the model")
    return found
