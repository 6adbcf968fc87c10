"""What the server that shall run a model has."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """The build and the machine.

    `gpu_build`: whether device/cuda is compiled in. `gpus`: ids of the usable GPUs. `gpus_left_alone`: why others
    are not, a sentence each.
    `cpu_only`: backends that run on no GPU here, so that what has no kind goes to the CPU.
    `rate_limiting`: whether instances are gated by resources; off means that rate limiter
    settings have no effect, as in the ecosystem's default.
    """

    gpu_build: bool = False
    gpus: tuple[int, ...] = ()
    gpus_left_alone: tuple[str, ...] = ()
    cpu_only: tuple[str, ...] = ("identity", "onnxruntime")
    rate_limiting: bool = False
