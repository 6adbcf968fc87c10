"""The program of a model's process: start, initialise, execute until told to end.

Threads: the main thread runs the model; one more reads answers of other models once
the first of them is called.
Invariant: whatever main() is left by ends the process, whoever still runs in it: requests
that it holds are answered by its end.
"""

from __future__ import annotations

import atexit
import ctypes
import faulthandler
import gc
import json
import os
import struct
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress

from argosy.errors import ArgosyError
from argosy.worker.channel import Channel
from argosy.worker.host import Failure, ModelPlace
from argosy.worker.lifetime import end_with
from argosy.worker.process_host import ProcessHost
from argosy.worker.rings import check_machine, push_waiting
from argosy.worker.wire import read_requests

_PR_SET_NAME = 15
_EXECUTE = ord("E")
_EXIT_FUNCTIONS_SECS = 5.0
_FIRST_LOOK_SECS, _LONGEST_LOOK_SECS = 0.02, 2.0  # how often an idle process looks for memory that came back


def main(server: int) -> None:
    """Runs until the server says so, or ends. `server`: its process id."""
    code = 1
    try:
        _serve(server)
        code = 0
    except SystemExit as error:  # the model's own, or a process's that it forked
        code = _code_of(error)
    except BaseException:
        _quietly(traceback.print_exc)
    finally:
        _leave(code)


def _serve(server: int) -> None:
    end_with(server)
    ctypes.CDLL(None).prctl(_PR_SET_NAME, b"argosy-model", 0, 0, 0)
    faulthandler.enable()
    check_machine()
    # The command line is the model's to read, and ours is not meant for it.
    del sys.argv[1:]
    channel = Channel()
    settings = _settings(channel)
    decoupled = settings["decoupled"] == "1"
    host = ProcessHost(channel, settings["model_name"], decoupled, _alone(settings["model_config"]))
    os.register_at_fork(after_in_child=host.forked)
    try:
        runner = _start(host, settings)
    except ArgosyError as error:
        host.initialized(Failure(error.code, error.message))
        _run_exit_functions(1)
        raise SystemExit(1) from None
    except BaseException as error:
        if host.away:
            raise
        from argosy.models.faults import failure_text

        _quietly(traceback.print_exc)
        host.initialized(Failure("internal", failure_text(error)))
        _run_exit_functions(1)
        raise SystemExit(1) from None
    # What imports and set-up have made stays; no later collection has to walk it.
    gc.collect()
    gc.freeze()
    host.initialized(None, runner.is_ready if runner.has_readiness() else None)

    outputs = tuple(name for name in settings["outputs"].split("\n") if name)
    work, results, memory = channel.work, channel.results, channel.memory
    look = _FIRST_LOOK_SECS
    while True:
        record = work.pop()
        if record is None:
            memory.inputs.flush()
            if memory.outputs.lends():
                # The server does not wake us when it is done with a response; its memory shall not wait for work.
                work.wait(look)
                look = min(2 * look, _LONGEST_LOOK_SECS)
                memory.outputs.collect()
                if memory.inputs.flush():
                    host.wake_server()
            else:
                work.wait()
            continue
        look = _FIRST_LOOK_SECS
        message = channel.open(record)
        if message[0] != _EXECUTE:
            runner.finalize()
            _run_exit_functions(0)
            return
        received = read_requests(message, memory, outputs)
        host.begin(received)
        runner.execute([one.request for one in received])
        if host.away:  # a process that execute forked, and that came back out of it
            return
        answer = channel.fit(host.end(received), results)
        # Before the wait for the next batch, or its memory would be held until then.
        del message, record, received
        memory.inputs.flush()
        push_waiting(results, answer)
        results.wake()


def _start(host: ProcessHost, settings: dict[str, str]):  # type: ignore[no-untyped-def]
    from argosy.models import open_runner

    place = ModelPlace(
        model_file=settings["model_file"],
        directory=settings["directory"],
        version_directory=settings["version_directory"],
        name=settings["model_name"],
        version=int(settings["model_version"]),
        config=settings["model_config"],
        instance_name=settings["instance_name"],
        kind=settings["kind"],
        device=int(settings["device"]),
    )
    threads = int(settings["cpu_threads"])
    runner = open_runner(host, place)
    torch = sys.modules.get("torch")
    if torch is not None and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(threads)
    runner.initialize(
        {
            "model_config": place.config,
            "model_instance_kind": place.kind,
            "model_instance_name": place.instance_name,
            "model_instance_device_id": settings["device"],
            "model_repository": place.directory,
            "model_version": settings["model_version"],
            "model_name": place.name,
        }
    )
    return runner


def _alone(config: str) -> bool:
    whole = json.loads(config) if config else {}
    policy = whole.get("version_policy") or {"latest": {}}
    versions = int((policy.get("latest") or {}).get("num_versions", 1)) if "latest" in policy else 0
    groups = whole.get("instance_group", ({},))
    if any(group.get("kind") in ("KIND_GPU", "KIND_AUTO") and len(group.get("gpus", ())) != 1 for group in groups):
        return False  # one on each GPU, however many there are
    return versions == 1 and sum(int(group.get("count", 1)) for group in groups) == 1


def _settings(channel: Channel) -> dict[str, str]:
    while True:
        record = channel.work.pop()
        if record is not None:
            break
        channel.work.wait()
    message = channel.open(record)
    (count,) = struct.unpack_from("<I", message, 4)
    at = 8
    texts = []
    for _ in range(2 * count):
        (size,) = struct.unpack_from("<I", message, at)
        texts.append(message[at + 4 : at + 4 + size].decode("utf-8", "surrogateescape"))
        at += 4 + size
    return dict(zip(texts[::2], texts[1::2]))


def _code_of(error: SystemExit) -> int:
    if error.code is None or isinstance(error.code, int):
        return (error.code or 0) & 0xFF
    _quietly(lambda: sys.stderr.write(f"{error.code}\n"))
    return 1


def _run_exit_functions(code: int) -> None:
    # Temporary directories go, profiles are written; what waits for somebody else is not waited for.
    impatient = threading.Timer(_EXIT_FUNCTIONS_SECS, _leave, (code,))
    impatient.daemon = True
    impatient.start()
    _quietly(atexit._run_exitfuncs)


def _quietly(action: Callable[[], object]) -> None:
    with suppress(Exception):  # the model may have closed its outputs, or registered what raises
        action()


def _leave(code: int) -> None:
    _quietly(sys.stdout.flush)
    _quietly(sys.stderr.flush)
    # Threads that a model left running must not keep the process.
    os._exit(code)
