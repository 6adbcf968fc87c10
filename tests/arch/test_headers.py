"""Each header compiles alone: nobody has to know what to include before it.

A source file that includes its own header first is that header's proof each time it is
built; only the headers that have none are compiled here.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

CSRC = Path(__file__).resolve().parents[2] / "csrc"
COMPILER = os.environ.get("CXX") or shutil.which("c++")

# Foreign headers are not at hand outside a build: what needs them is compiled by the build.
FOREIGN_PLACES = ("device/cuda/", "http2/parts.h")


def first_include(source: Path) -> str:
    return next((line for line in source.read_text().splitlines() if line.startswith("#include")), "")


def has_its_own_source(header: Path) -> bool:
    source = header.with_suffix(".cc")
    return source.exists() and first_include(source) == f'#include "{header.relative_to(CSRC).as_posix()}"'


def standalone_headers() -> list[Path]:
    ours = [h for h in sorted(CSRC.rglob("*.h")) if not h.relative_to(CSRC).as_posix().startswith(FOREIGN_PLACES)]
    return [h for h in ours if not has_its_own_source(h)]


def test_a_source_file_includes_its_own_header_first() -> None:
    late = [
        f"{source.relative_to(CSRC)} begins with {first_include(source)}"
        for source in sorted(CSRC.rglob("*.cc"))
        if source.with_suffix(".h").exists() and not has_its_own_source(source.with_suffix(".h"))
    ]
    assert not late, "\n".join(late)


def include_flags() -> list[str]:
    flags = [f"-I{CSRC}", f"-I{sysconfig.get_path('include')}"]
    pybind11 = pytest.importorskip("pybind11")
    return [*flags, f"-I{pybind11.get_include()}"]


def compile_alone(header: Path, flags: list[str]) -> str:
    name = header.relative_to(CSRC).as_posix()
    done = subprocess.run(
        [str(COMPILER), "-std=c++20", "-fsyntax-only", "-Wall", "-Wextra", *flags, "-x", "c++", "-"],
        input=f'#include "{name}"\n#include "{name}"\n',
        capture_output=True,
        text=True,
        check=False,
    )
    return f"{name}:\n{done.stderr}" if done.returncode else ""


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(COMPILER is None, reason="no C++ compiler")
def test_every_header_compiles_alone() -> None:
    flags = include_flags()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        problems = [p for p in pool.map(lambda header: compile_alone(header, flags), standalone_headers()) if p]
    assert not problems, "\n".join(problems)
