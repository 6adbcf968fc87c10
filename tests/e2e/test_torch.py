"""PyTorch programs served from the three file formats, over HTTP and gRPC."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as grpcclient
import tritonclient.http as httpclient
from serving import Ended, Server, Tensor, add_model, serve
from serving.models import DTYPES
from serving.values import encode, values
from tritonclient.grpc import service_pb2 as pb

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'argosy[torch]'")
from serving import torch_programs as programs  # noqa: E402

pytestmark = [
    pytest.mark.timeout(300),  # the first test writes all programs and starts a server
    # PyTorch's own: it would rather have other formats, and meets newer Pythons.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


def config(inputs: Sequence[Tensor], outputs: Sequence[Tensor], *, batch: int = 8, more: str = "") -> str:
    tensors = [one.text("input") for one in inputs] + [one.text("output") for one in outputs]
    return f'backend: "pytorch"\nmax_batch_size: {batch}\n{"".join(tensors)}{more}'


def parameter(key: str, value: str) -> str:
    return f'parameters {{ key: "{key}" value {{ string_value: "{value}" }} }}\n'


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("torch")

    def add(name: str, module: Any, text: str) -> None:
        add_model(root, name, text)
        programs.script(module, root / name / "1" / "model.pt")

    pair = [Tensor("INPUT__0"), Tensor("INPUT__1")]
    add("by_index", programs.AddSub(), config(pair[::-1], [Tensor("OUTPUT__1"), Tensor("OUTPUT__0")]))
    add("by_argument", programs.AddSub(), config([Tensor("b"), Tensor("a")], [Tensor("sum"), Tensor("difference")]))
    add("by_order", programs.AddSub(), config([Tensor("first"), Tensor("second")], [Tensor("x"), Tensor("y")]))
    add(
        "dictionary",
        programs.Dictionary(),
        config([Tensor("right"), Tensor("left")], [Tensor("product"), Tensor("sum")]),
    )
    add(
        "texts",
        programs.Texts(),
        config(
            [Tensor("texts", "BYTES", [1]), Tensor("repeat", "INT64", [1])],
            [Tensor("upper", "BYTES", [1]), Tensor("n", "INT64", [1])],
        ),
    )
    add(
        "shift",
        programs.Shift(),
        config(
            [Tensor("x"), Tensor("by", more="optional: true"), Tensor("times", "INT32", [1], "optional: true")],
            [Tensor("y")],
            batch=0,
        ),
    )
    add("writes", programs.WritesInput(), config([Tensor("x"), Tensor("y")], [Tensor("z")]))
    add("counts", programs.Counts(), config([Tensor("x")], [Tensor("y")], more="instance_group { count: 2 }\n"))
    add("wrong", programs.Wrong(), config([Tensor("x")], [Tensor("y", dims=[3])]))
    add("wrong_type", programs.Same(), config([Tensor("x")], [Tensor("y", "INT64")]))
    for dtype in ("FP32", "BF16"):
        flat = config(
            [Tensor("x", dtype, [2, 3])], [Tensor("turned", dtype, [3, 2]), Tensor("repeated", dtype, [2, 3])]
        )
        add(f"turned_{dtype.lower()}", programs.Turned(), flat)
    for dtype in DTYPES:
        if dtype != "BYTES":
            text = config([Tensor("x", dtype)], [Tensor("y", dtype)])
            add(f"same_{dtype.lower()}", programs.Same(), text)
    add_model(root, "scores")
    programs.exported_scores(root / "scores" / "1" / "model.pt2")
    add_model(root, "bounded")
    programs.exported_scores(root / "bounded" / "1" / "model.pt2", most=16)
    with serve(root) as running:
        yield running


def tensor(name: str, data: Any, dtype: str = "FP32") -> dict[str, Any]:
    array = np.asarray(data)
    return {"name": name, "shape": list(array.shape), "datatype": dtype, "data": array.tolist()}


def outputs(answer: Any) -> dict[str, Any]:
    assert answer.status == 200, answer.body
    return {row["name"]: np.reshape(row["data"], row["shape"]).tolist() for row in answer.json["outputs"]}


A, B = [[1.0, 2.0]], [[10.0, 20.0]]
SUM, DIFFERENCE = [[11.0, 22.0]], [[-9.0, -18.0]]


@pytest.mark.parametrize(
    ("model", "names", "results"),
    [
        ("by_index", ("INPUT__0", "INPUT__1"), ("OUTPUT__0", "OUTPUT__1")),
        ("by_argument", ("a", "b"), ("sum", "difference")),
        ("by_order", ("first", "second"), ("x", "y")),
    ],
)
def test_tensors_are_called_by_index_by_argument_or_by_order(
    server: Server, model: str, names: tuple[str, str], results: tuple[str, str]
) -> None:
    got = outputs(server.infer(model, [tensor(names[0], A), tensor(names[1], B)]))
    assert got == {results[0]: SUM, results[1]: DIFFERENCE}


def test_a_dictionary_of_tensors_is_called_by_its_keys(server: Server) -> None:
    got = outputs(server.infer("dictionary", [tensor("left", A), tensor("right", B)]))
    assert got == {"product": [[10.0, 40.0]], "sum": SUM}


def test_strings_are_lists_of_text(server: Server) -> None:
    sent = [tensor("texts", [["a"], ["éa"], [""]], "BYTES"), tensor("repeat", [[1], [2], [3]], "INT64")]
    assert outputs(server.infer("texts", sent)) == {"upper": [["A"], ["éA"], [""]], "n": [[3], [6], [9]]}


def test_what_is_no_text_is_refused_by_name(server: Server) -> None:
    message = pb.ModelInferRequest(model_name="texts", raw_input_contents=[b"\x01\0\0\0\xff", b"\1" + bytes(7)])
    message.inputs.add(name="texts", datatype="BYTES", shape=[1, 1])
    message.inputs.add(name="repeat", datatype="INT64", shape=[1, 1])
    with grpcclient.InferenceServerClient(server.grpc) as client, pytest.raises(Exception, match="input 'texts': Py"):
        client._client_stub.ModelInfer(message, timeout=60)


def test_optional_inputs_fall_back_to_the_defaults_of_forward(server: Server) -> None:
    x = tensor("x", [1.0, 2.0])
    assert outputs(server.infer("shift", [x])) == {"y": [2.0, 4.0]}
    assert outputs(server.infer("shift", [x, tensor("by", [0.5, 0.5])])) == {"y": [2.5, 4.5]}
    assert outputs(server.infer("shift", [x, tensor("times", [3], "INT32")])) == {"y": [3.0, 6.0]}


@pytest.mark.parametrize("dtype", sorted(set(DTYPES) - {"BYTES"}))
@pytest.mark.parametrize("shape", [[2, 3], [1, 0], [1, 1]], ids=str)
def test_every_type_comes_back_as_it_went(server: Server, dtype: str, shape: list[int]) -> None:
    data = encode(dtype, values(dtype, int(np.prod(shape))))
    message = pb.ModelInferRequest(model_name=f"same_{dtype.lower()}", raw_input_contents=[data])
    message.inputs.add(name="x", datatype=dtype, shape=shape)
    with grpcclient.InferenceServerClient(server.grpc) as client:
        got = client._client_stub.ModelInfer(message, timeout=60)
    assert (got.outputs[0].datatype, list(got.outputs[0].shape), got.raw_output_contents[0]) == (dtype, shape, data)


@pytest.mark.parametrize("dtype", ["FP32", "BF16"])
def test_results_that_are_views_come_in_order(server: Server, dtype: str) -> None:
    rows = [[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], [[7.0, 8.0, 9.0], [0.0, -1.0, -2.0]]]
    got = outputs(server.infer(f"turned_{dtype.lower()}", [tensor("x", rows, dtype)]))
    assert got["turned"] == np.transpose(rows, (0, 2, 1)).tolist()
    assert got["repeated"] == [[[1.0] * 3, [4.0] * 3], [[7.0] * 3, [0.0] * 3]]


def test_a_program_that_writes_to_its_inputs_gets_copies(server: Server) -> None:
    sent = [tensor("x", A), tensor("y", B)]
    for _ in range(2):
        assert outputs(server.infer("writes", sent)) == {"z": [[20.0, 60.0]]}


def test_state_is_kept_per_instance_and_never_shared(server: Server) -> None:
    for _ in range(6):
        outputs(server.infer("counts", [tensor("x", [[0.0]])]))
    seen = [outputs(server.infer("counts", [tensor("x", [[0.0]])]))["y"][0][0] for _ in range(6)]
    # 12 calls on two counters: each went up by one at a time.
    assert max(seen) <= 12 and len(set(seen)) >= 3


def test_an_exported_program_needs_no_configuration(server: Server) -> None:
    shown = server.ask("GET", "/v2/models/scores/config").json
    assert (shown["backend"], shown["platform"], shown["max_batch_size"]) == ("pytorch", "torch_aoti", 4)
    assert [(row["name"], row["data_type"], row["dims"]) for row in shown["input"]] == [
        ("x", "TYPE_FP32", [4]),
        ("mask", "TYPE_FP32", [1]),
    ]
    assert [(row["name"], row["data_type"], row["dims"]) for row in shown["output"]] == [
        ("scores", "TYPE_FP32", [3]),
        ("best", "TYPE_INT64", [1]),
    ]
    assert "dynamic_batching" in shown
    x, mask = np.random.default_rng(1).random((3, 4), np.float32), np.ones((3, 1), np.float32)
    with torch.inference_mode():
        expected = programs.Scores().eval()(torch.from_numpy(x), torch.from_numpy(mask))
    got = outputs(server.infer("scores", [tensor("x", x), tensor("mask", mask)]))
    np.testing.assert_allclose(got["scores"], expected["scores"].numpy(), rtol=1e-5, atol=1e-6)
    assert np.ravel(got["best"]).tolist() == expected["best"].tolist()


def test_the_largest_batch_of_an_exported_program_is_the_models(server: Server) -> None:
    assert server.ask("GET", "/v2/models/bounded/config").json["max_batch_size"] == 16


def test_a_failing_operator_is_told_with_model_and_tensor(server: Server) -> None:
    answer = server.infer("wrong", [tensor("x", [[1.0, 2.0]])])
    assert answer.status == 500
    assert "model 'wrong': PyTorch execute failure with 'x' float32 [1, 2]:" in answer.error
    assert "shape '[1, 3]' is invalid for input of size 2" in answer.error
    assert outputs(server.infer("wrong", [tensor("x", [[1.0, 2.0, 3.0]])])) == {"y": [[1.0, 2.0, 3.0]]}


def test_an_output_of_another_type_than_configured_is_told(server: Server) -> None:
    answer = server.infer("wrong_type", [tensor("x", A)])
    assert answer.status == 400 and answer.error.endswith(
        "configuration expects datatype TYPE_INT64 for output 'y', model provides TYPE_FP32"
    )


PAIR = [Tensor("a"), Tensor("b")]
BROKEN = {
    "no_configuration": (
        None,
        "is TorchScript, which does not say the types and shapes of tensors; write a config.pbtxt with them for "
        "forward(Tensor a, Tensor b) -> ((Tensor, Tensor))",
    ),
    "index": (
        config([Tensor("INPUT__0"), Tensor("INPUT__2")], [Tensor("x")]),
        "model 'index', input 'INPUT__2': the model has 2 inputs ('a', 'b'), none at position 2",
    ),
    "argument": (config([Tensor("a")], [Tensor("x")]), "model 'argument': forward() needs argument 'b'"),
    "output": (
        config(PAIR, [Tensor("OUTPUT__2")]),
        "model 'output', output 'OUTPUT__2': the model has 2 outputs, none at position 2",
    ),
    "kind": (
        config([Tensor("a"), Tensor("b", "BYTES", [1])], [Tensor("x")]),
        "model 'kind', input 'b': forward() takes a tensor, the configuration says BYTES",
    ),
    "nvfuser": (
        config(PAIR, [Tensor("x")], more=parameter("ENABLE_NVFUSER", "true")),
        "parameter 'ENABLE_NVFUSER': PyTorch has no nvFuser any more",
    ),
    "value": (
        config(PAIR, [Tensor("x")], more=parameter("INFERENCE_MODE", "maybe")),
        "parameter 'INFERENCE_MODE': expected true or false, got 'maybe'",
    ),
}


@pytest.fixture(scope="module")
def reasons(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Why each of the broken models did not load, from the repository's index."""
    root = tmp_path_factory.mktemp("broken")
    for name, (text, _) in BROKEN.items():
        add_model(root, name, text)
        programs.script(programs.AddSub(), root / name / "1" / "model.pt")
    with serve(root, "--exit-on-error=false", "--strict-readiness=false") as server:
        return {row["name"]: row["reason"] for row in server.ask("POST", "/v2/repository/index", {}).json}


@pytest.mark.parametrize("name", BROKEN)
def test_what_does_not_fit_is_told_while_loading(reasons: dict[str, str], name: str) -> None:
    assert BROKEN[name][1] in reasons[name]


@pytest.mark.slow
def test_the_example_exports_a_single_file_that_is_a_model(tmp_path: Path) -> None:
    example = Path(__file__).parents[2] / "examples" / "models" / "export_ranker.py"
    subprocess.run([sys.executable, example, tmp_path / "ranker.pt2"], check=True, timeout=250)
    with serve(tmp_path / "ranker.pt2") as server:
        assert server.ask("GET", "/v2/models/ranker/config").json["max_batch_size"] == 64
        sent = [tensor("features", np.ones((3, 8))), tensor("weight", [[0.0], [1.0], [2.0]])]
        got = outputs(server.infer("ranker", sent))
        one = got["score"][1][0]
        np.testing.assert_allclose(got["score"], [[0.0], [one], [2 * one]], rtol=1e-5)
        assert got["above"] == [[score > 0.5] for (score,) in got["score"]]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_compiled_package_answers_as_the_program_does(tmp_path: Path) -> None:
    program = torch.export.load(programs.exported_scores(tmp_path / "scores.pt2"))
    add_model(
        tmp_path / "repository",
        "compiled",
        config(
            [Tensor("x", dims=[4]), Tensor("mask", dims=[1])],
            [Tensor("scores", dims=[3]), Tensor("best", "INT64", [1], "reshape { shape: [] }")],
            more="instance_group { count: 2 }\n",
        ),
    )
    target = tmp_path / "repository" / "compiled" / "1" / "model.pt2"
    try:
        torch._inductor.aoti_compile_and_package(program, package_path=str(target))
    except Exception as error:
        if "compiler" not in str(error).lower():
            raise
        pytest.skip(f"no C++ compiler for AOTInductor: {error}")
    x = np.random.default_rng(3).random((4, 4), np.float32)
    with torch.inference_mode():
        expected = programs.Scores().eval()(torch.from_numpy(x), torch.ones(4, 1))
    with serve(tmp_path / "repository") as server, httpclient.InferenceServerClient(server.http) as client:
        sent = [httpclient.InferInput("x", [4, 4], "FP32"), httpclient.InferInput("mask", [4, 1], "FP32")]
        sent[0].set_data_from_numpy(x)
        sent[1].set_data_from_numpy(np.ones((4, 1), np.float32))
        got = client.infer("compiled", sent)
        np.testing.assert_allclose(got.as_numpy("scores"), expected["scores"].numpy(), rtol=1e-4, atol=1e-5)
        assert got.as_numpy("best").ravel().tolist() == expected["best"].tolist()


def test_without_pytorch_the_server_says_what_to_install(tmp_path: Path) -> None:
    add_model(tmp_path / "repository", "m", config([Tensor("a"), Tensor("b")], [Tensor("x")]))
    programs.script(programs.AddSub(), tmp_path / "repository" / "m" / "1" / "model.pt")
    hidden = tmp_path / "path" / "torch"
    hidden.mkdir(parents=True)
    (hidden / "__init__.py").write_text("raise ImportError('hidden')")

    path = os.pathsep.join([str(hidden.parent), os.environ.get("PYTHONPATH", "")])
    with pytest.raises(Ended) as caught, serve(tmp_path / "repository", environment={"PYTHONPATH": path}):
        pass
    assert "needs the package 'torch': pip install 'argosy[torch]'" in caught.value.log + caught.value.out
