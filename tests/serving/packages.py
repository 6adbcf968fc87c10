"""Backends as installed packages have them, without installing anything."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest


def install_backends(monkeypatch: pytest.MonkeyPatch, site: Path, package: str, **backends: type) -> None:
    """A distribution `package` in the folder `site` whose entry points name `backends`, for one test."""
    info = site / f"{package}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    module = ModuleType(f"{package}_backend")
    lines = ["[argosy.backends]"]
    for name, backend in backends.items():
        setattr(module, backend.__name__, backend)
        lines.append(f"{name} = {module.__name__}:{backend.__name__}")
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.syspath_prepend(str(site))
