"""CUDA graphs of one instance: one per batch size, smaller batches padded up to the next.

A graph replays what was captured on the same memory, so every size has input tensors
of its own; rows beyond the batch are zero. Sizes are the powers of two up to the
model's largest batch, and that batch.

Thread: made on a loader's, run on the instance's own.
"""

from __future__ import annotations

from typing import Any

import torch

from argosy.backends.torch.plan import Plan
from argosy.backends.torch.program import Program
from argosy.backends.torch.values import TORCH_TYPES
from argosy.config.lower import CUDA_GRAPHS
from argosy.errors import Unsupported

_WARM_UPS = 3  # TorchScript specialises its graph in the first runs, libraries choose their kernels


def graph_rows(max_rows: int) -> list[int]:
    """The batch sizes that get a graph, ascending."""
    sizes = [1]
    while sizes[-1] * 2 < max_rows:
        sizes.append(sizes[-1] * 2)
    return sizes if sizes[-1] == max_rows else [*sizes, max_rows]


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


class RowGraphs:
    """Captures at once, so that no request waits for it."""

    def __init__(self, plan: Plan, program: Program, device: torch.device, stream: torch.cuda.Stream) -> None:
        check_capturable(plan, stateful=program.stateful)
        self._plan, self._program, self._stream = plan, program, stream
        pool = torch.cuda.graph_pool_handle()
        # The largest first: the smaller ones fit into its memory.
        self._captured = {rows: self._capture(rows, device, pool) for rows in reversed(graph_rows(plan.max_rows))}
        self._sizes = sorted(self._captured)

    def run(self, values: list[torch.Tensor], rows: int) -> list[torch.Tensor]:
        """On the current stream, which is the instance's. Results are valid until the next run."""
        padded = next(size for size in self._sizes if size >= rows)
        graph, inputs, results = self._captured[padded]
        for target, value in zip(inputs, values, strict=True):
            target[:rows].copy_(value, non_blocking=True)
            if rows < padded:
                target[rows:].zero_()
        graph.replay()
        return [result[:rows] for result in results]

    def _capture(self, rows: int, device: torch.device, pool: Any) -> tuple[Any, list[Any], list[Any]]:
        inputs = [
            torch.zeros((rows, *(dims or ())), dtype=TORCH_TYPES[place.dtype], device=device)
            for place, dims in zip(self._plan.inputs, self._plan.fixed_dims, strict=True)
        ]
        self._stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(self._stream):
            for _ in range(_WARM_UPS):
                self._program.call(inputs, self._plan.names)
        self._stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        # Other instances go on calling CUDA while this one captures.
        with torch.cuda.graph(graph, pool=pool, stream=self._stream, capture_error_mode="thread_local"):
            results = self._plan.pick(self._program.call(inputs, self._plan.names))
        for output, result in zip(self._plan.outputs, results, strict=True):
            if not isinstance(result, torch.Tensor) or not result.dim() or result.shape[0] != rows:
                raise Unsupported(
                    f"model '{self._plan.model}', {CUDA_GRAPHS}: output '{output.name}' has not one row per row of "
                    "the batch; remove optimization { cuda }"
                )
        return graph, inputs, results
