"""For which batch sizes CUDA graphs are captured: `optimization { cuda { graphs: true graph_spec { ... } } }`.

A graph replays one batch size; the engine pads smaller batches with zero rows up to the
next size that an instance allows. Pure decisions, for every backend that has graphs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from argosy.config import is_ragged
from argosy.config.lower import CUDA_GRAPH_SPECS, CUDA_GRAPHS
from argosy.errors import InvalidArgument, Unsupported

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphSpec:
    """One graph_spec. `shapes`: by input, without the batch dimension; those of the model where it names none."""

    rows: int
    shapes: Mapping[str, Shape] = field(default_factory=dict)


def graph_specs(model: str, max_rows: int, parameters: Mapping[str, str]) -> tuple[GraphSpec, ...]:
    """The graphs to capture, ascending by rows; () when none are asked for. Rows are 0 without a batch dimension.

    Without graph_spec: the powers of two up to `max_rows`, and `max_rows`. Raises InvalidArgument for a size
    outside of the model's, Unsupported for a lower bound.
    """
    if parameters.get(CUDA_GRAPHS, "").lower() not in ("1", "true", "on", "yes"):
        return ()
    given = json.loads(parameters.get(CUDA_GRAPH_SPECS, "[]"))
    if not given:
        return tuple(GraphSpec(rows=rows) for rows in graph_rows(max_rows))
    for at, spec in enumerate(given):
        where = f"model '{model}', optimization.cuda.graph_spec[{at}]"
        if spec["lower_bound"]:
            raise Unsupported(
                f"{where}.graph_lower_bound is not served: batches are padded up to the next graph, whatever their "
                "size; remove it"
            )
        rows = int(spec["batch_size"])
        if max_rows == 0 and rows != 0:
            raise InvalidArgument(f"{where}.batch_size: expected 0 for a model without batching, got {rows}")
        if max_rows > 0 and not 1 <= rows <= max_rows:
            raise InvalidArgument(f"{where}.batch_size: expected 1..{max_rows} (max_batch_size), got {rows}")
    made = (
        GraphSpec(rows=int(spec["batch_size"]), shapes={name: tuple(dims) for name, dims in spec["input"].items()})
        for spec in given
    )
    return tuple(sorted(made, key=lambda spec: spec.rows))


def graph_rows(max_rows: int) -> list[int]:
    """The batch sizes that get a graph when nobody says which, ascending; [0] without a batch dimension."""
    if max_rows < 1:
        return [0]
    sizes = [1]
    while sizes[-1] * 2 < max_rows:
        sizes.append(sizes[-1] * 2)
    return sizes if sizes[-1] == max_rows else [*sizes, max_rows]


def allowed_rows(specs: Sequence[GraphSpec]) -> tuple[int, ...]:
    """What an instance with these graphs tells the engine; larger batches run as they come, without a graph."""
    return tuple(sorted({spec.rows for spec in specs if spec.rows > 0}))


def check_not_ragged(spec: Mapping[str, Any], setting: str) -> None:
    """Raises Unsupported for graphs, which `setting` asks for, of a model whose batches have no sizes to capture."""
    if is_ragged(spec):
        raise Unsupported(
            f"model '{spec['name']}', {setting}: ragged batches are not padded and have a size of their own each time; "
            f"remove {setting}"
        )
