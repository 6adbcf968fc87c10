"""What a call takes over from the requests that it is made for."""

from __future__ import annotations

import pytest
from argosy.worker.host import InferRequest
from argosy.worker.process_host import _Known, _left_us, _urgent


def known(priority: int = 0, deadline: float | None = None) -> _Known:
    return _Known(InferRequest(1, (), priority=priority), deadline)


@pytest.mark.parametrize(
    ("priorities", "most"),
    [([], 0), ([0, 0], 0), ([0, 3], 3), ([2, 0, 1, 5], 1), ([2**64 - 1, 7], 7)],
)
def test_the_priority_of_the_most_urgent(priorities: list[int], most: int) -> None:
    assert _urgent([known(priority) for priority in priorities]) == most


@pytest.mark.parametrize(
    ("deadlines", "timeout_us", "left_us"),
    [
        ([], 0, -1),
        ([], 7, 7),
        ([None], 0, -1),
        ([1.0], 0, 0),  # long ago
        ([1.0, None], 0, -1),
        ([1.0, None], 7, 7),
        ([1.0, 1e12], 7, 7),
    ],
)
def test_the_deadline_of_the_latest_and_at_most_its_own(
    deadlines: list[float | None], timeout_us: int, left_us: int
) -> None:
    assert _left_us([known(deadline=deadline) for deadline in deadlines], timeout_us) == left_us
