"""What runs inside a model's process runs on CPython 3.9 too."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[3] / "python" / "argosy"
# The server's side of the worker package, and what both sides read.
IN_THE_SERVER = {"environment.py", "archive.py"}
FILES = sorted(
    [
        *(path for path in (PACKAGE / "worker").glob("*.py") if path.name not in IN_THE_SERVER),
        *(PACKAGE / "models").rglob("*.py"),
        *(PACKAGE / name for name in ("__init__.py", "errors.py", "version.py")),
    ]
)
# Names that 3.9 lacks, where using them is not a syntax error.
LATER = {"itertools": {"pairwise", "batched"}, "typing": {"ParamSpec", "TypeAlias", "Self", "override", "Never"}}
LATER_KEYWORDS = {"slots", "kw_only", "strict"}


def test_there_is_something_to_look_at() -> None:
    assert len(FILES) > 25


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_the_syntax_is_of_3_9(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    ast.parse(source, str(path), feature_version=(3, 9))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module in LATER:
            assert not {name.name for name in node.names} & LATER[node.module], f"line {node.lineno}"
        if isinstance(node, ast.Match):
            pytest.fail(f"match statement in line {node.lineno}")
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("dataclass", "zip"):
            assert not {word.arg for word in node.keywords} & LATER_KEYWORDS, f"line {node.lineno}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_annotations_are_not_evaluated(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    annotated = any(isinstance(node, (ast.AnnAssign, ast.FunctionDef, ast.AsyncFunctionDef)) for node in ast.walk(tree))
    future = any(isinstance(node, ast.ImportFrom) and node.module == "__future__" for node in tree.body)
    assert future or not annotated
