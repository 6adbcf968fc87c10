"""Compiles the .proto files here into python/argosy/protos.desc.

The result is a serialised FileDescriptorSet without comments, which
`argosy.protos` loads into a pool of its own. It is committed, so that neither a
build nor an installation needs a compiler; tests/python/test_protos.py proves
that it is what these files say. Needs grpcio-tools.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

SOURCES = ("model_config.proto", "grpc_service.proto", "health.proto")
HERE = Path(__file__).resolve().parent
TARGET = HERE.parent / "python" / "argosy" / "protos.desc"


def compile_set() -> bytes:
    """The serialised FileDescriptorSet of SOURCES. Raises RuntimeError when protoc refuses them."""
    from grpc_tools import protoc

    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "set.desc"
        arguments = ["protoc", f"-I{HERE}", f"--descriptor_set_out={out}", *(str(HERE / s) for s in SOURCES)]
        if protoc.main(arguments) != 0:
            raise RuntimeError(f"protoc refused the files in {HERE}")
        return out.read_bytes()


if __name__ == "__main__":
    TARGET.write_bytes(compile_set())
    sys.stdout.write(f"wrote {TARGET}\n")
