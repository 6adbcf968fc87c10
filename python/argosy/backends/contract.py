"""What a backend written in Python provides.

A package adds one by an entry point in the group `argosy.backends`:

    [project.entry-points."argosy.backends"]
    mine = "my_package:MyBackend"

and a model selects it with `backend: "mine"` in its config.pbtxt. The class is
instantiated without arguments when the first model names it; the keys and values of the
`--backend-config=mine,key=value` flags are given to `configure`, where there is one. Where
it has `known_options`, a line in the log names those it does not. Models with ragged inputs,
batch_input or batch_output are refused unless the class has a true `takes_ragged_batches`.

An instance on a GPU that has `enqueue` is not run but fed: it puts each batch's work on
the instance's stream and returns, and several batches are under way at a time.

Threads: `load` runs on loader threads, several at a time. `make_instance`, and then
`execute` or `enqueue`, once per batch, and `close` run on the instance's own thread,
with the interpreter lock. Release the lock in long computations, as numpy and the
runtimes do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt


class Requests(Protocol):
    """What every batch says of the requests that run together."""

    @property
    def rows(self) -> int:
        """Rows that the batch runs with; 1 for a model without a batch dimension.

        Those of all its requests; on a device with zeros behind them, up to the next of `allowed_rows`.
        """

    @property
    def requests(self) -> int:
        """How many requests are in the batch."""

    @property
    def wanted(self) -> list[bool]:
        """Per model output, in the model's order: does any request ask for it?"""

    @property
    def cancelled(self) -> bool:
        """Whether the caller of any request in the batch has left."""


class Batch(Requests, Protocol):
    """The requests as one tensor per input, in host memory. Valid during execute() only."""

    def input(self, name: str | int) -> npt.NDArray[Any] | None:
        """A read-only array of shape [rows, ...], by name or position; None when nobody sent this optional input.

        A ragged input is flat, [elements of all requests]; batch inputs stand behind those of the requests.
        BYTES inputs are object arrays of `bytes`; BF16 inputs are uint16 arrays.
        """

    def input_memory(self, index: int) -> tuple[int, tuple[int, ...]] | None:
        """Address and shape of a numeric input, for runtimes that bind memory themselves."""

    def allocate_output(self, name: str, dtype: str, shape: tuple[int, ...]) -> int:
        """Address of native memory that becomes this output; fill it before execute() returns."""

    def set_output(self, name: str, array: npt.NDArray[np.generic]) -> None:
        """Gives one output of shape [rows, ...]; numeric arrays are not copied."""


class DeviceBatch(Requests, Protocol):
    """The requests as one tensor per input, in device memory. Valid during enqueue() only.

    Addresses are the device's own. Nothing here waits for the device, but `reserve_outputs` may wait for the
    memory of other batches.
    """

    @property
    def stream(self) -> int:
        """Native handle (cudaStream_t) of the stream to enqueue on, the slot's; 0 where the device has none."""

    def input_memory(self, index: int) -> tuple[int, tuple[int, ...]] | None:
        """Address and shape [rows, ...] of an input; None when nobody sent this optional input.

        The contents are there for work that is enqueued on `stream`, and stay until that work is done.
        """

    def reserve_outputs(self, outputs: Sequence[tuple[str, str, tuple[int, ...]]]) -> list[int]:
        """Addresses of device memory for outputs: (name, dtype, shape) each, all of a batch together, once.

        Work on `stream` writes there. Raises InvalidArgument the second time, for BYTES and for open shapes;
        ResourceExhausted when the device's memory pool has no room.
        """

    def set_device_output(self, name: str, dtype: str, shape: tuple[int, ...], address: int, owner: object) -> None:
        """Gives one output that work on `stream` writes into device memory.

        `owner` keeps the memory alive; it is released, under the interpreter lock and on any thread, once the
        output has been copied out.
        """

    def set_output(self, name: str, array: npt.NDArray[np.generic]) -> None:
        """Gives one output in host memory that is ready now."""


class Instance(Protocol):
    """One worker of a model; its execute() is never called twice at once.

    With a true attribute `any_thread` it may be called from any thread: a short batch is then run by the thread
    that brings it, which saves a wake-up where a model calls models.
    """

    def execute(self, batch: Batch) -> None:
        """Computes every wanted output.

        After an exception that may be one request's fault (InvalidArgument, Internal, and what is no ArgosyError) the
        same requests come again, fewer at a time; alone, it is the request's answer.
        """


class DeviceInstance(Protocol):
    """One worker of a model on a GPU, whose work is enqueued.

    Called so when its slot's kind is "gpu" and none of the model's inputs is BYTES; otherwise execute() is
    called, which an instance may have as well. Optional attributes, read once after it is made:
    `allowed_rows`, ascending numbers of rows that batches are padded to (beyond the last, or without it: as they
    come), and `depth`, how many batches are under way at a time (1 to 64, without it 3). close() comes after the
    last batch was collected.
    """

    def enqueue(self, batch: DeviceBatch) -> None:
        """Puts the batch's work on its stream and says where every wanted output will be (shape [batch.rows, ...]).

        Must not wait for the device. After an exception that may be one request's fault, and after work that
        failed on the device, the same requests come again, fewer at a time, as in Instance.execute().
        """


class LoadedModel(Protocol):
    """A model's shared state (weights), made once however many instances there are."""

    def make_instance(self, slot: Mapping[str, Any]) -> Instance | DeviceInstance:
        """`slot`: name, kind ("cpu", "gpu", "model"), device, index, instances, cpu_threads, and stream: the native
        handle of the stream a GPU instance computes on, which outlives it; 0 on a CPU."""


@runtime_checkable
class Backend(Protocol):
    """Loads models. `spec` is the lowered configuration: name, version, path, artifact, inputs, outputs, ..."""

    def load(self, spec: Mapping[str, Any], slot: Mapping[str, Any]) -> LoadedModel:
        """Raises ArgosyError with the reason when the model cannot be served."""
