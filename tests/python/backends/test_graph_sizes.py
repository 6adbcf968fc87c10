"""For which batch sizes CUDA graphs are captured, and what an instance's slot says about its place."""

from __future__ import annotations

import json
from typing import Any

import pytest
from argosy.backends.graph_sizes import GraphSpec, allowed_rows, graph_rows, graph_specs
from argosy.backends.placement import placement_of
from argosy.config.lower import CUDA_GRAPH_SPECS, CUDA_GRAPHS
from argosy.errors import ArgosyError


def asked(*specs: dict[str, Any]) -> dict[str, str]:
    full = [{"batch_size": 0, "input": {}, "lower_bound": False, **spec} for spec in specs]
    return {CUDA_GRAPHS: "1", CUDA_GRAPH_SPECS: json.dumps(full)}


@pytest.mark.parametrize(
    ("most", "sizes"), [(0, [0]), (1, [1]), (2, [1, 2]), (3, [1, 2, 3]), (8, [1, 2, 4, 8]), (12, [1, 2, 4, 8, 12])]
)
def test_graphs_are_captured_for_powers_of_two_and_the_largest_batch(most: int, sizes: list[int]) -> None:
    assert graph_rows(most) == sizes
    assert [spec.rows for spec in graph_specs("m", most, {CUDA_GRAPHS: "1"})] == sizes
    assert graph_specs("m", most, {}) == graph_specs("m", most, {CUDA_GRAPHS: "false"}) == ()


def test_a_graph_spec_says_which_sizes_and_shapes() -> None:
    specs = graph_specs("m", 8, asked({"batch_size": 6, "input": {"x": [3, 4]}}, {"batch_size": 2}))
    assert specs == (GraphSpec(rows=2), GraphSpec(rows=6, shapes={"x": (3, 4)}))
    assert allowed_rows(specs) == (2, 6)
    assert graph_specs("m", 0, asked({"input": {"x": [3]}})) == (GraphSpec(rows=0, shapes={"x": (3,)}),)
    assert allowed_rows(graph_specs("m", 0, asked({}))) == ()


@pytest.mark.parametrize(
    ("rows", "spec", "said"),
    [
        (8, {"batch_size": 9}, "graph_spec[0].batch_size: expected 1..8 (max_batch_size), got 9"),
        (8, {}, "graph_spec[0].batch_size: expected 1..8 (max_batch_size), got 0"),
        (0, {"batch_size": 1}, "graph_spec[0].batch_size: expected 0 for a model without batching, got 1"),
        (8, {"batch_size": 8, "lower_bound": True}, "graph_spec[0].graph_lower_bound is not served: batches are"),
    ],
)
def test_a_graph_spec_that_cannot_be_is_refused_by_name(rows: int, spec: dict[str, Any], said: str) -> None:
    with pytest.raises(ArgosyError) as caught:
        graph_specs("m", rows, asked(spec))
    assert said in caught.value.message and "model 'm'" in caught.value.message


def test_a_slot_says_where_an_instance_is() -> None:
    slot = {"kind": "gpu", "device": 1, "stream": 93}
    placement = placement_of(slot)
    assert placement is not None and (placement.ordinal, placement.stream, placement.on_host) == (1, 93, False)
    host = placement_of({**slot, "stream": 0})
    assert host is not None and host.on_host
    assert placement_of({**slot, "kind": "cpu"}) is None
    assert placement_of({"kind": "gpu", "device": 0}) is None
