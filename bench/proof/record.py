"""Results as JSON lines: what was asked and what came, with the commit and the command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


def write(path: Path, about: Mapping[str, Any], lines: Iterable[Mapping[str, Any]]) -> None:
    """Appends each line to `path` and prints it, as soon as it comes; `about` stands before its own fields."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    # Where things lie on this machine is of no use to a reader.
    words = ["DIR" if os.path.isabs(word) else word for word in sys.argv[1:]]
    command = " ".join(["python", os.path.relpath(sys.argv[0]), *words])
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as out:
        for line in lines:
            where = {"commit": commit.stdout.strip(), "command": command, "load_average": round(os.getloadavg()[0], 2)}
            text = json.dumps({**about, **where, **line})
            out.write(text + "\n")
            out.flush()
            print(text, flush=True)
