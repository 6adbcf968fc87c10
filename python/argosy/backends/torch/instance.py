"""Workers of a PyTorch model: what they have in common, and the one on the CPU.

On the CPU inputs are tensors over the received bytes, outputs the memory that PyTorch
wrote: no copy in either direction. PyTorch lets go of the interpreter lock in every
operator, so instances compute side by side.

Thread: execute() on the instance's own; PyTorch's thread count belongs to the calling
thread, so it is set there, once.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

import torch

from argosy.backends.contract import Batch
from argosy.backends.torch.plan import InputPlace, Plan
from argosy.backends.torch.program import Program, problem_of
from argosy.backends.torch.settings import Settings
from argosy.backends.torch.values import give_output, input_tensor, input_texts
from argosy.errors import ArgosyError, Internal, InvalidArgument, ResourceExhausted


class Worker:
    """One instance's program, and how a call of it is made and fails."""

    def __init__(self, plan: Plan, program: Program, settings: Settings, slot: Mapping[str, Any]) -> None:
        self._plan, self._program, self._settings = plan, program, settings
        self._name = slot["name"]
        self._threads = settings.threads or int(slot["cpu_threads"])
        self._thread = 0  # whose thread count is set
        self._names = plan.names

    def begin(self, rows: int) -> None:
        """Raises Internal for a batch over the limit; makes the thread PyTorch's as the model wants it."""
        if 0 < self._plan.max_rows < rows:
            raise Internal(f"batch size {rows} for '{self._name}', max allowed is {self._plan.max_rows}")
        if self._thread != threading.get_ident():
            self._own_thread()

    def mode(self) -> AbstractContextManager[Any]:
        made: AbstractContextManager[Any] = torch.inference_mode() if self._settings.inference_mode else torch.no_grad()
        return made

    def call(self, values: list[Any]) -> list[Any]:
        """The configured outputs. Raises the program's failure with what it was given."""
        try:
            return self._plan.pick(self._program.call(values, self._names))
        except ArgosyError:
            raise
        except Exception as error:  # whatever the program's operators or the device raise
            raise self.failed(error, values) from None

    def failed(self, error: Exception, values: list[Any]) -> ArgosyError:
        """The program's own reason, and what it was given."""
        given = ", ".join(
            f"'{name}' {str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
            for name, value in zip(self._names, values, strict=True)
            if isinstance(value, torch.Tensor)
        )
        kind = ResourceExhausted if isinstance(error, torch.OutOfMemoryError) else Internal
        return kind(f"model '{self._plan.model}': PyTorch execute failure with {given}: {problem_of(error)}")

    def _own_thread(self) -> None:
        # A thread's first question copies the count that any thread set last: ask before setting it.
        torch.get_num_threads()
        torch.set_num_threads(self._threads)
        torch._C._set_graph_executor_optimize(self._settings.optimized_execution)
        self._thread = threading.get_ident()


class CpuInstance(Worker):
    """Follows the plan for every batch, on host memory."""

    def execute(self, batch: Batch) -> None:
        self.begin(batch.rows)
        with self.mode():
            self._give(batch, self.call(self.values(batch)))

    def values(self, batch: Batch) -> list[Any]:
        """One per argument, in host memory; None for an absent one."""
        return [self._value(batch, place) for place in self._plan.inputs]

    def _value(self, batch: Batch, place: InputPlace) -> Any:
        if place.input < 0:
            return None
        if place.kind == "texts":
            return input_texts(batch, place.input, place.name)
        tensor = input_tensor(batch, place.input, place.dtype)
        if tensor is None:
            return None
        if place.kind != "tensor":
            return number(self._plan.model, place, tensor)
        # What was received may be read by others too.
        return tensor.clone() if place.written else tensor

    def _give(self, batch: Batch, results: list[Any]) -> None:
        for output, value, wanted in zip(self._plan.outputs, results, batch.wanted, strict=True):
            if not wanted:
                continue
            if self._program.stateful and isinstance(value, torch.Tensor):
                value = value.clone()  # it may be the state, which the next call changes
            give_output(batch, self._plan.model, output.name, output.dtype, value, batched=self._plan.max_rows > 0)


def number(model: str, place: InputPlace, tensor: torch.Tensor) -> int | float | bool:
    """One element as the Python number that forward() declares. Raises InvalidArgument for more or fewer elements."""
    if tensor.numel() != 1:
        raise InvalidArgument(
            f"model '{model}', input '{place.name}': expected one {place.kind}, got {tensor.numel()} elements"
        )
    value = tensor.item()
    return bool(value) if place.kind == "bool" else int(value) if place.kind == "int" else float(value)
