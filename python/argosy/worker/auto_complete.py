"""Auto-complete of a Python model's configuration: the model's own code, in a process that ends with it.

The process is given one JSON object on its standard input (the place, without its
configuration, and the configuration) and writes one on its standard output; what the
model prints goes to standard error.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from argosy.errors import ArgosyError, Internal, Unavailable, Unsupported, error_of
from argosy.worker.children import Children, end_session
from argosy.worker.host import ModelPlace
from argosy.worker.lifetime import end_with

_START = (
    "import sys;sys.path[:]=[p for p in sys.path if p];"  # what lies in the server's directory is not the model's
    "import importlib.util as u;"
    "p=sys.argv[1];"
    "s=u.spec_from_file_location('argosy',p+'/__init__.py',submodule_search_locations=[p]);"
    "m=u.module_from_spec(s);sys.modules['argosy']=m;s.loader.exec_module(m);"
    "from argosy.worker.auto_complete import main;"
    "main(int(sys.argv[2]))"
)
_log = logging.getLogger(__name__)
_LIMIT_SECS = 120.0
_LOOK_SECS = 0.5


def worth_asking(model_file: Path, *, complete: bool) -> bool:
    """Whether the model may have something to say; `complete`: inputs and outputs are configured."""
    try:
        source = model_file.read_bytes()
    except OSError:
        return False
    return not complete or b"auto_complete_config" in source or b"TritonPythonModel" not in source


def completed(
    place: ModelPlace, config: Mapping[str, Any], python: str = "", children: Children | None = None
) -> dict[str, Any]:
    """The configuration with what the model itself knows.

    `python`: the interpreter, "" for this one. `children`: who may end the wait. Raises ArgosyError with the
    model's reason, Internal when the process ends otherwise, Unavailable when the wait was ended.
    """
    children = children or Children()
    question = json.dumps({"place": {**place._asdict(), "config": ""}, "config": config})
    package = str(Path(__file__).resolve().parent.parent)
    try:
        process = subprocess.Popen(
            [python or sys.executable, "-c", _START, package, str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        with process, children.awaited(process):
            out, errors = _words(process, question.encode())
    except subprocess.TimeoutExpired:
        raise Internal(f"auto-complete of model '{place.name}' did not end within {_LIMIT_SECS:g} s") from None
    except OSError as error:
        raise Internal(f"auto-complete of model '{place.name}': cannot start '{python}': {error}") from None
    try:
        answer = json.loads(out)
    except ValueError:
        if children.ended:
            raise Unavailable(f"auto-complete of model '{place.name}' was given up: the server stops") from None
        words = errors.decode(errors="replace")[-4000:]
        raise Internal(
            f"auto-complete of model '{place.name}': its process ended with code {process.returncode}:\n{words}"
        ) from None
    for line in errors.decode(errors="replace").splitlines():
        _log.info("model '%s', auto-complete: %s", place.name, line)
    if "failure" in answer:
        raise error_of(answer["failure"]["code"], answer["failure"]["message"])
    found: dict[str, Any] = answer["config"]
    return found


def _words(process: subprocess.Popen[bytes], question: bytes) -> tuple[bytes, bytes]:
    # Processes that the model started have its outputs as well, and do not end with it by themselves.
    until = time.monotonic() + _LIMIT_SECS
    told: bytes | None = question
    while True:
        try:
            return process.communicate(told, _LOOK_SECS)
        except subprocess.TimeoutExpired:
            told = None
            if process.poll() is not None:
                end_session(process)
            elif time.monotonic() > until:
                end_session(process)
                raise
        except BaseException:
            end_session(process)
            raise


class _NoHost:
    """A host for a model that is only asked about itself."""

    def log(self, level: str, message: str, handle: int | None = None) -> None:
        sys.stderr.write(f"{level}: {message}\n")

    def __getattr__(self, name: str) -> Any:
        def refused(*_: Any, **__: Any) -> Any:
            raise Unsupported(f"{name} is not available while a configuration is auto-completed")

        return refused


def main(server: int) -> None:
    """The process's program. `server`: the process id of who asks."""
    end_with(server)
    answer_to = os.dup(1)
    os.dup2(2, 1)
    question = json.loads(sys.stdin.buffer.read())
    del sys.argv[1:]
    place = ModelPlace(**{**question["place"], "config": json.dumps(question["config"])})
    answer: dict[str, Any]
    try:
        from argosy.models import open_runner

        runner = open_runner(_NoHost(), place)
        answer = {"config": runner.auto_complete(question["config"])}
    except ArgosyError as error:
        answer = {"failure": {"code": error.code, "message": error.message}}
    raw = json.dumps(answer).encode()
    while raw:
        raw = raw[os.write(answer_to, raw) :]
    sys.stdout.flush()
    os._exit(0)
