"""A ModelConfig message as clients see it: JSON of the config endpoint, or bytes.

JSON has the names of the proto file in its order; every scalar, list and map is there,
also at its default; sub-messages and choices that are not set are left out. 64-bit
integers are numbers, except map keys and the few that clients know as strings.
"""

from __future__ import annotations

import struct
from typing import Any

from google.protobuf.descriptor import FieldDescriptor

from argosy.protos import Message

_WIDE = {
    FieldDescriptor.TYPE_INT64,
    FieldDescriptor.TYPE_UINT64,
    FieldDescriptor.TYPE_SINT64,
    FieldDescriptor.TYPE_FIXED64,
    FieldDescriptor.TYPE_SFIXED64,
}
# 64-bit fields that the ecosystem's config endpoint prints as strings.
_STRINGS = {
    "inference.ModelSequenceBatching.InitialState.dims",
    "inference.ModelOptimizationPolicy.Cuda.GraphSpec.Shape.dim",
    "inference.ModelInstanceGroup.SecondaryDevice.device_id",
}


def to_json(config: Message) -> dict[str, Any]:
    """The config endpoint's value, ready for json.dumps, which keeps the order."""
    rendered: dict[str, Any] = {}
    for field in config.DESCRIPTOR.fields:
        if field.has_presence and not config.HasField(field.name):
            continue
        value = getattr(config, field.name)
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            entry = field.message_type.fields_by_name["value"]
            rendered[field.name] = {str(key): _value(value[key], entry) for key in sorted(value)}
        elif _repeated(field):
            rendered[field.name] = [_value(item, field) for item in value]
        else:
            rendered[field.name] = _value(value, field)
    return rendered


def to_bytes(config: Message) -> bytes:
    """The wire bytes of the message, the same for equal messages."""
    data: bytes = config.SerializeToString(deterministic=True)
    return data


def _repeated(field: Any) -> bool:
    newer = getattr(field, "is_repeated", None)
    return bool(newer) if newer is not None else field.label == FieldDescriptor.LABEL_REPEATED


def _value(value: Any, field: Any) -> Any:
    if field.message_type is not None:
        return to_json(value)
    if field.enum_type is not None:
        known = field.enum_type.values_by_number.get(value)
        return known.name if known else value
    if field.type in _WIDE and field.full_name in _STRINGS:
        return str(value)
    if field.type == FieldDescriptor.TYPE_FLOAT:
        return _shortest(value)
    return value


def _shortest(value: float) -> float:
    """The shortest decimal that is the same 32-bit float."""
    bits = struct.pack("<f", value)
    for digits in range(6, 10):
        short = float(f"{value:.{digits}g}")
        if struct.pack("<f", short) == bits:
            return short
    return value
