"""What a backend written in Python provides.

A package adds one by an entry point in the group `argosy.backends`:

    [project.entry-points."argosy.backends"]
    mine = "my_package:MyBackend"

and a model selects it with `backend: "mine"` in its config.pbtxt. The class is
instantiated without arguments when the first model names it; `options` of the
`--backend-config=mine,key=value` flags are given to `configure`, where there is one.

Threads: `load` and `make_instance` run on loader threads, several at a time;
`execute` runs on the instance's own thread, with the interpreter lock, once per
batch. Release the lock in long computations, as numpy and the runtimes do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt


class Batch(Protocol):
    """The requests that run together, as one tensor per input. Valid during execute() only."""

    @property
    def rows(self) -> int:
        """Batch rows of all requests together; 1 for a model without a batch dimension."""

    @property
    def requests(self) -> int:
        """How many requests are in the batch."""

    @property
    def wanted(self) -> list[bool]:
        """Per model output, in the model's order: does any request ask for it?"""

    @property
    def cancelled(self) -> bool:
        """Whether the caller of any request in the batch has left."""

    def input(self, name: str | int) -> npt.NDArray[Any] | None:
        """A read-only array of shape [rows, ...], by name or position; None when nobody sent this optional input.

        BYTES inputs are object arrays of `bytes`; BF16 inputs are uint16 arrays.
        """

    def input_memory(self, index: int) -> tuple[int, tuple[int, ...]] | None:
        """Address and shape of a numeric input, for runtimes that bind memory themselves."""

    def allocate_output(self, name: str, dtype: str, shape: tuple[int, ...]) -> int:
        """Address of native memory that becomes this output; fill it before execute() returns."""

    def set_output(self, name: str, array: npt.NDArray[np.generic]) -> None:
        """Gives one output of shape [rows, ...]; numeric arrays are not copied."""


class Instance(Protocol):
    """One worker of a model; its execute() is never called twice at once."""

    def execute(self, batch: Batch) -> None:
        """Computes every wanted output. An exception is the answer of every request in the batch."""


class LoadedModel(Protocol):
    """A model's shared state (weights), made once however many instances there are."""

    def make_instance(self, slot: Mapping[str, Any]) -> Instance:
        """`slot`: name, kind ("cpu", "gpu", "model"), device, index, instances, cpu_threads."""


@runtime_checkable
class Backend(Protocol):
    """Loads models. `spec` is the lowered configuration: name, version, path, artifact, inputs, outputs, ..."""

    def load(self, spec: Mapping[str, Any], slot: Mapping[str, Any]) -> LoadedModel:
        """Raises ArgosyError with the reason when the model cannot be served."""
