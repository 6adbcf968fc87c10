"""The configuration of an argosy.Model: what its signature says, merged into what a file says.

The file wins where it says more (dimensions that the author left open); a contradiction
is an error that names both.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from argosy.errors import InvalidArgument
from argosy.models.signature import Form, Signature
from argosy.models.triton_compat.model_config import ModelConfig


def parsed_config(text: str) -> dict[str, Any]:
    """The JSON text of a configuration; "" is an empty one."""
    config: dict[str, Any] = json.loads(text) if text else {}
    return config


def completed(config: Mapping[str, Any], kind: Any, signature: Signature) -> dict[str, Any]:
    """`kind`: the Model class, for its settings. Raises InvalidArgument where the file contradicts the class."""
    made = ModelConfig(json.dumps(config))
    try:
        if kind.max_batch_size:
            made.set_max_batch_size(kind.max_batch_size)
        for argument in signature.arguments:
            entry = _entry(config, "input", argument.name, argument.form)
            made.add_input(entry if argument.required else {**entry, "optional": True})
        for name, form in signature.results:
            made.add_output(_entry(config, "output", name, form))
        if signature.streams:
            made.set_model_transaction_policy({"decoupled": True})
    except ValueError as error:
        raise InvalidArgument(str(error)) from None
    whole = made.as_dict()
    if kind.max_batch_size and "sequence_batching" not in whole:
        batching = whole.setdefault("dynamic_batching", {})
        if kind.max_queue_delay_us:
            batching.setdefault("max_queue_delay_microseconds", kind.max_queue_delay_us)
    if kind.instances > 1 and not whole.get("instance_group"):
        whole["instance_group"] = [{"count": kind.instances, "kind": "KIND_CPU"}]
    return whole


def _entry(config: Mapping[str, Any], role: str, name: str, form: Form) -> dict[str, Any]:
    dims = list(form.dims)
    configured = next((one for one in config.get(role, ()) if one.get("name") == name), None)
    if configured is not None and configured.get("dims") and not form.fixed:
        dims = [int(dim) for dim in configured["dims"]]
    return {"name": name, "data_type": "TYPE_STRING" if form.dtype == "BYTES" else f"TYPE_{form.dtype}", "dims": dims}
