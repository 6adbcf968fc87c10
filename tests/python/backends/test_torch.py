"""The PyTorch backend without a server: formats, plans, settings, and where bytes live."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from argosy.errors import ArgosyError, Internal, InvalidArgument, Unsupported

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'argosy[torch]'")
sys.path.insert(0, str(Path(__file__).parents[2]))
from argosy.backends.torch.backend import TorchBackend  # noqa: E402
from argosy.backends.torch.graphs import check_capturable  # noqa: E402
from argosy.backends.torch.plan import InputPlace, OutputPlace, Plan  # noqa: E402
from argosy.backends.torch.program import format_of, problem_of  # noqa: E402
from argosy.backends.torch.scripted import ScriptedProgram  # noqa: E402
from argosy.backends.torch.settings import ProcessSettings, settings_from  # noqa: E402
from argosy.repository.check import check  # noqa: E402
from serving import torch_programs as programs  # noqa: E402

sys.path.pop(0)
pytestmark = [
    # PyTorch's own: it would rather have other formats, and meets newer Pythons.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


class Batch:
    """A batch of given read-only arrays; keeps the outputs' arrays as they come."""

    def __init__(self, *arrays: np.ndarray | None, wanted: list[bool] | None = None) -> None:
        self.arrays = arrays
        for array in arrays:
            if array is not None:
                array.flags.writeable = False
        self.rows = next(len(array) for array in arrays if array is not None)
        self.wanted = wanted or [True]
        self.outputs: dict[str, np.ndarray] = {}

    def input(self, index: int) -> np.ndarray | None:
        return self.arrays[index]

    def set_output(self, name: str, array: np.ndarray) -> None:
        self.outputs[name] = array


def tensor(name: str, dtype: str = "FP32", dims: tuple[int, ...] = (-1,), *, optional: bool = False) -> dict[str, Any]:
    return {"name": name, "dtype": dtype, "dims": list(dims), "reshape": None, "optional": optional}


def spec(path: Path, inputs: list[Any], outputs: list[Any], *, rows: int = 8, **parameters: str) -> dict[str, Any]:
    return {
        "name": "m",
        "path": str(path.parent),
        "artifact": path.name,
        "max_batch_size": rows,
        "inputs": inputs,
        "outputs": outputs,
        "parameters": parameters,
    }


def slot(kind: str = "cpu", *, threads: int = 1, instances: int = 1, index: int = 0) -> dict[str, Any]:
    name = f"m_{index}"
    return {"name": name, "kind": kind, "device": 0, "index": index, "instances": instances, "cpu_threads": threads}


def loaded(module: Any, tmp_path: Path, inputs: list[Any], outputs: list[Any], **more: Any) -> Any:
    path = programs.script(module, tmp_path / "model.pt")
    return TorchBackend().load(spec(path, inputs, outputs, **more), slot())


# Formats.


def test_formats_are_told_by_content(tmp_path: Path) -> None:
    script = programs.script(programs.Same(), tmp_path / "a.pt2")  # the suffix lies
    export = programs.exported_scores(tmp_path / "b.pt")
    assert (format_of(script), format_of(export)) == ("script", "export")


def test_a_checkpoint_is_never_unpickled(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return (tmp_path.joinpath("exploded").mkdir, ())

    torch.save({"weights": Bomb()}, tmp_path / "model.pt")
    with pytest.raises(InvalidArgument, match=r"is a checkpoint of torch\.save, which holds no program; write it with"):
        TorchBackend().inspect(tmp_path / "model.pt", {})
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 broken", b"\x80\x02}q\x00."])
def test_a_file_that_is_no_program_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.pt").write_bytes(content)
    with pytest.raises(InvalidArgument, match=r"model\.pt' is no PyTorch program"):
        TorchBackend().inspect(tmp_path / "model.pt", {})


def test_the_reason_of_an_error_comes_without_the_addresses_of_pytorchs_stack() -> None:
    assert problem_of(RuntimeError("bad shape\nException raised from meta at x.cpp:1\nframe #0: 0x1")) == "bad shape"


# Exported programs.


def exported(module: Any, path: Path, args: tuple[Any, ...], kwargs: dict[str, Any], shapes: Any) -> Any:
    program = torch.export.export(module.eval(), args, kwargs, dynamic_shapes=shapes)
    torch.export.save(program, path)
    return TorchBackend().inspect(path, {})


def test_keywords_tied_weights_and_buffers_are_those_of_the_module(tmp_path: Path) -> None:
    module, rows = programs.Tied(), torch.export.Dim("rows", max=32)
    path = tmp_path / "model.pt2"
    x, scale = torch.randn(2, 4), torch.randn(2, 1)
    found = exported(module, path, (x,), {"scale": scale}, {"x": {0: rows}, "scale": {0: rows}})
    assert [one.name for one in found.inputs + found.outputs] == ["x", "scale", "OUTPUT__0", "OUTPUT__1"]
    assert found.batches and found.max_rows == 32
    config = spec(
        path,
        [tensor("scale", dims=(1,)), tensor("x", dims=(4,))],
        [tensor("OUTPUT__1", dims=(4,)), tensor("OUTPUT__0", dims=(4,))],
    )
    batch = Batch(scale.numpy(), x.numpy(), wanted=[True, True])
    TorchBackend().load(config, slot()).make_instance(slot()).execute(batch)
    with torch.inference_mode():
        expected = module(x, scale=scale)
    np.testing.assert_allclose(batch.outputs["OUTPUT__0"], expected[0].numpy(), rtol=1e-5)
    np.testing.assert_allclose(batch.outputs["OUTPUT__1"], expected[1].numpy(), rtol=1e-5)


def test_a_dictionary_argument_is_called_by_its_keys(tmp_path: Path) -> None:
    path, rows = tmp_path / "model.pt2", torch.export.Dim("rows")
    pair = {"left": torch.ones(2, 3), "right": torch.ones(2, 3)}
    found = exported(programs.Keyed(), path, (pair,), {}, {"tensors": {"left": {0: rows}, "right": {0: rows}}})
    assert sorted(one.name for one in found.inputs) == ["left", "right"]
    config = spec(path, [tensor("right", dims=(3,)), tensor("left", dims=(3,))], [tensor("d", dims=(3,))])
    batch = Batch(np.full((1, 3), 5, np.float32), np.full((1, 3), 2, np.float32))
    TorchBackend().load(config, slot()).make_instance(slot()).execute(batch)
    assert batch.outputs["d"].tolist() == [[3.0, 3.0, 3.0]]


def test_leading_dimensions_that_differ_are_no_batch(tmp_path: Path) -> None:
    class Cross(torch.nn.Module):
        def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return x @ y.T

    dims = {"x": {0: torch.export.Dim("n")}, "y": {0: torch.export.Dim("m")}}
    found = exported(Cross(), tmp_path / "model.pt2", (torch.ones(2, 4), torch.ones(3, 4)), {}, dims)
    assert [one.dims for one in found.inputs + found.outputs] == [(-1, 4), (-1, 4), (-1, -1)]
    assert not found.batches


def test_an_exported_program_that_writes_to_its_input_leaves_the_received_bytes(tmp_path: Path) -> None:
    rows = torch.export.Dim("rows")
    example = (torch.ones(2, 3), torch.ones(2, 3))
    path = tmp_path / "model.pt2"
    exported(programs.WritesInput(), path, example, {}, {"x": {0: rows}, "y": {0: rows}})
    config = spec(path, [tensor("x", dims=(3,)), tensor("y", dims=(3,))], [tensor("z", dims=(3,))])
    batch = Batch(np.ones((1, 3), np.float32), np.ones((1, 3), np.float32))
    instance = TorchBackend().load(config, slot()).make_instance(slot())
    instance.execute(batch)
    instance.execute(batch)
    assert batch.outputs["z"].tolist() == [[2.0, 2.0, 2.0]]
    assert all((array == 1).all() for array in batch.arrays if array is not None)


def test_the_state_of_an_exported_program_belongs_to_an_instance(tmp_path: Path) -> None:
    path = tmp_path / "model.pt2"
    exported(programs.Counts(), path, (torch.zeros(2, 1),), {}, {"x": {0: torch.export.Dim("rows")}})
    model = TorchBackend().load(spec(path, [tensor("x", dims=(1,))], [tensor("y", dims=(1,))]), slot())
    first, second = model.make_instance(slot()), model.make_instance(slot(index=1))
    seen = []
    for instance in (first, first, second):
        batch = Batch(np.zeros((1, 1), np.float32))
        instance.execute(batch)
        seen.append(float(batch.outputs["y"][0, 0]))
    assert seen == [1.0, 2.0, 1.0]


def test_a_check_without_a_server_takes_the_same_names(tmp_path: Path) -> None:
    programs.script(programs.Same(), tmp_path / "script" / "1" / "model.pt")
    programs.exported_scores(tmp_path / "export" / "1" / "model.pt2")
    programs.exported_scores(tmp_path / "wrong" / "1" / "model.pt2")
    same = 'max_batch_size: 4 input { name: "x" data_type: TYPE_FP32 dims: 4 }'
    (tmp_path / "script" / "config.pbtxt").write_text(same + 'output { name: "y" data_type: TYPE_FP32 dims: 4 }')
    one = 'input { name: "INPUT__%d" data_type: TYPE_FP32 dims: %d } '
    pair = one % (1, 1) + one % (0, 4)
    result = 'max_batch_size: 4 output { name: "s" data_type: TYPE_%s dims: 3 }'
    (tmp_path / "export" / "config.pbtxt").write_text(pair + result % "FP32")
    (tmp_path / "wrong" / "config.pbtxt").write_text(pair + result % "INT32")
    findings = check([str(tmp_path)], {"pytorch": TorchBackend().inspect})
    assert [finding.model for finding in findings] == ["wrong"]
    assert "configuration expects datatype TYPE_INT32 for output 's', model provides TYPE_FP32" in findings[0].problem


# Where bytes live.


def test_neither_inputs_nor_outputs_are_copied(tmp_path: Path) -> None:
    model = loaded(programs.Same(), tmp_path, [tensor("x")], [tensor("y")])
    batch = Batch(np.arange(6, dtype=np.float32).reshape(2, 3))
    model.make_instance(slot()).execute(batch)
    assert batch.outputs["y"].ctypes.data == batch.arrays[0].ctypes.data  # type: ignore[union-attr]


def test_bf16_crosses_as_words_without_a_copy(tmp_path: Path) -> None:
    model = loaded(programs.Same(), tmp_path, [tensor("x", "BF16")], [tensor("y", "BF16")])
    batch = Batch(np.array([[0x3F80, 0xC000]], np.uint16))
    model.make_instance(slot()).execute(batch)
    assert batch.outputs["y"].dtype == np.uint16
    assert batch.outputs["y"].ctypes.data == batch.arrays[0].ctypes.data  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("module", "inputs", "outputs"),
    [
        (programs.WritesInput(), [tensor("x"), tensor("y")], [tensor("z")]),
        (programs.WritesDictionary(), [tensor("x")], [tensor("y")]),
    ],
    ids=["argument", "dictionary"],
)
def test_received_bytes_stay_as_they_are_under_programs_that_write(
    tmp_path: Path, module: Any, inputs: list[Any], outputs: list[Any]
) -> None:
    arrays = [np.ones((1, 3), np.float32) for _ in inputs]
    loaded(module, tmp_path, inputs, outputs).make_instance(slot()).execute(Batch(*arrays))
    assert all((array == 1).all() for array in arrays)


def test_state_belongs_to_an_instance_and_answers_outlive_it(tmp_path: Path) -> None:
    model = loaded(programs.Counts(), tmp_path, [tensor("x")], [tensor("y")])
    first, second = model.make_instance(slot()), model.make_instance(slot(index=1))
    seen = []
    for instance in (first, first, second, first):
        batch = Batch(np.zeros((1, 1), np.float32))
        instance.execute(batch)
        seen.append(batch)
    assert [float(batch.outputs["y"][0, 0]) for batch in seen] == [1.0, 2.0, 1.0, 3.0]


def test_instances_of_one_device_share_their_weights_unless_told_otherwise(tmp_path: Path) -> None:
    path = programs.script(torch.nn.Linear(4, 2), tmp_path / "model.pt")

    def programs_of(**parameters: str) -> list[Any]:
        model = TorchBackend().load(
            spec(path, [tensor("input", dims=(4,))], [tensor("y", dims=(2,))], **parameters), slot()
        )
        return [model.make_instance(slot(index=at))._program for at in range(3)]

    assert len({id(one) for one in programs_of()}) == 1
    assert len({id(one) for one in programs_of(ENABLE_WEIGHT_SHARING="false")}) == 3


def test_only_wanted_outputs_are_handed_on(tmp_path: Path) -> None:
    model = loaded(programs.AddSub(), tmp_path, [tensor("a"), tensor("b")], [tensor("s"), tensor("d")])
    one = np.ones((1, 1), np.float32)
    batch = Batch(one, one.copy(), wanted=[False, True])
    model.make_instance(slot()).execute(batch)
    assert list(batch.outputs) == ["d"]


# Threads.


def test_each_instance_computes_with_its_own_share_of_threads(tmp_path: Path) -> None:
    """PyTorch's count belongs to a thread: two instances at once must not change each other's."""
    model = loaded(programs.Same(), tmp_path, [tensor("x")], [tensor("y")])
    counts: dict[int, list[int]] = {}
    both = threading.Barrier(2)

    def work(threads: int) -> None:
        instance = model.make_instance(slot(threads=threads, index=threads))
        for _ in range(2):
            instance.execute(Batch(np.ones((1, 1), np.float32)))
            both.wait(30)
            counts.setdefault(threads, []).append(torch.get_num_threads())

    workers = [threading.Thread(target=work, args=(count,)) for count in (1, 3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert counts == {1: [1, 1], 3: [3, 3]}


def test_a_model_may_set_its_own_number_of_threads(tmp_path: Path) -> None:
    model = loaded(programs.Same(), tmp_path, [tensor("x")], [tensor("y")], INTRA_OP_THREAD_COUNT="2")
    before = torch.get_num_threads()
    try:
        model.make_instance(slot(threads=1)).execute(Batch(np.ones((1, 1), np.float32)))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


# Settings.


def test_settings_have_the_ecosystems_defaults() -> None:
    made = settings_from({})
    assert (made.optimized_execution, made.inference_mode, made.weight_sharing, made.threads) == (True, True, True, 0)
    assert not made.cache_cleaning and not made.process_wide
    changed = settings_from(
        {
            "DISABLE_OPTIMIZED_EXECUTION": "true",
            "INFERENCE_MODE": "False",
            "ENABLE_WEIGHT_SHARING": "off",
            "ENABLE_CACHE_CLEANING": "1",
            "OTHER": "x",
        }
    )
    assert (changed.optimized_execution, changed.inference_mode) == (False, False)
    assert (changed.weight_sharing, changed.cache_cleaning) == (False, True)


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"INFERENCE_MODE": "2"}, "parameter 'INFERENCE_MODE': expected true or false, got '2'"),
        ({"INTRA_OP_THREAD_COUNT": "-1"}, "parameter 'INTRA_OP_THREAD_COUNT': expected a number of threads"),
        ({"ENABLE_NVFUSER": "1"}, "parameter 'ENABLE_NVFUSER': PyTorch has no nvFuser any more"),
        ({"TORCH_COMPILE_OPTIONAL_PARAMETERS": "{}"}, "parameter 'TORCH_COMPILE_OPTIONAL_PARAMETERS': models are not"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_by_name(parameters: dict[str, str], said: str) -> None:
    with pytest.raises(ArgosyError) as caught:
        settings_from(parameters)
    assert caught.value.message.startswith(said)


@pytest.mark.parametrize(
    ("key", "call"),
    [
        ("ENABLE_JIT_EXECUTOR", "_jit_set_profiling_executor"),
        ("ENABLE_JIT_PROFILING", "_jit_set_profiling_mode"),
        ("ENABLE_TENSOR_FUSER", "_jit_set_texpr_fuser_enabled"),
    ],
)
def test_switches_of_the_process_reach_pytorch(key: str, call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[bool] = []
    monkeypatch.setattr(torch._C, call, heard.append)
    process = ProcessSettings()
    process.apply("m", settings_from({}).process_wide)
    assert heard == []
    process.apply("m", settings_from({key: "false"}).process_wide)
    process.apply("n", settings_from({key: "0"}).process_wide)
    assert heard == [False]


def test_threads_between_operators_are_the_processs_and_cannot_be_changed_late(monkeypatch: pytest.MonkeyPatch) -> None:
    def too_late(threads: int) -> None:
        raise RuntimeError("cannot set number of interop threads after parallel work has started\nmore")

    monkeypatch.setattr(torch, "get_num_interop_threads", lambda: 2)
    monkeypatch.setattr(torch, "set_num_interop_threads", too_late)
    ProcessSettings().apply("m", settings_from({"INTER_OP_THREAD_COUNT": "2"}).process_wide)
    with pytest.raises(
        Unsupported, match=r"'INTER_OP_THREAD_COUNT': PyTorch's pool has 2 threads .*work has started\)$"
    ):
        ProcessSettings().apply("m", settings_from({"INTER_OP_THREAD_COUNT": "3"}).process_wide)


def test_what_pytorch_has_once_per_process_is_the_first_models_to_set() -> None:
    process = ProcessSettings()
    wanted = settings_from({"DISABLE_CUDNN": "false"}).process_wide
    process.apply("first", wanted)
    process.apply("second", wanted)
    with pytest.raises(
        Unsupported, match=r"model 'third', parameter 'DISABLE_CUDNN': .* model 'first' has set it to false"
    ):
        process.apply("third", settings_from({"DISABLE_CUDNN": "true"}).process_wide)


# Devices.


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    path = programs.script(programs.Same(), tmp_path / "model.pt")
    with pytest.raises(Unsupported, match=r"model 'm': kind KIND_GPU, but PyTorch .* finds no GPU on this machine"):
        TorchBackend().load(spec(path, [tensor("x")], [tensor("y")]), slot("gpu"))


@pytest.mark.parametrize(
    ("rows", "dims", "kind", "stateful", "reason"),
    [
        (8, (4,), "tensor", False, ""),
        (0, (4,), "tensor", False, "it has no batch dimension"),
        (8, (4,), "tensor", True, "it keeps state between calls"),
        (8, None, "tensor", False, "input 'x' has a dynamic dimension besides the batch"),
        (8, (1,), "texts", False, "argument 'x' is not always a tensor"),
    ],
)
def test_only_calls_that_can_be_replayed_become_graphs(
    rows: int, dims: tuple[int, ...] | None, kind: str, stateful: bool, reason: str
) -> None:
    plan = Plan(
        model="m",
        max_rows=rows,
        inputs=(InputPlace(name="x", dtype="FP32", input=0, kind=kind),),
        outputs=(OutputPlace(name="y", dtype="FP32", position=0),),
        fixed_dims=(dims,),
    )
    if not reason:
        check_capturable(plan, stateful=stateful)
        return
    with pytest.raises(Unsupported, match=f"model 'm', optimization.cuda.graphs: {reason}"):
        check_capturable(plan, stateful=stateful)


# What a configuration may say about a program.


@pytest.mark.parametrize(
    ("module", "inputs", "rows", "said"),
    [
        (programs.AddSub(), [tensor("a")], 8, "forward() needs argument 'b', and no input of the configuration is it"),
        (programs.AddSub(), [tensor("a"), tensor("b", optional=True)], 8, "input 'b' is optional, but forward() needs"),
        (programs.Texts(), [tensor("texts"), tensor("repeat")], 8, "forward() takes List[str], the configuration says"),
        (
            programs.Texts(),
            [tensor("texts", "BYTES", (4,)), tensor("repeat")],
            8,
            "tensor 'texts': strings are one List[str] in PyTorch, so dims must be [ 1 ], got [4]",
        ),
        (programs.Shift(), [tensor("x"), tensor("times", "INT32", (1,))], 8, "takes one int for the whole call"),
        (programs.Shift(), [tensor("x"), tensor("times", "INT32", (2,))], 0, "so dims must be [ 1 ]"),
        (programs.Same(), [], 8, "the configuration has no inputs"),
    ],
    ids=["missing", "optional", "kind", "strings", "number in a batch", "numbers", "none"],
)
def test_a_configuration_that_does_not_fit_is_refused(
    tmp_path: Path, module: Any, inputs: list[Any], rows: int, said: str
) -> None:
    with pytest.raises(InvalidArgument) as caught:
        loaded(module, tmp_path, inputs, [tensor("OUTPUT__0")], rows=rows)
    assert said in caught.value.message


def test_arguments_that_requests_do_not_have_are_refused_by_name(tmp_path: Path) -> None:
    path = programs.script(programs.Pieces(), tmp_path / "model.pt")
    with pytest.raises(
        Unsupported, match=r"forward\(\) takes 'pieces' as List\[Tensor\]; served are Tensor, List\[str\]"
    ):
        ScriptedProgram.load(path, "cpu")


def test_a_result_that_is_missing_is_named() -> None:
    plan = Plan(
        model="m",
        max_rows=8,
        inputs=(),
        outputs=(OutputPlace(name="y", dtype="FP32", position=2),),
        fixed_dims=(),
    )
    with pytest.raises(Internal, match=r"model 'm', output 'y' is result 2: the model returned 1 value$"):
        plan.pick(torch.ones(1))
    with pytest.raises(Internal, match="model 'm', output 'y': the model returned only 'a', 'b'"):
        plan.pick({"a": 1, "b": 2})
    assert plan.pick((1, 2, 3)) == [3]
