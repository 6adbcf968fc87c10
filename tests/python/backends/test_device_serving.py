"""PyTorch and ONNX models on a device, through the whole server; the host stands for the device.

Batches go through staging memory, the device's pool and several at a time, as on a GPU.
"""

from __future__ import annotations

import sys
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import argosy
import numpy as np
import pytest
from argosy.errors import ArgosyError, Internal
from onnx import TensorProto, helper
from serving.models import DTYPES, onnx_graph

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'argosy[torch]'")
sys.path.insert(0, str(Path(__file__).parents[2]))
from serving import torch_programs as programs  # noqa: E402

sys.path.pop(0)
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
Given = tuple[str, str, list[int]]


def write(
    root: Path, backend: str, inputs: list[Given], outputs: list[Given], more: str = "", *, rows: int = 8
) -> Path:
    """A model "m" on the device; returns the folder of its version."""
    (root / "m" / "1").mkdir(parents=True)
    text = f'backend: "{backend}"\nmax_batch_size: {rows}\n'
    for kind, tensors in (("input", inputs), ("output", outputs)):
        for name, dtype, dims in tensors:
            text += f'{kind} {{ name: "{name}" data_type: {DTYPES[dtype][0]} dims: {dims} }}\n'
    batching = "dynamic_batching { }\n" if rows else ""
    (root / "m" / "config.pbtxt").write_text(text + batching + more + "instance_group { kind: KIND_GPU count: 2 }\n")
    return root / "m" / "1"


def ask_all(server: argosy.Server, requests: list[dict[str, np.ndarray]]) -> list[Any]:
    futures: list[Future[Any]] = [server.submit("m", inputs) for inputs in requests]
    return [future.result(90) for future in futures]


def arrays(count: int, *dims: int) -> list[np.ndarray]:
    source = np.random.default_rng(23)
    return [source.random((1 + int(source.integers(8)), *dims), np.float32) for _ in range(count)]


def test_torchscript_answers_every_request_with_its_own_rows(tmp_path: Path) -> None:
    pair, results = [("a", "FP32", [4]), ("b", "FP32", [4])], [("s", "FP32", [4]), ("d", "FP32", [4])]
    programs.script(programs.AddSub(), write(tmp_path, "pytorch", pair, results) / "model.pt")
    given = arrays(200, 8)
    requests = [{"a": x[:, :4].copy(), "b": x[:, 4:].copy()} for x in given]
    with argosy.Server(tmp_path, devices="host") as server:
        for request, answer in zip(requests, ask_all(server, requests), strict=True):
            np.testing.assert_array_equal(answer["s"], request["a"] + request["b"])
            np.testing.assert_array_equal(answer["d"], request["a"] - request["b"])
        (statistics,) = server.engine.statistics("m")
        assert sum(row["compute_infer"]["count"] for row in statistics["batch_stats"]) <= 200


SCORES = [("x", "FP32", [4]), ("mask", "FP32", [1])], [("scores", "FP32", [3]), ("best", "INT64", [1])]
BEST = '"best" data_type: TYPE_INT64 dims: [1]'


def scores(root: Path) -> Path:
    folder = write(root, "pytorch", *SCORES)
    text = (root / "m" / "config.pbtxt").read_text()
    (root / "m" / "config.pbtxt").write_text(text.replace(BEST, BEST + " reshape { shape: [] }"))
    return folder / "model.pt2"


def check_scores(root: Path) -> None:
    given = arrays(60, 4)
    requests = [{"x": x, "mask": np.full((len(x), 1), at % 3, np.float32)} for at, x in enumerate(given)]
    bare = programs.Scores().eval()
    with argosy.Server(root, devices="host") as server, torch.inference_mode():
        assert server.config("m")["instance_group"][0]["kind"] == "KIND_GPU"
        for request, answer in zip(requests, ask_all(server, requests), strict=True):
            expected = bare(torch.from_numpy(request["x"]), torch.from_numpy(request["mask"]))
            np.testing.assert_allclose(answer["scores"], expected["scores"].numpy(), rtol=1e-4, atol=1e-5)
            if request["mask"].any():
                assert answer["best"].ravel().tolist() == expected["best"].tolist()


def test_an_exported_program_answers_as_bare_pytorch_does(tmp_path: Path) -> None:
    programs.exported_scores(scores(tmp_path))
    check_scores(tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_compiled_package_answers_as_bare_pytorch_does(tmp_path: Path) -> None:
    program = torch.export.load(programs.exported_scores(tmp_path / "aside" / "scores.pt2"))
    (tmp_path / "repository").mkdir()
    try:
        torch._inductor.aoti_compile_and_package(program, package_path=str(scores(tmp_path / "repository")))
    except Exception as error:
        if "compiler" not in str(error).lower():
            raise
        pytest.skip(f"no C++ compiler for AOTInductor: {error}")
    check_scores(tmp_path / "repository")


def test_a_result_that_is_its_input_comes_back_whole(tmp_path: Path) -> None:
    folder = write(tmp_path, "pytorch", [("x", "BF16", [64])], [("y", "BF16", [64])])
    programs.script(programs.Same(), folder / "model.pt")
    given = [(x * 1000).astype(np.uint16) for x in arrays(100, 64)]
    with argosy.Server(tmp_path, devices="host") as server:
        for x, answer in zip(given, ask_all(server, [{"x": x} for x in given]), strict=True):
            np.testing.assert_array_equal(answer["y"], x)


def test_a_batch_that_fails_fails_alone(tmp_path: Path) -> None:
    folder = write(tmp_path, "pytorch", [("x", "FP32", [-1])], [("y", "FP32", [3])])
    programs.script(programs.Wrong(), folder / "model.pt")
    with argosy.Server(tmp_path, devices="host") as server:
        good, bad = np.ones((2, 3), np.float32), np.ones((2, 4), np.float32)
        futures = [server.submit("m", {"x": bad if at % 3 == 1 else good}) for at in range(30)]
        for at, future in enumerate(futures):
            if at % 3 == 1:
                with pytest.raises(Internal, match=r"PyTorch execute failure with 'x' float32 \[\d+, 4\]"):
                    future.result(90)
            else:
                np.testing.assert_array_equal(future.result(90)["y"], good)


def test_programs_with_strings_are_served_on_host_memory(tmp_path: Path) -> None:
    texts, results = (
        [("texts", "BYTES", [1]), ("repeat", "FP32", [1])],
        [("upper", "BYTES", [1]), ("times", "FP32", [1])],
    )
    programs.script(programs.Texts(), write(tmp_path, "pytorch", texts, results) / "model.pt")
    with argosy.Server(tmp_path, devices="host") as server:
        answer = server.infer("m", {"texts": np.array([[b"ab"]], dtype=object), "repeat": np.ones((1, 1), np.float32)})
        assert answer["upper"].tolist() == [[b"AB"]] and answer["times"].tolist() == [[1.0]]


def onnx_two_ways(folder: Path) -> None:
    """double: of known shape; kept: what is not zero, whose number only a run tells."""
    proto = onnx_graph(
        [("x", "FP32", ["rows", 4])],
        [("double", "FP32", ["rows", 4]), ("kept", "INT64", [2, "found"])],
        lambda: [helper.make_node("Add", ["x", "x"], ["double"]), helper.make_node("NonZero", ["x"], ["kept"])],
    )
    (folder / "model.onnx").write_bytes(proto.SerializeToString())


@pytest.mark.parametrize("graph", ["", 'parameters { key: "enable_cuda_graph" value: "1" }'], ids=["plain", "padded"])
def test_onnx_models_answer_every_request_with_its_own_rows(tmp_path: Path, graph: str) -> None:
    accelerator = f'gpu_execution_accelerator [ {{ name: "cuda" {graph} }} ]'
    onnx_two_ways(
        write(
            tmp_path,
            "onnxruntime",
            [("x", "FP32", [4])],
            [("double", "FP32", [4])],
            f"optimization {{ execution_accelerators {{ {accelerator} }} }}\n",
        )
    )
    given = arrays(200, 4)
    with argosy.Server(tmp_path, devices="host") as server:
        for x, answer in zip(given, ask_all(server, [{"x": x} for x in given]), strict=True):
            np.testing.assert_array_equal(answer["double"], x + x)
        (statistics,) = server.engine.statistics("m")
        # Padding is the device's business: what clients count are their own rows.
        assert statistics["inference_count"] == sum(len(x) for x in given)


def test_onnx_outputs_that_only_a_run_tells_come_back(tmp_path: Path) -> None:
    outputs: list[Given] = [("kept", "INT64", [2, -1]), ("double", "FP32", [-1, 4])]
    onnx_two_ways(write(tmp_path, "onnxruntime", [("x", "FP32", [-1, 4])], outputs, rows=0))
    with argosy.Server(tmp_path, devices="host") as server:
        for x in arrays(20, 4):
            x[:, 1] = 0
            answer = server.infer("m", {"x": x})
            np.testing.assert_array_equal(answer["kept"], np.array(np.nonzero(x)))
            np.testing.assert_array_equal(answer["double"], x + x)


def test_an_unknown_accelerator_is_refused_by_name(tmp_path: Path) -> None:
    more = "optimization { execution_accelerators { gpu_execution_accelerator [ { name: 'fast' } ] } }\n"
    onnx_two_ways(write(tmp_path, "onnxruntime", [("x", "FP32", [4])], [("double", "FP32", [4])], more))
    with pytest.raises(ArgosyError, match="unknown Execution Accelerator 'fast' is requested"):
        argosy.Server(tmp_path, devices="host").start()


def test_the_configuration_shows_where_a_model_runs(tmp_path: Path) -> None:
    onnx_two_ways(write(tmp_path, "onnxruntime", [("x", "FP32", [4])], [("double", "FP32", [4])]))
    with argosy.Server(tmp_path, devices="host") as server:
        group = server.config("m")["instance_group"][0]
    assert (group["kind"], group["gpus"], group["count"]) == ("KIND_GPU", [0], 2)


RAGGED = """input { name: "x" data_type: TYPE_FP32 dims: [-1] allow_ragged_batch: true }
output { name: "sum" data_type: TYPE_FP32 dims: [1] }
output { name: "twice" data_type: TYPE_FP32 dims: [-1] }
batch_input { kind: BATCH_ACCUMULATED_ELEMENT_COUNT_WITH_ZERO target_name: "bounds" data_type: TYPE_INT32
  source_input: "x" }
batch_output { kind: BATCH_SCATTER_WITH_INPUT_SHAPE target_name: "twice" source_input: "x" }
"""


def onnx_segments(folder: Path) -> None:
    """As programs.Segments, by a matrix of which value is in which part."""

    def nodes() -> list[Any]:
        def integers(name: str, *values: int) -> Any:
            return helper.make_node(
                "Constant", [], [name], value=helper.make_tensor(name, TensorProto.INT64, [len(values)], values)
            )

        two = helper.make_tensor("two", TensorProto.FLOAT, [], [2.0])
        scalars = [helper.make_tensor(name, TensorProto.INT64, [], [value]) for name, value in (("no", 0), ("yes", 1))]
        return [
            *(helper.make_node("Constant", [], [value.name], value=value) for value in (two, *scalars)),
            integers("first", 0),
            integers("second", 1),
            integers("last", -1),
            integers("end", 2**31 - 1),
            helper.make_node("Cast", ["bounds"], ["at"], to=TensorProto.INT64),
            helper.make_node("Slice", ["at", "first", "last", "first"], ["b"]),
            helper.make_node("Slice", ["at", "second", "end", "first"], ["e"]),
            helper.make_node("Unsqueeze", ["b", "second"], ["begins"]),
            helper.make_node("Unsqueeze", ["e", "second"], ["ends"]),
            helper.make_node("Size", ["x"], ["size"]),
            helper.make_node("Range", ["no", "size", "yes"], ["place"]),
            helper.make_node("GreaterOrEqual", ["place", "begins"], ["after"]),
            helper.make_node("Less", ["place", "ends"], ["before"]),
            helper.make_node("And", ["after", "before"], ["mine"]),
            helper.make_node("Cast", ["mine"], ["weights"], to=TensorProto.FLOAT),
            helper.make_node("Mul", ["weights", "x"], ["parts"]),
            helper.make_node("ReduceSum", ["parts", "second"], ["sum"], keepdims=1),
            helper.make_node("Mul", ["x", "two"], ["twice"]),
        ]

    proto = onnx_graph(
        [("x", "FP32", ["elements"]), ("bounds", "INT32", ["bounds"])],
        [("sum", "FP32", ["requests", 1]), ("twice", "FP32", ["elements"])],
        nodes,
    )
    (folder / "model.onnx").write_bytes(proto.SerializeToString())


# Batches as they come, and such that leave when they are full and not before.
FULL = "preferred_batch_size: 8 max_queue_delay_microseconds: 600000000"


@pytest.mark.parametrize("batching", ["", FULL], ids=["as they come", "full"])
@pytest.mark.parametrize("kind", ["KIND_GPU", "KIND_CPU"])
@pytest.mark.parametrize("backend", ["pytorch", "onnxruntime"])
def test_requests_of_unequal_lengths_run_together(tmp_path: Path, backend: str, kind: str, batching: str) -> None:
    folder = write(tmp_path, backend, [], [], RAGGED)
    config = tmp_path / "m" / "config.pbtxt"
    text = config.read_text().replace("KIND_GPU count: 2", f"{kind} count: 1")
    config.write_text(text.replace("dynamic_batching { }", f"dynamic_batching {{ {batching} }}"))
    if backend == "pytorch":
        programs.script(programs.Segments(), folder / "model.pt")
    else:
        onnx_segments(folder)
    source = np.random.default_rng(5)
    given = [source.integers(1, 9, (1, source.integers(0, 50))).astype(np.float32) for _ in range(200)]
    with argosy.Server(tmp_path, devices="host") as server:
        for x, answer in zip(given, ask_all(server, [{"x": x} for x in given]), strict=True):
            assert answer["sum"].tolist() == [[float(x.sum())]]
            np.testing.assert_array_equal(answer["twice"], 2 * x)
        (statistics,) = server.engine.statistics("m")
        if batching:
            assert statistics["execution_count"] == 200 / 8


@pytest.mark.parametrize(("backend", "artifact"), [("pytorch", "model.pt"), ("onnxruntime", "model.onnx")])
def test_cuda_graphs_of_a_ragged_model_are_refused(tmp_path: Path, backend: str, artifact: str) -> None:
    graphs = "optimization { cuda { graphs: true } }\n"
    if backend == "onnxruntime":
        graphs = """optimization { execution_accelerators { gpu_execution_accelerator {
            name: "cuda" parameters { key: "enable_cuda_graph" value: "1" } } } }\n"""
    folder = write(tmp_path, backend, [], [], RAGGED + graphs)
    if backend == "pytorch":
        programs.script(programs.Segments(), folder / artifact)
    else:
        onnx_segments(folder)
    with pytest.raises(
        ArgosyError, match="ragged batches are not padded and have a size of their own each time; remove"
    ):
        argosy.Server(tmp_path, devices="host").start()
