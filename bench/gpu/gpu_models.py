"""What serving.py and shared_memory.py serve: TorchScript files with random weights, put into a repository."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """`rows(n)`: one input of n rows. `batch`: the largest batch; `request_rows`: of one request."""

    path: Path
    device: str
    batch: int
    request_rows: int
    rows: Callable[[int], np.ndarray]
    config: str


class Bottleneck(nn.Module):
    def __init__(self, wide: int, inner: int, stride: int) -> None:
        super().__init__()
        out = inner * 4
        self.way = nn.Sequential(
            nn.Conv2d(wide, inner, 1, bias=False),
            nn.BatchNorm2d(inner),
            nn.ReLU(inplace=True),
            nn.Conv2d(inner, inner, 3, stride, 1, bias=False),
            nn.BatchNorm2d(inner),
            nn.ReLU(inplace=True),
            nn.Conv2d(inner, out, 1, bias=False),
            nn.BatchNorm2d(out),
        )
        straight = wide == out and stride == 1
        self.short = (
            nn.Identity()
            if straight
            else nn.Sequential(nn.Conv2d(wide, out, 1, stride, bias=False), nn.BatchNorm2d(out))
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.way(x) + self.short(x))


class ResNet50(nn.Module):
    """Bytes of an image in, 1000 scores out; computes in half precision."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [
            nn.Conv2d(3, 64, 7, 2, 3, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 2, 1),
        ]
        wide = 64
        for inner, blocks, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
            for at in range(blocks):
                layers.append(Bottleneck(wide, inner, stride if at == 0 else 1))
                wide = inner * 4
        self.body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(wide, 1000))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body((x.to(torch.float16) - 127.5) * (1.0 / 64.0)).to(torch.float32)


def resnet50(folder: Path, name: str, device: str) -> Model:
    def rows(count: int) -> np.ndarray:
        return np.random.default_rng(1).integers(0, 256, (count, 3, 224, 224), np.uint8)

    torch.manual_seed(1)
    path = _traced(ResNet50().half(), torch.from_numpy(rows(2)), folder / f"{name}.pt", device)
    config = _config("UINT8", (3, 224, 224), 1000, 64)
    return Model(path=path, device=device, batch=64, request_rows=1, rows=rows, config=config)


def mlp(folder: Path, name: str, device: str, *, width: int = 1024, seed: int = 2) -> Model:
    """Three layers; 16 rows a request, so that requests are not what is measured."""

    def rows(count: int) -> np.ndarray:
        return np.random.default_rng(seed).random((count, width), np.float32)

    torch.manual_seed(seed)
    layers = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 16))
    path = _traced(layers, torch.from_numpy(rows(2)), folder / f"{name}.pt", device)
    config = _config("FP32", (width,), 16, 256)
    return Model(path=path, device=device, batch=256, request_rows=16, rows=rows, config=config)


def pooled(folder: Path, name: str, device: str) -> Model:
    """An image in, 16 numbers out; next to no computation, so that the way of the bytes is what is measured."""

    def rows(count: int) -> np.ndarray:
        return np.random.default_rng(3).random((count, 3, 224, 224), np.float32)

    torch.manual_seed(3)
    layers = nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(48, 16))
    path = _traced(layers, torch.from_numpy(rows(2)), folder / f"{name}.pt", device)
    config = _config("FP32", (3, 224, 224), 16, 32)
    return Model(path=path, device=device, batch=32, request_rows=1, rows=rows, config=config)


class Copy(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.clone()


def copied(folder: Path, name: str, device: str) -> Model:
    """600 KB in, the same bytes out."""
    width = 150_528

    def rows(count: int) -> np.ndarray:
        return np.random.default_rng(4).random((count, width), np.float32)

    path = _traced(Copy(), torch.from_numpy(rows(2)), folder / f"{name}.pt", device)
    config = _config("FP32", (width,), width, 32)
    return Model(path=path, device=device, batch=32, request_rows=1, rows=rows, config=config)


def write_model(repository: Path, name: str, model: Model, *, graphs: bool = False) -> None:
    """One model's directory. Preferred sizes are left to the server."""
    root = repository / name
    (root / "1").mkdir(parents=True)
    (root / "1" / "model.pt").write_bytes(model.path.read_bytes())
    text = model.config + ("optimization { cuda { graphs: true } }\n" if graphs else "")
    (root / "config.pbtxt").write_text(text)


def _config(dtype: str, dims: tuple[int, ...], out: int, batch: int) -> str:
    return (
        f'backend: "pytorch"\nmax_batch_size: {batch}\n'
        f'input {{ name: "x" data_type: TYPE_{dtype} dims: {list(dims)} }}\n'
        f'output {{ name: "OUTPUT__0" data_type: TYPE_FP32 dims: [ {out} ] }}\n'
        "dynamic_batching { }\ninstance_group { kind: KIND_GPU gpus: [ 0 ] }\n"
    )


def _traced(module: Any, example: torch.Tensor, path: Path, device: str) -> Path:
    """Made on the device, where half precision is quick; the file goes to any."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with torch.no_grad():
        traced = torch.jit.trace(module.eval().to(device), example.to(device), check_trace=False)
    torch.jit.save(traced, str(path))
    return path
