"""A process that the server started ends when the server does, however that ends.

It says so to the kernel itself, as the first thing it does.
"""

from __future__ import annotations

import ctypes
import os
import signal

from argosy.worker.native import native

_PR_SET_PDEATHSIG = 1


def end_with(server: int) -> None:
    """From now on, with what the model starts in this process group. `server`: its process id.

    Without native code this process alone. To be called by the process's leader, which started
    none yet; ends it at once when the server is gone already.
    """
    end_group_on = getattr(native, "end_group_on", None)
    last_word = signal.SIGKILL if end_group_on is None else signal.SIGRTMAX
    if end_group_on is not None:
        end_group_on(last_word)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, last_word, 0, 0, 0)
    if os.getppid() != server:  # it ended before the line above
        os._exit(1)
