"""What the TensorRT backend decides; and its instance on a simulated GPU. Nothing here needs a GPU."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from argosy.backends.tensorrt import TensorRtBackend
from argosy.backends.tensorrt.cache import BuildIdentity, CacheDirectory, digest_of
from argosy.backends.tensorrt.cuda import gpu_name
from argosy.backends.tensorrt.flavour import find_flavour
from argosy.backends.tensorrt.instance import TensorRtInstance
from argosy.backends.tensorrt.profiles import Profile, Range, choose, max_rows, parse_shapes, to_build
from argosy.backends.tensorrt.settings import settings_from
from argosy.errors import ArgosyError, Internal, InvalidArgument, ResourceExhausted, Unsupported
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
import simulated_tensorrt as simulated

sys.path.pop(0)


def rows(low: int, best: int, high: int, *rest: int) -> Profile:
    return {"x": Range(minimum=(low, *rest), optimum=(best, *rest), maximum=(high, *rest))}


# Which profile a batch runs on.


def test_the_smallest_profile_that_fits_is_chosen() -> None:
    profiles = [rows(1, 16, 64, 4), rows(1, 4, 8, 4), rows(1, 1, 1, 4)]
    assert [choose(profiles, {"x": (n, 4)}) for n in (1, 2, 8, 9, 64)] == [2, 1, 1, 0, 0]


def test_an_instance_group_limits_the_choice() -> None:
    profiles = [rows(1, 16, 64), rows(1, 4, 8)]
    assert choose(profiles, {"x": (2,)}, allowed=[0]) == 0
    with pytest.raises(
        InvalidArgument, match=r"input 'x': shape \[9\] is outside the engine's profiles \(\[1\]..\[8\]\)"
    ):
        choose(profiles, {"x": (9,)}, allowed=[1])


def test_inputs_that_fit_only_different_profiles_are_refused() -> None:
    small, large = Range(minimum=(1,), optimum=(1,), maximum=(4,)), Range(minimum=(5,), optimum=(8,), maximum=(8,))
    with pytest.raises(InvalidArgument, match="fit no single profile"):
        choose([{"x": small, "y": large}, {"x": large, "y": small}], {"x": (2,), "y": (2,)})


@given(
    ranges=st.lists(st.tuples(st.integers(1, 9), st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=5),
    wanted=st.integers(1, 30),
)
def test_a_profile_is_chosen_exactly_when_one_contains_the_batch(
    ranges: list[tuple[int, int, int]], wanted: int
) -> None:
    """The law: the choice contains the shape, none that contains it is smaller, and a refusal means there is none."""
    profiles = [rows(low, low + best, low + best + more) for low, best, more in ranges]
    fitting = [at for at, profile in enumerate(profiles) if (wanted,) in profile["x"]]
    if not fitting:
        with pytest.raises(InvalidArgument):
            choose(profiles, {"x": (wanted,)})
        return
    found = choose(profiles, {"x": (wanted,)})
    assert found in fitting
    assert profiles[found]["x"].maximum[0] == min(profiles[at]["x"].maximum[0] for at in fitting)


# Which profile an ONNX model is built with.


def test_a_model_is_built_for_one_row_up_to_the_largest_batch() -> None:
    built = to_build({"x": (-1, 3, 224, 224), "y": (-1,)}, 8, {})
    assert built["x"] == Range(minimum=(1, 3, 224, 224), optimum=(8, 3, 224, 224), maximum=(8, 3, 224, 224))
    assert built["y"] == Range(minimum=(1,), optimum=(8,), maximum=(8,))
    assert to_build({"x": (2, 3)}, 0, {})["x"].minimum == (2, 3)
    assert max_rows([built, rows(1, 2, 3)]) == 8


def test_a_flat_input_has_no_rows_to_be_built_for() -> None:
    dims = {"x": (-1, 3), "ids": (-1,), "ends": (-1,), "shapes": (-1, 2)}
    text = {"min": "ids:1,ends:2,shapes:1x2", "opt": "ids:64,ends:5,shapes:4x2", "max": "ids:512,ends:9,shapes:8x2"}
    given_shapes = {key: parse_shapes(one, key) for key, one in text.items()}
    built = to_build(dims, 8, given_shapes, ["ids", "ends", "shapes"])
    assert [str(built[name]) for name in dims] == ["[1, 3]..[8, 3]", "[1]..[512]", "[2]..[9]", "[1, 2]..[8, 2]"]
    with pytest.raises(InvalidArgument, match=r"input 'ids' has dynamic dimensions \[-1\] .* e.g. 'ids:64'"):
        to_build(dims, 8, {}, ["ids", "ends", "shapes"])


def test_other_dynamic_dimensions_need_bounds_from_the_configuration() -> None:
    with pytest.raises(
        InvalidArgument, match=r"input 'ids' has dynamic dimensions \[-1, -1\] besides the batch; bound"
    ):
        to_build({"ids": (-1, -1)}, 8, {})
    given_shapes = {
        key: parse_shapes(text, key) for key, text in (("min", "ids:1x1"), ("opt", "ids:8x64"), ("max", "ids:8x512"))
    }
    assert str(to_build({"ids": (-1, -1)}, 8, given_shapes)["ids"]) == "[1, 1]..[8, 512]"
    del given_shapes["opt"]
    with pytest.raises(InvalidArgument, match="needs all of min, opt and max"):
        to_build({"ids": (-1, -1)}, 8, given_shapes)


@pytest.mark.parametrize("text", ["x", "x:", ":1x2", "x:1xa", "x:-1x2"])
def test_shapes_that_are_none_are_refused_with_the_parameter(text: str) -> None:
    with pytest.raises(InvalidArgument, match="parameter 'trt_profile_min_shapes': expected name:1x2x3"):
        parse_shapes(text, "trt_profile_min_shapes")


def test_ranges_must_be_in_order() -> None:
    with pytest.raises(InvalidArgument, match="expected 0 < min <= opt <= max"):
        rows(2, 1, 4)


# Settings.


def test_settings_come_from_the_parameters_of_the_ecosystem() -> None:
    made = settings_from(
        {
            "precision_mode": "fp16",
            "max_workspace_size_bytes": "1073741824",
            "trt_builder_optimization_level": "5",
            "instance_group.profile": '{"m_0": ["0", "2"]}',
        }
    )
    assert (made.precision, made.workspace_bytes, made.level) == ("FP16", 1 << 30, 5)
    assert made.group_profiles == {"m_0": (0, 2)}


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"precision_mode": "FP4"}, "parameter 'precision_mode': expected FP32, FP16, BF16, INT8, got 'FP4'"),
        ({"max_workspace_size_bytes": "1G"}, "parameter 'max_workspace_size_bytes': expected a number, got '1G'"),
        ({"int8_calibration_table_name": "t"}, "parameter 'int8_calibration_table_name' is not served: calibration"),
    ],
)
def test_a_parameter_that_cannot_be_is_refused_by_name(parameters: dict[str, str], said: str) -> None:
    with pytest.raises(ArgosyError) as caught:
        settings_from(parameters)
    assert caught.value.message.startswith(said)


# The cache.

IDENTITY = {
    "model_digest": "d",
    "gpu": "NVIDIA H100 9.0",
    "package": "tensorrt",
    "version": "10.13.0",
    "max_rows": 8,
    "settings": settings_from({}).identity(),
}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model_digest", "e"),
        ("gpu", "NVIDIA H100 9.1"),
        ("package", "tensorrt_rtx"),
        ("version", "10.13.1"),
        ("max_rows", 16),
        ("settings", settings_from({"precision_mode": "FP16"}).identity()),
    ],
)
def test_an_engine_is_good_for_exactly_what_it_was_built_from(field: str, value: Any) -> None:
    one, other = BuildIdentity(**IDENTITY), BuildIdentity(**{**IDENTITY, field: value})
    assert one.engine_name() != other.engine_name()
    assert (one.timing_name() == other.timing_name()) == (field in ("model_digest", "max_rows", "settings"))


def test_what_is_kept_is_read_again_and_nothing_is_kept_without_a_folder(tmp_path: Path) -> None:
    cache = CacheDirectory(str(tmp_path / "new" / "cache"))
    assert cache.read("a.plan") is None
    cache.write("a.plan", b"engine")
    assert cache.read("a.plan") == b"engine"
    assert [path.name for path in (tmp_path / "new" / "cache").iterdir()] == ["a.plan"]
    CacheDirectory("").write("a.plan", b"engine")
    assert CacheDirectory("").read("a.plan") is None


class Builds:
    """A TensorRT whose engines are b"engine of" the ONNX file's bytes, and say which build they came from."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.timings: list[bytes] = []  # given to each build
        builds = self

        class Source:
            def __init__(self, flavour: Any, logger: Any, artifact: Path) -> None:
                self.artifact = artifact

            def build(self, settings: Any, rows: int, timings: bytes, *, flat: Any) -> tuple[bytes, bytes]:
                builds.timings.append(timings)
                return b"engine of " + self.artifact.read_bytes(), timings + b"t"

        def deserialize(plan: bytes) -> str | None:
            return plan.decode() if plan.startswith(b"engine of ") else None

        module = SimpleNamespace(Runtime=lambda _: SimpleNamespace(deserialize_cuda_engine=deserialize))
        flavour = SimpleNamespace(module=module, name="tensorrt", version="10.13.0")
        runtime = SimpleNamespace(cudaSetDevice=lambda device: (0,))
        self.backend = TensorRtBackend()
        self.backend._made = flavour, SimpleNamespace(last_error="bad magic")  # type: ignore[assignment]
        for name, stand_in in (
            ("OnnxSource", Source),
            ("cuda_runtime", lambda: runtime),
            ("gpu_name", lambda _, device: f"GPU kind {device % 2}"),
            ("checked", lambda *_: None),
        ):
            monkeypatch.setattr(f"argosy.backends.tensorrt.backend.{name}", stand_in)

    def engine(self, model: Path, cache: Path, *, rows: int = 8, device: int = 0, **parameters: str) -> Any:
        settings = settings_from({"trt_engine_cache_path": str(cache), **parameters})
        return self.backend.engine(model, settings, rows, device)


def test_an_engine_is_built_once_for_a_file_a_kind_of_gpu_and_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    builds, cache = Builds(monkeypatch), tmp_path / "cache"
    (tmp_path / "1").mkdir()
    model = tmp_path / "1" / "model.onnx"
    model.write_bytes(b"graph")
    for _ in range(2):
        assert builds.engine(model, cache) == "engine of graph"
    assert builds.engine(model, cache, device=2) == "engine of graph"  # of the same kind
    assert builds.timings == [b""]
    builds.engine(model, cache, rows=16)
    assert builds.timings == [b"", b"t"], "what was measured for this GPU is measured once"
    builds.engine(model, cache, device=1)
    assert builds.timings[2:] == [b""], "another kind of GPU has timings of its own"
    model.write_bytes(b"changed")
    assert builds.engine(model, cache) == "engine of changed"
    builds.engine(model, cache, precision_mode="FP16")
    assert len(builds.timings) == 5


def test_a_kept_engine_that_cannot_be_read_is_built_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(logging.getLogger("argosy"), "propagate", True)
    builds, cache = Builds(monkeypatch), tmp_path / "cache"
    (tmp_path / "1").mkdir()
    model = tmp_path / "1" / "model.onnx"
    model.write_bytes(b"graph")
    builds.engine(model, cache)
    (kept,) = cache.glob("*.plan")
    kept.write_bytes(b"half an en")
    assert builds.engine(model, cache) == "engine of graph"
    assert len(builds.timings) == 2 and kept.read_bytes() == b"engine of graph"
    assert f"cannot read the engine '{kept}': bad magic" in caplog.text and "it is built anew" in caplog.text


def test_a_folder_that_cannot_be_written_costs_the_next_start_its_engine_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(logging.getLogger("argosy"), "propagate", True)
    builds = Builds(monkeypatch)
    (tmp_path / "1").mkdir()
    (tmp_path / "cache").write_text("a file, no folder")
    model = tmp_path / "1" / "model.onnx"
    model.write_bytes(b"graph")
    assert builds.engine(model, tmp_path / "cache") == "engine of graph"
    assert "is not kept for the next start" in caplog.text


def test_the_digest_follows_the_file_and_the_weights_beside_it(tmp_path: Path) -> None:
    path, weights = tmp_path / "model.onnx", tmp_path / "model.data"
    path.write_bytes(b"graph")
    first = digest_of(path)
    weights.write_bytes(b"weights")
    second = digest_of(path)
    path.write_bytes(b"grape")
    assert len({first, second, digest_of(path)}) == 3
    (tmp_path / "kept.plan").write_bytes(b"")
    assert digest_of(path) == digest_of(path)


# Packages.


def importer(**found: Any) -> Any:
    def load(name: str) -> Any:
        one = found.get(name)
        if one is None:
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)
        if isinstance(one, Exception):
            raise one
        return one

    return load


def package(version: str, *, builds: bool, method: str = "execute_async_v3") -> Any:
    made = SimpleNamespace(__version__=version, Runtime=1, Logger=1, IExecutionContext=SimpleNamespace(**{method: 1}))
    if builds:
        made.Builder = made.OnnxParser = 1
    return made


def test_any_of_the_three_packages_is_taken() -> None:
    lean = find_flavour(importer=importer(tensorrt_lean=package("10.13", builds=False)))
    assert (lean.name, lean.version, lean.builds) == ("tensorrt_lean", "10.13", False)
    both = importer(tensorrt=package("10.13", builds=True), tensorrt_rtx=package("1.7", builds=True))
    assert find_flavour(importer=both).name == "tensorrt"
    assert find_flavour("tensorrt_rtx", both).name == "tensorrt_rtx"


@pytest.mark.parametrize(
    ("wanted", "found", "said"),
    [
        ("", {}, "the tensorrt backend needs the package 'tensorrt': pip install tensorrt (or tensorrt-rtx"),
        ("tensorrt_lean", {}, "the tensorrt backend needs the package 'tensorrt_lean'"),
        ("trt", {}, "--backend-config=tensorrt,package=trt: expected one of tensorrt, tensorrt_rtx, tensorrt_lean"),
        (
            "",
            {"tensorrt": OSError("libnvinfer.so.10: cannot open shared object file")},
            "found a package that cannot be used: tensorrt: libnvinfer.so.10: cannot open",
        ),
        ("", {"tensorrt": package("8.6", builds=True, method="execute_v2")}, "tensorrt 8.6 has no IExecutionContext."),
    ],
)
def test_what_to_install_is_said(wanted: str, found: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        find_flavour(wanted, importer(**found))
    assert said in caught.value.message


def test_an_instance_on_the_cpu_is_refused_before_anything_is_imported(tmp_path: Path) -> None:
    (tmp_path / "model.plan").write_bytes(b"")
    spec = {"name": "m", "path": str(tmp_path), "artifact": "model.plan", "parameters": {}, "max_batch_size": 0}
    with pytest.raises(Unsupported, match="model 'm': TensorRT runs on GPUs only, and instance 'm_0' is on the CPU"):
        TensorRtBackend().load(spec, {"name": "m_0", "kind": "cpu", "device": -1})


def test_a_machine_without_a_gpu_says_so_in_cudas_words() -> None:
    runtime = simulated.Runtime()
    runtime.cudaGetDeviceCount = lambda: (2, None)  # type: ignore[method-assign, assignment, return-value]
    with pytest.raises(Unsupported, match="TensorRT needs a GPU, and CUDA finds none: out of memory"):
        gpu_name(runtime, 0)


# An instance, on a GPU whose stream is as late as it may be.


def instance(runtime: simulated.Runtime, profiles: list[Profile]) -> tuple[TensorRtInstance, simulated.Context]:
    engine = simulated.Engine(runtime)
    x, y = ({"name": name, "dtype": "FP32", "dims": [4], "reshape": None} for name in "xy")
    tensors = {"inputs": [x], "outputs": [y]}
    spec = {"name": "double", "max_batch_size": 8, **tensors}
    slot = {"name": "double_0", "device": 3}
    made = TensorRtInstance(simulated.TENSORRT, runtime, engine, profiles, spec, slot, ())
    return made, engine.context


def test_batches_of_all_sizes_come_back_doubled_on_the_profile_that_fits() -> None:
    runtime = simulated.Runtime()
    made, context = instance(runtime, [rows(1, 8, 8, 4), rows(1, 1, 2, 4)])
    source = np.random.default_rng(11)
    for count in (1, 8, 2, 2, 5, 8, 1):
        batch = simulated.Batch(source.random((count, 4), dtype=np.float32))
        made.execute(batch)  # type: ignore[arg-type]
        np.testing.assert_array_equal(batch.outputs["y"], 2 * batch.array)
        assert not runtime.pending  # nothing reads the batch's memory any more
    assert context.profiles == [1, 0, 1, 0, 1]
    assert set(runtime.devices) == {3}
    made.close()
    assert not runtime.memory


def test_a_failed_run_has_let_go_of_the_batchs_memory_before_it_is_told() -> None:
    runtime = simulated.Runtime()
    made, context = instance(runtime, [rows(1, 8, 8, 4)])
    context.fails = True
    with pytest.raises(Internal, match="model 'double': TensorRT could not run the batch"):
        made.execute(simulated.Batch(np.ones((1, 4), np.float32)))  # type: ignore[arg-type]
    assert not runtime.pending


def test_too_little_device_memory_and_too_large_batches_are_told() -> None:
    made, _ = instance(simulated.Runtime(limit=1024), [rows(1, 8, 8, 100)])
    with pytest.raises(ResourceExhausted, match="cudaMalloc of 3200 bytes: out of memory"):
        made.execute(simulated.Batch(np.ones((8, 100), np.float32)))  # type: ignore[arg-type]
    with pytest.raises(Internal, match="batch size 9 for 'double_0', max allowed is 8"):
        made.execute(simulated.Batch(np.ones((9, 100), np.float32)))  # type: ignore[arg-type]


# The real builder, which needs no GPU where TensorRT for RTX is installed.


def test_an_onnx_file_is_parsed_and_built_for_another_gpu(tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed: pip install tensorrt-rtx")
    from argosy.backends.tensorrt.engine import OnnxSource, make_logger
    from serving.models import onnx_scale

    flavour = find_flavour("tensorrt_rtx")
    path = tmp_path / "model.onnx"
    path.write_bytes(onnx_scale(2.0).SerializeToString())
    source = OnnxSource(flavour, make_logger(flavour.module), path)
    found = source.signature()
    assert [(one.name, one.dtype, one.dims) for one in found.inputs + found.outputs] == [
        ("x", "FP32", (-1, 4)),
        ("y", "FP32", (-1, 4)),
    ]
    plan, _ = source.build(settings_from({}), 8, b"", "SM89")
    assert len(plan) > 1000
    with pytest.raises(Unsupported, match=r"computes in the types of the ONNX model; convert 'model\.onnx' to FP16"):
        source.build(settings_from({"precision_mode": "FP16"}), 8, b"", "SM89")
    path.write_bytes(b"no model")
    with pytest.raises(InvalidArgument, match="cannot read"):
        OnnxSource(flavour, make_logger(flavour.module), path)
