"""argosy.Model: a model as one class with two methods.

    import argosy
    import numpy as np
    from numpy.typing import NDArray

    class Doubler(argosy.Model):
        def setup(self) -> None:
            self.factor = 2

        def predict(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
            return x * self.factor

    if __name__ == "__main__":
        Doubler.serve()

Needs no configuration: inputs are predict's arguments, outputs its return annotation.
The same file runs as `argosy serve model.py`, as `python model.py`, and in a repository.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Callable, ClassVar

from argosy.errors import Unsupported
from argosy.worker.host import Host, InferRequest, Parameter

_requests: ContextVar[tuple[Request, ...]] = ContextVar("argosy_model_requests", default=())


@dataclass(frozen=True)
class Request:
    """What a request says besides its tensors."""

    id: str
    parameters: Mapping[str, Parameter]
    _handle: int
    _host: Host

    @property
    def cancelled(self) -> bool:
        """Whether its caller has left, or its time is over: then nobody reads the answer."""
        return self._host.is_cancelled(self._handle)


class Model:
    """Write `predict`, and `setup` where there is something to load.

    predict's arguments and results are numpy arrays, str, bytes, int, float, bool, or lists of those
    (argosy.models.signature). `yield` makes it a stream, `async def` lets requests overlap. With
    `max_batch_size` it gets the rows of many requests at once: arrays with a leading dimension of
    rows, lists with an element per row, and returns as many rows.

    Raise argosy.InvalidArgument (or another argosy error) to choose what the client gets; any
    other exception is an internal error with its message, its traceback in the log.
    """

    max_batch_size: ClassVar[int] = 0  # rows; 0: predict gets one request
    max_queue_delay_us: ClassVar[int] = 0  # how long a batch may wait for company
    instances: ClassVar[int] = 1  # processes
    max_concurrency: ClassVar[int] = 64  # requests at once in an async model

    # Its arguments are the model's inputs, so there is nothing to declare here.
    predict: Callable[..., Any]

    def setup(self) -> None:
        """Called once, in the model's process, before the first request. An exception fails the load."""

    def ready(self) -> bool:
        """Whether the model can work now; asked by readiness probes, from another thread."""
        return True

    def close(self) -> None:
        """Called once, after the last request."""

    @property
    def request(self) -> Request:
        """The request that predict works on. Raises Unsupported in a batch of several; see `requests`."""
        requests = _requests.get()
        if len(requests) != 1:
            raise Unsupported(f"self.request: expected one request, got {len(requests)}; use self.requests")
        return requests[0]

    @property
    def requests(self) -> Sequence[Request]:
        """The requests that predict works on; empty outside of it."""
        return _requests.get()

    @classmethod
    def serve(cls, arguments: Sequence[str] | None = None) -> None:
        """Serves the file that defines this class, as `argosy serve <file>` does, and exits with its code.

        `arguments`: flags of `argosy serve`; those of the command line when not given.
        """
        from argosy.cli import main  # only the server's own interpreter has it

        file = getattr(sys.modules[cls.__module__], "__file__", None)
        if file is None:
            raise Unsupported(f"{cls.__name__}.serve(): expected a class defined in a file, got an interactive one")
        sys.exit(main(["serve", str(file), *(sys.argv[1:] if arguments is None else arguments)]))


def requests_of(host: Host, requests: Sequence[InferRequest]) -> tuple[Request, ...]:
    """For the runner."""
    return tuple(Request(request.id, request.parameters, request.handle, host) for request in requests)


def set_requests(requests: tuple[Request, ...]) -> None:
    """For the runner: what `self.request` answers in this context."""
    _requests.set(requests)
