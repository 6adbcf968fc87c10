"""Shared by every Python test: the marks, and where the helpers that start servers are found."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "statement(*ids): rows of tests/conformance/README.md that the test proves")
