"""A ModelConfig as JSON text, as the load call carries it.

proto3 JSON: snake_case or lowerCamelCase names, unknown fields refused, and enum
names in any case, which protobuf's own reader does not do.
"""

from __future__ import annotations

import json
from typing import Any

from argosy.errors import ConfigError
from argosy.protos import POOL, Message, ModelConfig


def parse_json(text: str) -> Message:
    """JSON text -> ModelConfig message. Raises ConfigError("config", "Invalid config override: ...")."""
    from google.protobuf import json_format  # 40 ms that a start without overrides does not need

    message = ModelConfig()
    try:
        value = json.loads(text)
        if not isinstance(value, dict):
            raise ConfigError("config", f"Invalid config override: expected a JSON object, got {type(value).__name__}")
        json_format.ParseDict(_upper_enums(value, message.DESCRIPTOR), message, descriptor_pool=POOL)
    except (json.JSONDecodeError, json_format.ParseError, ValueError, RecursionError) as error:
        raise ConfigError("config", f"Invalid config override: {error}") from None
    return message


def _upper_enums(value: Any, descriptor: Any) -> Any:
    if not isinstance(value, dict):
        return value
    fields = {**descriptor.fields_by_camelcase_name, **descriptor.fields_by_name}
    return {key: _value(item, fields[key]) if key in fields else item for key, item in value.items()}


def _value(value: Any, field: Any) -> Any:
    if isinstance(value, list):
        return [_value(item, field) for item in value]
    if field.enum_type is not None and isinstance(value, str):
        return value.upper()
    if field.message_type is None or not isinstance(value, dict):
        return value
    if field.message_type.GetOptions().map_entry:
        entry = field.message_type.fields_by_name["value"]
        return {key: _value(item, entry) for key, item in value.items()}
    return _upper_enums(value, field.message_type)
