"""The map of rooms, enforced: who may include whom, and where foreign headers may stand.

Reads text only, so it is quick; that each header compiles alone is `test_headers`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CSRC = ROOT / "csrc"

CORE = {"base", "metrics", "device", "tensor", "infer", "model", "sched", "assemble"}
CORE |= {"backend", "shm", "worker", "engine"}
WIRE = {"net", "http1", "http2", "grpc", "kserve", "serve"}

MAY_INCLUDE: dict[str, set[str]] = {
    "base": set(),
    "metrics": {"base"},
    "device": {"base"},
    "tensor": {"base", "device"},
    "infer": {"base", "tensor"},
    "model": {"base", "tensor", "infer"},
    "sched": {"base", "infer", "model"},
    "assemble": {"base", "device", "tensor", "infer", "model", "backend"},
    "backend": {"base", "device", "tensor", "infer", "model"},
    "shm": {"base", "device", "tensor"},
    "worker": {"base", "metrics", "device", "tensor", "infer", "model", "backend"},
    "engine": {"base", "metrics", "device", "tensor", "infer", "model", "sched", "assemble", "backend"},
    "net": {"base", "metrics"},
    "http1": {"base"},
    "http2": {"base"},
    "grpc": {"base"},
    "kserve": {"base", "tensor", "infer", "model", "shm"},
    "serve": {"base", "metrics", "tensor", "infer", "model", "shm", "engine"}
    | {"net", "http1", "http2", "grpc", "kserve"},
    "python": CORE | WIRE,
}

# Header prefix -> the only places that may name it, as patterns of paths below csrc/.
# A place that ends in * is one file and its header: foreign types stay behind one door.
FOREIGN: dict[str, tuple[str, ...]] = {
    "Python.h": ("python/",),
    "pybind11/": ("python/",),
    "openssl/": ("net/tls",),
    "nghttp2/": ("http2/",),
    "llhttp.h": ("http1/",),
    "zlib.h": ("kserve/",),
    "cuda": ("device/cuda/", "backend/*/cuda/"),
    "cublas": ("backend/*/cuda/",),
    "cudnn": ("backend/*/cuda/",),
    "sys/epoll.h": ("net/",),
    "sys/socket.h": ("net/",),
    "netinet/": ("net/",),
}
# Of these, at most so many files may hold the header, wherever they are.
ONE_FILE = ("nghttp2/", "llhttp.h", "zlib.h")

# Rooms of values in and values out: nothing here may wait, lock or look at a clock.
PURE = {"sched", "http1", "http2", "grpc", "kserve", "model", "tensor", "assemble"}
IMPURE_HEADERS = {"thread", "mutex", "condition_variable", "future", "shared_mutex"}

LONGEST = 400
# Longer files, each with the reason why it holds one idea all the same.
LONG_FILES: dict[str, str] = {}

INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', re.MULTILINE)
OWN_MACRO = re.compile(r"^\s*#\s*(define|if|ifdef|ifndef|elif|undef)\b.*$", re.MULTILINE)

SOURCES = sorted(p for p in CSRC.rglob("*") if p.suffix in {".h", ".cc", ".cu", ".cuh"})
TESTS = sorted((ROOT / "tests" / "cpp").rglob("*.cc"))


def place(path: Path) -> str:
    return path.relative_to(CSRC).as_posix()


def room(path: Path) -> str:
    return path.relative_to(CSRC).parts[0]


def includes(path: Path) -> list[str]:
    return INCLUDE.findall(path.read_text(encoding="utf-8"))


def is_at(path: str, pattern: str) -> bool:
    return re.match(re.escape(pattern).replace(r"\*", "[^/]+"), path) is not None


def violations(judge: Callable[[Path], Iterable[str]]) -> list[str]:
    return [f"{place(path)}: {problem}" for path in SOURCES for problem in judge(path)]


def test_there_are_sources_to_judge() -> None:
    assert len(SOURCES) > 50


def test_a_file_includes_only_what_its_room_may() -> None:
    def judge(path: Path) -> Iterator[str]:
        for name in includes(path):
            head = name.split("/")[0]
            if head in MAY_INCLUDE and head != room(path) and head not in MAY_INCLUDE[room(path)]:
                yield f"{room(path)}/ may not include {head}/ ({name})"

    assert not violations(judge)


def test_foreign_headers_stay_in_their_place() -> None:
    def judge(path: Path) -> Iterator[str]:
        for name in includes(path):
            if name.split("/")[0] in MAY_INCLUDE:
                continue
            for prefix, places in FOREIGN.items():
                if name.startswith(prefix) and not any(is_at(place(path), one) for one in places):
                    yield f"{name} belongs in {places} only"

    assert not violations(judge)


@pytest.mark.parametrize("prefix", ONE_FILE)
def test_a_foreign_library_is_known_to_one_file(prefix: str) -> None:
    holders = [place(p) for p in SOURCES if any(name.startswith(prefix) for name in includes(p))]
    assert len(holders) <= 1, f"{prefix} is included by {holders}"


def test_a_pure_room_has_no_threads_or_locks() -> None:
    assert not violations(lambda path: IMPURE_HEADERS.intersection(includes(path)) if room(path) in PURE else ())


def test_there_are_no_macros_of_ours() -> None:
    assert not violations(lambda path: OWN_MACRO.findall(path.read_text(encoding="utf-8")))


def test_a_header_says_what_it_is_for() -> None:
    def judge(path: Path) -> Iterator[str]:
        begins = re.match(r"#pragma once\n\n(//.*\n)+", path.read_text(encoding="utf-8"))
        if path.suffix in {".h", ".cuh"} and not begins:
            yield "begins with #pragma once, an empty line and a comment on what the header is for"

    assert not violations(judge)


def test_a_file_is_short_enough_to_hold_one_idea() -> None:
    def judge(path: Path) -> Iterator[str]:
        lines = path.read_text(encoding="utf-8").count("\n")
        if lines > LONGEST and place(path) not in LONG_FILES:
            yield f"{lines} lines; look for the second idea, or argue in LONG_FILES"

    assert not violations(judge)


def test_the_list_of_long_files_is_not_out_of_date() -> None:
    for name in LONG_FILES:
        assert (CSRC / name).read_text(encoding="utf-8").count("\n") > LONGEST, name


def test_every_room_is_on_the_map() -> None:
    assert {room(p) for p in SOURCES if len(p.relative_to(CSRC).parts) > 1} <= MAY_INCLUDE.keys()


def test_the_map_has_no_way_back() -> None:
    def reach(start: str, seen: frozenset[str]) -> None:
        assert start not in seen, f"cycle through {start}/"
        for below in MAY_INCLUDE[start]:
            reach(below, seen | {start})

    for start in MAY_INCLUDE:
        reach(start, frozenset())


def test_the_core_knows_nothing_of_the_wire() -> None:
    for name in CORE:
        assert not MAY_INCLUDE[name] & (WIRE | {"python"}), name


def test_the_build_links_what_the_map_says() -> None:
    text = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    linked: dict[str, set[str]] = {}
    for name, rest in re.findall(r"^argosy_room\((\w+)([^)]*)\)", text, re.MULTILINE):
        deps = re.search(r"\bDEPS ([a-z0-9 ]+)", re.sub(r"\b(FOLDERS|LINK|TEST_DEPS)\b", "\n\\1", rest))
        linked[name] = set(deps[1].split()) if deps else set()
    assert linked == {name: below for name, below in MAY_INCLUDE.items() if name != "python"}


def test_a_cpp_test_lies_in_the_room_that_it_tests() -> None:
    rooms = {path.relative_to(ROOT / "tests" / "cpp").parts[0] for path in TESTS}
    assert rooms <= MAY_INCLUDE.keys()
