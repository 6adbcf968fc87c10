"""One model's configuration as a checked value.

`model_from` takes a filled message (config.autofill, config.instances) and either
returns a ModelConfig, in which every part has been checked, or raises a ConfigError
that says which field is wrong, why, and what to write instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from argosy.config.autofill import platform_backend
from argosy.config.batching import DynamicBatching, batching_from
from argosy.config.capabilities import Capabilities
from argosy.config.ensemble import Ensemble, ensemble_from
from argosy.config.field_path import inside
from argosy.config.instances import InstanceGroup, instances_from
from argosy.config.ragged import BatchInput, BatchOutput, batch_inputs_from, batch_outputs_from
from argosy.config.sequence import SequenceBatching, sequence_from
from argosy.config.tensors import TensorConfig, tensor_from
from argosy.config.version_policy import VersionPolicy, version_policy_from
from argosy.config.warmup import WarmupSample, warmup_from
from argosy.errors import ConfigError
from argosy.protos import Message


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """What is served, and how. `max_batch_rows` 0: no batch dimension.

    `message` is the filled message this value was made from, for clients that ask; nobody
    changes it any more.
    """

    name: str
    platform: str
    backend: str
    artifact: str
    max_batch_rows: int
    inputs: tuple[TensorConfig, ...]
    outputs: tuple[TensorConfig, ...]
    version_policy: VersionPolicy
    instances: tuple[InstanceGroup, ...]
    batch_inputs: tuple[BatchInput, ...] = ()
    batch_outputs: tuple[BatchOutput, ...] = ()
    batching: DynamicBatching | None = None
    sequence: SequenceBatching | None = None
    ensemble: Ensemble | None = None
    warmup: tuple[WarmupSample, ...] = ()
    decoupled: bool = False
    response_cache: bool = False
    parameters: Mapping[str, str] = field(default_factory=dict)
    metric_tags: Mapping[str, str] = field(default_factory=dict)
    message: Message = field(compare=False, repr=False, default=None)


def model_from(message: Message, capabilities: Capabilities) -> ModelConfig:
    """A filled ModelConfig message -> ModelConfig. Raises ConfigError with a field path."""
    name = message.name
    _check_identity(message)
    if message.max_batch_size < 0:
        raise ConfigError(
            "max_batch_size", f"'max_batch_size' must be non-negative value for {name}", fix="max_batch_size: 0"
        )
    inputs, outputs = _tensors(message, "input"), _tensors(message, "output")
    batch_inputs = batch_inputs_from(message, inputs)
    batch_outputs = batch_outputs_from(message, inputs, outputs)
    choice = message.WhichOneof("scheduling_choice")
    rows = message.max_batch_size
    batching = sequence = ensemble = None
    with inside("dynamic_batching", f" for {name}"):
        if choice == "dynamic_batching":
            batching = batching_from(message.dynamic_batching, rows)
    with inside("sequence_batching", f" for {name}"):
        if choice == "sequence_batching":
            sequence = sequence_from(message.sequence_batching, rows)
    if choice == "ensemble_scheduling":
        ensemble = ensemble_from(message)
    _check_cache(message)
    _check_metrics(message)
    return ModelConfig(
        name=name,
        platform=message.platform,
        backend=message.backend,
        artifact=message.default_model_filename,
        max_batch_rows=rows,
        inputs=inputs,
        outputs=outputs,
        version_policy=_version_policy(message),
        instances=instances_from(message, capabilities),
        batch_inputs=batch_inputs,
        batch_outputs=batch_outputs,
        batching=batching,
        sequence=sequence,
        ensemble=ensemble,
        warmup=_warmup(message),
        decoupled=message.model_transaction_policy.decoupled,
        response_cache=message.response_cache.enable,
        parameters={key: message.parameters[key].string_value for key in sorted(message.parameters)},
        metric_tags={key: message.metric_tags[key] for key in sorted(message.metric_tags)},
        message=message,
    )


def _check_identity(message: Message) -> None:
    name, platform, backend = message.name, message.platform, message.backend
    if not name:
        raise ConfigError("name", "model configuration must specify 'name'", fix='name: "..."')
    if platform == "ensemble" or message.HasField("ensemble_scheduling"):
        if platform != "ensemble" or backend:
            raise ConfigError(
                "backend" if backend else "platform",
                f"Ensemble model '{name}' must have platform type 'ensemble' and empty backend type",
                fix='platform: "ensemble"',
            )
        if not message.HasField("ensemble_scheduling"):
            raise ConfigError("platform", f"ensemble_scheduling must be set for ensemble '{name}'")
        return
    if not backend:
        raise ConfigError("platform", f"unexpected platform type '{platform}' for {name}", fix='backend: "onnxruntime"')
    owner = platform_backend(platform)
    if platform and owner != backend and (owner or backend in ("onnxruntime", "tensorrt", "pytorch")):
        raise ConfigError(
            "platform",
            f"unexpected 'platform' and 'backend' pair, got:{platform}, {backend}",
            fix=f'backend: "{owner or backend}"',
        )


def _tensors(message: Message, role: str) -> tuple[TensorConfig, ...]:
    made: list[TensorConfig] = []
    for index, tensor in enumerate(getattr(message, role)):
        with inside(f"{role}[{index}]", f" for {message.name}"):
            checked = tensor_from(tensor, role, batched=message.max_batch_size > 0, platform=message.platform)
            if any(other.name == checked.name for other in made):
                raise ConfigError("name", f"model {role} '{checked.name}' is specified more than once")
            made.append(checked)
    return tuple(made)


def _version_policy(message: Message) -> VersionPolicy:
    with inside("version_policy", f" for {message.name}"):
        return version_policy_from(message.version_policy)


def _warmup(message: Message) -> tuple[WarmupSample, ...]:
    samples: list[WarmupSample] = []
    for index, sample in enumerate(message.model_warmup):
        with inside(f"model_warmup[{index}]", f" for {message.name}"):
            samples.append(warmup_from(sample))
    return tuple(samples)


def _check_cache(message: Message) -> None:
    if not message.response_cache.enable:
        return
    for other, set_ in (
        ("sequence_batching", message.HasField("sequence_batching")),
        ("decoupled", message.model_transaction_policy.decoupled),
    ):
        if set_:
            what = "sequence batching" if other == "sequence_batching" else "a decoupled transaction policy"
            raise ConfigError(
                "response_cache",
                f"response cache is not supported with {what} for {message.name}",
                fix="response_cache { enable: false }",
            )


def _check_metrics(message: Message) -> None:
    for index, control in enumerate(message.model_metrics.metric_control):
        here = f"model_metrics.metric_control[{index}]"
        tail = f" for {message.name}"
        if not control.HasField("metric_identifier"):
            raise ConfigError(here, f"model metrics must specify 'metric_identifier'{tail}")
        if not control.metric_identifier.family:
            raise ConfigError(
                f"{here}.metric_identifier", f"model metrics must specify 'family' in 'metric_identifier'{tail}"
            )
        if not control.HasField("histogram_options"):
            raise ConfigError(here, f"model metrics must specify 'histogram_options'{tail}")
        if not len(control.histogram_options.buckets):
            raise ConfigError(
                f"{here}.histogram_options",
                f"model metrics must specify non-empty 'buckets' in 'histogram_options'{tail}",
                fix="buckets: [ 0.1, 1, 10 ]",
            )
