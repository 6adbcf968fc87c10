"""The native load generator as a child process: where it is, and running it.

`measure` yields one `Measurement` as soon as its line arrives. Closing the iterator
early, or an interrupt, ends the child, which prints what it has.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from .measurement import BenchError, Measurement

ENVIRONMENT = "ARGOSY_LOAD"


def find_generator() -> Path:
    """Path of `argosy-load`: what `ARGOSY_LOAD` names, else installed with the package, else on `PATH`.

    Raises `BenchError` when there is none.
    """
    named = os.environ.get(ENVIRONMENT)
    if named:
        if not os.access(named, os.X_OK) or not Path(named).is_file():
            raise BenchError(ENVIRONMENT, f"'{named}' is no executable file")
        return Path(named)
    beside = Path(__file__).resolve().parent.parent / "bin" / "argosy-load"
    if beside.is_file():
        return beside
    # An editable install has what is compiled in another place than the sources.
    core = importlib.util.find_spec("argosy._core")
    if core is not None and core.origin and (installed := Path(core.origin).parent / "bin" / "argosy-load").is_file():
        return installed
    on_path = shutil.which("argosy-load")
    if on_path:
        return Path(on_path)
    raise BenchError("argosy-load", f"not found at {beside} nor on PATH; build it, or name it in {ENVIRONMENT}")


def measure(flags: Sequence[str], *, while_waiting: Callable[[], None] | None = None) -> Iterator[Measurement]:
    """Runs the generator with `flags` and yields its results one by one.

    `while_waiting` is called about four times a second until the next result.
    Raises `BenchError` with the generator's own words when it fails.
    """
    generator = str(find_generator())
    complaints: list[str] = []
    # No signal may come between the start and the care for what was started; the generator takes its own back.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    try:
        process = subprocess.Popen(
            [generator, *flags],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # An interrupt at the terminal is passed on by us alone, so that it arrives once.
            start_new_session=True,
        )
    except BaseException:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        raise
    assert process.stdout is not None and process.stderr is not None
    reader = threading.Thread(target=complaints.extend, args=(process.stderr,), daemon=True)
    reader.start()
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        with _ticking(while_waiting):
            for line in process.stdout:
                yield Measurement.from_line(line)
        code = process.wait()
        reader.join()
        if code != 0:
            raise BenchError(
                "argosy-load", "".join(complaints).strip().removeprefix("argosy-load: ") or f"exit code {code}"
            )
    except KeyboardInterrupt:
        process.send_signal(signal.SIGINT)
        for line in process.stdout:
            yield Measurement.from_line(line)
        raise
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
        process.stdout.close()
        reader.join()
        process.stderr.close()


@contextlib.contextmanager
def _ticking(tick: Callable[[], None] | None) -> Iterator[None]:
    if tick is None:
        yield
        return
    stop = threading.Event()

    def run() -> None:
        while not stop.wait(0.25):
            tick()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
