"""Backend `pytorch`: TorchScript files, exported programs and AOTInductor packages."""

from argosy.errors import InvalidArgument

try:
    import torch as _torch
except ImportError as error:
    raise InvalidArgument("the pytorch backend needs the package 'torch': pip install 'argosy[torch]'") from error

from argosy.backends.torch.backend import TorchBackend

__all__ = ["TorchBackend"]
del _torch
