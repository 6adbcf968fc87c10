"""MetricFamily and Metric: a model's own metrics on the server's metrics page.

A series lives as long as its Metric object, a family as long as its MetricFamily; a
family that dies takes its series along, and their objects say so when they are used.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import Any, TypeVar

from argosy.errors import ArgosyError
from argosy.models.ambient import Binding, bound
from argosy.models.triton_compat.errors import TritonModelException, model_exception

_T = TypeVar("_T")
_ORPHAN = (
    "Invalid metric operation as the corresponding 'MetricFamily' has been deleted. The 'MetricFamily' object should "
    "be deleted AFTER its corresponding 'Metric' objects have been deleted."
)


class MetricKind(IntEnum):
    COUNTER = 0
    GAUGE = 1
    HISTOGRAM = 2


class MetricFamily:
    """`MetricFamily(name, description, kind)`; the same three again give the same family."""

    MetricKind = MetricKind
    COUNTER = MetricKind.COUNTER
    GAUGE = MetricKind.GAUGE
    HISTOGRAM = MetricKind.HISTOGRAM

    def __init__(self, name: str, description: str, kind: int) -> None:
        for value, what in ((name, "name"), (description, "description")):
            if not isinstance(value, str):
                raise TypeError(f"MetricFamily: expected {what} to be str, got {type(value)}")
        self._binding: Binding = bound()
        self._kind = MetricKind(kind)
        self._series: set[int] = set()
        self._family = _told(
            "Error when creating MetricFamily: ",
            lambda: self._binding.host.make_family(name, description, self._kind.name.lower()),
        )
        self._binding.deferred.prepare()

    def Metric(self, labels: Any = None, buckets: Any = None) -> Metric:
        """A series. `labels`: dict of str to str. `buckets`: rising upper bounds, for a histogram and only there."""
        labels = {} if labels is None else labels
        if not isinstance(labels, dict):
            raise TritonModelException("Failed to create metric. Labels must be a dictionary.")
        for key, value in labels.items():
            if not isinstance(key, str) or not isinstance(value, str):
                raise TritonModelException(
                    f"Failed to create metric. Labels must be str to str, got {type(key)} to {type(value)}."
                )
        bounds = self._bounds(buckets)
        number = _told(
            "Error when creating Metric: ", lambda: self._binding.host.make_metric(self._family, labels, bounds)
        )
        self._series.add(number)
        return Metric(self, number)

    def _bounds(self, buckets: Any) -> Sequence[float]:
        if self._kind is not MetricKind.HISTOGRAM:
            if buckets is not None:
                raise TritonModelException("Failed to create metric. Unexpected buckets found.")
            return ()
        if buckets is None:
            raise TritonModelException("Failed to create metric. Missing required buckets.")
        if not isinstance(buckets, list):
            raise TritonModelException("Failed to create metric. Buckets must be a list.")
        bounds = tuple(float(bound) for bound in buckets)
        if any(low >= high for low, high in zip(bounds, bounds[1:])):
            raise TritonModelException(f"Failed to create metric. Buckets must rise, got {buckets}.")
        return bounds

    def __del__(self) -> None:
        if not hasattr(self, "_family"):
            return
        host, family, series = self._binding.host, self._family, tuple(self._series)

        def drop() -> None:
            for number in series:
                _quiet(lambda number=number: host.drop_metric(number))  # type: ignore[misc]
            _quiet(lambda: host.drop_family(family))

        self._binding.deferred.put(drop)


class Metric:
    """One series. Made by MetricFamily.Metric()."""

    def __init__(self, family: MetricFamily, number: int) -> None:
        self._family = weakref.ref(family)
        self._kind = family._kind
        self._binding = family._binding
        self._number = number

    def increment(self, value: float) -> None:
        """Counters refuse what is negative, histograms refuse it at all."""
        if self._kind is MetricKind.COUNTER and value < 0:
            raise TritonModelException(
                "Failed to increment metric value: TRITONSERVER_METRIC_KIND_COUNTER can only be incremented "
                f"monotonically by non-negative values, got {value}"
            )
        self._update("increment", "Failed to increment metric value: ", value, MetricKind.COUNTER, MetricKind.GAUGE)

    def set(self, value: float) -> None:
        """Gauges only."""
        self._update("set", "Failed to set metric value: ", value, MetricKind.GAUGE)

    def observe(self, value: float) -> None:
        """Histograms only."""
        self._update("observe", "Failed to observe metric value: ", value, MetricKind.HISTOGRAM)

    def value(self) -> float:
        """Counters and gauges."""
        what = "Failed to get metric value: "
        self._check(what, MetricKind.COUNTER, MetricKind.GAUGE)
        return _told(what, lambda: self._binding.host.metric_value(self._number))

    def _update(self, operation: str, what: str, value: float, *kinds: MetricKind) -> None:
        self._check(what, *kinds)
        _told(what, lambda: self._binding.host.update_metric(self._number, operation, float(value)))

    def _check(self, what: str, *kinds: MetricKind) -> None:
        if self._family() is None:
            raise TritonModelException(_ORPHAN)
        if self._kind not in kinds:
            raise TritonModelException(f"{what}TRITONSERVER_METRIC_KIND_{self._kind.name} does not support it")

    def __del__(self) -> None:
        family = self._family() if hasattr(self, "_number") else None
        if family is None:
            return
        family._series.discard(self._number)
        host, number = self._binding.host, self._number
        self._binding.deferred.put(lambda: _quiet(lambda: host.drop_metric(number)))


def _told(what: str, action: Callable[[], _T]) -> _T:
    try:
        return action()
    except ArgosyError as error:
        raise model_exception(what, error) from error


def _quiet(action: Callable[[], None]) -> None:
    try:
        action()
    except ArgosyError as error:
        bound().host.log("warning", f"dropping a metric: {error.message}")
