"""PyTorch and TensorRT instances on a real GPU, without a server, against the CPU: pytest tests/gpu"""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'argosy[torch]'")
sys.path.insert(0, str(Path(__file__).parents[1]))
from argosy.backends.torch.backend import TorchBackend  # noqa: E402
from serving import torch_programs as programs  # noqa: E402

sys.path.pop(0)
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch finds no GPU"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


class Batch:
    """One batch over arrays, with outputs in memory of its own."""

    def __init__(self, *arrays: np.ndarray) -> None:
        self.arrays, self.rows, self.wanted = arrays, len(arrays[0]), [True] * 2
        self.outputs: dict[str, np.ndarray] = {}

    def input(self, index: int) -> np.ndarray:
        return self.arrays[index]

    def input_memory(self, index: int) -> tuple[int, tuple[int, ...]]:
        return self.arrays[index].ctypes.data, self.arrays[index].shape

    def set_output(self, name: str, array: np.ndarray) -> None:
        self.outputs[name] = array

    def allocate_output(self, name: str, dtype: str, shape: tuple[int, ...]) -> int:
        self.outputs[name] = np.full(shape, np.nan, np.float32)
        return self.outputs[name].ctypes.data


def tensor(name: str, *dims: int, dtype: str = "FP32") -> dict[str, Any]:
    return {"name": name, "dtype": dtype, "dims": list(dims), "reshape": None, "optional": False}


def spec(path: Path, inputs: list[Any], outputs: list[Any], **parameters: str) -> dict[str, Any]:
    tensors = {"inputs": inputs, "outputs": outputs, "parameters": parameters}
    return {"name": "m", "path": str(path.parent), "artifact": path.name, "max_batch_size": 8, **tensors}


def slot(index: int = 0) -> dict[str, Any]:
    return {"name": f"m_{index}", "kind": "gpu", "device": 0, "index": index, "instances": 4, "cpu_threads": 1}


def scores(path: Path, **parameters: str) -> Any:
    programs.exported_scores(path)
    inputs = [tensor("x", 4), tensor("mask", 1)]
    best = {**tensor("best", 1, dtype="INT64"), "reshape": []}
    return TorchBackend().load(spec(path, inputs, [tensor("scores", 3), best], **parameters), slot())


def check(instance: Any, rows: int, seed: int) -> None:
    x = np.random.default_rng(seed).random((rows, 4), np.float32)
    batch = Batch(x, np.ones((rows, 1), np.float32))
    instance.execute(batch)
    with torch.inference_mode():
        expected = programs.Scores().eval()(torch.from_numpy(x), torch.ones(rows, 1))
    np.testing.assert_allclose(batch.outputs["scores"], expected["scores"].numpy(), rtol=1e-3, atol=1e-4)
    assert batch.outputs["best"].shape == (rows,)


@pytest.mark.parametrize("parameters", [{}, {"optimization.cuda.graphs": "1"}], ids=["eager", "graphs"])
def test_batches_of_all_sizes_are_those_of_the_cpu(tmp_path: Path, parameters: dict[str, str]) -> None:
    instance = scores(tmp_path / "model.pt2", **parameters).make_instance(slot())
    for seed, rows in enumerate((1, 8, 3, 5, 2, 8, 7, 1)):
        check(instance, rows, seed)


@pytest.mark.parametrize("parameters", [{}, {"optimization.cuda.graphs": "1"}], ids=["eager", "graphs"])
def test_streams_of_several_instances_do_not_mix(tmp_path: Path, parameters: dict[str, str]) -> None:
    model = scores(tmp_path / "model.pt2", **parameters)
    failures: list[BaseException] = []

    def work(index: int) -> None:
        try:
            instance = model.make_instance(slot(index))
            for turn in range(200):
                check(instance, 1 + (turn + index) % 8, 1000 * index + turn)
        except BaseException as error:
            failures.append(error)

    workers = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not failures


def test_torchscript_runs_on_the_gpu(tmp_path: Path) -> None:
    path = programs.script(programs.AddSub(), tmp_path / "model.pt")
    model = TorchBackend().load(spec(path, [tensor("a", 4), tensor("b", 4)], [tensor("s", 4), tensor("d", 4)]), slot())
    a, b = (np.random.default_rng(seed).random((3, 4), np.float32) for seed in (1, 2))
    batch = Batch(a, b)
    model.make_instance(slot()).execute(batch)
    np.testing.assert_array_equal(batch.outputs["s"], a + b)
    np.testing.assert_array_equal(batch.outputs["d"], a - b)


def test_an_onnx_file_is_built_cached_and_run_by_tensorrt(tmp_path: Path) -> None:
    from argosy.backends.tensorrt import TensorRtBackend
    from argosy.backends.tensorrt.flavour import find_flavour
    from argosy.errors import InvalidArgument
    from serving.models import onnx_scale

    try:
        if not find_flavour().builds:
            pytest.skip("this TensorRT package builds no engines")
    except InvalidArgument as error:
        pytest.skip(error.message)
    pytest.importorskip("cuda.bindings", reason="cuda-bindings is not installed")
    path = tmp_path / "model.onnx"
    path.write_bytes(onnx_scale(2.0).SerializeToString())
    config = spec(path, [tensor("x", 4)], [tensor("y", 4)], trt_engine_cache_path=str(tmp_path / "cache"))
    for _ in range(2):  # the second time from the cache
        instance = TensorRtBackend().load(config, slot()).make_instance(slot())
        for rows in (1, 8, 3):
            batch = Batch(np.random.default_rng(rows).random((rows, 4), np.float32))
            batch.wanted = [True]
            instance.execute(batch)
            np.testing.assert_allclose(batch.outputs["y"], 2 * batch.arrays[0], rtol=1e-3)
        instance.close()
    assert [one.suffix for one in (tmp_path / "cache").iterdir()].count(".plan") == 1
