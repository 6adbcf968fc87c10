"""A small PyTorch module as one file, `ranker.pt2`, that needs no config.pbtxt:

python examples/models/export_ranker.py && argosy serve ranker.pt2

The first dimension of every tensor is dynamic and the same: it is the batch, up to 64 rows.
"""

from __future__ import annotations

import sys

import torch


class Ranker(torch.nn.Module):
    """features [rows, 8] and a weight [rows, 1] -> score [rows, 1] and whether it is above a half."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(8, 32), torch.nn.ReLU(), torch.nn.Linear(32, 1))

    def forward(self, features: torch.Tensor, weight: torch.Tensor) -> dict[str, torch.Tensor]:
        score = torch.sigmoid(self.layers(features)) * weight
        return {"score": score, "above": score > 0.5}


def main(path: str) -> None:
    torch.manual_seed(0)
    rows = torch.export.Dim("rows", max=64)
    program = torch.export.export(
        Ranker().eval(),
        (torch.zeros(2, 8), torch.ones(2, 1)),
        dynamic_shapes={"features": {0: rows}, "weight": {0: rows}},
    )
    torch.export.save(program, path)
    print(f"{path}: features [rows, 8], weight [rows, 1] -> score [rows, 1], above [rows, 1]")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "ranker.pt2")
