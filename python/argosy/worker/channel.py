"""The worker's end of everything it shares with the server; csrc/worker/channel.h has the layout."""

from __future__ import annotations

import struct

from argosy.errors import Internal
from argosy.worker.memory import Inputs, Mapping, Outputs
from argosy.worker.rings import HEAD_BYTES, AnyRing, open_ring
from argosy.worker.windows import Windows
from argosy.worker.wire import Memory

_MAGIC, _VERSION = 0x57475241, 1
_PAGE = 4096
_CONTROL, _INPUTS, _OUTPUTS, _EVENT = 3, 4, 5, 6  # descriptors
_SPILLED = ord("S")
_PLACE = struct.Struct("<QQ")


def _pages(size: int) -> int:
    return (size + _PAGE - 1) // _PAGE * _PAGE


class Channel:
    """Rings, arenas and flags, opened from the descriptors that the server gave this process.

    Raises Internal when the server speaks another version.
    """

    def __init__(self) -> None:
        self._control = Mapping(_CONTROL)
        control = self._control.map
        magic, version, slots, rings = struct.unpack_from("<IIII", control, 0)
        if (magic, version) != (_MAGIC, _VERSION):
            raise Internal(f"the server speaks version {version} of the worker protocol, this package {_VERSION}")
        capacities = struct.unpack_from(f"<{rings}I", control, 16)
        self.flags = memoryview(control)[_PAGE : _PAGE + 4 * slots].cast("I")
        at = _PAGE + _pages(4 * slots)
        opened = []
        for capacity in capacities:
            opened.append(open_ring(control, self._control.address, at, capacity))
            at += _pages(HEAD_BYTES + capacity)
        (windows,) = struct.unpack_from("<I", control, 16 + 4 * rings)
        self.windows = Windows(control, self._control.address, at, windows)
        self.work, self.results, self.calls, self.returns, returned, released = opened
        self.memory = Memory(Inputs(_INPUTS, returned), Outputs(_OUTPUTS, released))
        self.event = _EVENT

    def open(self, record: bytes) -> bytes:
        """The message of a record, wherever it travelled."""
        if not record or record[0] != _SPILLED:
            return record
        block, size = _PLACE.unpack_from(record, 8)
        return self.memory.inputs.bytes_of(block, block, size).tobytes()

    def fit(self, message: bytearray, ring: AnyRing) -> bytearray:
        """The record for a message: itself, or where it lies when it is too long for the ring."""
        if len(message) <= ring.longest:
            return message
        outputs = self.memory.outputs
        block = outputs.allocate(len(message))
        outputs.mapping.map[block : block + len(message)] = bytes(message)
        return bytearray(b"S\0\0\0\0\0\0\0" + _PLACE.pack(block, len(message)))
