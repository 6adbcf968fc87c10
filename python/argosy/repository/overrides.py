"""What a load call may bring with it: a configuration, and files, instead of those on disk."""

from __future__ import annotations

import base64
import binascii
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from argosy.errors import InvalidArgument
from argosy.repository.layout import ModelDirectory, scan_model

_FILE = "file:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrides:
    """`config`: JSON text of a ModelConfig, None to read the one on disk. `files`: path -> contents."""

    config: str | None = None
    files: Mapping[str, bytes] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return self.config is not None or bool(self.files)

    def __post_init__(self) -> None:
        if self.files and self.config is None:
            raise InvalidArgument("Load parameter 'config' must be specified for model file override")
        for path in self.files:
            parts = PurePosixPath(path)
            if not path or parts.is_absolute() or ".." in parts.parts or "\0" in path:
                raise InvalidArgument(f"file override '{path}' must name a file inside the model directory")


def overrides_from(parameters: Mapping[str, str | bytes]) -> Overrides:
    """Load parameters -> Overrides: `config` is JSON text, `file:<path>` bytes, or base64 text.

    Raises InvalidArgument for another parameter, for text that is not base64, and for what
    Overrides refuses.
    """
    config: str | None = None
    files: dict[str, bytes] = {}
    for key, value in parameters.items():
        if key == "config":
            config = value if isinstance(value, str) else value.decode("utf-8", "replace")
        elif key.startswith(_FILE):
            files[key.removeprefix(_FILE)] = value if isinstance(value, bytes) else _decoded(key, value)
        else:
            raise InvalidArgument(f"unrecognized load parameter '{key}'.")
    return Overrides(config=config, files=files)


def _decoded(key: str, text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise InvalidArgument(f"load parameter '{key}' is not base64: {error}") from None


class OverrideDirectory:
    """A temporary model directory made of nothing but the given files; `remove` deletes it.

    Thread: one at a time. The files are needed for as long as the model is loaded.
    """

    def __init__(self, name: str, files: Mapping[str, bytes]) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="argosy-model-")
        root = Path(self._folder.name)
        target = root / name
        target.mkdir()
        for path, contents in files.items():
            where = target / path
            where.parent.mkdir(parents=True, exist_ok=True)
            where.write_bytes(contents)
        self.model: ModelDirectory = scan_model(target, str(root))

    def remove(self) -> None:
        """Deletes the files; again is nothing."""
        self._folder.cleanup()
