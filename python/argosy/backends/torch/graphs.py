"""CUDA graphs of one instance: one per batch size, replayed on memory of their own.

A graph replays what was captured on the same memory, so every size has input tensors of
its own, and its results are written anew by each replay. The engine pads batches up to
the sizes; a larger batch has no graph and runs operator by operator.

Thread: made on a loader's, replayed on the instance's own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from argosy.backends.graph_sizes import GraphSpec, allowed_rows
from argosy.backends.torch.plan import Plan
from argosy.backends.torch.program import Program
from argosy.backends.torch.values import TORCH_TYPES
from argosy.config.lower import CUDA_GRAPHS
from argosy.errors import Unsupported

_WARM_UPS = 3  # TorchScript specialises its graph in the first runs, libraries choose their kernels


def check_capturable(plan: Plan, *, stateful: bool) -> None:
    """Raises Unsupported with the reason why this model's calls cannot be replayed."""
    reason = ""
    if plan.max_rows < 1:
        reason = "it has no batch dimension"
    elif stateful:
        reason = "it keeps state between calls"
    for place, dims in zip(plan.inputs, plan.fixed_dims, strict=True):
        if place.input < 0 or place.kind != "tensor":
            reason = f"argument '{place.name}' is not always a tensor"
        elif dims is None:
            reason = f"input '{place.name}' has a dynamic dimension besides the batch"
    if reason:
        raise Unsupported(f"model '{plan.model}', {CUDA_GRAPHS}: {reason}; remove optimization {{ cuda }}")


def check_specs(model: str, specs: Sequence[GraphSpec]) -> None:
    """Raises Unsupported for shapes in a graph_spec: the configuration has said them already."""
    if any(spec.shapes for spec in specs):
        raise Unsupported(
            f"model '{model}', optimization.cuda.graph_spec.input: inputs of PyTorch models with graphs have the "
            "dimensions of the configuration; remove it"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Captured:
    """One size: what goes in, what comes out, and what computes the one from the other on the current stream."""

    inputs: list[torch.Tensor]
    results: list[torch.Tensor]
    replay: Callable[[], object]


class RowGraphs:
    """Captures at once, so that no request waits for it. `sizes`: ascending."""

    def __init__(self, specs: Sequence[GraphSpec], capture: Callable[[int], Captured]) -> None:
        self.sizes = allowed_rows(specs)
        # The largest first: the smaller ones fit into its memory.
        self._captured = {rows: capture(rows) for rows in reversed(self.sizes)}

    def replay(self, values: Sequence[torch.Tensor], rows: int) -> list[torch.Tensor] | None:
        """On the current stream. Results are valid until the next call; None: there is no graph for so many rows."""
        captured = self._captured.get(rows)
        if captured is None:
            return None
        for target, value in zip(captured.inputs, values, strict=True):
            target.copy_(value, non_blocking=True)
        captured.replay()
        return captured.results


def static_inputs(plan: Plan, rows: int, device: torch.device) -> list[torch.Tensor]:
    """Zeros in the shapes of a batch of `rows`."""
    return [
        torch.zeros((rows, *(dims or ())), dtype=TORCH_TYPES[place.dtype], device=device)
        for place, dims in zip(plan.inputs, plan.fixed_dims, strict=True)
    ]


def check_rows(plan: Plan, results: Sequence[Any], rows: int) -> None:
    """Raises Unsupported naming a result that has not one row per row of the batch."""
    for output, result in zip(plan.outputs, results, strict=True):
        if not isinstance(result, torch.Tensor) or not result.dim() or result.shape[0] != rows:
            raise Unsupported(
                f"model '{plan.model}', {CUDA_GRAPHS}: output '{output.name}' has not one row per row of "
                "the batch; remove optimization { cuda }"
            )


def cuda_capture(plan: Plan, program: Program, device: torch.device, stream: Any) -> Callable[[int], Captured]:
    """What captures on `stream`. All sizes share one pool of memory, since they never run at once."""
    pool = torch.cuda.graph_pool_handle()

    def capture(rows: int) -> Captured:
        inputs = static_inputs(plan, rows, device)
        stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(stream):
            for _ in range(_WARM_UPS):
                program.call(inputs, plan.names)
        stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        # Other instances go on calling CUDA while this one captures.
        with torch.cuda.graph(graph, pool=pool, stream=stream, capture_error_mode="thread_local"):
            results = plan.pick(program.call(inputs, plan.names))
        check_rows(plan, results, rows)
        return Captured(inputs=inputs, results=results, replay=graph.replay)

    return capture
