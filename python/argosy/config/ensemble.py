"""An ensemble: the data flow between the tensors of other models.

Checks what one configuration can show: each tensor written once and read. Whether
the composing models exist and fit is known only where they are loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from argosy.config.field_path import inside
from argosy.errors import ConfigError
from argosy.protos import Message


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One composing model. Maps are model tensor -> ensemble tensor. Version -1: the latest."""

    model: str
    version: int
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ensemble:
    """The steps, in the order of the file. `max_inflight_requests` 0: no bound per step."""

    steps: tuple[Step, ...]
    max_inflight_requests: int = 0


def ensemble_from(config: Message) -> Ensemble:
    """A ModelConfig message with ensemble_scheduling -> Ensemble. Raises ConfigError with a path below the message."""
    name = config.name
    for field, problem in (
        ("instance_group", f"instance group should not be specified for ensemble '{name}'"),
        ("model_warmup", f"model warmup should not be specified for ensemble '{name}'"),
    ):
        if len(getattr(config, field)):
            raise ConfigError(field, problem, fix=f"(remove {field})")
    if config.HasField("optimization"):
        raise ConfigError(
            "optimization", f"optimization should not be specified for ensemble '{name}'", fix="(remove optimization)"
        )
    message = config.ensemble_scheduling
    if not len(message.step):
        raise ConfigError("ensemble_scheduling", f"must specify 'step' for ensemble '{name}'")
    with inside("ensemble_scheduling"):
        steps = tuple(_step(message.step[index], index, name) for index in range(len(message.step)))
    _check_flow(config, steps)
    return Ensemble(steps=steps, max_inflight_requests=message.max_inflight_requests)


def _step(message: Message, index: int, ensemble: str) -> Step:
    for field in ("model_name", "input_map", "output_map"):
        if not len(getattr(message, field)):
            raise ConfigError(f"step[{index}]", f"must specify '{field}' in step {index} of ensemble '{ensemble}'")
    return Step(
        model=message.model_name,
        version=message.model_version,
        inputs={key: message.input_map[key] for key in sorted(message.input_map)},
        outputs={key: message.output_map[key] for key in sorted(message.output_map)},
    )


def _check_flow(config: Message, steps: tuple[Step, ...]) -> None:
    ensemble = config.name
    entries = [tensor.name for tensor in config.input]
    results = [tensor.name for tensor in config.output]
    writers: dict[str, int] = dict.fromkeys(entries, -1)
    for index, step in enumerate(steps):
        for model_tensor, tensor in step.outputs.items():
            if tensor in writers:
                raise ConfigError(
                    f'ensemble_scheduling.step[{index}].output_map["{model_tensor}"]',
                    f"ensemble tensor '{tensor}' can appear in an output map only once for ensemble '{ensemble}' "
                    f"step {index}",
                )
            writers[tensor] = index
    read = {tensor for step in steps for tensor in step.inputs.values()}
    for at, tensor in enumerate(entries):
        if tensor not in read:
            raise ConfigError(f"input[{at}]", f"ensemble input '{tensor}' for ensemble '{ensemble}' is not used")
    reachable = _reachable(entries, steps)
    for at, tensor in enumerate(results):
        if tensor not in reachable:
            missing = _missing(tensor, writers, reachable, steps)
            raise ConfigError(
                f"output[{at}]",
                f"output '{tensor}' for ensemble '{ensemble}' is not written: at least one of its depending tensors, "
                f"'{missing}', is not connected",
            )
    for tensor, index in writers.items():
        if tensor not in read and tensor not in results:
            raise ConfigError(
                f"ensemble_scheduling.step[{index}].output_map",
                f"ensemble tensor '{tensor}' is unused in ensemble '{ensemble}'",
            )
    for index, step in enumerate(steps):
        for model_tensor, tensor in step.inputs.items():
            if tensor not in writers:
                raise ConfigError(
                    f'ensemble_scheduling.step[{index}].input_map["{model_tensor}"]',
                    f"ensemble tensor '{tensor}' is not written by any step or input of ensemble '{ensemble}'",
                )


def _reachable(entries: list[str], steps: tuple[Step, ...]) -> set[str]:
    known = set(entries)
    waiting = list(steps)
    while True:
        ready = [step for step in waiting if known.issuperset(step.inputs.values())]
        if not ready:
            return known
        for step in ready:
            known.update(step.outputs.values())
            waiting.remove(step)


def _missing(tensor: str, writers: dict[str, int], reachable: set[str], steps: tuple[Step, ...]) -> str:
    """The tensor that keeps `tensor` from being written: the first without a writer, or one of a cycle."""
    seen: set[str] = set()
    while tensor in writers and writers[tensor] >= 0 and tensor not in seen:
        seen.add(tensor)
        lacking = [name for name in steps[writers[tensor]].inputs.values() if name not in reachable]
        if not lacking:
            break
        tensor = lacking[0]
    return tensor
