"""Which interpreter runs a model: the server's, one that its configuration names, or one made for it.

A model may name an interpreter (`python`), an environment or an archive of one
(`EXECUTION_ENV_PATH`), or bring a `requirements.txt`. What is made for it lies in a
cache, by the hash of what it was made of, and is made once for all models and servers.

Runs in the server. Thread: any; blocks while an environment is made. Another process
that wants the same one waits for it.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from argosy.errors import Internal, InvalidArgument, Unavailable
from argosy.worker.archive import unpack
from argosy.worker.children import Children

_log = logging.getLogger(__name__)
_DIRECTORY = "$$TRITON_MODEL_DIRECTORY"
_DONE = ".complete"
_LAST_LINES = 25
_OWN_SITE = (
    "import site, sys, sysconfig;"
    "print('\\n'.join(dict.fromkeys([*site.getsitepackages(), sysconfig.get_paths()['purelib'],"
    " sysconfig.get_paths()['platlib'], *([site.getusersitepackages()] if site.ENABLE_USER_SITE else [])])))"
)


def interpreter_of(
    model: str,
    directory: Path,
    version_directory: Path,
    parameters: Mapping[str, str],
    children: Children | None = None,
) -> str:
    """The path of the model's interpreter; "" for the server's own.

    `parameters`: those of the model's configuration. `children`: who may end an installation. Raises
    InvalidArgument for a setting that names nothing usable, Internal when an environment cannot be made,
    with the installer's last words, Unavailable when the installation was ended.
    """
    children = children or Children()
    python, environment = parameters.get("python", ""), parameters.get("EXECUTION_ENV_PATH", "")
    if python:
        return _program(model, "python", _placed(python, directory))
    if environment:
        return _of_environment(model, _placed(environment, directory), children)
    requirements = _requirements(model, directory, version_directory, parameters.get("requirements", ""))
    return "" if requirements is None else _of_requirements(model, requirements, children)


def cache_directory() -> Path:
    """ARGOSY_CACHE_DIR, else the user's cache."""
    named = os.environ.get("ARGOSY_CACHE_DIR")
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "argosy"


def _placed(text: str, directory: Path) -> Path:
    return directory / text.replace(_DIRECTORY, str(directory))


def _wrong(model: str, parameter: str, problem: str) -> InvalidArgument:
    return InvalidArgument(f"model '{model}', parameter '{parameter}': {problem}")


def _program(model: str, parameter: str, path: Path) -> str:
    program = path / "bin" / "python" if path.is_dir() else path
    if not os.access(program, os.X_OK):
        raise _wrong(model, parameter, f"there is no interpreter that can be run at '{program}'")
    return str(program)


# Environments that the model names.


def _of_environment(model: str, path: Path, children: Children) -> str:
    parameter = "EXECUTION_ENV_PATH"
    if path.is_dir():
        return _program(model, parameter, path)
    if not path.is_file():
        raise _wrong(model, parameter, f"'{path}' does not exist")
    digest = hashlib.sha256()
    with path.open("rb") as archive:
        for block in iter(lambda: archive.read(1 << 20), b""):
            digest.update(block)

    def make(into: Path) -> None:
        _log.info("model '%s': unpacking the environment '%s' into '%s'", model, path, into)
        try:
            unpack(path, into)
        except InvalidArgument as error:
            raise _wrong(model, parameter, f"'{path}': {error.message}") from None
        fix = into / "bin" / "conda-unpack"
        if fix.is_file():
            _run(model, [str(into / "bin" / "python"), str(fix)], into, "conda-unpack", children)

    made = _made("unpacked", digest.hexdigest(), make)
    return _program(model, parameter, made)


# Environments that the server makes.


def _requirements(model: str, directory: Path, version_directory: Path, named: str) -> Path | None:
    if named == "none":
        return None
    if named:
        path = _placed(named, directory)
        if not path.is_file():
            raise _wrong(model, "requirements", f"'{path}' does not exist")
        return path
    for place in (version_directory, directory):
        path = place / "requirements.txt"
        if path.is_file():
            return path
    return None


def _of_requirements(model: str, path: Path, children: Children) -> str:
    text = path.read_text(encoding="utf-8")
    if not any(line.strip() and not line.lstrip().startswith("#") for line in text.splitlines()):
        return ""
    install = ["install", "--disable-pip-version-check", "--no-input", "--requirement", str(path)]
    there = subprocess.run(
        [sys.executable, "-m", "pip", *install, "--dry-run", "--no-index"],
        cwd=path.parent,
        capture_output=True,
        check=False,
    )
    if there.returncode == 0 and b"Would install" not in there.stdout:
        return ""  # the server's own interpreter has all of it

    def make(into: Path) -> None:
        _log.info("model '%s': making an environment for '%s' in '%s'", model, path, into)
        venv = [sys.executable, "-m", "venv", "--system-site-packages", "--without-pip", str(into)]
        _run(model, venv, into, "venv", children)
        # This interpreter may stand in an environment itself, which a new one does not inherit.
        sites = subprocess.run([sys.executable, "-c", _OWN_SITE], capture_output=True, text=True, check=True).stdout
        (purelib,) = into.glob("lib/python3*/site-packages")
        (purelib / "argosy-server.pth").write_text(sites, encoding="utf-8")
        pip = [sys.executable, "-m", "pip", "--python", str(into / "bin" / "python"), *install]
        _run(model, pip, path.parent, f"installing '{path}'", children)

    key = hashlib.sha256("\0".join((sys.executable, sys.version, text, *_referenced(path, text))).encode())
    return str(_made("environments", key.hexdigest(), make) / "bin" / "python")


def _referenced(path: Path, text: str) -> Iterator[str]:
    """What the file stands on besides itself: other requirement files and local packages."""
    for line in text.splitlines():
        for word in line.replace("=", " ").split():
            other = path.parent / word.removeprefix("file://")
            if other.is_file():
                status = other.stat()
                yield f"{other} {status.st_size} {status.st_mtime_ns}"


def _run(model: str, command: list[str], where: Path, what: str, children: Children) -> None:
    lines: list[str] = []
    try:
        where.mkdir(parents=True, exist_ok=True)
        running = subprocess.Popen(
            command,
            cwd=where,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        with running, children.awaited(running):
            assert running.stdout is not None
            for said in running.stdout:
                line = said.decode(errors="replace").rstrip()
                lines = [*lines[1 - _LAST_LINES :], line]
                _log.info("model '%s': %s", model, line)
    except OSError as error:
        raise Internal(f"model '{model}': {what}: cannot run '{command[0]}': {error}") from None
    if running.returncode != 0 and children.ended:
        raise Unavailable(f"model '{model}': {what} was given up: the server stops")
    if running.returncode != 0:
        words = "\n".join(lines)
        raise Internal(f"model '{model}': {what} failed with code {running.returncode}; its last words:\n{words}")


# The cache.


def _made(kind: str, key: str, make: Callable[[Path], None]) -> Path:
    root = cache_directory() / kind
    made = root / key[:32]
    if (made / _DONE).exists():
        return made
    root.mkdir(parents=True, exist_ok=True)
    with _locked(root / f"{key[:32]}.lock"):
        if (made / _DONE).exists():
            return made
        # What an earlier attempt left: environments cannot be moved, so they are made in their place.
        shutil.rmtree(made, ignore_errors=True)
        try:
            make(made)
            (made / _DONE).touch()
        except BaseException:
            shutil.rmtree(made, ignore_errors=True)
            raise
    return made


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
