"""A backend that counts words: what it takes to add a runtime to argosy.

A model has one BYTES input and one INT64 output of the same shape; the parameter
`separator` says what stands between words (default: any white space).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from argosy.backends.contract import Batch
from argosy.errors import InvalidArgument


class WordsBackend:
    """Made once per server, when the first model names it."""

    def __init__(self) -> None:
        self._separator: bytes | None = None

    def configure(self, options: Mapping[str, str]) -> None:
        """`--backend-config=words,separator=;` is the default for every model."""
        self._separator = options["separator"].encode() if "separator" in options else None

    def load(self, spec: Mapping[str, Any], slot: Mapping[str, Any]) -> WordsModel:
        """Raises InvalidArgument when the configured tensors are not what this backend computes."""
        kinds = [tensor["dtype"] for tensor in (*spec["inputs"], *spec["outputs"])]
        if kinds != ["BYTES", "INT64"]:
            raise InvalidArgument(f"model '{spec['name']}': expected one BYTES input and one INT64 output, got {kinds}")
        text = spec["parameters"].get("separator")
        return WordsModel(spec["outputs"][0]["name"], text.encode() if text else self._separator)


class WordsModel:
    """What the instances of a model share."""

    def __init__(self, output: str, separator: bytes | None) -> None:
        self.output, self.separator = output, separator

    def make_instance(self, slot: Mapping[str, Any]) -> WordsInstance:
        return WordsInstance(self)


class WordsInstance:
    """One worker. Thread: its own."""

    def __init__(self, model: WordsModel) -> None:
        self._model = model

    def execute(self, batch: Batch) -> None:
        texts = batch.input(0)
        assert texts is not None
        counts = [len(text.split(self._model.separator)) for text in texts.ravel()]
        batch.set_output(self._model.output, np.array(counts, np.int64).reshape(texts.shape))
