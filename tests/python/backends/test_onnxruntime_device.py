"""ONNX models whose batches lie in device memory; the host stands for the device, the CPU provider for CUDA's.

And which providers a GPU gets, with which options, as values.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from argosy.backends.onnxruntime import OnnxRuntimeBackend
from argosy.backends.onnxruntime.device import DeviceInstance
from argosy.backends.onnxruntime.graphs import static_shape
from argosy.backends.onnxruntime.instance import HostInstance
from argosy.backends.onnxruntime.memory import CudaMemory
from argosy.backends.onnxruntime.providers import check_available, check_started, gpu_providers
from argosy.backends.onnxruntime.session import run_options, session_options
from argosy.backends.placement import Placement
from argosy.config.lower import CUDA_GRAPHS, GPU_ACCELERATORS, GRAPH_LEVEL
from argosy.errors import ArgosyError, Internal, InvalidArgument, Unsupported
from onnx import ModelProto, helper
from serving.models import onnx_graph

sys.path.insert(0, str(Path(__file__).parent))
from device_batch import DeviceBatch

sys.path.pop(0)
CUDA_GRAPH = [{"name": "cuda", "parameters": {"enable_cuda_graph": "1"}}]


def tensor(name: str, *dims: int, dtype: str = "FP32") -> dict[str, Any]:
    return {"name": name, "dtype": dtype, "dims": list(dims), "reshape": None, "optional": False}


def slot(index: int = 0, stream: int = 0, kind: str = "gpu") -> dict[str, Any]:
    return {
        "name": f"m_{index}",
        "kind": kind,
        "device": 0,
        "stream": stream,
        "index": index,
        "instances": 1,
        "cpu_threads": 1,
    }


def two_ways(dtype: str = "FP32") -> ModelProto:
    """x -> same: x + x of known shape; kept: the elements that are not zero, whose number only a run tells."""
    return onnx_graph(
        [("x", dtype, ["rows", 4])],
        [("same", dtype, ["rows", 4]), ("kept", "INT64", [2, "found"])],
        lambda: [helper.make_node("Add", ["x", "x"], ["same"]), helper.make_node("NonZero", ["x"], ["kept"])],
    )


def cast(dtype: str) -> ModelProto:
    return onnx_graph(
        [("x", dtype, ["rows", 3])], [("y", dtype, ["rows", 3])], lambda: [helper.make_node("Identity", ["x"], ["y"])]
    )


def strings() -> ModelProto:
    return onnx_graph(
        [("x", "BYTES", ["rows", 1])],
        [("y", "BYTES", ["rows", 1])],
        lambda: [helper.make_node("Identity", ["x"], ["y"])],
    )


def model(
    proto: ModelProto, tmp_path: Path, inputs: list[Any], outputs: list[Any], *, rows: int = 8, **parameters: str
) -> Any:
    path = tmp_path / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    spec = {"name": "m", "path": str(tmp_path), "artifact": path.name, "max_batch_size": rows}
    return OnnxRuntimeBackend().load({**spec, "inputs": inputs, "outputs": outputs, "parameters": parameters}, slot())


def same_of(tmp_path: Path, **parameters: str) -> Any:
    return model(two_ways(), tmp_path, [tensor("x", 4)], [tensor("same", 4)], **parameters)


def numbers(rows: int, *dims: int, seed: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).random((rows, *dims), np.float32)


# Batches.


def test_session_parameters_are_the_ecosystems() -> None:
    plain = session_options({}, 3)
    assert (plain.intra_op_num_threads, plain.inter_op_num_threads) == (3, 1)
    assert plain.execution_mode == ort.ExecutionMode.ORT_SEQUENTIAL
    assert plain.enable_cpu_mem_arena and plain.enable_mem_pattern
    assert plain.graph_optimization_level == ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    given = {
        "intra_op_thread_count": "2",
        "inter_op_thread_count": "4",
        "execution_mode": "1",
        "enable_mem_arena": "0",
        "enable_mem_pattern": "0",
        "session.use_device_allocator_for_initializers": "1",
        GRAPH_LEVEL: "2",
    }
    made = session_options(given, 3)
    assert (made.intra_op_num_threads, made.inter_op_num_threads) == (2, 4)
    assert made.execution_mode == ort.ExecutionMode.ORT_PARALLEL
    assert not made.enable_cpu_mem_arena and not made.enable_mem_pattern
    assert made.get_session_config_entry("session.use_device_allocator_for_initializers") == "1"
    assert made.graph_optimization_level == ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    shrinking = run_options({"memory.enable_memory_arena_shrinkage": "cpu:0"})
    assert shrinking.get_run_config_entry("memory.enable_memory_arena_shrinkage") == "cpu:0"
    assert run_options({}) is None


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("intra_op_thread_count", "many", "parameter 'intra_op_thread_count': expected a number of threads"),
        ("execution_mode", "2", "parameter 'execution_mode': expected 0, 1, true or false, got '2'"),
        ("enable_mem_arena", "off", "parameter 'enable_mem_arena': expected 0, 1, true or false, got 'off'"),
        ("enable_mem_pattern", "-1", "parameter 'enable_mem_pattern': expected 0, 1, true or false, got '-1'"),
        (GRAPH_LEVEL, "3", "optimization.graph.level: expected -1, 0, 1 or 2, got '3'"),
    ],
)
def test_a_session_parameter_that_cannot_be_is_refused_by_name(key: str, value: str, said: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        session_options({key: value}, 1)
    assert caught.value.message.startswith(said)


def test_outputs_of_known_shape_are_written_into_memory_of_the_batch(tmp_path: Path) -> None:
    instance = same_of(tmp_path).make_instance(slot())
    assert isinstance(instance, DeviceInstance)
    given = [numbers(rows, 4, seed=rows) for rows in (1, 8, 3, 8)]
    batches = [DeviceBatch(x).run(instance.enqueue) for x in given]
    for batch, x in zip(batches, given, strict=True):
        assert batch.reserved("same") and not batch.owners
        np.testing.assert_array_equal(batch.collect()["same"], x + x)


def test_outputs_that_only_a_run_tells_are_handed_over_with_their_owner(tmp_path: Path) -> None:
    outputs = [tensor("kept", 2, -1, dtype="INT64"), tensor("same", -1, 4)]
    instance = model(two_ways(), tmp_path, [tensor("x", -1, 4)], outputs, rows=0).make_instance(slot())
    given = [numbers(rows, 4, seed=rows) * (np.arange(4) < rows) for rows in (1, 3, 2)]
    batches = [DeviceBatch(x.astype(np.float32), wanted=(True, True)).run(instance.enqueue) for x in given]
    for batch, x in zip(batches, given, strict=True):
        assert len(batch.owners) == 2
        got = batch.collect()
        np.testing.assert_array_equal(got["kept"], np.array(np.nonzero(x)))
        np.testing.assert_array_equal(got["same"], (x + x).astype(np.float32))


def test_only_wanted_outputs_are_bound(tmp_path: Path) -> None:
    outputs = [tensor("same", -1, 4), tensor("kept", 2, -1, dtype="INT64")]
    instance = model(two_ways(), tmp_path, [tensor("x", -1, 4)], outputs, rows=0).make_instance(slot())
    for wanted in ((True, False), (False, True), (True, True)):
        batch = DeviceBatch(numbers(2, 4), wanted=wanted).run(instance.enqueue)
        assert set(batch.collect()) == {name for name, asked in zip(("same", "kept"), wanted, strict=True) if asked}


@pytest.mark.parametrize("dtype", ["BOOL", "INT8", "UINT64", "FP16", "BF16", "FP64"])
def test_types_cross_by_address(tmp_path: Path, dtype: str) -> None:
    x = np.ones(
        (2, 3), {"BOOL": np.bool_, "FP16": np.float16, "BF16": np.uint16, "FP64": np.float64}.get(dtype, dtype.lower())
    )
    made = model(cast(dtype), tmp_path, [tensor("x", 3, dtype=dtype)], [tensor("y", 3, dtype=dtype)])
    got = DeviceBatch(x).run(made.make_instance(slot()).enqueue).collect()["y"]
    assert got.dtype == x.dtype
    np.testing.assert_array_equal(got, x)


def test_an_input_without_elements_is_one(tmp_path: Path) -> None:
    instance = model(two_ways(), tmp_path, [tensor("x", -1, 4)], [tensor("same", -1, 4)], rows=0).make_instance(slot())
    assert DeviceBatch(np.zeros((0, 4), np.float32)).run(instance.enqueue).collect()["same"].shape == (0, 4)


def test_strings_go_through_host_memory(tmp_path: Path) -> None:
    made = model(strings(), tmp_path, [tensor("x", 1, dtype="BYTES")], [tensor("y", 1, dtype="BYTES")])
    assert isinstance(made.make_instance(slot()), HostInstance)


def test_a_failed_batch_hands_nothing_over_and_the_next_one_runs(tmp_path: Path) -> None:
    instance = same_of(tmp_path).make_instance(slot())
    with pytest.raises(Exception, match="Got invalid dimensions for input: x"):
        DeviceBatch(numbers(2, 5)).run(instance.enqueue)
    with pytest.raises(Internal, match="batch size 9 for 'm_0', max allowed is 8"):
        DeviceBatch(numbers(9, 4)).run(instance.enqueue)
    x = numbers(2, 4)
    np.testing.assert_array_equal(DeviceBatch(x).run(instance.enqueue).collect()["same"], x + x)


# Graphs: what goes in and out of the memory that they keep.


def test_sizes_with_a_graph_keep_their_memory_and_answers_their_own(tmp_path: Path) -> None:
    instance = same_of(tmp_path, **{GPU_ACCELERATORS: json.dumps(CUDA_GRAPH)}).make_instance(slot())
    assert instance.allowed_rows == (1, 2, 4, 8)
    given = [numbers(rows, 4, seed=seed) for seed, rows in enumerate((2, 2, 8, 2, 8, 3))]
    batches = [DeviceBatch(x).run(instance.enqueue) for x in given]
    for batch, x in zip(batches, given, strict=True):
        assert batch.reserved("same")
        np.testing.assert_array_equal(batch.collect()["same"], x + x)


def test_graphs_need_dimensions_that_are_known(tmp_path: Path) -> None:
    made = model(
        two_ways(),
        tmp_path,
        [tensor("x", -1, 4)],
        [tensor("kept", 2, -1, dtype="INT64")],
        rows=0,
        **{GPU_ACCELERATORS: json.dumps(CUDA_GRAPH)},
    )
    with pytest.raises(
        Unsupported, match=r"model 'm', enable_cuda_graph: 'x' has a dynamic dimension besides the batch"
    ):
        made.make_instance(slot())


@pytest.mark.parametrize(
    ("own", "configured", "rows", "shape"),
    [
        (["rows", 4], [4], 2, (2, 4)),
        (["rows", "any"], [5], 2, (2, 5)),
        (["rows", "any"], [-1], 2, (2, -1)),
        (["rows", 4], [-1], 2, (2, 4)),
        ([3, None], [3, 7], 0, (3, 7)),
        ([3], [], 0, (3,)),
    ],
)
def test_a_static_shape_is_the_models_and_the_configurations(
    own: list[Any], configured: list[int], rows: int, shape: tuple[int, ...]
) -> None:
    assert static_shape(own, configured, rows) == shape


def test_copies_on_a_gpu_are_given_to_the_instances_stream() -> None:
    asked: list[tuple[int, ...]] = []
    runtime = SimpleNamespace(
        cudaMemcpyKind=SimpleNamespace(cudaMemcpyDeviceToDevice=3),
        cudaError_t=SimpleNamespace(cudaSuccess=0),
        cudaMemcpyAsync=lambda *given: (asked.append(given), (0,))[1],
        cudaGetErrorString=lambda error: (0, b"misaligned address"),
    )
    memory = CudaMemory(Placement(ordinal=2, stream=77), lambda: runtime)
    memory.prepare()
    memory.copy(1, 2, 3)
    assert asked == [(1, 2, 3, 3, 77)] and (memory.device_type, memory.ordinal, memory.waits) == ("cuda", 2, False)
    runtime.cudaMemcpyAsync = lambda *given: (9,)
    with pytest.raises(Internal, match="cudaMemcpyAsync: misaligned address"):
        memory.copy(1, 2, 3)


# Providers.


def providers(*accelerators: dict[str, Any], **parameters: str) -> Any:
    return gpu_providers("m", {**parameters, GPU_ACCELERATORS: json.dumps(accelerators)})


def accelerator(name: str, **parameters: str) -> dict[str, Any]:
    return {"name": name, "parameters": parameters}


def test_a_gpu_instance_computes_with_cuda_on_its_own_stream() -> None:
    found = gpu_providers("m", {})
    assert not found.graphs
    assert found.sessions(1, 4711) == [
        ("CUDAExecutionProvider", {"device_id": "1", "user_compute_stream": "4711"}),
        ("CPUExecutionProvider", {}),
    ]


def test_tensorrt_comes_first_and_takes_the_older_names() -> None:
    asked = accelerator(
        "tensorrt", precision_mode="fp16", max_workspace_size_bytes="1073741824", trt_engine_cache_enable="true"
    )
    found = providers(asked, accelerator("cuda", cudnn_conv_algo_search="1"), gpu_mem_limit="1000")
    assert found.options == (
        (
            "TensorrtExecutionProvider",
            {"trt_fp16_enable": "1", "trt_max_workspace_size": "1073741824", "trt_engine_cache_enable": "1"},
        ),
        ("CUDAExecutionProvider", {"gpu_mem_limit": "1000", "cudnn_conv_algo_search": "HEURISTIC"}),
    )
    assert found.sessions(0, 5)[0][1]["user_compute_stream"] == "5"


def test_parameters_of_older_configurations_are_the_cuda_providers() -> None:
    found = gpu_providers(
        "m",
        {
            "cudnn_conv_algo_search": "2",
            "arena_extend_strategy": "1",
            "do_copy_in_default_stream": "0",
            "gpu_mem_limit": "4294967296",
            "intra_op_thread_count": "2",
        },
    )
    assert dict(found.options[0][1]) == {
        "cudnn_conv_algo_search": "DEFAULT",
        "arena_extend_strategy": "kSameAsRequested",
        "do_copy_in_default_stream": "0",
        "gpu_mem_limit": "4294967296",
    }


def test_graphs_are_asked_for_by_the_providers_own_option() -> None:
    assert providers(accelerator("cuda", enable_cuda_graph="true")).graphs
    assert not providers(accelerator("cuda", enable_cuda_graph="0")).graphs
    assert not gpu_providers("m", {CUDA_GRAPHS: "1"}).graphs  # in the ecosystem that is TensorRT's alone


@pytest.mark.parametrize(
    ("accelerators", "said"),
    [
        (
            [accelerator("openvino")],
            "unknown Execution Accelerator 'openvino' is requested; expected 'cuda' or 'tensorrt'",
        ),
        (
            [accelerator("cuda", fast="1")],
            "gpu_execution_accelerator[0] 'cuda', parameter 'fast' is no option of the CUDA",
        ),
        (
            [accelerator("cuda", device_id="1")],
            "parameter 'device_id': device and stream are the instance's; remove it",
        ),
        ([accelerator("cuda", use_tf32="maybe")], "parameter 'use_tf32': expected 0, 1, true or false, got 'maybe'"),
        ([accelerator("cuda", gpu_mem_limit="1G")], "parameter 'gpu_mem_limit': expected a number, got '1G'"),
        (
            [accelerator("cuda", cudnn_conv_algo_search="3")],
            "expected EXHAUSTIVE (0), HEURISTIC (1), DEFAULT (2), got '3'",
        ),
        (
            [accelerator("tensorrt", precision_mode="FP8")],
            "'precision_mode': expected FP32, FP16, BF16, INT8, got 'FP8'",
        ),
        ([accelerator("tensorrt", trt_fast="1")], "parameter 'trt_fast' is no option of the TensorRT provider"),
        (
            [accelerator("tensorrt", trt_cuda_graph_enable="1")],
            "'trt_cuda_graph_enable' is not served: CUDA graphs are",
        ),
        (
            [accelerator("tensorrt"), *CUDA_GRAPH],
            "enable_cuda_graph together with the accelerator 'tensorrt' is not served; remove one of them",
        ),
    ],
)
def test_what_a_provider_does_not_know_is_refused_by_name(accelerators: list[Any], said: str) -> None:
    with pytest.raises(ArgosyError) as caught:
        providers(*accelerators)
    assert said in caught.value.message and caught.value.message.startswith("model 'm'")


def test_an_onnx_runtime_without_cuda_says_what_it_has_and_what_to_install() -> None:
    with pytest.raises(Unsupported) as caught:
        check_available("m", ["CUDAExecutionProvider"], ["AzureExecutionProvider", "CPUExecutionProvider"], "1.23")
    assert caught.value.message == (
        "model 'm': kind KIND_GPU needs the CUDAExecutionProvider, and ONNX Runtime 1.23 here has only "
        "AzureExecutionProvider, CPUExecutionProvider; pip uninstall onnxruntime and pip install 'argosy[onnx-gpu]', "
        "or use kind: KIND_CPU"
    )
    with pytest.raises(
        Unsupported, match=r"could not start the CUDAExecutionProvider \(running: CPUExecutionProvider\)"
    ):
        check_started("m", ["CUDAExecutionProvider"], ["CPUExecutionProvider"], "1.23")


@pytest.mark.skipif("CUDAExecutionProvider" in ort.get_available_providers(), reason="this ONNX Runtime has CUDA")
def test_a_gpu_instance_of_this_onnx_runtime_is_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(
        Unsupported, match=r"model 'm': kind KIND_GPU needs the CUDAExecutionProvider, and ONNX Runtime"
    ):
        same_of(tmp_path).make_instance(slot(stream=93))


def test_a_bad_accelerator_fails_before_the_file_is_read(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="unknown Execution Accelerator 'x' is requested"):
        same_of(tmp_path, **{GPU_ACCELERATORS: json.dumps([accelerator("x")])})
