"""Ending a process group: everybody but the resource trackers, which tidy up and end by themselves."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import argosy
import pytest
from serving.waiting import until

core = pytest.importorskip("argosy._core")
# Beside the core, also where that is a link to a build.
argosy.__path__.append(os.path.dirname(os.path.realpath(core.__file__)))
native: Any = pytest.importorskip("argosy._worker")

HOLDS = """
import time
from multiprocessing import resource_tracker, shared_memory
held = shared_memory.SharedMemory(create=True, size=4096)
print(held.name, resource_tracker._resource_tracker._pid, flush=True)
time.sleep(3600)
"""


def test_shared_memory_of_a_group_that_is_ended_is_unlinked() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        assert process.stdout is not None
        name, tracker = process.stdout.readline().decode().split()
        place = Path("/dev/shm") / name
        assert place.exists()
        native.end_group(process.pid)
        assert process.wait() == -9
    until(lambda: not place.exists())
    until(lambda: not command(tracker))


def command(process: str) -> bytes:
    """Empty of one that has ended."""
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


@pytest.mark.parametrize("group", [0, 1, -5])
def test_what_is_no_group_of_ours_is_refused(group: int) -> None:
    with pytest.raises(ValueError, match=f"process group, got {group}"):
        native.end_group(group)
