"""What a started server prints: endpoints, models and how they run, and calls to paste."""

from __future__ import annotations

import json
from typing import Any

from argosy.config.model import ModelConfig
from argosy.config.tensors import TensorConfig
from argosy.server import Server

_NUMPY = {"BOOL": "bool_", "FP16": "float16", "FP32": "float32", "FP64": "float64", "BYTES": "object_"}


def welcome(server: Server) -> str:
    """The whole text, ending in a newline."""
    options, ports = server.options, server.ports
    labels = {
        "grpc": "Started GRPCInferenceService",
        "http": "Started HTTPService",
        "metrics": "Started Metrics Service",
    }
    lines = [
        f"{labels[name]} at {getattr(options, name).address}:{ports[name]}"
        for name in ("grpc", "http", "metrics")
        if name in ports
    ]
    models = [(name, server.repository.config(name)) for name in server.models()]
    lines.append("")
    lines += _table(server, [(name, config) for name, config in models if config is not None])
    example = next((config for _, config in models if config is not None), None)
    if example is not None and "http" in ports:
        lines += ["", *_calls(example, ports["http"])]
    if options.http.address == "127.0.0.1":
        lines += ["", "Only this machine can connect; --host 0.0.0.0 opens the ports to the network."]
    return "\n".join(lines) + "\n"


def _table(server: Server, models: list[tuple[str, ModelConfig]]) -> list[str]:
    rows = [("MODEL", "VERSION", "BACKEND", "BATCHING", "INSTANCES", "THREADS EACH")]
    states = server.engine.models()
    for name, config in models:
        versions = ",".join(str(version) for model, version, _ in states if model == name)
        count = sum(group.count for group in config.instances)
        rows.append(
            (
                name,
                versions,
                config.backend,
                _batching(config),
                str(count),
                str(max(1, server.cpu_threads // max(1, count))),
            )
        )
    if len(rows) == 1:
        return ["No model is served."]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _batching(config: ModelConfig) -> str:
    if config.batching is None:
        return f"rows <= {config.max_batch_rows}, not merged" if config.max_batch_rows else "none"
    delay = config.batching.max_queue_delay_us
    return f"merged to <= {config.max_batch_rows or 1} rows" + (f", waits {delay} us" if delay else "")


def _shape(config: ModelConfig, dims: tuple[int, ...]) -> list[int]:
    return ([1] if config.max_batch_rows else []) + [dim if dim > 0 else 1 for dim in dims]


def _count(shape: list[int]) -> int:
    count = 1
    for dim in shape:
        count *= dim
    return count


def _calls(config: ModelConfig, port: int) -> list[str]:
    shapes = {tensor.name: _shape(config, tensor.dims) for tensor in config.inputs}
    url = f"http://127.0.0.1:{port}/v2/models/{config.name}/infer"
    lines = ["Try it (shell):", f"  {_shell(config, shapes, url)}", "Try it (Python, pip install tritonclient[http]):"]
    return lines + [f"  {line}" for line in _python(config, shapes, port)]


def _shell(config: ModelConfig, shapes: dict[str, list[int]], url: str) -> str:
    def element(tensor: TensorConfig) -> Any:
        return "text" if tensor.dtype == "BYTES" else False if tensor.dtype == "BOOL" else 0

    if sum(_count(shape) for shape in shapes.values()) <= 64:
        inputs: list[dict[str, Any]] = [
            {
                "name": tensor.name,
                "datatype": tensor.dtype,
                "shape": shapes[tensor.name],
                "data": [element(tensor)] * _count(shapes[tensor.name]),
            }
            for tensor in config.inputs
        ]
        return f"curl -s {url} -d '{json.dumps({'inputs': inputs})}'"
    # Too long to paste: let Python write the zeros.
    parts = ", ".join(
        f'{{"name": "{tensor.name}", "datatype": "{tensor.dtype}", "shape": {shapes[tensor.name]}, '
        f'"data": [{json.dumps(element(tensor)).replace("false", "False")}]*{_count(shapes[tensor.name])}}}'
        for tensor in config.inputs
    )
    return f"python3 -c 'import json; print(json.dumps({{\"inputs\": [{parts}]}}))' | curl -s {url} -d @-"


def _python(config: ModelConfig, shapes: dict[str, list[int]], port: int) -> list[str]:
    lines = [
        "import numpy as np, tritonclient.http as http",
        f'client = http.InferenceServerClient("127.0.0.1:{port}")',
    ]
    names = [f"x{index}" for index in range(len(config.inputs))]
    for name, tensor in zip(names, config.inputs, strict=True):
        shape = shapes[tensor.name]
        numpy = _NUMPY.get(tensor.dtype, tensor.dtype.lower())
        value = f"np.zeros({shape}, np.{numpy})"
        if tensor.dtype == "BYTES":
            value = f'np.full({shape}, b"text", dtype=np.object_)'
        lines.append(f'{name} = http.InferInput("{tensor.name}", {shape}, "{tensor.dtype}")')
        lines.append(f"{name}.set_data_from_numpy({value})")
    lines.append(f'result = client.infer("{config.name}", [{", ".join(names)}])')
    return lines + [f'print(result.as_numpy("{output.name}"))' for output in config.outputs]
