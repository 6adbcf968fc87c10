#!/usr/bin/env bash
# Builds the server with CUDA, checks its backends against the bare frameworks on the GPU
# and measures it, without a network; writes into $OUT (build/gpu/results):
#   server_build.txt, backends.txt, serving.jsonl, serving.log, shared_memory.jsonl, shared_memory.log
# Needs nvcc, CMake, ninja, and a Python with numpy, protobuf, pybind11, pytest and PyTorch
# ($PYTHON, python3). The sources of others come from build/gpu/sources where it is there:
# `bench/gpu/server.sh --fetch` fills it on a machine with a package index.
# Usage: bench/gpu/server.sh [--fetch | --build-only | --quick]
set -euo pipefail
cd "$(dirname "$0")/../.."

mode=${1:-}
build=${BUILD:-build/gpu}
out=${OUT:-$build/results}
python=${PYTHON:-python3}
jobs=${JOBS:-$(nproc)}
nvcc=${NVCC:-$(command -v nvcc || ls /usr/local/cuda/bin/nvcc 2>/dev/null || true)}
mkdir -p "$build" "$out"
build=$(cd "$build" && pwd) out=$(cd "$out" && pwd)
settings=(-S . -B "$build/server" -G Ninja -DCMAKE_BUILD_TYPE=Release -DARGOSY_TESTS=OFF -DARGOSY_BENCH=ON
  -DPython_EXECUTABLE="$(command -v "$python")")

if [ "$mode" = --fetch ]; then
  # BoringSSL too: the other machine may have no static OpenSSL.
  ARGOSY_CACHE="$build/sources" cmake "${settings[@]}" -B "$build/fetch" -DARGOSY_SYSTEM_OPENSSL=OFF
  rm -rf "$build/fetch" "$build"/sources/*.tar.gz
  du -sh "$build/sources"
  exit 0
fi

[ -d "$build/sources" ] && export ARGOSY_CACHE="$build/sources"
if [ -n "$nvcc" ]; then
  settings+=(-DARGOSY_CUDA=ON -DCMAKE_CUDA_COMPILER="$nvcc")
else
  echo "bench/gpu/server.sh: no nvcc; building without CUDA"
fi
started=$SECONDS
if ! { cmake "${settings[@]}" && cmake --build "$build/server" -j "$jobs" --target _core _worker argosy_load; } \
  >"$out/server_build.txt" 2>&1; then
  tail -n 40 "$out/server_build.txt"
  echo "bench/gpu/server.sh: the server was not built; $out/server_build.txt says why"
  exit 1
fi
echo "built the server in $((SECONDS - started)) s"

# The package as it is here, with the extensions built for this Python beside it.
rm -rf "$build/python"
mkdir -p "$build/python/argosy"
for part in python/argosy/*; do
  case $part in *.so | *__pycache__) ;; *) ln -s "$PWD/$part" "$build/python/argosy/" ;; esac
done
find "$build/server" -name '_core*.so' -o -name '_worker*.so' | while read -r extension; do
  ln -sf "$extension" "$build/python/argosy/"
done
export PYTHONPATH="$build/python:$PWD/tests:$PWD/bench/gpu${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
export ARGOSY_LOAD="$build/server/bench/argosy-load"
"$python" -c 'import argosy; print("argosy", argosy.__version__, "on", __import__("sys").version.split()[0])'
[ "$mode" = --build-only ] && exit 0

failed=0
# Whatever hangs leaves time for the rest and a file that says how far it came.
timeout 240 "$python" -m pytest tests/gpu -p no:cacheprovider -rs -v --timeout 100 2>&1 | tee "$out/backends.txt" || failed=1
quick=()
[ "$mode" = --quick ] && quick=(--quick)
timeout 300 "$python" bench/gpu/serving.py "${quick[@]}" 2>"$out/serving.log" | tee "$out/serving.jsonl" || failed=1
[ -s "$out/serving.log" ] && tail -n 20 "$out/serving.log"
timeout 200 "$python" bench/gpu/shared_memory.py "${quick[@]}" 2>"$out/shared_memory.log" |
  tee "$out/shared_memory.jsonl" || failed=1
[ -s "$out/shared_memory.log" ] && tail -n 20 "$out/shared_memory.log"
exit $failed
