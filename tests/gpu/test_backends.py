"""The backends on a real GPU, through the whole server, against the bare frameworks: pytest tests/gpu"""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import argosy
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'argosy[torch]'")
sys.path.insert(0, str(Path(__file__).parents[1]))
from serving import torch_programs as programs  # noqa: E402
from serving.models import DTYPES  # noqa: E402

sys.path.pop(0)
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch finds no GPU"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
GRAPHS = "optimization { cuda { graphs: true } }\n"


def tensors(kind: str, *given: tuple[str, str, list[int]]) -> str:
    return "".join(
        f'{kind} {{ name: "{name}" data_type: {DTYPES[dtype][0]} dims: {dims} }}\n' for name, dtype, dims in given
    )


def write(root: Path, backend: str, *parts: str, count: int = 2, rows: int = 8) -> Path:
    """A model "m" on the GPU; returns the folder of its version."""
    (root / "m" / "1").mkdir(parents=True)
    text = f'backend: "{backend}"\nmax_batch_size: {rows}\ndynamic_batching {{ }}\n' + "".join(parts)
    (root / "m" / "config.pbtxt").write_text(text + f"instance_group {{ kind: KIND_GPU count: {count} }}\n")
    return root / "m" / "1"


def ask_all(root: Path, requests: list[dict[str, np.ndarray]]) -> list[Any]:
    """All at once, so that they are batched together in every way."""
    with argosy.Server(root) as server:
        futures: list[Future[Any]] = [server.submit("m", inputs) for inputs in requests]
        return [future.result(90) for future in futures]


def batches(
    *makers: Callable[[np.random.Generator, int], np.ndarray], count: int = 300
) -> list[tuple[np.ndarray, ...]]:
    source = np.random.default_rng(17)
    return [tuple(make(source, 1 + int(source.integers(8))) for make in makers) for _ in range(count)]


@pytest.mark.parametrize("more", ["", GRAPHS], ids=["eager", "graphs"])
def test_torchscript_gives_what_the_cpu_gives(tmp_path: Path, more: str) -> None:
    folder = write(
        tmp_path,
        "pytorch",
        tensors("input", ("a", "FP32", [4]), ("b", "FP32", [4])),
        tensors("output", ("s", "FP32", [4]), ("d", "FP32", [4])),
        more,
    )
    programs.script(programs.AddSub(), folder / "model.pt")
    given = batches(lambda source, rows: source.random((rows, 8), np.float32))
    requests = [{"a": x[:, :4].copy(), "b": x[:, 4:].copy()} for (x,) in given]
    for request, answer in zip(requests, ask_all(tmp_path, requests), strict=True):
        np.testing.assert_array_equal(answer["s"], request["a"] + request["b"])
        np.testing.assert_array_equal(answer["d"], request["a"] - request["b"])


@pytest.mark.parametrize("more", ["", GRAPHS], ids=["eager", "graphs"])
def test_exported_programs_give_what_the_cpu_gives(tmp_path: Path, more: str) -> None:
    folder = write(
        tmp_path,
        "pytorch",
        tensors("input", ("x", "FP32", [4]), ("mask", "FP32", [1])),
        tensors("output", ("scores", "FP32", [3])),
        more,
    )
    programs.exported_scores(folder / "model.pt2")
    given = [x for (x,) in batches(lambda source, rows: source.random((rows, 4), np.float32))]
    requests = [{"x": x, "mask": np.ones((len(x), 1), np.float32)} for x in given]
    with torch.inference_mode():
        module = programs.Scores().eval()
        expected = [module(torch.from_numpy(x), torch.ones(len(x), 1))["scores"].numpy() for x in given]
    for answer, right in zip(ask_all(tmp_path, requests), expected, strict=True):
        np.testing.assert_allclose(answer["scores"], right, rtol=1e-3, atol=1e-4)


def test_a_result_that_is_its_input_comes_back_whole(tmp_path: Path) -> None:
    folder = write(
        tmp_path, "pytorch", tensors("input", ("x", "BF16", [64])), tensors("output", ("y", "BF16", [64])), count=4
    )
    programs.script(programs.Same(), folder / "model.pt")
    given = batches(lambda source, rows: source.integers(0, 1 << 15, (rows, 64)).astype(np.uint16))
    for (x,), answer in zip(given, ask_all(tmp_path, [{"x": x} for (x,) in given]), strict=True):
        np.testing.assert_array_equal(answer["y"], x)


def test_state_stays_in_order_on_its_stream(tmp_path: Path) -> None:
    folder = write(
        tmp_path, "pytorch", tensors("input", ("x", "FP32", [1])), tensors("output", ("y", "FP32", [1])), count=1
    )
    programs.script(programs.Counts(), folder / "model.pt")
    answers = ask_all(tmp_path, [{"x": np.zeros((1, 1), np.float32)} for _ in range(200)])
    seen = [float(answer["y"][0, 0]) for answer in answers]
    assert seen == sorted(seen) and seen[-1] == 200


def test_strings_and_their_tensors_meet_on_the_gpu(tmp_path: Path) -> None:
    folder = write(
        tmp_path,
        "pytorch",
        tensors("input", ("texts", "BYTES", [1]), ("repeat", "FP32", [1])),
        tensors("output", ("upper", "BYTES", [1]), ("times", "FP32", [1])),
        count=1,
    )
    programs.script(programs.Texts(), folder / "model.pt")
    request = {"texts": np.array([[b"ab"]], dtype=object), "repeat": np.ones((1, 1), np.float32)}
    (answer,) = ask_all(tmp_path, [request])
    assert answer["upper"].tolist() == [[b"AB"]] and answer["times"].tolist() == [[1.0]]


@pytest.mark.parametrize("graph", ["", 'parameters { key: "enable_cuda_graph" value: "1" }'], ids=["eager", "graphs"])
def test_onnx_runtime_gives_what_numpy_gives(tmp_path: Path, graph: str) -> None:
    runtime = pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    if "CUDAExecutionProvider" not in runtime.get_available_providers():
        pytest.skip("this ONNX Runtime has no CUDA provider: pip install 'argosy[onnx-gpu]'")
    from serving.models import onnx_scale

    accelerator = f'gpu_execution_accelerator [ {{ name: "cuda" {graph} }} ]'
    folder = write(
        tmp_path,
        "onnxruntime",
        tensors("input", ("x", "FP32", [4])),
        tensors("output", ("y", "FP32", [4])),
        f"optimization {{ execution_accelerators {{ {accelerator} }} }}\n",
    )
    (folder / "model.onnx").write_bytes(onnx_scale(2.0).SerializeToString())
    given = batches(lambda source, rows: source.random((rows, 4), np.float32))
    for (x,), answer in zip(given, ask_all(tmp_path, [{"x": x} for (x,) in given]), strict=True):
        np.testing.assert_allclose(answer["y"], 2 * x, rtol=1e-6)


@pytest.mark.parametrize("more", ["", GRAPHS], ids=["eager", "graphs"])
def test_tensorrt_builds_an_onnx_file_and_gives_what_numpy_gives(tmp_path: Path, more: str) -> None:
    from argosy.backends.tensorrt.flavour import find_flavour
    from argosy.errors import InvalidArgument
    from serving.models import onnx_scale

    try:
        if not find_flavour().builds:
            pytest.skip("this TensorRT package builds no engines")
    except InvalidArgument as error:
        pytest.skip(error.message)
    pytest.importorskip("cuda.bindings", reason="cuda-bindings is not installed")
    cache = tmp_path / "cache"
    folder = write(
        tmp_path / "models",
        "tensorrt",
        'default_model_filename: "model.onnx"\n',
        tensors("input", ("x", "FP32", [4])),
        tensors("output", ("y", "FP32", [4])),
        more,
        f'parameters {{ key: "trt_engine_cache_path" value {{ string_value: "{cache}" }} }}\n',
    )
    (folder / "model.onnx").write_bytes(onnx_scale(2.0).SerializeToString())
    given = batches(lambda source, rows: source.random((rows, 4), np.float32))
    for _ in range(2):  # the second time from the cache
        for (x,), answer in zip(given, ask_all(tmp_path / "models", [{"x": x} for (x,) in given]), strict=True):
            np.testing.assert_allclose(answer["y"], 2 * x, rtol=1e-3)
    assert [one.suffix for one in cache.iterdir()].count(".plan") == 1


def test_the_gpu_is_on_the_metrics_page(tmp_path: Path) -> None:
    pytest.importorskip("pynvml", reason="nvidia-ml-py is not installed: pip install 'argosy[gpu]'")
    from argosy.gpu_metrics import NoGpuMetrics, Nvml, lines_of

    try:
        readings = Nvml(visible="0").read()
    except NoGpuMetrics as reason:
        pytest.skip(str(reason))
    names = {name for name, *_ in lines_of(readings, {})}
    assert {"nv_gpu_memory_total_bytes", "nv_gpu_memory_used_bytes", "nv_gpu_utilization"} <= names
