"""The seam inside a model's own process: what a model may ask of it (Host), and what it asks of a model (ModelRunner).

Below it lie the rings, arenas and the main loop of this package; above it the two
kinds of Python models (argosy.models). Neither knows the other, so models are tested
with a Host made of plain Python.

Runs under any CPython 3.9+ with numpy and nothing else. Values are named tuples: one
is made per tensor and per request, and a frozen dataclass costs five times as much.

Threads: Host may be called from every thread of the process. ModelRunner is called
from one thread, apart from is_ready().
Invariant: each handle given to execute() gets one final respond() or one reschedule(), never both, never two.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Optional, Protocol, Union

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Parameter = Union[bool, int, float, str]
CorrelationId = Union[int, str]

# InferRequest.flags and InferCall.flags.
SEQUENCE_START = 1
SEQUENCE_END = 2


class TensorValue(NamedTuple):
    """One tensor in host memory.

    `dtype` as on the wire ("FP32", "BYTES", "BF16"). `data` has `shape`, in C order: BYTES is an object
    array of `bytes`; BF16 is a uint16 array of the raw bits; every other type is numpy's own. Inputs are
    this model's alone and may be written; their memory lives for as long as they are referenced.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    data: Array


class Failure(NamedTuple):
    """Why there is no result. `code`: a key of argosy.errors.BY_CODE ("not_found")."""

    code: str
    message: str


class InferRequest(NamedTuple):
    """One request that this model shall answer. `handle` names it towards the Host."""

    handle: int
    inputs: tuple[TensorValue, ...]
    requested_outputs: tuple[str, ...] = ()  # always filled: all outputs of the model when the client named none
    id: str = ""
    correlation_id: CorrelationId = 0
    flags: int = 0
    priority: int = 0
    timeout_us: int = 0  # what the client allowed at first; 0: no limit
    parameters: Mapping[str, Parameter] = {}  # the client's own, forwarded headers among them
    traceparent: str = ""  # W3C trace context; "": not traced


class InferResponse(NamedTuple):
    """One answer: outputs, or `failure`. For the model's caller, and from a model that was called."""

    outputs: tuple[TensorValue, ...] = ()
    parameters: Mapping[str, Parameter] = {}
    failure: Failure | None = None


class InferCall(NamedTuple):
    """A request from this model to another one of the server.

    `parents`: handles of the requests it is made for. Its deadline is the latest of theirs, and of
    `timeout_us` from now; its priority, where it has none of its own, the most urgent of theirs; it is
    cancelled when all of them are; its trace hangs below the first.
    """

    model: str
    inputs: tuple[TensorValue, ...]
    version: int = -1  # -1: by the called model's version policy
    requested_outputs: tuple[str, ...] = ()  # empty: all
    id: str = ""
    correlation_id: CorrelationId = 0
    flags: int = 0
    priority: int = 0
    timeout_us: int = 0
    parameters: Mapping[str, Parameter] = {}
    parents: tuple[int, ...] = ()


# A response and whether it is the last. (None, True): the end of a stream without a further response.
OnResponse = Callable[[Optional[InferResponse], bool], None]


class ModelPlace(NamedTuple):
    """Where a model lies and which instance this is; what `argosy.models.open_runner` is given.

    `model_file` is the Python file itself, `directory` the model's directory (with config.pbtxt, if it
    has one), `version_directory` the version's; both are on sys.path while the model runs. `config` is
    the completed model configuration as JSON text (proto field names); before auto-complete the one
    that was read.
    """

    model_file: str
    directory: str
    version_directory: str
    name: str
    version: int
    config: str
    instance_name: str = ""
    kind: str = "CPU"  # CPU, GPU or MODEL
    device: int = 0


class Host(Protocol):
    """What the process does for the model in it. Raises argosy.errors.ArgosyError with the server's code and reason."""

    # The requests of this model.

    def respond(self, handle: int, response: InferResponse | None, final: bool) -> None:
        """Sends one answer at once. Tensor bytes are copied, or taken over when they came from empty() or an
        input, before this returns. `response` is None only together with `final`. Blocks while a slow reader
        holds the stream back (in an event loop only when it is far behind; see wait_room); after the caller
        left it returns without effect. Raises InvalidArgument, sending nothing, for a tensor that cannot be
        sent (unknown dtype, shape other than its data's)."""

    def has_room(self, handle: int) -> bool:
        """Whether a response that is not the last could leave without waiting for the stream's reader."""

    def wait_room(self, handle: int) -> None:
        """Waits until has_room(), or nobody waits for the response any more."""

    def reschedule(self, handle: int) -> None:
        """Gives the request back to the scheduler: it comes again in a later execute(), as it came, but for what
        was written over a large input: that is the memory it was received into."""

    def is_cancelled(self, handle: int) -> bool:
        """Whether the caller left, cancelled, or ran out of time. Cheap; False after the final answer."""

    def empty(self, shape: Sequence[int], dtype: npt.DTypeLike) -> Array:
        """A writable array of uninitialised memory that a response can carry without a copy."""

    # Other models of the server.

    def infer(self, call: InferCall) -> InferResponse:
        """Calls a model and waits, the interpreter lock released. A failure is in the response, not raised; a model
        that answers with several responses, or none, is "unsupported" here."""

    def infer_async(self, call: InferCall, on_response: OnResponse) -> int:
        """Starts a call and returns its number. `on_response` is called once per response, in order, from a thread
        of the process and possibly before this returns; it must be quick and raise nothing. The last call has
        final=True; a failure ends the stream."""

    def cancel(self, call: int) -> None:
        """Withdraws a call; its last answer is then a "cancelled" failure, or what was already on its way."""

    def load_model(self, name: str, config: str, files: Mapping[str, bytes]) -> None:
        """Loads or reloads. `config`: JSON text that overrides config.pbtxt, "" for none. `files`: path to content."""

    def unload_model(self, name: str, unload_dependents: bool) -> None:
        """Asks for a model to be withdrawn."""

    def is_model_ready(self, name: str, version: str) -> bool:
        """Whether it can be called now; False for an unknown one. `version` "": any."""

    # The server's log and metrics.

    def log(self, level: str, message: str, handle: int | None = None) -> None:
        """`level`: "error", "warning", "info", "verbose". `handle` adds the request's id to the line."""

    def make_family(self, name: str, description: str, kind: str) -> int:
        """`kind`: "counter", "gauge", "histogram". The same name, description and kind give the same family.
        Raises AlreadyExists when the name is taken otherwise."""

    def drop_family(self, family: int) -> None:
        """Forgets it. Raises InvalidArgument while it has metrics."""

    def make_metric(self, family: int, labels: Mapping[str, str], buckets: Sequence[float]) -> int:
        """One time series. `buckets`: upper bounds, rising, for a histogram; else empty."""

    def drop_metric(self, metric: int) -> None:
        """Its series disappears when nobody else holds it."""

    def update_metric(self, metric: int, operation: str, value: float) -> None:
        """`operation`: "increment", "set" or "observe"."""

    def metric_value(self, metric: int) -> float:
        """What a counter or gauge shows now."""


class ModelRunner(Protocol):
    """One instance of one Python model, whichever class its author wrote."""

    def auto_complete(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """The configuration with what the model itself knows; in a process of its own, before initialize().
        Raises ArgosyError with the reason."""

    def initialize(self, args: Mapping[str, str]) -> None:
        """Loads the model. Raises ArgosyError with the text that the load shall fail with."""

    def execute(self, requests: Sequence[InferRequest]) -> None:
        """Answers through the Host. When it returns, the next batch may come; requests of decoupled and async
        models may still be owed an answer. Raises nothing but faults of this package, SystemExit and
        KeyboardInterrupt: what a model raises becomes the answer of its requests."""

    def finalize(self) -> None:
        """The end: waits for what is still owed, then lets the model clean up. Raises nothing."""

    def has_readiness(self) -> bool:
        """Whether the model has something to say about its readiness; after initialize()."""

    def is_ready(self) -> bool:
        """Asks the model, True when it has no opinion. Any thread; may block as long as the model does."""


# What the data of a TensorValue is made of; BYTES is `object`.
NUMPY_TYPES: Mapping[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype(np.uint8),
    "UINT16": np.dtype(np.uint16),
    "UINT32": np.dtype(np.uint32),
    "UINT64": np.dtype(np.uint64),
    "INT8": np.dtype(np.int8),
    "INT16": np.dtype(np.int16),
    "INT32": np.dtype(np.int32),
    "INT64": np.dtype(np.int64),
    "FP16": np.dtype(np.float16),
    "FP32": np.dtype(np.float32),
    "FP64": np.dtype(np.float64),
    "BF16": np.dtype(np.uint16),
    "BYTES": np.dtype(object),
}
