"""Loading, unloading and asking after other models, where the server's models are under explicit control."""

from __future__ import annotations

from typing import Any

from argosy.errors import ArgosyError
from argosy.models.ambient import bound
from argosy.models.triton_compat.errors import TritonModelException, model_exception
from argosy.worker.host import Host


def load_model(model_name: str, config: str = "", files: Any = None) -> None:
    """Loads or reloads and waits. `config`: JSON text instead of config.pbtxt; `files`: path to content.

    Raises TritonModelException with the server's reason.
    """
    if files is not None and not isinstance(files, dict):
        raise TritonModelException(
            f"failed to load model '{model_name}', files should be a dictionary of file paths and file contents"
        )
    contents: dict[str, bytes] = {}
    for path, content in (files or {}).items():
        if not isinstance(path, str) or not isinstance(content, (bytes, bytearray)):
            raise TritonModelException(
                f"failed to load model '{model_name}', file '{path}': expected str and bytes, got {type(path)} and "
                f"{type(content)}"
            )
        contents[path] = bytes(content)
    host = _host("load_model")
    try:
        host.load_model(model_name, config, contents)
    except ArgosyError as error:
        raise model_exception("Failed to load model: ", error) from error


def unload_model(model_name: str, unload_dependents: bool = False) -> None:
    """Asks for a model to be withdrawn."""
    host = _host("unload_model")
    try:
        host.unload_model(model_name, unload_dependents)
    except ArgosyError as error:
        raise model_exception("Failed to unload model: ", error) from error


def is_model_ready(model_name: str, model_version: str = "") -> bool:
    """False for a model that the server does not know."""
    host = _host("is_model_ready")
    try:
        return host.is_model_ready(model_name, str(model_version))
    except ArgosyError as error:
        raise model_exception("Failed to check model readiness: ", error) from error


def get_model_dir() -> str:
    """This model's own directory."""
    place = bound().place
    if place is None:
        raise TritonModelException("get_model_dir: this process was given no model directory")
    return place.version_directory


def _host(function: str) -> Host:
    binding = bound()
    if binding.phase not in ("initialize", "serve"):
        raise TritonModelException(
            f"{function}: expected a call from initialize or execute, got one in {binding.phase}"
        )
    return binding.host
