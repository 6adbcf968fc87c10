"""The worker's ends of the rings in shared memory; csrc/worker/ring.h has the bytes.

A record is written before the tail that shows it, and read before the head that
frees it. Plain stores of aligned words keep that order on x86-64, which is why
other machines are refused: this package has no fences to offer.

Threads: one at a time per ring; callers lock.
"""

from __future__ import annotations

import ctypes
import mmap
import platform
import time
from typing import TYPE_CHECKING, Union

from argosy.errors import Unsupported
from argosy.worker.native import native

if TYPE_CHECKING:
    from argosy._worker import Ring as NativeRing

HEAD_BYTES = 192
_WRAP = 0xFFFFFFFF
_FUTEX_WAIT, _FUTEX_WAKE = 0, 1
_SYS_FUTEX = 202  # x86-64

_libc = ctypes.CDLL(None)
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long
_syscall.argtypes = [
    ctypes.c_long,
    ctypes.c_void_p,
    ctypes.c_int,
    ctypes.c_uint32,
    ctypes.c_void_p,
    ctypes.c_void_p,
    ctypes.c_uint32,
]


class _Timespec(ctypes.Structure):
    _fields_ = [("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long)]


def check_machine() -> None:
    """Raises Unsupported where the rings' memory order does not hold."""
    if platform.machine() not in ("x86_64", "AMD64"):
        raise Unsupported(f"Python models in worker processes need x86-64, and this machine is {platform.machine()}")


def wait_word(address: int, value: int, seconds: float | None = None) -> None:
    """Sleeps while the word there is `value`, until it is woken, the interpreter lock released."""
    until = None
    if seconds is not None:
        until = ctypes.byref(_Timespec(int(seconds), int(seconds % 1 * 1e9)))
    _syscall(_SYS_FUTEX, address, _FUTEX_WAIT, value, until, None, 0)


class Ring:
    """One ring, of which this process is the writer or the reader."""

    __slots__ = ("_address", "_capacity", "_data", "_head", "_position", "_sleeping", "_tail", "longest")

    def __init__(self, control: mmap.mmap, address: int, at: int, capacity: int) -> None:
        """`address`: where `control` is mapped; `at`: the ring's place in it."""
        view = memoryview(control)
        self._tail = view[at : at + 4].cast("I")
        self._head = view[at + 64 : at + 68].cast("I")
        self._sleeping = view[at + 128 : at + 132].cast("I")
        self._data = view[at + HEAD_BYTES : at + HEAD_BYTES + capacity]
        self._address = address + at
        self._capacity = capacity
        self._position = 0  # bytes written, or read, so far
        self.longest = capacity // 2 - 8

    def push(self, record: bytes | bytearray) -> bool:
        """False: no room now. `record` is at most `longest` bytes."""
        size = len(record)
        need = (size + 11) & ~7
        capacity = self._capacity
        position = self._position
        at = position & (capacity - 1)
        skip = capacity - at if capacity - at < need else 0
        used = (position - self._head[0]) & 0xFFFFFFFF
        if capacity - used < need + skip:
            return False
        data = self._data
        if skip:
            data[at : at + 4] = b"\xff\xff\xff\xff"
            at = 0
        data[at : at + 4] = size.to_bytes(4, "little")
        data[at + 4 : at + 4 + size] = record
        position = (position + skip + need) & 0xFFFFFFFF
        self._position = position
        self._tail[0] = position
        return True

    def reader_sleeps(self) -> bool:
        """True: it cannot be read without a fence."""
        return True

    def wake(self) -> None:
        """Wakes the reader. Always a system call: whether it sleeps cannot be read without a fence."""
        _syscall(_SYS_FUTEX, self._address, _FUTEX_WAKE, 0x7FFFFFFF, None, None, 0)

    def pop(self) -> bytes | None:
        """A copy of the next record, None when there is none."""
        while True:
            position = self._position
            if self._tail[0] == position:
                return None
            capacity = self._capacity
            at = position & (capacity - 1)
            size = int.from_bytes(self._data[at : at + 4], "little")
            if size == _WRAP:
                self._position = (position + capacity - at) & 0xFFFFFFFF
                self._head[0] = self._position
                continue
            record = bytes(self._data[at + 4 : at + 4 + size])
            self._position = (position + ((size + 11) & ~7)) & 0xFFFFFFFF
            self._head[0] = self._position
            return record

    def wait(self, seconds: float | None = None) -> None:
        """Sleeps until there may be a record, the interpreter lock released."""
        position = self._position
        self._sleeping[0] = 1
        # The kernel compares the word after a fence of its own: nothing pushed meanwhile is slept over.
        wait_word(self._address, position, seconds)
        self._sleeping[0] = 0


AnyRing = Union[Ring, "NativeRing"]  # the second one waits awake for a moment, and has fences


def open_ring(control: mmap.mmap, address: int, at: int, capacity: int) -> AnyRing:
    """The ring at `at` of `control`, which is mapped at `address`; the faster kind where there is one."""
    if native is None:
        return Ring(control, address, at, capacity)
    made: NativeRing = native.Ring(control, address, at, capacity)
    return made


def push_waiting(ring: AnyRing, record: bytes | bytearray) -> None:
    """Pushes, waiting while the reader is behind. Called with the ring's lock held."""
    pause = 0.0001
    while not ring.push(record):
        time.sleep(pause)
        pause = min(pause * 2, 0.01)
