"""Where a GPU instance's batches lie: on a CUDA device, or on the host that stands for one.

The engine names the compute stream of every GPU instance. The host as a device has none:
it does at once what it is told and its addresses are ordinary ones, so a backend's way
through a device runs without a GPU (`argosy.Server(..., devices="host")`, for tests).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# Of one element, by protocol type. BYTES has no form that a device could read.
ELEMENT_BYTES = {
    "BOOL": 1,
    "UINT8": 1,
    "UINT16": 2,
    "UINT32": 4,
    "UINT64": 8,
    "INT8": 1,
    "INT16": 2,
    "INT32": 4,
    "INT64": 8,
    "FP16": 2,
    "BF16": 2,
    "FP32": 4,
    "FP64": 8,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """`stream`: the native handle of the instance's compute stream; 0: the host stands for the device."""

    ordinal: int
    stream: int

    @property
    def on_host(self) -> bool:
        return self.stream == 0


def placement_of(slot: Mapping[str, Any]) -> Placement | None:
    """None for an instance that is not driven asynchronously: on a CPU, or by a caller without streams."""
    if slot["kind"] != "gpu" or "stream" not in slot:
        return None
    return Placement(ordinal=max(int(slot["device"]), 0), stream=int(slot["stream"]))
