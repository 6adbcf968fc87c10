"""A model's file -> its runner. Either kind of model is recognised by what the file defines."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from argosy.errors import ArgosyError, Internal, InvalidArgument
from argosy.models import ambient
from argosy.models.faults import failure_text, log_text
from argosy.worker.host import Host, ModelPlace, ModelRunner

_TRITON_CLASS = "TritonPythonModel"


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
        if directory and directory not in sys.path:
            sys.path.insert(0, directory)
    spec = importlib.util.spec_from_file_location("model", path)
    if spec is None or spec.loader is None:
        raise InvalidArgument(f"'{place.model_file}' is not a Python file: expected a name that ends with '.py'")
    module = importlib.util.module_from_spec(spec)
    previous: Any = sys.modules.get("model")
    sys.modules["model"] = module  # before it runs: pickles and dataclasses of the model look here
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        if previous is None:
            del sys.modules["model"]
        else:
            sys.modules["model"] = previous
        if isinstance(error, ArgosyError) or not isinstance(error, Exception):
            raise
        host.log("error", log_text(f"importing '{place.model_file}' failed", error))
        raise Internal(failure_text(error)) from error
    return module
