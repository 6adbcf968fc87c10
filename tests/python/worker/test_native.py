"""The native half of a model's process against the Python one, which does the same."""

from __future__ import annotations

import ctypes
import mmap
import os
import random
import struct
import threading
import time
from typing import Any

import argosy
import numpy as np
import pytest
from argosy.worker import rings, wire
from argosy.worker.host import InferResponse, TensorValue
from argosy.worker.memory import Outputs
from serving.waiting import until

core = pytest.importorskip("argosy._core")
# Beside the core, also where that is a link to a build.
argosy.__path__.append(os.path.dirname(os.path.realpath(core.__file__)))
native: Any = pytest.importorskip("argosy._worker")

CAPACITY = 1 << 12
MEMORY: Any = wire.Memory(None, None)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def _set_up() -> None:
    native.set_up(wire.FOR_NATIVE)


class Place:
    """Memory with one ring in it, and both kinds of ends."""

    def __init__(self) -> None:
        self.memory = mmap.mmap(-1, rings.HEAD_BYTES + CAPACITY)
        self.pin = ctypes.c_char.from_buffer(self.memory)
        self.address = ctypes.addressof(self.pin)

    def native(self) -> Any:
        return native.Ring(self.memory, self.address, 0, CAPACITY)

    def plain(self) -> rings.Ring:
        return rings.Ring(self.memory, self.address, 0, CAPACITY)


KINDS = [("native", "plain"), ("plain", "native"), ("native", "native")]


@pytest.mark.parametrize(("writer", "reader"), KINDS)
def test_both_kinds_of_rings_speak_with_each_other(writer: str, reader: str) -> None:
    place = Place()
    write, read = getattr(place, writer)(), getattr(place, reader)()
    assert write.longest == read.longest
    seed = 5
    pick = random.Random(seed)
    sent: list[bytes] = []
    for _ in range(3000):
        record = pick.randbytes(pick.randrange(300))
        if write.push(record):
            sent.append(record)
        while len(sent) > pick.randrange(8):
            assert read.pop() == sent.pop(0), seed
    while sent:
        assert read.pop() == sent.pop(0)
    assert read.pop() is None


def test_a_full_ring_says_so() -> None:
    ring = Place().native()
    assert ring.push(bytes(ring.longest))
    assert ring.push(bytes(ring.longest))
    assert not ring.push(b"one more")
    with pytest.raises(ValueError, match="at most"):
        ring.push(bytes(ring.longest + 1))


def test_a_sleeper_is_woken() -> None:
    place = Place()
    write, read = place.native(), place.native()
    got: list[bytes] = []

    def wait() -> None:
        while not got:
            record = read.pop()
            if record is None:
                read.wait()
            else:
                got.append(record)

    sleeper = threading.Thread(target=wait)
    sleeper.start()
    until(write.reader_sleeps)
    assert write.push(b"come")
    write.wake()
    sleeper.join(60)
    assert got == [b"come"]


def test_a_wait_ends_with_its_time() -> None:
    ring = Place().native()
    begun = time.monotonic()
    ring.wait(0.05)
    assert time.monotonic() - begun >= 0.04
    assert not ring.reader_sleeps()


def test_a_ring_outside_of_its_memory_is_refused() -> None:
    place = Place()
    for at, capacity in ((0, CAPACITY * 2), (8, CAPACITY), (-8, 64), (0, 100)):
        with pytest.raises(ValueError, match="not in memory"):
            native.Ring(place.memory, place.address, at, capacity)


def _request(
    tensors: list[TensorValue], *, named: tuple[str, ...] = (), parameters: Any = None, kind: int = 0
) -> bytes:
    given = parameters or {}
    to = bytearray(b"E\0\0\0\1\0\0\0")
    to += struct.pack("<QQQqQIBBHHHI", 7 << 32 | 3, 9, 1000, -1, 5, 1, kind, 3, len(tensors), len(named), len(given), 0)
    for text in ("id ä", "trace", "sequence", *named):
        wire.put_text(to, text)
    wire._put_parameters(to, given)
    wire._put_tensors(to, tensors, MEMORY, [])
    return bytes(to)


def _tensor(pick: np.random.Generator, dtype: str, name: str = "X") -> TensorValue:
    shape = tuple(int(n) for n in pick.integers(0, 5, pick.integers(0, 4)))
    kind = wire.NUMPY_TYPES[dtype]
    if dtype == "BYTES":
        data = np.empty(shape, object)
        for at in np.ndindex(shape):
            data[at] = bytes(pick.integers(0, 256, pick.integers(0, 9), np.uint8))
        return TensorValue(name, dtype, shape, data)
    size = int(np.prod(shape)) * kind.itemsize
    raw = pick.integers(0, 2 if dtype == "BOOL" else 256, size, np.uint8)
    return TensorValue(name, dtype, shape, raw.view(kind).reshape(shape))


def _same(one: TensorValue, other: TensorValue) -> bool:
    return (
        type(one) is type(other) is TensorValue
        and one[:3] == other[:3]
        and one.data.shape == other.data.shape
        and one.data.dtype == other.data.dtype
        and (one.dtype == "BYTES" or one.data.flags.writeable)
        and (
            one.data.tolist() == other.data.tolist()
            if one.dtype == "BYTES"
            else one.data.tobytes() == other.data.tobytes()
        )
    )


@pytest.mark.parametrize("dtype", wire.DTYPES)
def test_every_type_is_written_and_read_as_python_does_it(dtype: str) -> None:
    pick = np.random.default_rng(11)
    for _ in range(30):
        tensors = tuple(_tensor(pick, dtype, name) for name in ("X", "lönger", ""))
        plain, fast = bytearray(b"R\0\0\0"), bytearray(b"R\0\0\0")
        wire._put_tensors(plain, tensors, MEMORY, [])
        native.put_tensors(fast, tensors, MEMORY, [])
        assert fast == plain
        message = _request(list(tensors))
        (by_python,), (by_native,) = (
            read(message, MEMORY, ("OUT",)) for read in (wire._read_requests, native.read_requests)
        )
        assert all(_same(*two) for two in zip(by_native.request.inputs, by_python.request.inputs, strict=True))


@pytest.mark.parametrize("kind", [0, 1, 2])
def test_a_request_is_read_as_python_does_it(kind: int) -> None:
    parameters = {"flag": True, "off": False, "whole": -(2**40), "real": 0.5, "text": "ö"}
    message = _request([], named=("A", "B"), parameters=parameters, kind=kind)
    (plain,), (fast,) = (read(message, MEMORY, ("OUT",)) for read in (wire._read_requests, native.read_requests))
    assert fast == plain
    assert type(fast) is wire.Received
    assert type(fast.request) is wire.InferRequest
    assert fast.request.requested_outputs == ("A", "B")
    assert fast.request.parameters == parameters
    assert type(fast.request.parameters["flag"]) is bool


def test_a_deadline_is_on_the_clock_that_python_reads() -> None:
    message = bytearray(_request([]))
    message[8 + 24 : 8 + 32] = struct.pack("<q", 2_000_000)
    before = time.monotonic()
    (one,) = native.read_requests(bytes(message), MEMORY, ())
    assert before + 2 - 1e-3 <= one.deadline <= time.monotonic() + 2 + 1e-3


@pytest.mark.parametrize("code", [0, 2, 9])
def test_a_response_is_read_as_python_does_it(code: int) -> None:
    to = bytearray(16)
    to += struct.pack("<BBHHH", code, 0, 1, 1, 0)
    wire.put_text(to, "why" if code else "")
    wire._put_parameters(to, {"p": 1})
    wire._put_tensors(to, [TensorValue("X", "INT32", (3,), np.arange(3, dtype=np.int32))], MEMORY, [])
    plain, fast = (read(bytes(to), 16, MEMORY) for read in (wire._read_response, native.read_response))
    assert type(fast) is InferResponse
    assert (fast.parameters, fast.failure) == (plain.parameters, plain.failure)
    assert all(_same(*two) for two in zip(fast.outputs, plain.outputs, strict=True))


def test_what_is_cut_off_is_refused_and_not_read_past() -> None:
    whole = _request([_tensor(np.random.default_rng(3), "FP32")], named=("A",), parameters={"p": "text"})
    for size in range(8, len(whole)):
        with pytest.raises(ValueError, match="cut off"):
            native.read_requests(whole[:size], MEMORY, ())


UNUSUAL = [
    TensorValue("X", "FP32", (2, 3), np.arange(6, dtype=np.float32).reshape(3, 2).T),
    TensorValue("X", "FP32", (), np.array(1, np.float32)),
    TensorValue("X", "BYTES", (2,), np.array(["text", b"raw"], object)),
    TensorValue("".join(["F", "P"]), "".join(["FP", "32"]), (2,), np.zeros(2, np.float32)),
    TensorValue("X", "FP32", (2,), np.ma.masked_array(np.zeros(2, np.float32))),
]


@pytest.mark.parametrize("tensor", UNUSUAL, ids=range(len(UNUSUAL)))
def test_unusual_tensors_are_written_as_python_does_it(tensor: TensorValue) -> None:
    plain, fast = bytearray(), bytearray()
    wire._put_tensors(plain, (tensor,), MEMORY, [])
    native.put_tensors(fast, (tensor,), MEMORY, [])
    assert fast == plain


WRONG = [
    TensorValue("X", "FP32", (2,), np.zeros(2, np.float64)),
    TensorValue("X", "FP32", (3,), np.zeros(2, np.float32)),
    TensorValue("X", "FP32", (2, 1), np.zeros(2, np.float32)),
    TensorValue("X", "FP99", (2,), np.zeros(2, np.float32)),
]


@pytest.mark.parametrize("tensor", WRONG, ids=range(len(WRONG)))
def test_what_cannot_be_sent_is_refused_with_pythons_words(tensor: TensorValue) -> None:
    with pytest.raises(argosy.InvalidArgument, match="tensor 'X'"):
        native.put_tensors(bytearray(), (tensor,), MEMORY, [])


def test_a_large_tensor_goes_through_the_arena(tmp_path: Any) -> None:
    place = Place()
    with open(tmp_path / "arena", "w+b") as file:
        file.truncate(1 << 20)
        outputs = Outputs(file.fileno(), place.plain())
        memory = wire.Memory(Outputs(file.fileno(), Place().plain()), outputs)  # type: ignore[arg-type]
        data = np.arange(40_000, dtype=np.float32)
        lent: list[int] = []
        to = bytearray()
        native.put_tensors(to, (TensorValue("X", "FP32", data.shape, data),), memory, lent)
        assert len(lent) == 1
        assert outputs.mapping.map[lent[0] : lent[0] + data.nbytes] == data.tobytes()
        assert len(to) < 200
