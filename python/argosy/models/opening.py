"""A model's file -> its runner. Either kind of model is recognised by what the file defines."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from argosy.errors import ArgosyError, Internal, InvalidArgument
from argosy.models import ambient
from argosy.models.faults import failure_text, log_text
from argosy.models.sources import SourceLoader, import_fresh_from
from argosy.worker.host import Host, ModelPlace, ModelRunner

_TRITON_CLASS = "TritonPythonModel"
_FOR_CHILDREN = str(Path(__file__).resolve().parent / "for_children")


def open_runner(host: Host, place: ModelPlace) -> ModelRunner:
    """Binds this process to `host` and imports the model's file.

    Raises ArgosyError with the model's own exception when the import fails, InvalidArgument when
    the file defines no model, or more than one.
    """
    from argosy.models.model import Model
    from argosy.models.model_runner import ArgosyModelRunner
    from argosy.models.triton_compat import TritonModelRunner, install

    binding = ambient.bind(host, place)
    install()
    module = _imported(host, place)
    if hasattr(module, _TRITON_CLASS):
        return TritonModelRunner(binding, getattr(module, _TRITON_CLASS), place.name)
    kinds = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Model) and value.__module__ == module.__name__
    ]
    # A class that others in the file inherit from is a base, not the model.
    leaves = [kind for kind in kinds if not any(other is not kind and issubclass(other, kind) for other in kinds)]
    if len(leaves) != 1:
        found = ", ".join(kind.__name__ for kind in leaves) or "none"
        raise InvalidArgument(
            f"'{place.model_file}': expected a class '{_TRITON_CLASS}' or one subclass of argosy.Model, found {found}"
        )
    return ArgosyModelRunner(binding, leaves[0], place)


def _imported(host: Host, place: ModelPlace) -> ModuleType:
    path = Path(place.model_file)
    if not path.is_file():
        raise InvalidArgument(f"Python model file not found in '{place.model_file}'")
    for directory in (place.directory, place.version_directory, str(path.parent)):
        if directory:
            import_fresh_from(directory)
        if directory and directory not in sys.path:
            sys.path.insert(0, directory)
    if _FOR_CHILDREN not in sys.path:  # processes that the model starts are given our path
        sys.path.append(_FOR_CHILDREN)
    name = _module_name(place, path)
    spec = importlib.util.spec_from_file_location(name, path, loader=SourceLoader(name, str(path)))
    if path.suffix != ".py" or spec is None or spec.loader is None:
        raise InvalidArgument(f"'{place.model_file}' is not a Python file: expected a name that ends with '.py'")
    module = importlib.util.module_from_spec(spec)
    # Before it runs: pickles and dataclasses of the model look here, by either name.
    names = dict.fromkeys((spec.name, "model"))
    previous: dict[str, Any] = {name: sys.modules.get(name) for name in names}
    sys.modules.update(dict.fromkeys(names, module))
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        for name, before in previous.items():
            if before is None:
                sys.modules.pop(name, None)
            else:
                sys.modules[name] = before
        if isinstance(error, ArgosyError) or not isinstance(error, Exception):
            raise
        host.log("error", log_text(f"importing '{place.model_file}' failed", error))
        raise Internal(failure_text(error)) from error
    return module


def _module_name(place: ModelPlace, path: Path) -> str:
    """In a repository the version directory is the package, so that `from .helper import f` finds its file."""
    package = path.parent.name
    if package != str(place.version):
        return "model"
    importlib.invalidate_caches()
    try:
        found = importlib.import_module(package)
    except ImportError:
        return "model"
    return f"{package}.{path.stem}" if str(path.parent) in map(str, getattr(found, "__path__", ())) else "model"
