"""The table of tests/conformance/README.md: which statement is proven by which tests.

    python tests/conformance/table.py        rewrites the column of tests

Statements and reasons are written by hand in README.md; the tests behind a statement
are collected from their marks.
"""

from __future__ import annotations

import ast
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

README = Path(__file__).with_name("README.md")
TESTS = Path(__file__).parents[1]
ROW = re.compile(r"^\| (T\d{3}) \| (.*?) \| (.*) \|$")
REASONS = ("not served: ", "differs: ", "elsewhere: ")


def marked() -> dict[str, list[str]]:
    """Statement -> "file::test" of every test function whose marks name it."""
    out: dict[str, list[str]] = defaultdict(list)
    for path in sorted(TESTS.rglob("test_*.py")):
        text = path.read_text(encoding="utf-8")
        if "statement" not in text:
            continue
        tree = ast.parse(text)
        groups = {
            node.targets[0].id: _cases(node.value)
            for node in tree.body
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
        }
        groups |= {
            node.target.id: _cases(node.value)
            for node in tree.body
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
        }
        for node in tree.body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                for one in sorted(set(_ids(node, groups))):
                    out[one].append(f"{path.relative_to(TESTS)}::{node.name}")
    return dict(out)


def _ids(function: ast.FunctionDef, groups: dict[str, list[str]]) -> Iterator[str]:
    for decorator in function.decorator_list:
        if isinstance(decorator, ast.Call) and getattr(decorator.func, "id", "") == "statement":
            yield from (one.value for one in decorator.args if isinstance(one, ast.Constant))
            continue
        # Cases of a table whose keys are statements, as `for key in TABLE`.
        for node in ast.walk(decorator):
            if isinstance(node, ast.Name):
                yield from groups.get(node.id, [])


def _cases(value: ast.expr | None) -> list[str]:
    if not isinstance(value, ast.Dict):
        return []
    keys = [key.value for key in value.keys if isinstance(key, ast.Constant) and isinstance(key.value, str)]
    return [key[:4] for key in keys if re.match(r"T\d{3}", key)]


def rows(text: str) -> dict[str, tuple[str, str]]:
    """Statement -> (its sentence, its proof or reason)."""
    found = (ROW.match(line) for line in text.splitlines())
    return {match[1]: (match[2], match[3]) for match in found if match}


def proof(tests: list[str]) -> str:
    return "<br>".join(f"`{test}`" for test in tests)


def rewritten(text: str, tests: dict[str, list[str]]) -> str:
    """The text with every row's tests as they are; a reason stays only where there is no test."""
    out = []
    for line in text.splitlines():
        match = ROW.match(line)
        if match and match[1] in tests:
            line = f"| {match[1]} | {match[2]} | {proof(tests[match[1]])} |"
        elif match and not match[3].startswith(REASONS):
            line = f"| {match[1]} | {match[2]} | MISSING |"
        out.append(line)
    return "\n".join(out) + "\n"


if __name__ == "__main__":
    README.write_text(rewritten(README.read_text(encoding="utf-8"), marked()), encoding="utf-8")
    left = [key for key, (_, told) in rows(README.read_text(encoding="utf-8")).items() if told == "MISSING"]
    sys.stdout.write(f"without test or reason: {', '.join(left) or 'none'}\n")
