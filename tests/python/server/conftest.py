"""A model whose batches run as long as the test says."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from serving import identity_config
from serving.packages import install_backends
from serving.waiting import PATIENCE_S


class Turns:
    """What the instances of the backend "turns" do: each gives back its input, one request at a time.

    Requests are told apart by their first value. Those that are held wait inside execute(), and keep their instance.
    """

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.ended: list[int] = []
        self.began_at: dict[int, float] = {}  # by time.monotonic()
        self._doors: dict[int, threading.Event] = {}

    @staticmethod
    def config(more: str = "", *, instances: int = 1) -> str:
        """A config.pbtxt."""
        group = f"instance_group {{ count: {instances} kind: KIND_CPU }}\n"
        return identity_config(batch=1, more=more + group).replace('"identity"', '"turns"')

    def hold(self, number: int) -> None:
        self._doors[number] = threading.Event()

    def let_go(self, number: int) -> None:
        self._doors[number].set()

    def let_all_go(self) -> None:
        for door in self._doors.values():
            door.set()

    def execute(self, batch: Any) -> None:
        array = batch.input("INPUT0")
        number = int(array.flat[0])
        self.began_at[number] = time.monotonic()
        self.begun.append(number)
        door = self._doors.get(number)
        assert door is None or door.wait(PATIENCE_S)
        batch.set_output("OUTPUT0", array)
        self.ended.append(number)


@pytest.fixture
def turns(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Turns]:
    made = Turns()

    class Backend:
        def load(self, spec: Mapping[str, Any], slot: Mapping[str, Any]) -> Any:
            return self

        def make_instance(self, slot: Mapping[str, Any]) -> Turns:
            return made

    install_backends(monkeypatch, tmp_path_factory.mktemp("site"), "turns", turns=Backend)
    yield made
    made.let_all_go()
