"""PyTorch programs whose batches lie in device memory; the host stands for the device."""

from __future__ import annotations

import gc
import sys
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from argosy.errors import Internal, InvalidArgument, Unsupported

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'argosy[torch]'")
sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).parent))
from argosy.backends.graph_sizes import GraphSpec  # noqa: E402
from argosy.backends.placement import placement_of  # noqa: E402
from argosy.backends.torch.backend import TorchBackend, device_of  # noqa: E402
from argosy.backends.torch.device import DeviceInstance  # noqa: E402
from argosy.backends.torch.graphs import Captured, RowGraphs, check_rows, check_specs, static_inputs  # noqa: E402
from argosy.backends.torch.instance import CpuInstance  # noqa: E402
from argosy.backends.torch.values import TORCH_TYPES, device_tensor, host_array  # noqa: E402
from device_batch import DeviceBatch  # noqa: E402
from serving import torch_programs as programs  # noqa: E402

del sys.path[:2]
pytestmark = [
    # PyTorch's own: it would rather have other formats, and meets newer Pythons.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
HOST = torch.device("cpu")


def tensor(name: str, *dims: int, dtype: str = "FP32") -> dict[str, Any]:
    return {"name": name, "dtype": dtype, "dims": list(dims), "reshape": None, "optional": False}


def slot(index: int = 0, kind: str = "gpu", **more: Any) -> dict[str, Any]:
    stream = {"stream": 0} if kind == "gpu" else {}
    return (
        {"name": f"m_{index}", "kind": kind, "device": 0, "index": index, "instances": 2, "cpu_threads": 1}
        | stream
        | more
    )


def model(
    module: Any, tmp_path: Path, inputs: list[Any], outputs: list[Any], *, rows: int = 8, **parameters: str
) -> Any:
    path = programs.script(module, tmp_path / "model.pt")
    spec = {"name": "m", "path": str(path.parent), "artifact": path.name, "max_batch_size": rows}
    return TorchBackend().load({**spec, "inputs": inputs, "outputs": outputs, "parameters": parameters}, slot())


def numbers(rows: int, *dims: int, seed: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).random((rows, *dims), np.float32)


class PartOf(torch.nn.Module):
    """Gives back a part of its input's own memory."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, 1:3]


class Remembers(torch.nn.Module):
    """Adds what it was given the last time."""

    def __init__(self) -> None:
        super().__init__()
        self.last = torch.zeros(1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x + self.last
        self.last = x
        return y


class WrongType(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.double()


def test_several_batches_under_way_keep_their_rows(tmp_path: Path) -> None:
    made = model(programs.AddSub(), tmp_path, [tensor("a", 4), tensor("b", 4)], [tensor("s", 4), tensor("d", 4)])
    instance = made.make_instance(slot())
    assert isinstance(instance, DeviceInstance)
    given = [(numbers(rows, 4, seed=rows), numbers(rows, 4, seed=-rows % 97)) for rows in (1, 8, 3, 5)]
    batches = [DeviceBatch(a, b, wanted=(True, True)).run(instance.enqueue) for a, b in given]
    for batch, (a, b) in zip(batches, given, strict=True):
        got = batch.collect()
        np.testing.assert_array_equal(got["s"], a + b)
        np.testing.assert_array_equal(got["d"], a - b)
    instance.close()


def test_results_are_handed_over_where_they_are_and_kept_until_collected(tmp_path: Path) -> None:
    instance = model(programs.AddSub(), tmp_path, [tensor("a", 4), tensor("b", 4)], [tensor("s", 4)]).make_instance(
        slot()
    )
    batch = DeviceBatch(numbers(2, 4), numbers(2, 4)).run(instance.enqueue)
    owner = weakref.ref(batch.owners[0])
    gc.collect()
    assert owner() is not None and owner().data_ptr() == batch._device["s"][2]
    batch.collect()
    gc.collect()
    assert owner() is None


@pytest.mark.parametrize("module", [programs.Same(), PartOf()], ids=["same", "part"])
def test_a_result_in_the_batchs_own_memory_gets_memory_of_its_own(tmp_path: Path, module: Any) -> None:
    x = numbers(3, 4)
    batch = DeviceBatch(x).run(
        model(module, tmp_path, [tensor("x", 4)], [tensor("y", -1)]).make_instance(slot()).enqueue
    )
    assert not batch.inside_input("y")
    np.testing.assert_array_equal(batch.collect()["y"], x if isinstance(module, programs.Same) else x[:, 1:3])


def test_results_that_are_not_contiguous_arrive_in_order(tmp_path: Path) -> None:
    x = numbers(2, 3, 4)
    made = model(programs.Turned(), tmp_path, [tensor("x", 3, 4)], [tensor("a", 4, 3), tensor("b", 3, 3)])
    got = DeviceBatch(x, wanted=(True, True)).run(made.make_instance(slot()).enqueue).collect()
    np.testing.assert_array_equal(got["a"], x.transpose(0, 2, 1))
    np.testing.assert_array_equal(got["b"], np.repeat(x[:, :, :1], 3, axis=2))


def test_state_that_later_batches_change_is_not_what_an_earlier_one_answers(tmp_path: Path) -> None:
    made = model(programs.Counts(), tmp_path, [tensor("x", 1)], [tensor("y", 1)])
    instance, other = made.make_instance(slot()), made.make_instance(slot(1))
    batches = [DeviceBatch(np.zeros((2, 1), np.float32)).run(instance.enqueue) for _ in range(3)]
    assert [batch.collect()["y"][0, 0] for batch in batches] == [2, 4, 6]
    assert DeviceBatch(np.zeros((2, 1), np.float32)).run(other.enqueue).collect()["y"][0, 0] == 2


def test_an_input_that_a_program_keeps_is_not_the_next_batchs_memory(tmp_path: Path) -> None:
    made = model(Remembers(), tmp_path, [tensor("x", 3)], [tensor("y", 3)]).make_instance(slot())
    given = [numbers(2, 3, seed=seed) for seed in range(3)]
    got = [DeviceBatch(x).run(made.enqueue).collect()["y"] for x in given]  # whose memory is poisoned then
    for x, last, y in zip(given, [np.float32(0), *given], got, strict=False):
        np.testing.assert_array_equal(y, x + last)


def test_a_program_that_writes_to_its_input_leaves_the_batchs_memory(tmp_path: Path) -> None:
    x, y = numbers(2, 3), numbers(2, 3)
    made = model(programs.WritesInput(), tmp_path, [tensor("x", 3), tensor("y", 3)], [tensor("z", 3)])
    batch = DeviceBatch(x, y).run(made.make_instance(slot()).enqueue)
    assert batch.input_bytes(0) == x.tobytes()
    np.testing.assert_allclose(batch.collect()["z"], (x + 1) * y, rtol=1e-6)


def test_only_wanted_outputs_are_handed_over(tmp_path: Path) -> None:
    made = model(programs.AddSub(), tmp_path, [tensor("a", 4), tensor("b", 4)], [tensor("s", 4), tensor("d", 4)])
    batch = DeviceBatch(numbers(2, 4), numbers(2, 4), wanted=(False, True)).run(made.make_instance(slot()).enqueue)
    assert list(batch.collect()) == ["d"]


def test_instances_of_one_device_share_their_weights(tmp_path: Path) -> None:
    made = model(programs.Scores(), tmp_path, [tensor("x", 4), tensor("mask", 1)], [tensor("scores", 3)])
    one, two = made.make_instance(slot()), made.make_instance(slot(1))
    assert one._program is two._program


def test_programs_that_take_strings_or_numbers_run_on_host_memory(tmp_path: Path) -> None:
    texts = [tensor("texts", 1, dtype="BYTES"), tensor("repeat", 1)]
    made = model(programs.Texts(), tmp_path, texts, [tensor("upper", 1, dtype="BYTES"), tensor("times", 1)])
    assert isinstance(made.make_instance(slot()), CpuInstance)
    shift = [tensor("x", 4), tensor("times", 1, dtype="INT64")]
    assert isinstance(
        model(programs.Shift(), tmp_path, shift, [tensor("y", 4)], rows=0).make_instance(slot()), CpuInstance
    )


def test_a_failure_names_what_the_program_was_given_and_hands_nothing_over(tmp_path: Path) -> None:
    instance = model(programs.Wrong(), tmp_path, [tensor("x", -1)], [tensor("y", 3)]).make_instance(slot())
    batch = DeviceBatch(numbers(2, 4))
    with pytest.raises(Internal, match=r"model 'm': PyTorch execute failure with 'x' float32 \[2, 4\]: "):
        batch.run(instance.enqueue)
    assert batch.collect() == {}
    np.testing.assert_array_equal(DeviceBatch(numbers(2, 3)).run(instance.enqueue).collect()["y"], numbers(2, 3))


def test_a_result_of_another_type_hands_nothing_over(tmp_path: Path) -> None:
    instance = model(WrongType(), tmp_path, [tensor("x", 4)], [tensor("y", 4)]).make_instance(slot())
    with pytest.raises(
        InvalidArgument, match=r"configuration expects datatype TYPE_FP32 for output 'y', model provides"
    ):
        DeviceBatch(numbers(2, 4)).run(instance.enqueue)


def test_a_batch_over_the_limit_is_refused(tmp_path: Path) -> None:
    instance = model(programs.Same(), tmp_path, [tensor("x", 4)], [tensor("y", 4)], rows=2).make_instance(slot())
    with pytest.raises(Internal, match="batch size 3 for 'm_0', max allowed is 2"):
        DeviceBatch(numbers(3, 4)).run(instance.enqueue)


# Tensors over memory.


@pytest.mark.parametrize("dtype", list(TORCH_TYPES))
def test_every_type_lies_over_the_memory_itself(dtype: str) -> None:
    source = torch.ones(2, 3).to(TORCH_TYPES[dtype])
    over = device_tensor(source.data_ptr(), (2, 3), dtype, HOST)
    assert over.dtype == source.dtype and over.data_ptr() == source.data_ptr() and over.is_contiguous()
    over[1, 2] = 0
    assert not source[1, 2].item()
    assert host_array(source, dtype).shape == (2, 3)
    assert device_tensor(0, (0, 3), dtype, HOST).shape == (0, 3)


# Graphs: what goes in and out of the memory that they keep.


def replaying_on_the_host(instance_plan: Any, program: Any) -> Any:
    """A graph as CUDA's: the same memory in and out, written anew by each replay."""

    def capture(rows: int) -> Captured:
        inputs = static_inputs(instance_plan, rows, HOST)
        results = [result.clone() for result in instance_plan.pick(program.call(inputs, instance_plan.names))]
        check_rows(instance_plan, results, rows)

        def replay() -> None:
            for kept, computed in zip(
                results, instance_plan.pick(program.call(inputs, instance_plan.names)), strict=True
            ):
                kept.copy_(computed)

        return Captured(inputs=inputs, results=results, replay=replay)

    return capture


def with_graphs(tmp_path: Path, specs: list[GraphSpec]) -> DeviceInstance:
    made = model(programs.AddSub(), tmp_path, [tensor("a", 4), tensor("b", 4)], [tensor("s", 4), tensor("d", 4)])
    program = made._program_on("cpu", 1)
    with torch.inference_mode():
        graphs = RowGraphs(specs, replaying_on_the_host(made._plan, program))
    placement = placement_of(slot())
    assert placement is not None
    return DeviceInstance(made._plan, program, made._settings, slot(), placement=placement, device="cpu", graphs=graphs)


def test_a_replay_does_not_touch_what_an_earlier_one_answers(tmp_path: Path) -> None:
    instance = with_graphs(tmp_path, [GraphSpec(rows=2), GraphSpec(rows=4)])
    assert instance.allowed_rows == (2, 4)
    given = [
        (numbers(rows, 4, seed=seed), numbers(rows, 4, seed=seed + 50)) for seed, rows in enumerate((2, 2, 4, 2, 4))
    ]
    batches = [DeviceBatch(a, b, wanted=(True, True)).run(instance.enqueue) for a, b in given]
    for batch, (a, b) in zip(batches, given, strict=True):
        assert batch.reserved("s") and batch.reserved("d")
        got = batch.collect()
        np.testing.assert_array_equal(got["s"], a + b)
        np.testing.assert_array_equal(got["d"], a - b)


def test_a_size_without_a_graph_runs_without_one(tmp_path: Path) -> None:
    instance = with_graphs(tmp_path, [GraphSpec(rows=2)])
    batch = DeviceBatch(numbers(5, 4), numbers(5, 4), wanted=(False, True)).run(instance.enqueue)
    assert not batch.reserved("d")
    np.testing.assert_array_equal(batch.collect()["d"], np.zeros((5, 4), np.float32))


def test_shapes_in_a_graph_spec_are_refused() -> None:
    with pytest.raises(
        Unsupported, match=r"model 'm', optimization\.cuda\.graph_spec\.input: inputs of PyTorch models"
    ):
        check_specs("m", [GraphSpec(rows=2, shapes={"x": (4,)})])


def test_graphs_are_judged_and_have_no_effect_on_the_host(tmp_path: Path) -> None:
    graphs = {"optimization.cuda.graphs": "1"}
    made = model(programs.Same(), tmp_path, [tensor("x", 4)], [tensor("y", 4)], **graphs)
    assert made.make_instance(slot()).allowed_rows == ()
    dynamic = model(programs.Same(), tmp_path, [tensor("x", -1)], [tensor("y", -1)], **graphs)
    with pytest.raises(Unsupported, match="input 'x' has a dynamic dimension besides the batch; remove optimization"):
        dynamic.make_instance(slot())


# Where a program goes.


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_pytorch_does_not_see_is_said_so_and_the_host_needs_none() -> None:
    assert device_of("m", slot()) == device_of("m", slot(kind="cpu")) == "cpu"
    with pytest.raises(Unsupported, match=r"model 'm': kind KIND_GPU, but PyTorch .* finds no GPU on this machine"):
        device_of("m", slot(stream=7))
