"""ModelConfig: what auto_complete_config() is given, changes and returns. Errors are ValueError, as models expect."""

from __future__ import annotations

import json
import operator
from collections.abc import Collection, Mapping
from typing import Any

from argosy.models.triton_compat.datatypes import TRITON_STRING_TO_NUMPY

_INPUT = ("name", "data_type", "dims", "optional", "allow_ragged_batch", "is_shape_tensor", "format", "reshape")
_OUTPUT = ("name", "data_type", "dims", "label_filename", "is_shape_tensor", "reshape")
_DATA_TYPES = (*TRITON_STRING_TO_NUMPY, "TYPE_BF16")
_REQUIRED = ("name", "data_type", "dims")
_FUNCTION = "auto-complete-config function for model"


class ModelConfig:
    """`model_config`: JSON text. What the configuration file says wins; a model that contradicts it is told."""

    def __init__(self, model_config: str) -> None:
        self._config: dict[str, Any] = json.loads(model_config)
        self._config.setdefault("name", "")
        self._config.setdefault("max_batch_size", 0)
        self._config.setdefault("input", [])
        self._config.setdefault("output", [])

    def as_dict(self) -> dict[str, Any]:
        """The configuration itself."""
        return self._config

    def set_max_batch_size(self, max_batch_size: int) -> None:
        """Raises ValueError when the file names a larger one."""
        configured = self._config["max_batch_size"]
        if configured > max_batch_size:
            raise ValueError(
                f"configuration specified max_batch_size {configured}, but in {_FUNCTION} '{self._name}' specified "
                f"max_batch_size {max_batch_size}"
            )
        self._config["max_batch_size"] = int(max_batch_size)

    def set_dynamic_batching(self) -> None:
        """Raises ValueError when the file names another scheduler."""
        for other in ("sequence_batching", "ensemble_scheduling"):
            if other in self._config:
                raise ValueError(
                    f"Configuration specified scheduling_choice as '{other}', but {_FUNCTION} '{self._name}' tries to "
                    "set scheduling_choice as 'dynamic_batching'"
                )
        self._config.setdefault("dynamic_batching", {})

    def add_input(self, input: Mapping[str, Any]) -> None:
        """`name`, `data_type`, `dims`, and optionally `optional` and further fields of an input."""
        self._add("input", input, _INPUT)

    def add_output(self, output: Mapping[str, Any]) -> None:
        """`name`, `data_type`, `dims`, and further fields of an output."""
        self._add("output", output, _OUTPUT)

    def set_model_transaction_policy(self, transaction_policy_dict: Mapping[str, Any]) -> None:
        """{"decoupled": bool}. Raises ValueError when the file says the opposite."""
        for key in transaction_policy_dict:
            if key != "decoupled":
                raise ValueError(
                    f"model transaction property in {_FUNCTION} '{self._name}' contains property other than "
                    "'decoupled'."
                )
        policy = self._config.setdefault("model_transaction_policy", {})
        if "decoupled" not in transaction_policy_dict:
            return
        wanted = transaction_policy_dict["decoupled"]
        if policy.get("decoupled", wanted) != wanted:
            raise ValueError(
                f"trying to change decoupled property in auto-complete-config for model '{self._name}', which is "
                f"already set to '{policy['decoupled']}'."
            )
        policy["decoupled"] = wanted

    @property
    def _name(self) -> str:
        return str(self._config["name"])

    def _add(self, role: str, tensor: Mapping[str, Any], allowed: Collection[str]) -> None:
        called = f"{role} '{tensor['name']}'" if "name" in tensor else role
        for key in tensor:
            if key not in allowed:
                known = "', '".join(allowed)
                raise ValueError(f"{called} in {_FUNCTION} '{self._name}' contains property other than '{known}'.")
        for key in _REQUIRED:
            if key not in tensor:
                raise ValueError(f"{called} in {_FUNCTION} '{self._name}' is missing '{key}' property.")
        if tensor["data_type"] not in _DATA_TYPES:
            raise ValueError(
                f"{called} in {_FUNCTION} '{self._name}' has data_type {tensor['data_type']!r}: expected one of "
                f"{', '.join(_DATA_TYPES)}"
            )
        try:  # numpy's integers are as good, but have no JSON form
            tensor = {**tensor, "dims": [operator.index(dim) for dim in tensor["dims"]]}
        except TypeError:
            raise ValueError(
                f"{called} in {_FUNCTION} '{self._name}' has dims {tensor['dims']!r}: expected whole numbers"
            ) from None
        configured = next((one for one in self._config[role] if one["name"] == tensor["name"]), None)
        if configured is None:
            self._config[role].append(dict(tensor))
            return
        self._check(role, configured, tensor)
        configured.update(tensor)

    def _check(self, role: str, configured: Mapping[str, Any], tensor: Mapping[str, Any]) -> None:
        told = configured.get("data_type", "TYPE_INVALID")
        if told not in ("TYPE_INVALID", tensor["data_type"]):
            raise ValueError(
                f"unable to load model '{self._name}', configuration expects datatype {told} for {role} "
                f"'{tensor['name']}', model provides {tensor['data_type']}"
            )
        where = f"model '{self._name}', tensor '{tensor['name']}': the model expects"
        dims = [int(dim) for dim in configured.get("dims", ())]
        if dims and dims != [int(dim) for dim in tensor["dims"]]:
            raise ValueError(f"{where} dims {list(tensor['dims'])} but the model configuration specifies dims {dims}")
        if "optional" in tensor and configured.get("optional", tensor["optional"]) != tensor["optional"]:
            raise ValueError(
                f"{where} optional {tensor['optional']} but the model configuration specifies optional "
                f"{configured['optional']}"
            )
