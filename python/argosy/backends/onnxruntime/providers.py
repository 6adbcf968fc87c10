"""Which execution providers a GPU instance gets, with which options.

The CUDA provider runs what `instance_group { kind: KIND_GPU }` puts on a GPU;
`optimization { execution_accelerators { gpu_execution_accelerator: [ { name: "tensorrt" } ] } }`
puts the TensorRT provider before it. Names and values are the ecosystem's and ONNX
Runtime's own; a name that neither knows is refused, because ONNX Runtime would say so
only in its log. Pure decisions: parameters in, options out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from argosy.backends.onnxruntime.option_values import choice, count, switch
from argosy.backends.onnxruntime.tensorrt_options import tensorrt_options
from argosy.config.lower import GPU_ACCELERATORS
from argosy.errors import InvalidArgument, Unsupported

CUDA, TENSORRT, CPU = "CUDAExecutionProvider", "TensorrtExecutionProvider", "CPUExecutionProvider"
# Parameters of the model that older configurations have for the CUDA provider.
MODEL_KEYS = ("cudnn_conv_algo_search", "gpu_mem_limit", "arena_extend_strategy", "do_copy_in_default_stream")

_SEARCHES = {"0": "EXHAUSTIVE", "1": "HEURISTIC", "2": "DEFAULT"}
_STRATEGIES = {"0": "kNextPowerOfTwo", "1": "kSameAsRequested"}
_OURS = ("device_id", "has_user_compute_stream", "user_compute_stream")


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuProviders:
    """`options`: by provider, in the order in which they get nodes; the CPU provider takes what is left.

    `graphs`: the CUDA provider captures a CUDA graph per batch size.
    """

    options: tuple[tuple[str, Mapping[str, str]], ...]
    graphs: bool = False

    def sessions(self, device: int, stream: int) -> list[tuple[str, dict[str, str]]]:
        """What a session on this GPU is made with: everything on the stream of its instance."""
        place = {"device_id": str(device), "user_compute_stream": str(stream)}
        return [*((name, {**options, **place}) for name, options in self.options), (CPU, {})]


def gpu_providers(model: str, parameters: Mapping[str, str]) -> GpuProviders:
    """Raises InvalidArgument for names and values that are none, Unsupported for options that are not served."""
    cuda = cuda_options(model, {key: parameters[key] for key in MODEL_KEYS if key in parameters}, "parameter")
    tensorrt: dict[str, str] | None = None
    for at, accelerator in enumerate(json.loads(parameters.get(GPU_ACCELERATORS, "[]"))):
        where = f"gpu_execution_accelerator[{at}] '{accelerator['name']}', parameter"
        name = accelerator["name"].lower()
        if name == "cuda":
            cuda |= cuda_options(model, accelerator["parameters"], where)
        elif name == "tensorrt":
            tensorrt = tensorrt_options(model, accelerator["parameters"], where)
        else:
            raise InvalidArgument(
                f"model '{model}': unknown Execution Accelerator '{accelerator['name']}' is requested; expected "
                "'cuda' or 'tensorrt'"
            )
    graphs = cuda.get("enable_cuda_graph") == "1"
    if graphs and tensorrt is not None:
        raise Unsupported(
            f"model '{model}': enable_cuda_graph together with the accelerator 'tensorrt' is not served; remove one "
            'of them, or use backend "tensorrt"'
        )
    ordered: list[tuple[str, Mapping[str, str]]] = [] if tensorrt is None else [(TENSORRT, tensorrt)]
    return GpuProviders(options=(*ordered, (CUDA, cuda)), graphs=graphs)


def cuda_options(model: str, given: Mapping[str, str], where: str) -> dict[str, str]:
    """Options of the CUDA provider in its own words. `where` begins the sentence that refuses one."""
    made = {}
    for key, value in given.items():
        if key in _OURS:
            raise Unsupported(f"model '{model}', {where} '{key}': device and stream are the instance's; remove it")
        check = _CUDA.get(key)
        if check is None:
            raise InvalidArgument(
                f"model '{model}', {where} '{key}' is no option of the CUDA provider; there are {', '.join(_CUDA)}"
            )
        made[key] = check(f"model '{model}', {where} '{key}'", value)
    return made


def check_available(model: str, wanted: Sequence[str], available: Sequence[str], version: str) -> None:
    """Raises Unsupported when this ONNX Runtime has not every provider of `wanted`, saying what to install."""
    missing = [name for name in wanted if name not in available]
    if missing:
        raise Unsupported(
            f"model '{model}': kind KIND_GPU needs the {missing[0]}, and ONNX Runtime {version} here has only "
            f"{', '.join(available)}; pip uninstall onnxruntime and pip install 'argosy[onnx-gpu]', or use "
            "kind: KIND_CPU"
        )


def check_started(model: str, wanted: Sequence[str], got: Sequence[str], version: str) -> None:
    """Raises Unsupported when a provider is compiled in and did not start: ONNX Runtime goes on without it."""
    missing = [name for name in wanted if name not in got]
    if missing:
        raise Unsupported(
            f"model '{model}': ONNX Runtime {version} could not start the {missing[0]} (running: {', '.join(got)}); "
            "the GPU's driver or the libraries of CUDA, cuDNN or TensorRT that this version needs are missing, and "
            "the lines before this one name them; use kind: KIND_CPU meanwhile"
        )


_CUDA: dict[str, Callable[[str, str], str]] = {
    "arena_extend_strategy": choice(_STRATEGIES),
    "cudnn_conv1d_pad_to_nc1d": switch,
    "cudnn_conv_algo_search": choice(_SEARCHES),
    "cudnn_conv_use_max_workspace": switch,
    "do_copy_in_default_stream": switch,
    "enable_cuda_graph": switch,
    "enable_skip_layer_norm_strict_mode": switch,
    "fuse_conv_bias": switch,
    "gpu_mem_limit": count,
    "prefer_nhwc": switch,
    "sdpa_kernel": count,
    "tunable_op_enable": switch,
    "tunable_op_max_tuning_duration_ms": count,
    "tunable_op_tuning_enable": switch,
    "use_ep_level_unified_stream": switch,
    "use_tf32": switch,
}
