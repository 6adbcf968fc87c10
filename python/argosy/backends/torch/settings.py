"""The parameters of a PyTorch model, and those of them that PyTorch has once per process.

Names and meaning are those of the ecosystem's PyTorch backend. A parameter that is
not known here is passed over, because models carry parameters for their clients; one
that is known and cannot be done is refused by its name.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch

from argosy.config.lower import CUDA_GRAPHS
from argosy.errors import InvalidArgument, Unsupported

_TRUE, _FALSE = ("true", "1", "on", "yes"), ("false", "0", "off", "no")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What one model asks for. `threads` 0: the server's share."""

    optimized_execution: bool = True
    inference_mode: bool = True
    weight_sharing: bool = True
    cache_cleaning: bool = False
    cuda_graphs: bool = False
    threads: int = 0
    process_wide: Mapping[str, bool | int] = field(default_factory=dict)


def settings_from(parameters: Mapping[str, str]) -> Settings:
    """Raises InvalidArgument for a value that is none, Unsupported for what PyTorch no longer has."""
    if _flag(parameters, "ENABLE_NVFUSER", False):
        raise Unsupported("parameter 'ENABLE_NVFUSER': PyTorch has no nvFuser any more; remove the parameter")
    for key in ("TORCH_COMPILE_OPTIONAL_PARAMETERS", "torch_compile"):
        if key in parameters:
            raise Unsupported(
                f"parameter '{key}': models are not compiled while they load; compile with "
                "torch._inductor.aoti_compile_and_package and serve the model.pt2 it writes"
            )
    wide: dict[str, bool | int] = {
        key: _flag(parameters, key, False) for key in _SWITCHES if key in parameters and key != "INTER_OP_THREAD_COUNT"
    }
    interop = _count(parameters, "INTER_OP_THREAD_COUNT")
    if interop:
        wide["INTER_OP_THREAD_COUNT"] = interop
    return Settings(
        optimized_execution=not _flag(parameters, "DISABLE_OPTIMIZED_EXECUTION", False),
        inference_mode=_flag(parameters, "INFERENCE_MODE", True),
        weight_sharing=_flag(parameters, "ENABLE_WEIGHT_SHARING", True),
        cache_cleaning=_flag(parameters, "ENABLE_CACHE_CLEANING", False),
        cuda_graphs=_flag(parameters, CUDA_GRAPHS, False),
        threads=_count(parameters, "INTRA_OP_THREAD_COUNT"),
        process_wide=wide,
    )


@dataclass(slots=True)
class ProcessSettings:
    """The switches that PyTorch has once per process: the first model that names one sets it.

    Thread: any; loaders call at once.
    """

    _set: dict[str, tuple[bool | int, str]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def apply(self, model: str, wanted: Mapping[str, bool | int]) -> None:
        """Raises Unsupported when another model has set a switch otherwise, or PyTorch no longer takes it."""
        with self._lock:
            for key, value in wanted.items():
                before, owner = self._set.get(key, (value, ""))
                if before != value:
                    raise Unsupported(
                        f"model '{model}', parameter '{key}': PyTorch has this setting once per process, and model "
                        f"'{owner}' has set it to {_shown(before)}; {_shown(value)} needs a server of its own"
                    )
                if not owner:
                    _SWITCHES[key](value)
                    self._set[key] = (value, model)


def _set_interop(threads: bool | int) -> None:
    if torch.get_num_interop_threads() == threads:
        return
    try:
        torch.set_num_interop_threads(int(threads))
    except RuntimeError as error:
        raise Unsupported(
            f"parameter 'INTER_OP_THREAD_COUNT': PyTorch's pool has {torch.get_num_interop_threads()} threads and "
            f"cannot be changed once a model has run ({str(error).splitlines()[0]})"
        ) from None


def _set_cudnn(disabled: bool | int) -> None:
    torch.backends.cudnn.enabled = not disabled


_SWITCHES: dict[str, Callable[[bool | int], object]] = {
    "INTER_OP_THREAD_COUNT": _set_interop,
    "DISABLE_CUDNN": _set_cudnn,
    "ENABLE_JIT_EXECUTOR": lambda on: torch._C._jit_set_profiling_executor(bool(on)),
    "ENABLE_JIT_PROFILING": lambda on: torch._C._jit_set_profiling_mode(bool(on)),
    "ENABLE_TENSOR_FUSER": lambda on: torch._C._jit_set_texpr_fuser_enabled(bool(on)),
}


def _shown(value: bool | int) -> str:
    return str(value).lower()


def _flag(parameters: Mapping[str, str], key: str, default: bool) -> bool:
    text = parameters.get(key, "").strip().lower()
    if not text:
        return default
    if text not in _TRUE + _FALSE:
        raise InvalidArgument(f"parameter '{key}': expected true or false, got '{parameters[key]}'")
    return text in _TRUE


def _count(parameters: Mapping[str, str], key: str) -> int:
    text = parameters.get(key, "0").strip()
    if not text.isdecimal():
        raise InvalidArgument(f"parameter '{key}': expected a number of threads (0: the server's share), got '{text}'")
    return int(text)
