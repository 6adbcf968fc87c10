"""A model's own metrics, as messages to the server; csrc/worker/metric_desk.h has them.

The server keeps the values, because instances share their series and outlive their
processes. An update is told and not waited for; everything else is asked.

Threads: any.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Callable

from argosy.worker.host import InferResponse
from argosy.worker.wire import put_text

_KINDS = ("counter", "gauge", "histogram")
_OPERATIONS = ("increment", "set", "observe")
_U64 = struct.Struct("<Q")


class ProcessMetrics:
    """The metrics of argosy.worker.host.Host, over the two ways of a host to send."""

    def _ask(self, message: Callable[[bytes], bytearray]) -> InferResponse:
        """Sends message(identity) and waits for the answer, whose failure it raises."""
        raise NotImplementedError

    def _call(self, message: bytearray) -> None:
        """Sends."""
        raise NotImplementedError

    def make_family(self, name: str, description: str, kind: str) -> int:
        def message(identity: bytes) -> bytearray:
            body = bytearray(b"n\0\0\0\0\0\0\0") + identity
            body.append(_KINDS.index(kind))
            for text in (name, description):
                put_text(body, text)
            return body

        return int(self._ask(message).parameters["number"])

    def drop_family(self, family: int) -> None:
        self._drop(0, family)

    def make_metric(self, family: int, labels: Mapping[str, str], buckets: Sequence[float]) -> int:
        def message(identity: bytes) -> bytearray:
            body = bytearray(b"k\0\0\0\0\0\0\0") + identity
            body += struct.pack("<QII", family, len(labels), len(buckets))
            for pair in labels.items():
                for text in pair:
                    put_text(body, text)
            body += bytes(-len(body) & 7)
            return body + struct.pack(f"<{len(buckets)}d", *buckets)

        return int(self._ask(message).parameters["number"])

    def drop_metric(self, metric: int) -> None:
        self._drop(1, metric)

    def update_metric(self, metric: int, operation: str, value: float) -> None:
        body = bytearray(b"u\0\0\0\0\0\0\0")
        body[1] = _OPERATIONS.index(operation)
        self._call(body + struct.pack("<Qd", metric, value))

    def metric_value(self, metric: int) -> float:
        head = bytearray(b"v\0\0\0\0\0\0\0")
        return float(self._ask(lambda identity: head + identity + _U64.pack(metric)).parameters["value"])

    def _drop(self, what: int, number: int) -> None:
        head = bytearray(b"d\0\0\0\0\0\0\0")
        head[1] = what
        self._ask(lambda identity: head + identity + _U64.pack(number))
