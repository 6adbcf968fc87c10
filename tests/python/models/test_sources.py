"""A model's own files are read as they are, whatever Python remembers of them."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from argosy.models.sources import import_fresh_from


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    hooks, modules = list(sys.path_hooks), set(sys.modules)
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    monkeypatch.setattr(sys, "pycache_prefix", None)
    yield
    sys.path_hooks[:] = hooks
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def imported(name: str) -> Any:
    """As a new process would."""
    for known in [one for one in sys.modules if one.split(".")[0] == name.split(".")[0]]:
        del sys.modules[known]
    importlib.invalidate_caches()
    return importlib.import_module(name)


def write(file: Path, value: int) -> None:
    """Same size, and the same time to the second."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"VALUE = {value}\n")
    os.utime(file, (1_700_000_000, 1_700_000_000))


@pytest.mark.parametrize("name", ["argosy_test_beside", "argosy_test_package.inside"])
def test_a_file_that_changed_within_the_second_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    file = tmp_path.joinpath(*name.split(".")).with_suffix(".py")
    write(file, 1)
    assert imported(name).VALUE == 1
    write(file, 2)
    assert imported(name).VALUE == 1  # this is how Python does it
    import_fresh_from(str(tmp_path))
    import_fresh_from(str(tmp_path))
    assert imported(name).VALUE == 2
    write(file, 3)
    assert imported(name).VALUE == 3


def test_nothing_is_written_beside_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    import_fresh_from(str(tmp_path))
    write(tmp_path / "argosy_test_beside.py", 1)
    assert imported("argosy_test_beside").VALUE == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["argosy_test_beside.py"]


def test_other_directories_are_as_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model").mkdir()
    other = tmp_path / "modelled"  # begins alike
    write(other / "argosy_test_beside.py", 1)
    monkeypatch.syspath_prepend(other)
    import_fresh_from(str(tmp_path / "model"))
    assert imported("argosy_test_beside").VALUE == 1
    assert (other / "__pycache__").is_dir()


def test_an_environment_in_the_models_directory_keeps_its_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "env" / "lib" / "python3" / "site-packages"
    standard = tmp_path / "other" / "lib"
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "other"))
    import_fresh_from(str(tmp_path))
    for place in (site, standard):
        write(place / f"argosy_test_{place.name.replace('-', '_')}.py", 1)
        monkeypatch.syspath_prepend(place)
        assert imported(f"argosy_test_{place.name.replace('-', '_')}").VALUE == 1
        assert (place / "__pycache__").is_dir()
