"""Who is served first while the instance is busy: priorities, delayed requests, kept order."""

from __future__ import annotations

import threading
from concurrent.futures import Future, wait
from pathlib import Path
from typing import Any

import argosy
import numpy as np
import pytest
from serving import add_model, identity_config
from serving.waiting import pending, until

statement = pytest.mark.statement
ONE = "instance_group { count: 1 kind: KIND_CPU }\n"


def order_of_answers(server: argosy.Server, requests: list[dict[str, Any]]) -> list[int]:
    """Positions of the requests in the order in which they were answered; all come while the first runs."""
    order: list[int] = []
    futures: list[Future[Any]] = []
    for number, options in enumerate(requests):
        future = server.submit("m", {"INPUT0": np.full((1, 1), number, np.float32)}, **options)
        future.add_done_callback(lambda _, number=number: order.append(number))
        futures.append(future)
        if number == 0:  # the others come while it runs
            until(lambda: pending(server, "m") == 0)
    wait(futures, 60)
    assert [future.result()["OUTPUT0"].tolist() for future in futures] == [[[n]] for n in range(len(requests))]
    return order


@statement("T239", "T240")
def test_a_higher_priority_goes_first_and_one_beyond_the_levels_is_the_default(tmp_path: Path) -> None:
    more = "dynamic_batching { priority_levels: 3 default_priority_level: 2 }\n" + ONE
    add_model(tmp_path, "m", identity_config(batch=1, delay_ms=300, more=more))
    with argosy.Server(tmp_path) as server:
        blocker, low, beyond, high, default = {}, {"priority": 3}, {"priority": 9}, {"priority": 1}, {}
        assert order_of_answers(server, [blocker, low, beyond, high, default]) == [0, 3, 2, 4, 1]


@statement("T237")
def test_a_delayed_request_is_served_after_the_living(tmp_path: Path) -> None:
    """Turns of 600 ms, a timeout of 900: at the end of the second turn the third request is late, a new one is not."""
    policy = "timeout_action: DELAY default_timeout_microseconds: 900000"
    more = f"dynamic_batching {{ default_queue_policy {{ {policy} }} }}\n" + ONE
    add_model(tmp_path, "m", identity_config(batch=1, delay_ms=600, more=more))
    order: list[str] = []
    all_done = threading.Event()
    with argosy.Server(tmp_path) as server:

        def submit(name: str) -> None:
            future = server.submit("m", {"INPUT0": np.zeros((1, 1), np.float32)})
            future.add_done_callback(lambda done: answered(name, done))

        def answered(name: str, done: Future[Any]) -> None:
            done.result()
            order.append(name)
            if name == "first":
                submit("new")
            if len(order) == 4:
                all_done.set()

        for name in ("first", "second", "late"):
            submit(name)
        assert all_done.wait(60)
    assert order == ["first", "second", "new", "late"]


@statement("T238")
def test_a_timeout_of_the_request_is_kept_whatever_the_model_does_with_its_own(tmp_path: Path) -> None:
    policy = "timeout_action: DELAY default_timeout_microseconds: 60000000 allow_timeout_override: true"
    more = f"dynamic_batching {{ default_queue_policy {{ {policy} }} }}\n" + ONE
    add_model(tmp_path, "m", identity_config(batch=1, delay_ms=300, more=more))
    with argosy.Server(tmp_path) as server:
        running = server.submit("m", {"INPUT0": np.zeros((1, 1), np.float32)})
        with pytest.raises(argosy.Unavailable, match="Request timeout expired"):
            server.infer("m", {"INPUT0": np.zeros((1, 1), np.float32)}, timeout_us=1000)
        assert not running.done()
        running.result(60)


@statement("T241")
@pytest.mark.parametrize("kept", [True, False])
def test_preserve_ordering_answers_in_order_of_arrival_though_one_instance_is_slower(
    tmp_path: Path, kept: bool
) -> None:
    more = f"dynamic_batching {{ preserve_ordering: {str(kept).lower()} }}\n"
    more += "instance_group { count: 2 kind: KIND_CPU }\n"
    more += 'parameters { key: "instance_wise_delay_multiplier" value { string_value: "2" } }\n'
    add_model(tmp_path, "m", identity_config(batch=1, delay_ms=20, more=more))
    with argosy.Server(tmp_path) as server:
        order = order_of_answers(server, [{}] * 20)
    assert (order == sorted(order)) is kept
