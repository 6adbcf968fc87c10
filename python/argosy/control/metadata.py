"""Server and model metadata, and model configurations, as plain values.

Format: KServe V2 metadata, and ModelConfig as protobuf or JSON.
"""

from __future__ import annotations

from typing import Any

from argosy.config import ModelConfig
from argosy.control.context import EXTENSIONS, Context
from argosy.errors import NotFound, Unavailable


def server_metadata(context: Context) -> dict[str, Any]:
    """name, version, extensions, in this order."""
    return {"name": context.server_id, "version": context.version, "extensions": list(EXTENSIONS)}


def ready_versions(context: Context, name: str, version: int | None) -> list[int]:
    """The serving versions, ascending; only `version` when it is given.

    Raises NotFound for an unknown model or version, Unavailable for a version that is known and not ready.
    """
    ready = sorted(known for model, known, _ in context.engine.models() if model == name)
    if version is not None and version in ready:
        return [version]
    states = context.repository.states(name)
    if version is not None and (ready or states):
        if version in states:
            raise Unavailable(f"Request for unknown model: '{name}' version {version} is not at ready state")
        raise NotFound(f"Request for unknown model: '{name}' version {version} is not found")
    if not ready:
        what = "has no available versions" if states else "is not found"
        raise NotFound(f"Request for unknown model: '{name}' {what}")
    return ready


def config_of(context: Context, name: str, version: int | None) -> ModelConfig:
    """The configuration in force. Raises as ready_versions does."""
    ready_versions(context, name, version)
    config = context.repository.config(name)
    if config is None:
        raise NotFound(f"Request for unknown model: '{name}' is not found")
    return config


def model_metadata(context: Context, name: str, version: int | None) -> dict[str, Any]:
    """name, versions, platform, inputs, outputs; shapes with a leading -1 where the model batches."""
    versions = ready_versions(context, name, version)
    config = config_of(context, name, version)
    lead = [-1] if config.max_batch_rows > 0 else []
    return {
        "name": name,
        "versions": [str(one) for one in versions],
        "platform": config.platform or config.backend,
        "inputs": [{"name": one.name, "datatype": one.dtype, "shape": [*lead, *one.dims]} for one in config.inputs],
        "outputs": [{"name": one.name, "datatype": one.dtype, "shape": [*lead, *one.dims]} for one in config.outputs],
    }
