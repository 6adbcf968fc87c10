"""Backend names to backends: our own, and those that installed packages add.

A backend's module is imported when a model first names it, so that a server loads
only the runtimes it uses.
"""

from __future__ import annotations

import importlib
import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, PackageNotFoundError, distribution, entry_points

from argosy.backends.contract import Backend
from argosy.config import Inspector
from argosy.errors import ArgosyError, InvalidArgument, NotFound

ENTRY_POINT_GROUP = "argosy.backends"
_OWN = {
    "onnxruntime": "argosy.backends.onnxruntime:OnnxRuntimeBackend",
    "pytorch": "argosy.backends.torch:TorchBackend",
    "tensorrt": "argosy.backends.tensorrt:TensorRtBackend",
}
_FOR_ANY = ("default-max-batch-size",)  # what the server itself makes of a backend's options
_NATIVE = frozenset({"identity", "python"})
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class BackendRegistry:
    """`options`: backend -> key -> value of --backend-config; "" holds what concerns every backend.

    `add` hands a made backend to the core under its name.
    """

    add: Callable[[str, Backend], None]
    options: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    _made: dict[str, Backend] = field(default_factory=dict)
    _warned: set[str] = field(default_factory=set)  # native backends whose options have been looked at
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def ensure(self, name: str) -> None:
        """Makes the backend known to the core. Raises NotFound naming those there are; InvalidArgument when its
        package does not import."""
        with self._lock:
            if name in self._made or name in self._warned:
                return
            if name in _NATIVE:
                self._warned.add(name)
                for key in self.options.get(name, {}):
                    _log.warning("--backend-config=%s,%s has no effect on this backend", name, key)
                return
            backend = self._make(name)
            self.add(name, backend)
            self._made[name] = backend
            _log.info("backend '%s' is ready", name)

    def inspector(self, name: str) -> Inspector | None:
        """What reads an artifact's own signature, for auto-complete; None where the backend has none."""
        if name in _NATIVE:
            return None
        self.ensure(name)
        inspect: Inspector | None = getattr(self._made[name], "inspect", None)
        return inspect

    def names(self) -> list[str]:
        """Every name that could be used, sorted; nothing is imported."""
        return sorted({*_NATIVE, *_OWN, *self._installed()})

    def _installed(self) -> dict[str, EntryPoint]:
        return {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}

    def _make(self, name: str) -> Backend:
        installed = self._installed()
        if name in installed:
            source, make = str(installed[name].value), installed[name].load
        elif name in _OWN:
            source = _OWN[name]
            module, _, attribute = source.partition(":")
            make = lambda: getattr(importlib.import_module(module), attribute)  # noqa: E731
        else:
            raise NotFound(
                f"unable to find backend library for backend '{name}', try specifying runtime on the model "
                f"configuration. Available backends: {', '.join(self.names())}; a package adds one with an entry "
                f"point in the group '{ENTRY_POINT_GROUP}'"
            )
        try:
            backend = make()()
        except ArgosyError:
            raise
        except Exception as error:
            raise InvalidArgument(f"backend '{name}' ({source}) could not be made: {error!r}") from error
        if not isinstance(backend, Backend):
            raise InvalidArgument(f"backend '{name}' ({source}) has no load(spec, slot) method")
        known: Sequence[str] | None = getattr(backend, "known_options", None)
        for key in self.options.get(name, {}):
            if known is not None and key not in (*known, *_FOR_ANY):
                _log.warning("--backend-config=%s,%s has no effect on this backend", name, key)
        configure = getattr(backend, "configure", None)
        if configure is not None:
            configure({**self.options.get("", {}), **self.options.get(name, {})})
        return backend


class Inspectors(Mapping[str, Inspector]):
    """Backend name -> inspector, made when first asked for, so that only used runtimes are imported."""

    def __init__(self, find: Callable[[str], Inspector | None]) -> None:
        self._find = find

    def __getitem__(self, backend: str) -> Inspector:
        found = self._find(backend)
        if found is None:
            raise KeyError(backend)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def cpu_only_backends(installed: Callable[[str], object] = distribution) -> tuple[str, ...]:
    """Backends that run on no GPU with the packages that are installed; nothing is imported.

    A GPU is then not where their models go by themselves, though KIND_GPU still asks for it, and is told why not.
    """
    try:
        installed("onnxruntime-gpu")
    except PackageNotFoundError:
        return ("identity", "onnxruntime")
    return ("identity",)
