"""How an ONNX model is to be built: precision, limits, shapes, caches.

Parameter names are those that the ecosystem has for TensorRT inside ONNX Runtime, so
that a model keeps them when it moves here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from argosy.backends.tensorrt.profiles import Shape, parse_shapes
from argosy.config.lower import PROFILES
from argosy.errors import InvalidArgument

_PRECISIONS = ("FP32", "FP16", "BF16", "INT8")
_REFUSED = {
    "int8_calibration_table_name": "calibration tables are not read; quantize the ONNX model instead",
    "int8_use_native_calibration_table": "calibration tables are not read; quantize the ONNX model instead",
    "trt_dla_enable": "DLA cores are not used",
    "trt_engine_decryption_enable": "encrypted engines are not read",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildSettings:
    """`workspace_bytes` 0: TensorRT's default. `level` -1 likewise. `cache` "": nothing is kept."""

    precision: str = "FP32"
    workspace_bytes: int = 0
    level: int = -1
    cache: str = ""
    shapes: Mapping[str, Mapping[str, Shape]] = field(default_factory=dict)
    group_profiles: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def identity(self) -> str:
        """What of this changes the engine, as text."""
        return json.dumps([self.precision, self.workspace_bytes, self.level, self.shapes], sort_keys=True)


def settings_from(parameters: Mapping[str, str]) -> BuildSettings:
    """Raises InvalidArgument naming the parameter, what came and what is expected."""
    for key, reason in _REFUSED.items():
        if parameters.get(key, "").lower() not in ("", "0", "false"):
            raise InvalidArgument(f"parameter '{key}' is not served: {reason}")
    precision = parameters.get("precision_mode", "FP32").upper()
    if precision not in _PRECISIONS:
        raise InvalidArgument(f"parameter 'precision_mode': expected {', '.join(_PRECISIONS)}, got '{precision}'")
    shapes = {
        key: parse_shapes(parameters[name], name)
        for key, name in ((key, f"trt_profile_{key}_shapes") for key in ("min", "opt", "max"))
        if name in parameters
    }
    groups = json.loads(parameters.get(PROFILES, "{}"))
    return BuildSettings(
        precision=precision,
        workspace_bytes=_number(parameters, "max_workspace_size_bytes", 0),
        level=_number(parameters, "trt_builder_optimization_level", -1),
        cache=parameters.get("trt_engine_cache_path", ""),
        shapes=shapes,
        group_profiles={name: tuple(int(one) for one in chosen) for name, chosen in groups.items()},
    )


def _number(parameters: Mapping[str, str], key: str, default: int) -> int:
    text = parameters.get(key, "")
    if text and not text.isdecimal():
        raise InvalidArgument(f"parameter '{key}': expected a number, got '{text}'")
    return int(text) if text else default
