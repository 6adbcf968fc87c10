"""Small PyTorch programs, as files of the formats that are served, each for one property."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple  # noqa: UP035 (TorchScript reads these)

import torch


class AddSub(torch.nn.Module):
    def forward(self, a: torch.Tensor, b: torch.Tensor) -> Tuple[torch.Tensor, torch.Tensor]:  # noqa: UP006
        return a + b, a - b


class Same(torch.nn.Module):
    """Gives its input back: the response is cut from the request's own bytes."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


class Dictionary(torch.nn.Module):
    def forward(self, tensors: Dict[str, torch.Tensor]) -> Dict[str, torch.Tensor]:  # noqa: UP006
        return {"sum": tensors["left"] + tensors["right"], "product": tensors["left"] * tensors["right"]}


class Texts(torch.nn.Module):
    def forward(self, texts: List[str], repeat: torch.Tensor) -> Tuple[List[str], torch.Tensor]:  # noqa: UP006
        return [text.upper() for text in texts], repeat * len(texts)


class Shift(torch.nn.Module):
    """An optional tensor and a number."""

    def forward(self, x: torch.Tensor, by: Optional[torch.Tensor] = None, times: int = 2) -> torch.Tensor:  # noqa: UP045
        return x * times if by is None else x * times + by


class Turned(torch.nn.Module):
    """Results that are not contiguous in memory: a transposed view, and one column repeated."""

    def forward(self, x: torch.Tensor) -> Tuple[torch.Tensor, torch.Tensor]:  # noqa: UP006
        return x.transpose(1, 2), x[:, :, :1].expand(-1, -1, 3)


class Pieces(torch.nn.Module):
    def forward(self, pieces: List[torch.Tensor]) -> torch.Tensor:  # noqa: UP006
        return torch.cat(pieces)


class WritesInput(torch.nn.Module):
    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        x.view(-1).add_(1.0)
        return x * y


class WritesDictionary(torch.nn.Module):
    def forward(self, tensors: Dict[str, torch.Tensor]) -> Dict[str, torch.Tensor]:  # noqa: UP006
        tensors["x"].add_(1.0)
        return {"y": tensors["x"]}


class Counts(torch.nn.Module):
    """Keeps state: how many rows it has seen."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen += x.shape[0]
        return x + self.seen


class Wrong(torch.nn.Module):
    """Fails in an operator for some shapes."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.view(x.shape[0], 3)


class Scores(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.layer = torch.nn.Linear(4, 3)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> dict[str, torch.Tensor]:
        scores = self.layer(x) * mask
        return {"scores": scores, "best": scores.argmax(-1)}


class Segments(torch.nn.Module):
    """Sums of the parts of x between bounds, one row each, and twice x."""

    def forward(self, x: torch.Tensor, bounds: torch.Tensor) -> Tuple[torch.Tensor, torch.Tensor]:  # noqa: UP006
        at = torch.cat([x.new_zeros(1), torch.cumsum(x, 0)]).index_select(0, bounds.to(torch.int64))
        return (at[1:] - at[:-1]).unsqueeze(1), x * 2


def script(module: torch.nn.Module, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.jit.save(torch.jit.script(module.eval()), str(path))
    return path


def export(module: torch.nn.Module, example: tuple[Any, ...], shapes: Any, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.export.save(torch.export.export(module.eval(), example, dynamic_shapes=shapes), path)
    return path


def exported_scores(path: Path, most: int | None = None) -> Path:
    rows = torch.export.Dim("rows", max=most) if most else torch.export.Dim("rows")
    shapes = {"x": {0: rows}, "mask": {0: rows}}
    return export(Scores(), (torch.randn(2, 4), torch.ones(2, 1)), shapes, path)


class Tied(torch.nn.Module):
    """What exported programs may hold: a dictionary argument, a keyword, tied weights, a buffer that is not saved."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(6)
        self.first, self.second = torch.nn.Linear(4, 4), torch.nn.Linear(4, 4)
        self.second.weight = self.first.weight
        self.register_buffer("offset", torch.arange(4.0), persistent=False)

    def forward(self, x: torch.Tensor, *, scale: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        hidden = self.second(torch.relu_(self.first(x))) + self.offset
        return hidden * scale, torch.tensor([2.0]) * hidden


class Keyed(torch.nn.Module):
    def forward(self, tensors: dict[str, torch.Tensor]) -> torch.Tensor:
        return tensors["right"] - tensors["left"]
