"""Prints the requirements of the named extras of pyproject.toml, one a line.

`make` installs them apart from the package, so that a change of the test tools
does not rebuild the extension.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path


def requirements(extra: str) -> list[str]:
    """The strings of one extra. Reads the file as text: tomllib came with Python 3.11."""
    text = Path(__file__).resolve().parents[1].joinpath("pyproject.toml").read_text(encoding="utf-8")
    block = re.search(rf"^{re.escape(extra)} = \[(.*?)\]$", text, re.MULTILINE | re.DOTALL)
    if block is None:
        raise SystemExit(f"pyproject.toml has no extra {extra!r}")
    lines = (re.sub(r"\s+#.*", "", line) for line in block[1].splitlines())
    return [found for line in lines for found in re.findall(r'"([^"]+)"', line)]


if __name__ == "__main__":
    for extra in sys.argv[1:]:
        print("\n".join(requirements(extra)))
