"""Unpacks the real Triton out of the wheel nvidia-pytriton, ready for the plans of this folder.

    pip download --no-deps nvidia-pytriton==0.7.0
    python bench/compare/unpack_triton.py nvidia_pytriton-*.whl /tmp/triton [--python 3.11]
    export TRITON=/tmp/triton/pytriton/tritonserver

Puts the stub of a Python version beside the Python backend, with a numpy below 2 in the
same folder, and builds the identity backend when a C++ compiler is there. The wheel is
optional and never part of a build; that Python's libpython3.N.so must be installed.

Why numpy goes there: the stub ignores PYTHONPATH and looks in the backend's folder and in
the system's packages. Why below 2: the stub was compiled against numpy 1, whose type
descriptors have another layout; with numpy 2 it reads sizes of zero, and every answer is
an empty tensor.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path


def unpack(wheel: Path, target: Path, python: str) -> Path:
    """Returns the value for $TRITON. Raises FileNotFoundError when the wheel has no stub for that Python."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    triton = target / "pytriton" / "tritonserver"
    backend = triton / "backends" / "python"
    stub = triton / "python_backend_stubs" / python / "triton_python_backend_stub"
    if not stub.exists():
        known = ", ".join(sorted(one.name for one in stub.parents[1].iterdir()))
        raise FileNotFoundError(f"{wheel.name} has no stub for Python {python}, but for {known}")
    shutil.copy(stub, backend)
    for program in (triton / "bin" / "tritonserver", backend / stub.name):
        program.chmod(0o755)
    wanted = ("--python-version", python, "--only-binary=:all:", "--target", str(backend), "--upgrade", "numpy<2")
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", *wanted], check=True)
    return triton


def build_identity(triton: Path, compiler: str) -> None:
    """The identity backend, for models that both servers run natively. Raises CalledProcessError."""
    folder = triton / "backends" / "identity"
    folder.mkdir(exist_ok=True)
    source = Path(__file__).with_name("triton_identity.cc")
    flags = ("-O2", "-std=c++20", "-fPIC", "-shared", "-fvisibility=hidden")
    subprocess.run([compiler, *flags, str(source), "-o", str(folder / "libtriton_identity.so")], check=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """0, or 1 with the reason."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--python", default=f"3.{sys.version_info.minor}", help="version of the stub [this one's]")
    parser.add_argument(
        "--compiler", default=shutil.which("g++") or shutil.which("c++"), help="for the identity backend"
    )
    args = parser.parse_args(arguments)
    try:
        triton = unpack(args.wheel, args.target, args.python)
        if args.compiler:
            build_identity(triton, args.compiler)
    except (OSError, zipfile.BadZipFile, subprocess.CalledProcessError) as problem:
        print(f"unpack_triton: {problem}", file=sys.stderr)
        return 1
    print(f"export TRITON={triton}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
