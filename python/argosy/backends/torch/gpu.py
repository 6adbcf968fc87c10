"""One worker of a PyTorch model on a GPU, with a stream of its own.

Received bytes go through pinned memory to the device and results through pinned memory
back, all ordered by the instance's stream; the host waits once per batch, for an event
of that stream, never for the device. Weights are the device's, shared by its instances.

Thread: execute() on the instance's own; the constructor may run on a loader's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from argosy.backends.contract import Batch
from argosy.backends.torch.graphs import RowGraphs
from argosy.backends.torch.instance import CpuInstance
from argosy.backends.torch.plan import Plan
from argosy.backends.torch.program import Program
from argosy.backends.torch.settings import Settings
from argosy.backends.torch.values import give_output
from argosy.errors import ArgosyError


class GpuInstance(CpuInstance):
    """Follows the plan for every batch on `device` ("cuda:N")."""

    def __init__(self, plan: Plan, program: Program, settings: Settings, slot: Mapping[str, Any], device: str) -> None:
        super().__init__(plan, program, settings, slot)
        self._device = torch.device(device)
        with torch.cuda.device(self._device):
            self._stream = torch.cuda.Stream()
            self._done = torch.cuda.Event(blocking=True)  # a spinning host thread would hold a core
            self._graphs: RowGraphs | None = None
            if settings.cuda_graphs:
                with self.mode():
                    self._graphs = RowGraphs(plan, program, self._device, self._stream)

    def execute(self, batch: Batch) -> None:
        self.begin(batch)
        with torch.cuda.device(self._device), torch.cuda.stream(self._stream), self.mode():
            values = self.values(batch)
            try:
                picked = self._run([self._moved(value) for value in values], batch.rows)
            except ArgosyError:
                raise
            except Exception as error:  # whatever the program's operators or the device raise
                raise self.failed(error, values) from None
            host = [
                self._fetched(value) if wanted else None for value, wanted in zip(picked, batch.wanted, strict=True)
            ]
            self._done.record(self._stream)
            self._done.synchronize()
            for output, value, wanted in zip(self._plan.outputs, host, batch.wanted, strict=True):
                if wanted:
                    give_output(
                        batch, self._plan.model, output.name, output.dtype, value, batched=self._plan.max_rows > 0
                    )
        if self._settings.cache_cleaning:
            torch.cuda.empty_cache()

    def _run(self, values: list[Any], rows: int) -> list[Any]:
        if self._graphs is not None:
            return self._graphs.run(values, rows)
        return self._plan.pick(self._program.call(values, self._names))

    def _moved(self, value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return value
        # PyTorch's host allocator keeps the pinned copy until the stream has read it.
        return value.pin_memory().to(self._device, non_blocking=True)

    def _fetched(self, value: Any) -> Any:
        if not isinstance(value, torch.Tensor) or value.device.type == "cpu":
            return value
        host = torch.empty(value.shape, dtype=value.dtype, pin_memory=True)
        return host.copy_(value, non_blocking=True)
