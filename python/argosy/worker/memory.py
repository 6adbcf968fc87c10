"""Tensor memory shared with the server: one arena to read, one to allocate from.

Inputs: a tensor is a block of the server's arena or a part of one, such as the message
it came in; the numpy arrays over it hold it, and the server is told when they are gone.
Outputs: a block of ours is held by arrays (`empty`), by the server (a response on its
way), or both.

Threads: any. `__del__` only appends to deques, because it may run at any moment,
also while this thread holds the lock.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import threading
import time
from bisect import bisect_left
from collections import deque
from typing import Any

import numpy as np

from argosy.errors import ResourceExhausted
from argosy.worker.rings import AnyRing

_PAGE = 4096
_KEPT = 64 << 20  # free bytes at the top that stay, for the next tensor
_PATIENCE_SECS = 30.0  # for readers to let go of responses when the arena is full
_RELEASE_AT_ONCE = 1024
_TOKENS = 1 << 63  # above every offset


class Mapping:
    """A descriptor's memory in this process. `address`: where it begins."""

    __slots__ = ("_pin", "address", "map", "size")

    def __init__(self, descriptor: int) -> None:
        self.size = os.fstat(descriptor).st_size
        self.map = mmap.mmap(descriptor, self.size)
        self._pin = ctypes.c_char.from_buffer(self.map)
        self.address = ctypes.addressof(self._pin)


class Lease:
    """One block that an array stands on; its end is noted in `ended`."""

    __slots__ = ("__array_interface__", "_block", "_ended")

    def __init__(self, address: int, size: int, block: int, ended: deque[int]) -> None:
        self.__array_interface__ = {"data": (address, False), "shape": (size,), "typestr": "|u1", "version": 3}
        self._block = block
        self._ended = ended

    def __del__(self) -> None:
        self._ended.append(self._block)


class Inputs:
    """The server's arena, as this process reads it."""

    __slots__ = ("_ended", "_lock", "_ring", "mapping")

    def __init__(self, descriptor: int, returned: AnyRing) -> None:
        self.mapping = Mapping(descriptor)
        self._ended: deque[int] = deque()
        self._ring = returned
        self._lock = threading.Lock()

    def bytes_of(self, block: int, offset: int, size: int) -> np.ndarray[Any, Any]:
        """The bytes as a uint8 array, which holds the block. They are this process's alone: it may write them."""
        return np.asarray(Lease(self.mapping.address + offset, size, block, self._ended))

    def flush(self) -> bool:
        """Tells the server which blocks it has back; False: none."""
        ended = self._ended
        if not ended:
            return False
        with self._lock:
            while ended:
                blocks = [ended.popleft() for _ in range(min(len(ended), _RELEASE_AT_ONCE))]
                record = np.array(blocks, np.uint64).tobytes()
                if not self._ring.push(record):
                    ended.extendleft(reversed(blocks))
                    break
        return True


class Outputs:
    """The arena that this process allocates from."""

    __slots__ = ("_blocks", "_ended", "_free", "_lock", "_passed", "_released", "_touched", "mapping")

    def __init__(self, descriptor: int, released: AnyRing) -> None:
        self.mapping = Mapping(descriptor)
        self._released = released
        self._lock = threading.Lock()
        self._ended: deque[int] = deque()
        self._blocks: dict[int, list[int]] = {}  # offset -> [size, holders]
        self._free: list[tuple[int, int]] = [(0, self.mapping.size)]  # offset, size; rising
        self._touched = 0
        self._passed: dict[int, Any] = {}  # token -> an array over an input that the server reads again

    def allocate(self, size: int) -> int:
        """The offset of a new block with one holder. Raises ResourceExhausted when nobody lets go in time."""
        pages = (max(size, 1) + _PAGE - 1) // _PAGE * _PAGE
        deadline = time.monotonic() + _PATIENCE_SECS
        while True:
            with self._lock:
                self._collect()
                for index, (offset, free) in enumerate(self._free):
                    if free >= pages:
                        if free == pages:
                            del self._free[index]
                        else:
                            self._free[index] = (offset + pages, free - pages)
                        self._blocks[offset] = [pages, 1]
                        self._touched = max(self._touched, offset + pages)
                        return offset
                used = self.mapping.size - sum(free for _, free in self._free)
            if pages > self.mapping.size or time.monotonic() > deadline:
                raise ResourceExhausted(
                    f"a tensor of {size} bytes does not fit in the worker's shared memory of {self.mapping.size} "
                    f"bytes, of which {used} are in use"
                )
            time.sleep(0.001)

    def array(self, offset: int, size: int) -> np.ndarray[Any, Any]:
        """The block as a writable uint8 array, which is its holder."""
        return np.asarray(Lease(self.mapping.address + offset, size, offset, self._ended))

    def hold(self, inside: int) -> int:
        """One more holder of the block around this offset; the block's offset."""
        with self._lock:
            for offset, block in self._blocks.items():
                if offset <= inside < offset + block[0]:
                    block[1] += 1
                    return offset
        raise ResourceExhausted("an array stands on memory that was given back")

    def pass_on(self, data: np.ndarray[Any, Any]) -> int:
        """Holds an array over an input until the server is done with it; the token by which it says so."""
        with self._lock:
            self._collect()
            token = _TOKENS + id(data)
            while token in self._passed:
                token += 1
            self._passed[token] = data
            return token

    def lends(self) -> bool:
        """Whether anybody holds a block, or reads an input that was passed on."""
        return bool(self._blocks or self._passed)

    def collect(self) -> None:
        """Takes back what its holders let go of."""
        with self._lock:
            self._collect()

    def dropped(self, block: int) -> None:
        """One holder less."""
        self._ended.append(block)

    def _collect(self) -> None:
        while self._ended:
            self._drop(self._ended.popleft())
        while True:
            record = self._released.pop()
            if record is None:
                return
            for block in np.frombuffer(record, np.uint64).tolist():
                self._drop(block)

    def _drop(self, offset: int) -> None:
        if offset >= _TOKENS:
            del self._passed[offset]
            return
        block = self._blocks[offset]
        block[1] -= 1
        if block[1]:
            return
        del self._blocks[offset]
        size = block[0]
        free = self._free
        at = bisect_left(free, (offset, 0))
        if at < len(free) and free[at][0] == offset + size:
            size += free.pop(at)[1]
        if at > 0 and sum(free[at - 1]) == offset:
            at -= 1
            offset, before = free.pop(at)
            size += before
        free.insert(at, (offset, size))
        if offset + size >= self._touched > offset + _KEPT:
            keep = offset + _KEPT
            keep -= keep % _PAGE
            self.mapping.map.madvise(mmap.MADV_REMOVE, keep, self._touched - keep)
            self._touched = keep
