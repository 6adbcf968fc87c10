"""Settings that are understood, and right, and that this server does not serve.

The one list of them: a model that needs one is refused by its name instead of being
served differently from what its configuration says. Serving a setting removes its
line here. Pure hints (priorities, pinned buffers, CUDA graphs on a CPU) and settings
without effect unless the server is told so (host policies, rate limits) are not here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from argosy.config.capabilities import Capabilities
from argosy.config.model import ModelConfig
from argosy.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class _Setting:
    where: Callable[[ModelConfig, Capabilities], str]  # the field path that asks for it, "" when none does
    sentence: str


def _field(name: str) -> Callable[[ModelConfig, Capabilities], str]:
    """Asked for when a message field is set, or a repeated one has entries."""

    def where(config: ModelConfig, _: Capabilities) -> str:
        return name if any(field.name == name for field, _ in config.message.ListFields()) else ""

    return where


def _ragged_alone(config: ModelConfig, _: Capabilities) -> str:
    """What a model asks for that has a meaning only where requests run together."""
    if config.max_batch_rows > 0:
        return ""
    at = next((index for index, tensor in enumerate(config.inputs) if tensor.ragged), None)
    if at is not None:
        return f"input[{at}].allow_ragged_batch"
    return "batch_input" if config.batch_inputs else "batch_output" if config.batch_outputs else ""


def _batch_input_unread(config: ModelConfig, _: Capabilities) -> str:
    return "batch_input" if config.batch_inputs and config.backend in ("python", "identity") else ""


def _batch_output_unread(config: ModelConfig, _: Capabilities) -> str:
    return "batch_output" if config.batch_outputs and config.backend == "python" else ""


def _rate_limiter(config: ModelConfig, capabilities: Capabilities) -> str:
    if not capabilities.rate_limiting:
        return ""
    groups = config.message.instance_group
    at = next((index for index, group in enumerate(groups) if group.HasField("rate_limiter")), None)
    return "" if at is None else f"instance_group[{at}].rate_limiter"


def _group(name: str) -> Callable[[ModelConfig, Capabilities], str]:
    def where(config: ModelConfig, _: Capabilities) -> str:
        for index, group in enumerate(config.message.instance_group):
            if any(field.name == name for field, _ in group.ListFields()):
                return f"instance_group[{index}].{name}"
        return ""

    return where


def _cpu_accelerator(config: ModelConfig, _: Capabilities) -> str:
    accelerators = config.message.optimization.execution_accelerators.cpu_execution_accelerator
    return "optimization.execution_accelerators.cpu_execution_accelerator[0]" if len(accelerators) else ""


def _gpu_accelerator(config: ModelConfig, _: Capabilities) -> str:
    accelerators = config.message.optimization.execution_accelerators.gpu_execution_accelerator
    on_gpu = any(group.kind == "gpu" for group in config.instances) and config.backend != "onnxruntime"
    return "optimization.execution_accelerators.gpu_execution_accelerator[0]" if len(accelerators) and on_gpu else ""


def _cache(config: ModelConfig, _: Capabilities) -> str:
    return "response_cache.enable" if config.response_cache else ""


_SETTINGS = (
    _Setting(where=_field("sequence_batching"), sentence="sequence batching is not served yet"),
    _Setting(where=_field("ensemble_scheduling"), sentence="ensembles are not served yet"),
    _Setting(where=_cache, sentence="the response cache is not served yet"),
    _Setting(
        where=_ragged_alone, sentence="ragged batching has no effect on a model without batching (max_batch_size: 0)"
    ),
    _Setting(
        where=_batch_input_unread,
        sentence="models of the backends python and identity see the requests' own inputs alone, not batch_input",
    ),
    _Setting(
        where=_batch_output_unread,
        sentence="Python models answer each request themselves, so batch_output has no effect",
    ),
    _Setting(where=_rate_limiter, sentence="rate limiting of instances is not served yet"),
    _Setting(where=_group("passive"), sentence="passive instances are not served yet"),
    _Setting(where=_group("secondary_devices"), sentence="secondary devices are not served"),
    _Setting(where=_field("runtime"), sentence="choosing a backend library (runtime) is not served"),
    _Setting(
        where=_field("model_operations"), sentence="custom operator libraries (model_operations) are not served yet"
    ),
    _Setting(where=_field("model_repository_agents"), sentence="model repository agents are not served"),
    _Setting(where=_field("model_metrics"), sentence="histogram buckets per model (model_metrics) are not served yet"),
    _Setting(where=_cpu_accelerator, sentence="CPU execution accelerators are not served yet"),
    _Setting(where=_gpu_accelerator, sentence="GPU execution accelerators are those of the backend onnxruntime"),
)


def not_served(config: ModelConfig, capabilities: Capabilities) -> tuple[ConfigError, ...]:
    """One ConfigError, with a field path, per setting that the model asks for and the server lacks."""
    found: list[ConfigError] = []
    for setting in _SETTINGS:
        where = setting.where(config, capabilities)
        if where:
            top = where.partition(".")[0].partition("[")[0] if where.count(".") == 0 else where
            found.append(
                ConfigError(
                    where,
                    f"model '{config.name}' cannot be served as configured: {setting.sentence}",
                    fix=f"(remove {top})",
                )
            )
    return tuple(found)
