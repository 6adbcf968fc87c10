"""Requests and responses as messages; csrc/worker/heads.h has the bytes.

Small tensors travel in the message, large ones by their place in an arena. Reading
trusts the server; what a model gives to be sent is checked.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from argosy.errors import InvalidArgument
from argosy.worker.host import NUMPY_TYPES, Failure, InferCall, InferRequest, InferResponse, Parameter, TensorValue
from argosy.worker.memory import Inputs, Outputs
from argosy.worker.native import native

INLINE = 64 << 10
DTYPES = (
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "BF16", "FP32", "FP64",
    "BYTES",
)  # fmt: skip
CODES = (
    "ok", "invalid_argument", "not_found", "already_exists", "unavailable", "deadline_exceeded", "cancelled",
    "unsupported", "resource_exhausted", "internal",
)  # fmt: skip
CODE_OF = {name: number for number, name in enumerate(CODES)}
_DTYPE_OF = {name: number for number, name in enumerate(DTYPES)}
_NUMPY = tuple(NUMPY_TYPES[name] for name in DTYPES)
_BYTES = _DTYPE_OF["BYTES"]
_IN_MESSAGE, _WRITERS, _READERS = 0, 1, 2

_REQUEST = struct.Struct("<QQQqQIBBHHHI")
_RESPONSE = struct.Struct("<BBHHH")
_PLAIN = tuple(_RESPONSE.pack(0, 0, outputs, 0, 0) + bytes(4) for outputs in range(8))
_TENSOR = struct.Struct("<HBBIQQQ")
_U32 = struct.Struct("<I")
_I64 = struct.Struct("<q")
_F64 = struct.Struct("<d")
_DIMS = tuple(struct.Struct(f"<{rank}q") for rank in range(9))
_PADDING = tuple(bytes(size) for size in range(16))
_NO_TEXT = bytes(4)
_names: dict[bytes, str] = {}


class Memory(NamedTuple):
    """Both arenas, as seen from here."""

    inputs: Inputs
    outputs: Outputs


class Received(NamedTuple):
    """A request and when it is due (time.monotonic seconds, None: never)."""

    request: InferRequest
    deadline: float | None


# Reading.


def _name(text: bytes) -> str:
    known = _names.get(text)
    if known is None:
        known = text.decode()
        if len(_names) < 4096:
            _names[text] = known
    return known


def _text(message: bytes, at: int) -> tuple[str, int]:
    (size,) = _U32.unpack_from(message, at)
    at += 4
    return (message[at : at + size].decode("utf-8", "surrogateescape") if size else ""), at + size


def _read_parameters(message: bytes, at: int, count: int) -> tuple[dict[str, Parameter], int]:
    found: dict[str, Parameter] = {}
    for _ in range(count):
        kind = message[at]
        name, at = _text(message, at + 1)
        if kind == 0:
            found[name] = bool(message[at])
            at += 1
        elif kind == 1:
            found[name] = _I64.unpack_from(message, at)[0]
            at += 8
        elif kind == 2:
            found[name] = _F64.unpack_from(message, at)[0]
            at += 8
        else:
            found[name], at = _text(message, at)
    return found, at


def _read_tensor(message: bytes, at: int, memory: Memory) -> tuple[TensorValue, int]:
    name_size, dtype, where, rank, block, offset, size = _TENSOR.unpack_from(message, at)
    at += 32
    name = _name(message[at : at + name_size])
    at = (at + name_size + 7) & ~7
    dims = _DIMS[rank] if rank < 9 else struct.Struct(f"<{rank}q")
    shape = dims.unpack_from(message, at)
    at += 8 * rank
    if where == _IN_MESSAGE:
        at = (at + 15) & ~15
        if dtype == _BYTES:
            data = _strings(message, at, size, shape)
        else:
            # A copy, and small: a message cannot be written, and models write to their inputs.
            data = np.ndarray(shape, _NUMPY[dtype], bytearray(message[at : at + size]))
        return TensorValue(name, DTYPES[dtype], shape, data), at + size
    return TensorValue(name, DTYPES[dtype], shape, _read_far(memory, dtype, block, offset, size, shape)), at


def _read_far(
    memory: Memory, dtype: int, block: int, offset: int, size: int, shape: tuple[int, ...]
) -> np.ndarray[Any, Any]:
    raw = memory.inputs.bytes_of(block, offset, size)
    if dtype == _BYTES:
        return _strings(raw.tobytes(), 0, size, shape)
    return raw.view(_NUMPY[dtype]).reshape(shape)


def _strings(message: bytes, at: int, size: int, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    end = at + size
    items = []
    while at < end:
        (length,) = _U32.unpack_from(message, at)
        at += 4
        items.append(message[at : at + length])
        at += length
    data = np.empty(len(items), object)
    data[:] = items
    return data.reshape(shape)


def _read_requests(message: bytes, memory: Memory, outputs: tuple[str, ...]) -> list[Received]:
    """The requests of a batch. `outputs`: what is wanted of a request that names none."""
    (count,) = _U32.unpack_from(message, 4)
    at = 8
    now = time.monotonic()
    found = []
    for _ in range(count):
        at = (at + 7) & ~7
        (handle, priority, timeout_us, left, number, _rows, kind, flags, n_inputs, n_wanted, n_parameters, _) = (
            _REQUEST.unpack_from(message, at)
        )
        identity, at = _text(message, at + 56)
        trace, at = _text(message, at)
        sequence, at = _text(message, at)
        wanted = outputs
        if n_wanted:
            names = []
            for _ in range(n_wanted):
                name, at = _text(message, at)
                names.append(name)
            wanted = tuple(names)
        parameters: dict[str, Parameter] = {}
        if n_parameters:
            parameters, at = _read_parameters(message, at, n_parameters)
        inputs = []
        for _ in range(n_inputs):
            tensor, at = _read_tensor(message, at, memory)
            inputs.append(tensor)
        correlation: int | str = number if kind == 1 else sequence if kind == 2 else 0
        request = InferRequest(
            handle, tuple(inputs), wanted, identity, correlation, flags, priority, timeout_us, parameters, trace
        )
        found.append(Received(request, None if left < 0 else now + left / 1e6))
    return found


def _read_response(message: bytes, at: int, memory: Memory) -> InferResponse:
    """A response that begins at `at`."""
    code, _, n_outputs, n_parameters, _ = _RESPONSE.unpack_from(message, at)
    text, at = _text(message, at + 8)
    parameters, at = _read_parameters(message, at, n_parameters)
    outputs = []
    for _ in range(n_outputs):
        tensor, at = _read_tensor(message, at, memory)
        outputs.append(tensor)
    return InferResponse(tuple(outputs), parameters, Failure(CODES[code], text) if code else None)


# Writing. A message is a bytearray that begins at a multiple of 16.


def put_text(to: bytearray, text: str) -> None:
    """Appends a text after its length."""
    if not text:
        to += _NO_TEXT
        return
    raw = text.encode("utf-8", "surrogateescape")
    to += len(raw).to_bytes(4, "little")
    to += raw


def _put_parameters(to: bytearray, parameters: Mapping[str, Parameter]) -> None:
    for name, value in parameters.items():
        try:
            _put_parameter(to, name, value)
        except UnicodeEncodeError:
            raise InvalidArgument(f"parameter {name!r}: expected text that has a UTF-8 form, got {value!r}") from None


def _put_parameter(to: bytearray, name: str, value: Parameter) -> None:
    kind = 0 if isinstance(value, bool) else 1 if isinstance(value, int) else 2 if isinstance(value, float) else 3
    to.append(kind)
    put_text(to, name)
    if kind == 0:
        to.append(bool(value))
    elif kind == 1:
        try:
            to += _I64.pack(value)
        except struct.error:
            raise InvalidArgument(f"parameter '{name}': {value} does not fit in 64 bits") from None
    elif kind == 2:
        to += _F64.pack(value)
    elif isinstance(value, str):
        put_text(to, value)
    else:
        raise InvalidArgument(f"parameter '{name}': expected bool, int, float or str, got {type(value).__name__}")


def serialize(data: np.ndarray[Any, Any], name: str) -> bytes:
    """A BYTES tensor's elements, each after its length."""
    parts = []
    for item in data.ravel().tolist():
        raw = item.encode() if isinstance(item, str) else item
        if not isinstance(raw, bytes):
            raw = str(raw).encode()
        parts.append(len(raw).to_bytes(4, "little"))
        parts.append(raw)
    return b"".join(parts)


def _put_tensor(to: bytearray, tensor: TensorValue, memory: Memory, lent: list[int]) -> None:
    name, dtype, shape, data = tensor
    number = _DTYPE_OF.get(dtype)
    if number is None:
        raise InvalidArgument(f"tensor '{name}': unknown data type '{dtype}', expected one of {', '.join(DTYPES)}")
    if tuple(shape) != data.shape:
        raise InvalidArgument(f"tensor '{name}': shape {list(shape)} was said, but its data has {list(data.shape)}")
    raw: bytes | None = None
    if number == _BYTES:
        raw = serialize(data, name)
        size = len(raw)
    else:
        if data.dtype != _NUMPY[number]:
            raise InvalidArgument(f"tensor '{name}': {dtype} was said, but its data is {data.dtype}")
        size = data.nbytes
    where, block, offset = _IN_MESSAGE, 0, 0
    if size > INLINE:
        where, block, offset = _place(data, raw, size, memory, lent)
    encoded = name.encode()
    to += _TENSOR.pack(len(encoded), number, where, len(shape), block, offset, size)
    to += encoded
    to += _PADDING[-len(to) & 7]
    to += (_DIMS[len(shape)] if len(shape) < 9 else struct.Struct(f"<{len(shape)}q")).pack(*shape)
    if where == _IN_MESSAGE:
        to += _PADDING[-len(to) & 15]
        to += raw if raw is not None else data.tobytes()


def _place(
    data: np.ndarray[Any, Any], raw: bytes | None, size: int, memory: Memory, lent: list[int]
) -> tuple[int, int, int]:
    if raw is None and data.flags.c_contiguous:
        address = data.__array_interface__["data"][0]
        inside = address - memory.inputs.mapping.address
        if 0 <= inside <= memory.inputs.mapping.size - size:
            # An input passed on: the server has it already, but we hold it until it says so.
            token = memory.outputs.pass_on(data)
            lent.append(token)
            return _READERS, token, inside
        inside = address - memory.outputs.mapping.address
        if 0 <= inside <= memory.outputs.mapping.size - size:
            block = memory.outputs.hold(inside)
            lent.append(block)
            return _WRITERS, block, inside
    block = memory.outputs.allocate(size)
    lent.append(block)
    target = memory.outputs.mapping.map
    if raw is not None:
        target[block : block + size] = raw
    else:
        into = np.ndarray(data.shape, data.dtype, target, block)
        np.copyto(into, data)
    return _WRITERS, block, block


def _put_tensors(to: bytearray, tensors: Sequence[TensorValue], memory: Memory, lent: list[int]) -> None:
    for tensor in tensors:
        _put_tensor(to, tensor, memory, lent)


def put_response(to: bytearray, response: InferResponse, memory: Memory, lent: list[int]) -> None:
    """Appends. `lent` collects the blocks that the server now holds. Raises InvalidArgument."""
    failure = response.failure
    if failure is not None:
        to += _RESPONSE.pack(CODE_OF.get(failure.code, CODE_OF["internal"]), 0, 0, 0, 0)
        put_text(to, failure.message.encode("utf-8", "backslashreplace").decode())
        return
    outputs, parameters = response.outputs, response.parameters
    if parameters:
        to += _RESPONSE.pack(0, 0, len(outputs), len(parameters), 0)
        to += b"\0\0\0\0"
        _put_parameters(to, parameters)
    else:
        to += (
            _PLAIN[len(outputs)] if len(outputs) < len(_PLAIN) else _RESPONSE.pack(0, 0, len(outputs), 0, 0) + bytes(4)
        )
    put_tensors(to, outputs, memory, lent)


def put_call(to: bytearray, call: InferCall, left_us: int, trace: str, memory: Memory, lent: list[int]) -> None:
    """Appends a call as a request. `left_us`: -1 for no deadline."""
    correlation = call.correlation_id
    text = correlation if isinstance(correlation, str) else ""
    number = correlation if isinstance(correlation, int) else 0
    kind = 2 if text else 1 if number else 0
    inputs, parameters = call.inputs, call.parameters
    try:
        to += _REQUEST.pack(
            0, call.priority, call.timeout_us, left_us, number, 1, kind, call.flags & 3, len(inputs),
            len(call.requested_outputs), len(parameters), 0,
        )  # fmt: skip
    except struct.error:
        raise InvalidArgument(
            f"call of model '{call.model}': a number does not fit: priority {call.priority}, timeout "
            f"{call.timeout_us} us and correlation id {number} go from 0 to 2^64-1; {len(inputs)} inputs, "
            f"{len(call.requested_outputs)} outputs, {len(parameters)} parameters"
        ) from None
    put_text(to, call.id)
    put_text(to, trace)
    put_text(to, text)
    for name in call.requested_outputs:
        put_text(to, name)
    if parameters:
        _put_parameters(to, parameters)
    put_tensors(to, inputs, memory, lent)


def take_back(lent: Sequence[int], outputs: Outputs) -> None:
    """Blocks of a message that is not sent."""
    for block in lent:
        outputs.dropped(block)


# The native half does the same for what is usual, and comes back for the rest.

FOR_NATIVE: Mapping[str, object] = {
    "InferRequest": InferRequest,
    "InferResponse": InferResponse,
    "Failure": Failure,
    "Received": Received,
    "TensorValue": TensorValue,
    "DTYPES": DTYPES,
    "CODES": CODES,
    "NUMPY": _NUMPY,
    "ndarray": np.ndarray,
    "read_far": _read_far,
    "read_strings": _strings,
    "put_tensor": _put_tensor,
}

if native is None:
    read_requests, read_response, put_tensors = _read_requests, _read_response, _put_tensors
else:
    native.set_up(FOR_NATIVE)
    read_requests, read_response, put_tensors = native.read_requests, native.read_response, native.put_tensors
