"""Large tensors by their place in an arena, read by both implementations of the messages."""

from __future__ import annotations

import gc
import os
import struct
from collections.abc import Callable, Iterator
from typing import Any

import argosy
import numpy as np
import pytest
from argosy.worker import wire
from argosy.worker.host import TensorValue
from argosy.worker.memory import Inputs, Mapping, Outputs

ARENA = 1 << 22
BLOCK = 3 * 4096


class Records:
    """A ring that keeps what is pushed."""

    def __init__(self) -> None:
        self.pushed: list[bytes] = []

    def push(self, record: bytes) -> bool:
        self.pushed.append(record)
        return True

    def pop(self) -> bytes | None:
        return None

    def blocks(self) -> list[int]:
        return np.frombuffer(b"".join(self.pushed), np.uint64).tolist()


class Process:
    """Both arenas of a worker, and the server's view of the first."""

    def __init__(self) -> None:
        self.inputs_fd, self.outputs_fd = (os.memfd_create(name) for name in ("inputs", "outputs"))
        for descriptor in (self.inputs_fd, self.outputs_fd):
            os.ftruncate(descriptor, ARENA)
        self.returned, self.released = Records(), Records()
        self.server = Mapping(self.inputs_fd)
        self.memory = wire.Memory(Inputs(self.inputs_fd, self.returned), Outputs(self.outputs_fd, self.released))

    def close(self) -> None:
        os.close(self.inputs_fd)
        os.close(self.outputs_fd)


@pytest.fixture
def process() -> Iterator[Process]:
    made = Process()
    yield made
    made.close()


def native_read() -> Callable[..., Any]:
    core = pytest.importorskip("argosy._core")
    argosy.__path__.append(os.path.dirname(os.path.realpath(core.__file__)))
    native: Any = pytest.importorskip("argosy._worker")
    native.set_up(wire.FOR_NATIVE)
    return native.read_requests  # type: ignore[no-any-return]


@pytest.fixture(params=["python", "native"])
def read(request: pytest.FixtureRequest) -> Callable[..., Any]:
    return wire._read_requests if request.param == "python" else native_read()


def message(*places: tuple[str, str, int, int, tuple[int, ...]]) -> bytes:
    """A request whose inputs (name, type, offset, bytes, shape) are parts of one block."""
    to = bytearray(b"E\0\0\0\1\0\0\0")
    to += struct.pack("<QQQqQIBBHHHI", 1, 0, 0, -1, 0, 1, 0, 0, len(places), 0, 0, 0)
    for _ in range(3):
        wire.put_text(to, "")
    for name, dtype, offset, size, shape in places:
        to += struct.pack("<HBBIQQQ", len(name), wire.DTYPES.index(dtype), 1, len(shape), BLOCK, offset, size)
        to += name.encode()
        to += bytes(-len(to) & 7)
        to += struct.pack(f"<{len(shape)}q", *shape)
    return bytes(to)


def test_parts_of_one_block_are_arrays_where_they_lie(process: Process, read: Callable[..., Any]) -> None:
    first, second = np.arange(40_000, dtype=np.float32), np.arange(100_000, dtype=np.uint8)
    at = BLOCK + 128
    process.server.map[at : at + first.nbytes] = first.tobytes()
    beside = at + first.nbytes + 5
    process.server.map[beside : beside + second.nbytes] = second.tobytes()
    got = read(
        message(("X", "FP32", at, first.nbytes, (200, 200)), ("Y", "UINT8", beside, second.nbytes, (100_000,))),
        process.memory,
        (),
    )
    x, y = got[0].request.inputs
    assert (x.data == first.reshape(200, 200)).all() and (y.data == second).all()
    assert x.data.flags.aligned and x.data.flags.writeable
    start = process.memory.inputs.mapping.address
    assert x.data.__array_interface__["data"][0] == start + at
    assert y.data.__array_interface__["data"][0] == start + beside

    # The server hears of the block, once for each array, when the last view of it is gone.
    row = x.data[3]
    del got, x, y
    gc.collect()
    process.memory.inputs.flush()
    assert process.returned.blocks() == [BLOCK]
    assert row[1] == 601
    del row
    gc.collect()
    process.memory.inputs.flush()
    assert process.returned.blocks() == [BLOCK, BLOCK]


def test_texts_are_read_from_any_place(process: Process, read: Callable[..., Any]) -> None:
    raw = b"".join(struct.pack("<I", 2000) + bytes([number]) * 2000 for number in range(50))
    at = BLOCK + 77
    process.server.map[at : at + len(raw)] = raw
    (one,) = read(message(("T", "BYTES", at, len(raw), (50,))), process.memory, ())
    (tensor,) = one.request.inputs
    assert [text[:1] for text in tensor.data.tolist()] == [bytes([number]) for number in range(50)]
    gc.collect()
    process.memory.inputs.flush()
    assert process.returned.blocks() == [BLOCK]


def test_a_part_of_a_block_is_passed_on_by_its_place(process: Process, read: Callable[..., Any]) -> None:
    first = np.arange(40_000, dtype=np.float32)
    at = BLOCK + 64
    process.server.map[at : at + first.nbytes] = first.tobytes()
    got = read(message(("X", "FP32", at, first.nbytes, (40_000,))), process.memory, ())
    array = got[0].request.inputs[0].data[100:]
    lent: list[int] = []
    to = bytearray()
    wire.put_tensors(to, (TensorValue("Y", "FP32", array.shape, array),), process.memory, lent)
    _, _, where, _, token, offset, size = struct.unpack_from("<HBBIQQQ", to)
    assert (where, offset, size) == (2, at + 400, array.nbytes)
    assert lent == [token]
    # It is held until the server is done with it, whatever the model does.
    del got, array
    gc.collect()
    assert not process.memory.inputs.flush()
    process.memory.outputs.dropped(token)
    process.memory.outputs.collect()
    gc.collect()
    process.memory.inputs.flush()
    assert process.returned.blocks() == [BLOCK]
