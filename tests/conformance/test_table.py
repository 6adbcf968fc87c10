"""The table in README.md tells the truth about the tests."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType


def _table() -> ModuleType:
    spec = importlib.util.spec_from_file_location("conformance_table", Path(__file__).with_name("table.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_statement_has_a_test_or_a_reason_and_the_table_is_current() -> None:
    table = _table()
    text, tests = table.README.read_text(encoding="utf-8"), table.marked()
    assert table.rewritten(text, tests) == text, "run: python tests/conformance/table.py"
    rows = table.rows(text)
    assert set(tests) <= set(rows), "marks name statements that the table does not have"
    assert [key for key, (_, told) in rows.items() if told == "MISSING"] == []
    assert list(rows) == sorted(rows) and len(rows) > 200
