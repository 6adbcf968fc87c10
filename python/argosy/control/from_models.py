"""Loading and unloading on behalf of the models in worker processes.

Every wish has a thread of its own for as long as it takes: a model that loads another
while it is being loaded itself holds one, and a pool of any size could be full of those.
What cannot end is refused at once: a model that, while it is being loaded, waits for
a load that waits for its own.

Thread: handle() runs on the one Python thread of the core and does not keep it.
"""

from __future__ import annotations

import json
import logging
import threading
import weakref
from collections.abc import Callable, Mapping
from typing import Any

from argosy.errors import ArgosyError, Internal, InvalidArgument, Unavailable
from argosy.repository import Repository
from argosy.repository.overrides import overrides_from

_log = logging.getLogger(__name__)
Reply = Callable[[ArgosyError | None], None]
_FILE = "file:"


class ModelWishes:
    """`changed` is called after each change of what is served, before the model hears of it."""

    def __init__(self, repository: Repository, changed: Callable[[], None]) -> None:
        self._repository = repository
        self._changed = changed
        self._lock = threading.Lock()
        self._stopped = False
        self._threads: set[threading.Thread] = set()
        self._waits: list[tuple[str, str]] = []  # a model that is being loaded -> the one it waits for

    def handle(self, verb: str, arguments: Mapping[str, Any], reply: Reply) -> None:
        """`verb` is "load" or "unload"; `reply` is called once, from any thread."""
        thread = threading.Thread(target=self._run, args=(verb, arguments, reply), name="model-control", daemon=True)
        with self._lock:
            stopped = self._stopped
            if not stopped:
                self._threads.add(thread)
                thread.start()
        if stopped:
            reply(Unavailable("the server is stopping"))

    def weakly(self) -> Callable[[str, Mapping[str, Any], Reply], None]:
        """handle(), for the engine to keep: the repository keeps the engine, and a ring would never be freed."""
        method = weakref.WeakMethod(self.handle)

        def handle(verb: str, arguments: Mapping[str, Any], reply: Reply) -> None:
            alive = method()
            if alive is None:
                reply(Unavailable("the server is gone"))
            else:
                alive(verb, arguments, reply)

        return handle

    def stop(self) -> None:
        """Refuses what comes from now on."""
        with self._lock:
            self._stopped = True

    def join(self) -> None:
        """Waits for what was begun; the workers it waits for must have been ended."""
        while True:
            with self._lock:
                thread = next(iter(self._threads), None)
            if thread is None:
                return
            thread.join()

    def _run(self, verb: str, arguments: Mapping[str, Any], reply: Reply) -> None:
        answer: ArgosyError | None = None
        try:
            self._grant(verb, arguments)
        except ArgosyError as error:
            answer = error
        except Exception as error:
            _log.exception("%s of a model on behalf of another failed", verb)
            answer = Internal(f"{type(error).__name__}: {error}")
        finally:
            try:
                reply(answer)
            finally:
                with self._lock:
                    self._threads.discard(threading.current_thread())

    def _grant(self, verb: str, arguments: Mapping[str, Any]) -> None:
        name, caller = str(arguments["model"]), str(arguments["caller"])
        wait = (caller, name) if arguments["initializing"] else None
        if wait is not None:
            self._begin_wait(wait, verb)
        try:
            if verb == "load":
                self._repository.load(name, overrides_from(_parameters(arguments)))
            elif verb == "unload":
                self._repository.unload(name, unload_dependents=bool(arguments["unload_dependents"]))
            else:
                raise InvalidArgument(f"unknown wish '{verb}', expected load or unload")
            self._changed()
        finally:
            if wait is not None:
                with self._lock:
                    self._waits.remove(wait)

    def _begin_wait(self, wait: tuple[str, str], verb: str) -> None:
        caller, name = wait
        with self._lock:
            reached, chain = {name}, [name]
            while chain:
                at = chain.pop()
                if at == caller:
                    raise InvalidArgument(
                        f"cannot {verb} model '{name}' from '{caller}', which is being loaded itself: "
                        "each would wait for the other"
                    )
                further = {target for source, target in self._waits if source == at} - reached
                reached |= further
                chain += further
            self._waits.append(wait)


def _parameters(arguments: Mapping[str, Any]) -> dict[str, str | bytes]:
    parameters: dict[str, str | bytes] = {}
    if arguments["config"]:
        config = arguments["config"]
        parameters["config"] = config if isinstance(config, str) else json.dumps(config)
    for path, content in arguments["files"].items():
        parameters[path if path.startswith(_FILE) else _FILE + path] = content
    return parameters
