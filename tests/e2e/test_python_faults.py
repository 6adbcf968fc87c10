"""Python models that fail in every way, under load: each client hears why, and nobody else notices."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import psutil
import pytest
from serving import Server, serve
from serving.waiting import until

pytestmark = pytest.mark.slow


def _loaded() -> ModuleType:
    path = Path(__file__).parents[2] / "bench" / "proof" / "fault_models.py"
    spec = importlib.util.spec_from_file_location("fault_models", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["fault_models"] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


faults = _loaded()
# Long waits on a busy machine are no fault; a client that waits for ever is.
RECOVERED_WITHIN_S = faults.HUNG_AFTER_S


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("faults") / "models"
    faults.write_repository(root)
    with serve(root, "--model-control-mode=explicit", "--load-model", faults.BYSTANDER) as running:
        yield running


@pytest.fixture(scope="module", autouse=True)
def nothing_is_left(server: Server) -> Iterator[None]:
    """After all the faults: as many processes and descriptors as before, and hardly more memory."""

    def load(name: str, verb: str) -> None:
        assert server.ask("POST", f"/v2/repository/models/{name}/{verb}", {}).status == 200

    process = psutil.Process(server.pid)
    for fault in faults.FAULTS:  # what the first load of each costs once is no leak
        load(fault.name, "load")
    for fault in faults.FAULTS:
        load(fault.name, "unload")
    until(lambda: len(process.children(recursive=True)) == 1)
    descriptors, memory = process.num_fds(), process.memory_info().rss
    shared = set(os.listdir("/dev/shm"))
    yield
    until(lambda: len(process.children(recursive=True)) == 1)
    until(lambda: process.num_fds() <= descriptors + 2)
    until(lambda: process.memory_info().rss < memory + 100_000_000)
    assert {name for name in set(os.listdir("/dev/shm")) - shared if "argosy" in name} == set()


@pytest.mark.parametrize("fault", faults.FAULTS, ids=lambda fault: fault.name)
def test_a_fault_is_told_to_its_client_and_to_nobody_else(server: Server, fault: Any) -> None:
    def control(verb: str) -> int:
        return server.ask("POST", f"/v2/repository/models/{fault.name}/{verb}", {}).status

    assert control("load") == 200
    try:
        check(server, fault, control)
    finally:
        assert control("unload") == 200


def check(server: Server, fault: Any, control: Callable[[str], int]) -> None:
    with (
        faults.Crowd(server.grpc, faults.BYSTANDER, clients=2) as bystanders,
        faults.Crowd(server.grpc, fault.name, clients=3) as users,
    ):
        users.wait_for(5)
        before = bystanders.good
        outcome = faults.do_harm(server.grpc, fault)
        users.wait_for(5)
        bystanders.wait_for(5)
        if "finalize" in fault.name:
            assert control("unload") == 200
            until(lambda: users.errors["NOT_FOUND"] + users.errors["UNAVAILABLE"] > 0)
    assert outcome.code == fault.code, outcome
    assert re.search(fault.says, outcome.text), outcome
    assert outcome.recovery_s < RECOVERED_WITHIN_S
    assert bystanders.good > before and not bystanders.errors and not bystanders.wrong
    assert not users.wrong and not users.hung
    # A request in the same batch shares its fate; nothing else happens to others.
    allowed = {fault.code, fault.spoils, "UNAVAILABLE" if fault.ends_process else fault.code}
    assert set(users.errors) <= allowed or "finalize" in fault.name, users.errors
