"""Checked values -> the plain dictionary that the core makes a ModelSpec of.

No rule and no default is here, only the shape of the hand-over, and the two kinds of
files that a specification needs: labels, which it reads, and warm-up data, whose
paths it completes. Only str, int, bool, None, list and dict occur.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from argosy.config.batching import DynamicBatching, QueuePolicy
from argosy.config.model import ModelConfig
from argosy.config.render import to_json
from argosy.config.tensors import TensorConfig
from argosy.config.warmup import WarmupSample
from argosy.errors import ConfigError

GRAPH_LEVEL = "optimization.graph.level"  # key under which backends find the graph level in "parameters"
CUDA_GRAPHS = "optimization.cuda.graphs"  # likewise, "1" when asked for
CUDA_GRAPH_SPECS = "optimization.cuda.graph_spec"  # likewise: JSON, [{"batch_size", "input", "lower_bound"}]
GPU_ACCELERATORS = "optimization.gpu_execution_accelerator"  # likewise: JSON, [{"name", "parameters"}]
PROFILES = "instance_group.profile"  # likewise: JSON, group name -> profile indices


def lower(config: ModelConfig, *, version: int, version_path: Path, model_path: Path) -> dict[str, Any]:
    """The specification of one version.

    `model_path` is where label and warm-up files are looked for. Raises ConfigError with a field
    path when one is missing or lies outside.
    """
    return {
        "name": config.name,
        "version": version,
        "platform": config.platform,
        "backend": config.backend,
        "path": str(version_path),
        "artifact": config.artifact,
        "max_batch_size": config.max_batch_rows,
        "inputs": [_tensor(tensor, []) for tensor in config.inputs],
        "outputs": [
            _tensor(tensor, _labels(tensor, f"output[{index}].label_filename", model_path))
            for index, tensor in enumerate(config.outputs)
        ],
        "batch_inputs": [
            {
                "name": tensor.name,
                "dtype": tensor.dtype,
                "kind": tensor.kind.removeprefix("BATCH_").lower(),
                "source": tensor.source,
            }
            for tensor in config.batch_inputs
        ],
        "batch_outputs": [{"name": tensor.name, "source": tensor.source} for tensor in config.batch_outputs],
        "decoupled": config.decoupled,
        "batching": None if config.batching is None else _batching(config.batching),
        "instances": [
            {"name": group.name, "kind": group.kind, "count": group.count, "gpus": list(group.gpus)}
            for group in config.instances
            if not group.passive
        ],
        "parameters": _parameters(config),
        "warmup": [
            _warmup(sample, f"model_warmup[{index}]", model_path)
            for index, sample in enumerate(config.warmup)
            if sample.batch_size > 0
        ],
        "sequence": None,
        "ensemble": None,
        "metric_tags": dict(config.metric_tags),
        "config_json": json.dumps(to_json(config.message)) if config.backend == "python" else "",
    }


def _tensor(tensor: TensorConfig, labels: list[str]) -> dict[str, Any]:
    return {
        "name": tensor.name,
        "dtype": tensor.dtype,
        "dims": list(tensor.dims),
        "reshape": None if tensor.reshape is None else list(tensor.reshape),
        "optional": tensor.optional,
        "ragged": tensor.ragged,
        "labels": labels,
    }


def _labels(tensor: TensorConfig, where: str, model_path: Path) -> list[str]:
    if not tensor.label_filename:
        return []
    path = _below(model_path, tensor.label_filename, where)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(where, f"label file '{path}' of output '{tensor.name}' cannot be read: {error}") from None
    return text.splitlines()


def _batching(batching: DynamicBatching) -> dict[str, Any]:
    return {
        "preferred_rows": list(batching.preferred_rows),
        "max_queue_delay_us": batching.max_queue_delay_us,
        "preserve_ordering": batching.preserve_ordering,
        "priority_levels": batching.priority_levels,
        "default_priority": batching.default_priority,
        "default_policy": _policy(batching.default_policy),
        "level_policies": {level: _policy(policy) for level, policy in batching.level_policies.items()},
    }


def _policy(policy: QueuePolicy) -> dict[str, Any]:
    return {
        "timeout_action": policy.timeout_action,
        "default_timeout_us": policy.default_timeout_us,
        "allow_timeout_override": policy.allow_timeout_override,
        "max_queue_size": policy.max_queue_size,
    }


def _parameters(config: ModelConfig) -> dict[str, str]:
    parameters = dict(config.parameters)
    optimization = config.message.optimization
    if optimization.HasField("graph"):
        parameters.setdefault(GRAPH_LEVEL, str(optimization.graph.level))
    if optimization.cuda.graphs:
        parameters.setdefault(CUDA_GRAPHS, "1")
    if optimization.cuda.graphs and len(optimization.cuda.graph_spec):
        parameters.setdefault(CUDA_GRAPH_SPECS, json.dumps([_graph_spec(one) for one in optimization.cuda.graph_spec]))
    accelerators = optimization.execution_accelerators.gpu_execution_accelerator
    if len(accelerators):
        named = [{"name": one.name, "parameters": dict(one.parameters)} for one in accelerators]
        parameters.setdefault(GPU_ACCELERATORS, json.dumps(named))
    profiles = {group.name: list(group.profile) for group in config.message.instance_group if len(group.profile)}
    if profiles:
        parameters.setdefault(PROFILES, json.dumps(profiles))
    return parameters


def _graph_spec(spec: Any) -> dict[str, Any]:
    return {
        "batch_size": spec.batch_size,
        "input": {name: list(shape.dim) for name, shape in spec.input.items()},
        "lower_bound": spec.HasField("graph_lower_bound"),
    }


def _warmup(sample: WarmupSample, where: str, model_path: Path) -> dict[str, Any]:
    inputs = {}
    for name, tensor in sample.inputs.items():
        here = f'{where}.inputs["{name}"].value.input_data_file'
        path = _below(model_path / "warmup", tensor.file, here) if tensor.source == "file" else None
        if path is not None and not path.is_file():
            raise ConfigError(here, f"warm-up data file '{path}' of sample '{sample.name}' does not exist")
        inputs[name] = {
            "dtype": tensor.dtype,
            "dims": list(tensor.dims),
            "source": tensor.source,
            "file": "" if path is None else str(path),
        }
    return {"name": sample.name, "batch_size": sample.batch_size, "count": sample.count, "inputs": inputs}


def _below(folder: Path, name: str, where: str) -> Path:
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ConfigError(where, f"'{name}' leaves the directory '{folder}'")
    return path
