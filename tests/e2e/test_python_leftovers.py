"""What is left of a model's process, and of what the model made in it: nothing, whoever is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest
from serving import Server, serve
from serving.process import alive, launch
from serving.python_repository import write_model
from serving.waiting import until

SHARED = Path("/dev/shm")

# Named semaphores, which a fork's are not, and shared memory: Python's resource tracker unlinks them, and ends, when
# nobody has its pipe any more. A fork has it, also one that polite signals do not reach.
KEEPS = """
def initialize(self, args):
    import json, multiprocessing, subprocess
    from multiprocessing import resource_tracker, shared_memory

    fork, spawn = multiprocessing.get_context("fork"), multiprocessing.get_context("spawn")
    self.lock, self.semaphore = spawn.Lock(), spawn.Semaphore(2)
    self.memory = shared_memory.SharedMemory(create=True, size=1 << 20)
    ignores = fork.Event()
    self.children = [
        fork.Process(target=time.sleep, args=(3600,), daemon=True),
        fork.Process(target=self.ignore_signals, args=(ignores,), daemon=True),
    ]
    for child in self.children:
        child.start()
    ignores.wait()
    processes = [os.getpid(), resource_tracker._resource_tracker._pid, subprocess.Popen(["sleep", "3600"]).pid]
    kept = {
        "processes": processes + [child.pid for child in self.children],
        "files": [self.memory.name] + ["sem." + one._semlock.name[1:] for one in (self.lock, self.semaphore)],
    }
    place = os.path.join(args["model_repository"], "kept")
    with open(place + ".part", "w") as file:
        json.dump(kept, file)
    os.replace(place + ".part", place)

def ignore_signals(self, ignores):
    import signal

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    ignores.set()
    time.sleep(3600)

def execute(self, requests):
    return [response(tensor(request)) for request in requests]
"""


class Kept(NamedTuple):
    """What one life of the model made; its own process is the first."""

    processes: list[int]
    files: list[Path]

    @classmethod
    def of(cls, root: Path) -> Kept:
        found = json.loads((root / "keeps" / "kept").read_text())
        kept = cls(found["processes"], [SHARED / name for name in found["files"]])
        assert len(kept.processes) == 5 and all(map(alive, kept.processes))
        assert len(kept.files) == 3 and all(file.exists() for file in kept.files)
        return kept

    def gone(self) -> bool:
        return not any(map(alive, self.processes)) and not any(file.exists() for file in self.files)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_model(tmp_path, "keeps", KEEPS)
    return tmp_path


def ready(server: Server) -> bool:
    return server.ask("GET", "/v2/models/keeps/ready").status == 200


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_a_server_that_ends_leaves_nothing_of_its_models(root: Path, end: int) -> None:
    with serve(root) as server:
        kept = Kept.of(root)
        server.send_signal(end)
        server.wait()
        until(kept.gone)


def test_a_models_process_that_is_killed_leaves_nothing_and_the_next_one_neither(root: Path) -> None:
    with serve(root) as server:
        first = Kept.of(root)
        os.kill(first.processes[0], signal.SIGKILL)
        until(first.gone)
        until(
            lambda: ready(server) and json.loads((root / "keeps" / "kept").read_text())["processes"][0] != first[0][0]
        )
        second = Kept.of(root)
    until(second.gone)


def test_a_model_that_is_unloaded_leaves_nothing(root: Path) -> None:
    with serve(root, "--model-control-mode=explicit", "--load-model=keeps") as server:
        kept = Kept.of(root)
        assert server.ask("POST", "/v2/repository/models/keeps/unload", {}).status == 200
        until(kept.gone)


def test_a_process_that_completes_a_configuration_ends_with_a_server_that_is_killed(tmp_path: Path) -> None:
    source = f"""
@staticmethod
def auto_complete_config(config):
    with open({str(tmp_path / "began")!r}, "w") as file:
        file.write(str(os.getpid()) + " ")
    time.sleep(3600)

def execute(self, requests):
    return []
"""
    write_model(tmp_path / "models", "hangs", source)
    began = tmp_path / "began"
    process = launch(tmp_path / "models", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: began.exists() and began.read_text().endswith(" "))
    finally:
        process.kill()
        process.wait()
    until(lambda: not alive(int(began.read_text())))
