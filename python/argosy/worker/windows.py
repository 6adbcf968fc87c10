"""How far the reader of each stream has come; csrc/worker/windows.h has the bytes.

A response counts one unit, and one for each UNIT_BYTES of it. A stream that is more
than WINDOW units ahead of its reader waits.

Threads: any; a sleeper may wake for nothing.
"""

from __future__ import annotations

import mmap

from argosy.worker.rings import wait_word

UNIT_BYTES = 64 << 10
WINDOW = 256
WINDOW_IN_LOOP = 16 * WINDOW  # an event loop that sleeps stops every stream of its model
_SLOT_WORDS = 4


class Windows:
    """The delivered units of every slot."""

    def __init__(self, control: mmap.mmap, address: int, at: int, slots: int) -> None:
        """`address`: where `control` is mapped; `at`: the place of the first of `slots`; none: nothing waits."""
        self._words = memoryview(control)[at : at + 16 * slots].cast("I")
        self._address = address + at
        self._slots = slots

    def ahead(self, handle: int, sent: int) -> int:
        """Units that were sent and have not reached the reader; 0 when the slot is not this request's any more."""
        slot = handle & 0xFFFFFFFF
        if slot >= self._slots or self._words[_SLOT_WORDS * slot + 1] != handle >> 32:
            return 0
        return (sent - self._words[_SLOT_WORDS * slot]) & 0xFFFFFFFF

    def wait(self, handle: int, sent: int, limit: int, seconds: float) -> None:
        """Sleeps until less than `limit` units are ahead, for `seconds` at most."""
        at = _SLOT_WORDS * (handle & 0xFFFFFFFF)
        self._words[at + 2] = 1
        delivered = self._words[at]
        if self.ahead(handle, sent) >= limit:
            # The kernel compares the word after a fence of its own: nothing delivered meanwhile is slept over.
            wait_word(self._address + 4 * at, delivered, seconds)
        self._words[at + 2] = 0
