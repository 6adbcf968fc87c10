"""Which TensorRT package is installed: the full one, TensorRT for RTX, or the lean runtime.

They have one API and differ in what they can do: the lean runtime runs engines and
builds none. Nothing is imported before a model asks for it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from argosy.errors import InvalidArgument

PACKAGES = ("tensorrt", "tensorrt_rtx", "tensorrt_lean")
_NEEDED = ("Runtime", "Logger", "IExecutionContext")
_ADVICE = (
    "pip install tensorrt (or tensorrt-rtx for RTX GPUs, or tensorrt-lean to run engines only), "
    "and cuda-bindings for device memory: pip install 'argosy[tensorrt]'"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Flavour:
    """An imported package. `builds`: whether it can make engines out of ONNX files."""

    name: str
    version: str
    builds: bool
    module: Any


def find_flavour(wanted: str = "", importer: Callable[[str], Any] = importlib.import_module) -> Flavour:
    """The package `wanted`, or the first that there is. Raises InvalidArgument saying what to install."""
    if wanted and wanted not in PACKAGES:
        raise InvalidArgument(f"--backend-config=tensorrt,package={wanted}: expected one of {', '.join(PACKAGES)}")
    broken = []
    for name in (wanted,) if wanted else PACKAGES:
        try:
            module = importer(name)
        except ModuleNotFoundError as error:
            if error.name != name:
                broken.append(f"{name}: {error}")
        except Exception as error:  # missing libraries, wrong drivers: the packages raise what they like
            broken.append(f"{name}: {error}")
        else:
            return _checked(name, module)
    if broken:
        raise InvalidArgument(f"the tensorrt backend found a package that cannot be used: {'; '.join(broken)}")
    raise InvalidArgument(f"the tensorrt backend needs the package '{wanted or PACKAGES[0]}': {_ADVICE}")


def _checked(name: str, module: Any) -> Flavour:
    version = str(getattr(module, "__version__", "unknown"))
    missing = [one for one in _NEEDED if not hasattr(module, one)]
    if missing or not hasattr(module.IExecutionContext, "execute_async_v3"):
        lacks = ", ".join(missing) or "IExecutionContext.execute_async_v3"
        raise InvalidArgument(f"{name} {version} has no {lacks}; the tensorrt backend needs TensorRT 10 or later")
    builds = hasattr(module, "Builder") and hasattr(module, "OnnxParser")
    return Flavour(name=name, version=version, builds=builds, module=module)
