#!/usr/bin/env bash
# Builds the GPU checks and benchmarks with nvcc and a C++20 compiler alone (no network,
# no CMake), runs them, and writes what came out into $OUT (build/gpu/results):
#   check.txt, sanitizer.txt, bench.jsonl, machine.txt
# Then bench/gpu/server.sh does the same for the whole server and its backends.
# Usage: bench/gpu/run.sh [--build-only | --quick] [--native | --server]
#   --native, --server: only that half, where one command may not last long enough
# Without a GPU each program says so and the script succeeds; REQUIRE_GPU=1 makes that a
# failure.
set -euo pipefail
cd "$(dirname "$0")/../.."

mode= half=both
for word in "$@"; do
  case $word in
    --build-only | --quick) mode=$word ;;
    --native | --server) half=${word#--} ;;
    *) echo "bench/gpu/run.sh: unknown word '$word'" >&2; exit 2 ;;
  esac
done
[ "$half" = server ] && exec bench/gpu/server.sh $mode
build=${BUILD:-build/gpu}
out=${OUT:-$build/results}
cxx=${CXX:-g++}
jobs=${JOBS:-$(nproc)}
nvcc=${NVCC:-$(command -v nvcc || ls /usr/local/cuda/bin/nvcc 2>/dev/null || true)}
if [ -z "$nvcc" ]; then
  echo "bench/gpu/run.sh: no nvcc; set NVCC or put CUDA's bin folder on the PATH"
  exit 2
fi
mkdir -p "$build/objects" "$out"

rooms=(csrc/base/*.cc csrc/device/*.cc csrc/device/cuda/*.cc csrc/device/cuda/*.cu csrc/tensor/*.cc csrc/infer/*.cc
  csrc/model/*.cc csrc/assemble/*.cc)
checks=(tests/gpu/*.cc)
benches=(bench/gpu/*.cc bench/gpu/*.cu)

object_of() { echo "$build/objects/$(echo "$1" | tr '/' '_').o"; }
compile() {
  local source=$1 object
  object=$(object_of "$source")
  case $source in
    *.cu)
      "$nvcc" -std=c++20 -O2 --expt-relaxed-constexpr -Icsrc -Ibench/gpu -ccbin "$cxx" \
        -gencode arch=compute_80,code=sm_80 -gencode 'arch=compute_90,code=[sm_90,compute_90]' -c "$source" -o "$object"
      ;;
    csrc/device/cuda/* | tests/gpu/error_checks.cc)  # nvcc knows where its headers are
      "$nvcc" -std=c++20 -O2 -Icsrc -Itests/gpu -ccbin "$cxx" -c "$source" -o "$object"
      ;;
    *)
      "$cxx" -std=c++20 -O2 -Wall -Wextra -Wno-missing-field-initializers -Icsrc -Ibench/gpu -Itests/gpu \
        -c "$source" -o "$object"
      ;;
  esac
}
export -f compile object_of
export build cxx nvcc

echo "building with $("$nvcc" --version | sed -n 's/.*release \([^,]*\),.*/CUDA \1/p'), $jobs jobs"
printf '%s\n' "${rooms[@]}" "${checks[@]}" "${benches[@]}" | xargs -P "$jobs" -I{} bash -c 'set -e; compile {}'
objects_of() { for source in "$@"; do object_of "$source"; done; }
link() {
  local program=$1
  shift
  # shellcheck disable=SC2046
  "$nvcc" -ccbin "$cxx" -cudart static $(objects_of "$@" "${rooms[@]}") -o "$build/$program" -lpthread -ldl -lrt
}
link argosy_gpu_check "${checks[@]}"
link argosy_gpu_bench "${benches[@]}"
echo "built $build/argosy_gpu_check and $build/argosy_gpu_bench"
if [ "$mode" = --build-only ]; then
  [ "$half" = native ] || bench/gpu/server.sh --build-only
  exit 0
fi

{
  date -u +%Y-%m-%dT%H:%M:%SZ
  uname -srm
  nproc
  nvidia-smi --query-gpu=name,driver_version,pcie.link.gen.max,pcie.link.width.max --format=csv 2>&1 || true
} >"$out/machine.txt"

failed=0
"$build/argosy_gpu_check" ${REQUIRE_GPU:+--require} | tee "$out/check.txt" || failed=1
grep -q 'no device' "$out/check.txt" && exit $failed

sanitizer=$(command -v compute-sanitizer || ls "$(dirname "$nvcc")/compute-sanitizer" 2>/dev/null || true)
if [ -n "$sanitizer" ]; then
  for tool in memcheck initcheck; do
    echo "== $tool"
    "$sanitizer" --tool "$tool" --error-exitcode 9 "$build/argosy_gpu_check" 2>&1 || echo "== $tool: exit status $?"
  done | tee "$out/sanitizer.txt"
  # A sanitizer that cannot run on this machine says so in its file and fails nothing.
  if grep -q 'ERROR SUMMARY: [1-9]' "$out/sanitizer.txt"; then failed=1; fi
else
  echo "no compute-sanitizer here" | tee "$out/sanitizer.txt"
fi

bench_flags=()
[ "$mode" = --quick ] && bench_flags=(--quick)
"$build/argosy_gpu_bench" "${bench_flags[@]}" | tee "$out/bench.jsonl" || failed=1
[ "$half" = native ] || bench/gpu/server.sh $mode || failed=1
exit $failed
