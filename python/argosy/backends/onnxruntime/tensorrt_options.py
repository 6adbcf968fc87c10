"""Options of ONNX Runtime's TensorRT provider, by the ecosystem's older names and by its own.

`precision_mode`, `max_workspace_size_bytes`, `int8_calibration_table_name` and
`int8_use_native_calibration_table` stand for options of the provider; those that begin
with `trt_` are handed on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from argosy.backends.onnxruntime.option_values import count, switch, text
from argosy.errors import InvalidArgument, Unsupported

_PRECISIONS: dict[str, dict[str, str]] = {
    "FP32": {},
    "FP16": {"trt_fp16_enable": "1"},
    "BF16": {"trt_bf16_enable": "1"},
    "INT8": {"trt_int8_enable": "1"},
}
_OLDER = {
    "max_workspace_size_bytes": "trt_max_workspace_size",
    "int8_calibration_table_name": "trt_int8_calibration_table_name",
    "int8_use_native_calibration_table": "trt_int8_use_native_calibration_table",
}
_REFUSED = {
    "device_id": "device and stream are the instance's",
    "has_user_compute_stream": "device and stream are the instance's",
    "user_compute_stream": "device and stream are the instance's",
    "trt_cuda_graph_enable": 'CUDA graphs are served by the accelerator "cuda" and by backend "tensorrt"',
    "trt_engine_decryption_enable": "encrypted engines are not read",
    "trt_engine_decryption_lib_path": "encrypted engines are not read",
}


def tensorrt_options(model: str, given: Mapping[str, str], where: str) -> dict[str, str]:
    """Raises InvalidArgument for names and values that are none, Unsupported for options that are not served."""
    made: dict[str, str] = {}
    for key, value in given.items():
        here = f"model '{model}', {where} '{key}'"
        if key in _REFUSED:
            raise Unsupported(f"{here} is not served: {_REFUSED[key]}; remove it")
        if key == "precision_mode":
            precision = value.strip().upper()
            if precision not in _PRECISIONS:
                raise InvalidArgument(f"{here}: expected {', '.join(_PRECISIONS)}, got '{value}'")
            made |= _PRECISIONS[precision]
            continue
        name = _OLDER.get(key, key)
        check = _OPTIONS.get(name)
        if check is None:
            raise InvalidArgument(f"{here} is no option of the TensorRT provider")
        made[name] = check(here, value)
    return made


_OPTIONS: dict[str, Callable[[str, str], str]] = {
    "trt_auxiliary_streams": text,
    "trt_bf16_enable": switch,
    "trt_build_heuristics_enable": switch,
    "trt_builder_optimization_level": count,
    "trt_context_memory_sharing_enable": switch,
    "trt_detailed_build_log": switch,
    "trt_dla_core": count,
    "trt_dla_enable": switch,
    "trt_dump_ep_context_model": switch,
    "trt_dump_subgraphs": switch,
    "trt_engine_cache_enable": switch,
    "trt_engine_cache_path": text,
    "trt_engine_cache_prefix": text,
    "trt_engine_hw_compatible": switch,
    "trt_ep_context_embed_mode": count,
    "trt_ep_context_file_path": text,
    "trt_extra_plugin_lib_paths": text,
    "trt_force_sequential_engine_build": switch,
    "trt_force_timing_cache": switch,
    "trt_fp16_enable": switch,
    "trt_int8_calibration_table_name": text,
    "trt_int8_enable": switch,
    "trt_int8_use_native_calibration_table": switch,
    "trt_layer_norm_fp32_fallback": switch,
    "trt_max_partition_iterations": count,
    "trt_max_workspace_size": count,
    "trt_min_subgraph_size": count,
    "trt_onnx_model_folder_path": text,
    "trt_op_types_to_exclude": text,
    "trt_preview_features": text,
    "trt_profile_max_shapes": text,
    "trt_profile_min_shapes": text,
    "trt_profile_opt_shapes": text,
    "trt_sparsity_enable": switch,
    "trt_tactic_sources": text,
    "trt_timing_cache_enable": switch,
    "trt_timing_cache_path": text,
    "trt_weight_stripped_engine_enable": switch,
}
