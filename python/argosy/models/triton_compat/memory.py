"""Where a called model should leave its outputs."""

from __future__ import annotations

from enum import IntEnum

from argosy.models.triton_compat.errors import TritonModelException


class MemoryType(IntEnum):
    """The values of the ecosystem's C interface."""

    TRITONSERVER_MEMORY_CPU = 0
    TRITONSERVER_MEMORY_CPU_PINNED = 1
    TRITONSERVER_MEMORY_GPU = 2


TRITONSERVER_MEMORY_CPU = MemoryType.TRITONSERVER_MEMORY_CPU
TRITONSERVER_MEMORY_GPU = MemoryType.TRITONSERVER_MEMORY_GPU


class PreferredMemory:
    """`PreferredMemory(TRITONSERVER_MEMORY_CPU)`. GPU is refused: a model's tensors are in host memory."""

    CPU = TRITONSERVER_MEMORY_CPU

    def __init__(self, preferred_memory_type: int, preferred_device_id: int = 0) -> None:
        kind = MemoryType(preferred_memory_type)
        if kind == TRITONSERVER_MEMORY_GPU:
            raise TritonModelException(
                "PreferredMemory: expected TRITONSERVER_MEMORY_CPU, got TRITONSERVER_MEMORY_GPU; tensors of Python "
                "models are in host memory"
            )
        self._kind = kind
        self._device = int(preferred_device_id)

    def preferred_memory_type(self) -> MemoryType:
        return self._kind

    def preferred_device_id(self) -> int:
        return self._device
