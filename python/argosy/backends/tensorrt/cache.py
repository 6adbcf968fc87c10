"""Built engines and measured timings on disk.

An engine is good for one model, one kind of GPU, one version of one package and one
set of build settings; the key holds all of them, so a stale file is never read. Files
appear whole: they are written aside and renamed.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildIdentity:
    """`model_digest`: of the ONNX file. `gpu`: name and compute capability. `settings`: BuildSettings.identity()."""

    model_digest: str
    gpu: str
    package: str
    version: str
    max_rows: int
    settings: str

    def engine_name(self) -> str:
        text = "\n".join((self.model_digest, self.gpu, self.package, self.version, str(self.max_rows), self.settings))
        return f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.plan"

    def timing_name(self) -> str:
        """Timings are those of a GPU and a version, whatever the model."""
        return re.sub(r"[^A-Za-z0-9.]+", "-", f"{self.package}-{self.version}-{self.gpu}") + ".timing"


def digest_of(path: Path) -> str:
    """Of the file's content. Weights in files beside it count by name, size and time, as they may be large."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    for other in sorted(path.parent.iterdir()):
        if other != path and other.is_file() and other.suffix not in (".plan", ".timing"):
            stat = other.stat()
            digest.update(f"{other.name} {stat.st_size} {stat.st_mtime_ns}".encode())
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class CacheDirectory:
    """A folder that servers may share; "" keeps nothing. A file that cannot be read counts as none."""

    path: str

    def read(self, name: str) -> bytes | None:
        try:
            return (Path(self.path) / name).read_bytes() if self.path else None
        except OSError:
            return None

    def write(self, name: str, data: bytes) -> None:
        """Raises OSError when the folder cannot be written."""
        if not self.path:
            return
        os.makedirs(self.path, exist_ok=True)
        handle, aside = tempfile.mkstemp(dir=self.path)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            os.replace(aside, Path(self.path) / name)
        except OSError:
            os.unlink(aside)
            raise
