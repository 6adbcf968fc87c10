"""Instance groups: how many instances of a model run, and where.

`fill_instances` writes what a configuration leaves open into the message, so that
clients see it; `instances_from` checks the result.
"""

from __future__ import annotations

from dataclasses import dataclass

from argosy.config.capabilities import Capabilities
from argosy.errors import ConfigError
from argosy.protos import Message

_AUTO, _GPU, _CPU, _MODEL = range(4)
_KIND_NAMES = {_GPU: "gpu", _CPU: "cpu", _MODEL: "model"}

# Instances on a CPU when the configuration names no count.
_CPU_COUNT = {"onnxruntime": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceGroup:
    """`count` equal instances, per GPU when `kind` is "gpu". Passive ones get no requests."""

    name: str
    kind: str  # "cpu", "gpu" or "model"
    count: int
    gpus: tuple[int, ...] = ()
    passive: bool = False


def fill_instances(config: Message, capabilities: Capabilities) -> None:
    """Names, kinds, counts and GPUs that the message leaves open. Ensembles have no instances."""
    if config.platform == "ensemble" or config.HasField("ensemble_scheduling"):
        return
    if not len(config.instance_group):
        config.instance_group.add().name = config.name
    for index, group in enumerate(config.instance_group):
        if not group.name:
            group.name = f"{config.name}_{index}"
        if group.kind == _AUTO:
            there = bool(capabilities.gpus) and set(group.gpus) <= set(capabilities.gpus)
            usable = there and config.backend not in capabilities.cpu_only
            group.kind = _GPU if usable else _CPU
        if group.kind == _GPU and not len(group.gpus):
            group.gpus.extend(capabilities.gpus)
        if group.count < 1:
            group.count = _CPU_COUNT.get(config.backend, 1) if group.kind == _CPU else 1


def instances_from(config: Message, capabilities: Capabilities) -> tuple[InstanceGroup, ...]:
    """The groups of a filled message. Raises ConfigError with a path below the message."""
    return tuple(_group(config, index, capabilities) for index in range(len(config.instance_group)))


def _group(config: Message, index: int, capabilities: Capabilities) -> InstanceGroup:
    group = config.instance_group[index]
    who = f"instance group {group.name} of model {config.name}"
    here = f"instance_group[{index}]"
    kind = group.DESCRIPTOR.fields_by_name["kind"].enum_type.values_by_number[group.kind].name
    if group.kind in (_CPU, _MODEL) and len(group.gpus):
        raise ConfigError(f"{here}.gpus", f"{who} has kind {kind} but specifies one or more GPUs", fix="kind: KIND_GPU")
    if group.kind == _GPU:
        if not capabilities.gpu_build:
            raise ConfigError(
                f"{here}.kind",
                f"{who} has kind KIND_GPU but server does not support GPUs (it was built without CUDA)",
                fix="kind: KIND_CPU",
            )
        if not capabilities.gpus:
            raise ConfigError(
                f"{here}.kind",
                f"{who} has kind KIND_GPU but no GPUs are available{_reasons(capabilities)}",
                fix="kind: KIND_CPU",
            )
        for at, gpu in enumerate(group.gpus):
            if gpu not in capabilities.gpus:
                known = ", ".join(map(str, capabilities.gpus))
                raise ConfigError(
                    f"{here}.gpus[{at}]",
                    f"{who} specifies invalid or unsupported gpu id {gpu}. Usable GPUs are: {known}",
                    fix=f"gpus: [ {known} ]",
                )
    if len(group.profile):
        if config.platform != "tensorrt_plan":
            raise ConfigError(
                f"{here}.profile",
                f"{who} specifies profile, which only platform tensorrt_plan has",
                fix="(remove profile)",
            )
        for at, profile in enumerate(group.profile):
            if not profile.isdecimal():
                raise ConfigError(
                    f"{here}.profile[{at}]", f"{who} specifies profile '{profile}', expected a non-negative integer"
                )
    return InstanceGroup(
        name=group.name,
        kind=_KIND_NAMES[group.kind],
        count=group.count,
        gpus=tuple(group.gpus),
        passive=group.passive,
    )


def _reasons(capabilities: Capabilities) -> str:
    return f" ({'; '.join(capabilities.gpus_left_alone)})" if capabilities.gpus_left_alone else ""
