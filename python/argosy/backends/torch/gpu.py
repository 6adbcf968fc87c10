"""A worker on a GPU for programs that take host values: strings, or single numbers.

Such values cannot be read on a device, so the engine runs these models like those on a
CPU and this worker moves the tensors itself: received bytes go through pinned memory to
the device and results through pinned memory back, ordered by a stream of its own; the
host waits once per batch, for an event of that stream. Other programs run as
`device.DeviceInstance`.

Thread: execute() on the instance's own; the constructor may run on a loader's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from argosy.backends.contract import Batch
from argosy.backends.torch.instance import CpuInstance
from argosy.backends.torch.plan import Plan
from argosy.backends.torch.program import Program
from argosy.backends.torch.settings import Settings
from argosy.backends.torch.values import give_output


class GpuInstance(CpuInstance):
    """Follows the plan for every batch on `device` ("cuda:N")."""

    def __init__(self, plan: Plan, program: Program, settings: Settings, slot: Mapping[str, Any], device: str) -> None:
        super().__init__(plan, program, settings, slot)
        self._device = torch.device(device)
        with torch.cuda.device(self._device):
            self._stream = torch.cuda.Stream()
            self._done = torch.cuda.Event(blocking=True)  # a spinning host thread would hold a core

    def execute(self, batch: Batch) -> None:
        self.begin(batch.rows)
        with torch.cuda.device(self._device), torch.cuda.stream(self._stream), self.mode():
            picked = self.call([self._moved(value) for value in self.values(batch)])
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
