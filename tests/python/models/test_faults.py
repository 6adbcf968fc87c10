"""What an exception of a model is told as, whatever it is made of."""

from __future__ import annotations

from pathlib import Path

import pytest
from argosy.models.faults import failure_text, log_text, summary


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


def caught(source: str, path: Path) -> BaseException:
    """What this source raises, as a model's file would."""
    path.write_text(source)
    with pytest.raises(BaseException) as raised:
        exec(compile(source, str(path), "exec"), {})
    # The frame of the line above is no model's.
    assert raised.value.__traceback__ is not None
    raised.value.__traceback__ = raised.value.__traceback__.tb_next
    return raised.value


def test_a_class_is_called_by_its_own_name_alone(tmp_path: Path) -> None:
    error = caught("class Mine(Exception): pass\nraise Mine('text')\n", tmp_path / "model.py")
    assert failure_text(error) == f"Mine: text\n\nAt:\n  {tmp_path / 'model.py'}(2): <module>\n"


def test_an_exception_without_words_is_told_by_its_class() -> None:
    assert summary(Unspeakable()) == "Unspeakable: <exception str() failed>"
    assert "<exception str() failed>" in log_text("execute failed", Unspeakable())
    assert summary(GeneratorExit()) == "GeneratorExit"


def test_what_is_long_keeps_its_beginning_and_its_end() -> None:
    error = ValueError("begin" + 1_000_000 * "x" + "end")
    for text in (failure_text(error), log_text("failed", error)):
        assert len(text) < 5000
        assert "ValueError: begin" in text
        assert "characters more" in text
        assert text.rstrip().endswith("end")


def test_endless_recursion_is_told_in_twenty_places(tmp_path: Path) -> None:
    error = caught("def deep():\n    deep()\ndeep()\n", tmp_path / "model.py")
    lines = failure_text(error).splitlines()
    assert lines[0].startswith("RecursionError: ")
    assert len([line for line in lines if line.endswith(": deep")]) == 19
    assert lines[-1].endswith("(3): <module>")
    assert any("places more" in line for line in lines)


def test_places_of_import_itself_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "argosy_test_breaks.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    error = caught("import argosy_test_breaks\n", tmp_path / "model.py")
    assert failure_text(error) == (
        "ZeroDivisionError: division by zero\n\nAt:\n"
        f"  {tmp_path / 'argosy_test_breaks.py'}(1): <module>\n  {tmp_path / 'model.py'}(1): <module>\n"
    )
