"""Who is served first while the instance is busy: priorities, delayed requests, kept order."""

from __future__ import annotations

import time
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import argosy
import numpy as np
import pytest
from serving import add_model
from serving.waiting import until

statement = pytest.mark.statement


def submit(server: argosy.Server, number: int, model: str = "m", **options: Any) -> Future[Any]:
    return server.submit(model, {"INPUT0": np.full((1, 1), number, np.float32)}, **options)


@statement("T239", "T240")
def test_a_higher_priority_goes_first_and_one_beyond_the_levels_is_the_default(tmp_path: Path, turns: Any) -> None:
    add_model(tmp_path, "m", turns.config("dynamic_batching { priority_levels: 3 default_priority_level: 2 }\n"))
    order: list[int] = []
    with argosy.Server(tmp_path) as server:
        blocker, low, beyond, high, default = {}, {"priority": 3}, {"priority": 9}, {"priority": 1}, {}
        turns.hold(0)
        futures = []
        for number, options in enumerate([blocker, low, beyond, high, default]):
            future = submit(server, number, **options)
            future.add_done_callback(lambda _, number=number: order.append(number))
            futures.append(future)
            until(lambda: turns.begun == [0])  # the others come while it runs
        turns.let_go(0)
        assert [future.result(60)["OUTPUT0"].tolist() for future in futures] == [[[n]] for n in range(5)]
        until(lambda: len(order) == 5)
    assert order == [0, 3, 2, 4, 1]


@statement("T237")
def test_a_delayed_request_is_served_after_the_living(tmp_path: Path, turns: Any) -> None:
    # Where the machine lets the living wait for the whole timeout as well, once more with a longer one.
    timeouts_s = {"m0": 0.2, "m10": 1.0, "m20": 5.0, "m30": 20.0}
    for name, timeout_s in timeouts_s.items():
        policy = f"timeout_action: DELAY default_timeout_microseconds: {timeout_s * 1e6:.0f}"
        add_model(tmp_path, name, turns.config(f"dynamic_batching {{ default_queue_policy {{ {policy} }} }}\n"))
    with argosy.Server(tmp_path) as server:
        for name, timeout_s in timeouts_s.items():
            running, late, new = (int(name[1:]) + n for n in range(3))
            turns.hold(running)
            futures = [submit(server, running, name)]
            until(lambda number=running: number in turns.begun)
            futures.append(submit(server, late, name))
            due = time.monotonic() + timeout_s
            until(lambda due=due: time.monotonic() > due)
            came = time.monotonic()
            futures.append(submit(server, new, name))
            turns.let_go(running)
            for future in futures:
                future.result(60)
            _, second, third = turns.begun[-3:]
            if turns.began_at[second] < came + timeout_s:
                assert (second, third) == (new, late)
                return
    pytest.fail("the instance took longer than 20 s to come back for work")


@statement("T238")
def test_a_timeout_of_the_request_is_kept_whatever_the_model_does_with_its_own(tmp_path: Path, turns: Any) -> None:
    policy = "timeout_action: DELAY default_timeout_microseconds: 600000000 allow_timeout_override: true"
    add_model(tmp_path, "m", turns.config(f"dynamic_batching {{ default_queue_policy {{ {policy} }} }}\n"))
    with argosy.Server(tmp_path) as server:
        turns.hold(0)
        running = submit(server, 0)
        until(lambda: turns.begun == [0])
        with pytest.raises(argosy.Unavailable, match="Request timeout expired"):
            submit(server, 1, timeout_us=1000).result(60)
        assert not running.done()
        turns.let_go(0)
        running.result(60)
    assert turns.begun == [0]


@statement("T241")
@pytest.mark.parametrize("kept", [True, False])
def test_preserve_ordering_answers_in_order_of_arrival_though_one_instance_is_slower(
    tmp_path: Path, turns: Any, kept: bool
) -> None:
    policy = f"dynamic_batching {{ preserve_ordering: {str(kept).lower()} }}\n"
    add_model(tmp_path, "m", turns.config(policy, instances=2))
    order: list[int] = []
    with argosy.Server(tmp_path) as server:
        turns.hold(0)
        for number in range(20):
            submit(server, number).add_done_callback(lambda _, number=number: order.append(number))
        # The other instance runs all others meanwhile.
        until(lambda: turns.ended == [*range(1, 20)])
        if kept:
            assert order == []
        else:
            until(lambda: order == [*range(1, 20)])
        turns.let_go(0)
        until(lambda: len(order) == 20)
    assert order == ([*range(20)] if kept else [*range(1, 20), 0])
