"""TensorRT instances whose batches lie in device memory, on a stream that is as late as it may be."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from argosy.backends.graph_sizes import GraphSpec
from argosy.backends.placement import Placement
from argosy.backends.tensorrt.device import DeviceInstance, shapes_follow_inputs
from argosy.backends.tensorrt.graphs import input_shapes
from argosy.backends.tensorrt.profiles import Profile, Range
from argosy.errors import Internal, InvalidArgument

sys.path.insert(0, str(Path(__file__).parent))
import simulated_tensorrt as simulated
from device_batch import DeviceBatch

sys.path.pop(0)
PLACEMENT = Placement(ordinal=3, stream=41)


def rows(low: int, best: int, high: int, *rest: int) -> Profile:
    return {"x": Range(minimum=(low, *rest), optimum=(best, *rest), maximum=(high, *rest))}


def tensor(name: str, *dims: int) -> dict[str, Any]:
    return {"name": name, "dtype": "FP32", "dims": list(dims), "reshape": None}


def instance(
    engine: simulated.Engine, profiles: list[Profile], *graphs: GraphSpec, outputs: tuple[str, ...] = ("y",)
) -> DeviceInstance:
    spec = {
        "name": "double",
        "max_batch_size": 8,
        "inputs": [tensor("x", 4)],
        "outputs": [tensor(name, 4) for name in outputs],
    }
    slot = {"name": "double_0", "kind": "gpu", "device": 3, "stream": 41}
    return DeviceInstance(simulated.TENSORRT, engine.runtime, engine, profiles, spec, slot, (), PLACEMENT, graphs)


def numbers(count: int, seed: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).random((count, 4), np.float32)


def test_batches_run_where_they_lie_and_nothing_waits_for_them() -> None:
    runtime = simulated.Runtime()
    engine = simulated.Engine(runtime, tells=True)
    made = instance(engine, [rows(1, 8, 8, 4), rows(1, 1, 2, 4)])
    given = [numbers(count, seed) for seed, count in enumerate((1, 8, 2, 2, 5))]
    batches = [DeviceBatch(x, stream=41).run(made.enqueue) for x in given]
    assert len(runtime.pending) == 5  # one run each, no copies, all still to be done
    runtime.cudaStreamSynchronize(41)
    for batch, x in zip(batches, given, strict=True):
        assert batch.reserved("y")
        np.testing.assert_array_equal(batch.collect()["y"], 2 * x)
    assert engine.context.profiles == [1, 0, 1, 0]
    assert set(runtime.devices) == {3}
    made.close()
    assert not runtime.memory


def test_an_output_that_nobody_wants_goes_into_memory_of_the_instance() -> None:
    runtime = simulated.Runtime()
    made = instance(simulated.Engine(runtime, tells=True), [rows(1, 8, 8, 4)])
    batch = DeviceBatch(numbers(2), wanted=(False,)).run(made.enqueue)
    runtime.cudaStreamSynchronize(41)
    assert batch.collect() == {} and len(runtime.memory) == 1
    made.close()
    assert not runtime.memory


def test_a_failed_run_and_a_batch_over_the_limit_are_told() -> None:
    engine = simulated.Engine(simulated.Runtime(), tells=True)
    made = instance(engine, [rows(1, 8, 8, 4)])
    engine.context.fails = True
    with pytest.raises(Internal, match="model 'double': TensorRT could not run the batch"):
        DeviceBatch(numbers(1)).run(made.enqueue)
    with pytest.raises(Internal, match="batch size 9 for 'double_0', max allowed is 8"):
        DeviceBatch(numbers(9)).run(made.enqueue)
    with pytest.raises(InvalidArgument, match=r"input 'x': shape \[2, 5\] is outside the engine's profiles"):
        DeviceBatch(np.zeros((2, 5), np.float32)).run(made.enqueue)


class RaggedContext(simulated.Context):
    """Takes x [elements] and bounds [parts + 1]."""

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self.shapes = {**getattr(self, "shapes", {}), name: tuple(shape)}
        return name != "x" or super().set_input_shape(name, shape)


class RaggedEngine(simulated.Engine):
    num_io_tensors = 3

    def create_execution_context(self) -> simulated.Context:
        self.contexts.append(RaggedContext(self.runtime, tells=True))
        return self.contexts[-1]

    def get_tensor_name(self, at: int) -> str:
        return ("x", "bounds", "y")[at]

    def get_tensor_mode(self, name: str) -> str:
        return "output" if name == "y" else "input"


def test_a_ragged_batch_is_bound_with_its_batch_inputs() -> None:
    runtime = simulated.Runtime()
    engine = RaggedEngine(runtime)
    spec = {
        "name": "double",
        "max_batch_size": 8,
        "inputs": [{**tensor("x", -1), "ragged": True}],
        "outputs": [tensor("y", -1)],
        "batch_inputs": [
            {"name": "bounds", "dtype": "INT32", "kind": "accumulated_element_count_with_zero", "source": "x"}
        ],
        "batch_outputs": [{"name": "y", "source": "x"}],
    }
    profile = {
        "x": Range(minimum=(1,), optimum=(64,), maximum=(512,)),
        "bounds": Range(minimum=(2,), optimum=(9,), maximum=(9,)),
    }
    slot = {"name": "double_0", "kind": "gpu", "device": 3, "stream": 41}
    made = DeviceInstance(simulated.TENSORRT, runtime, engine, [profile], spec, slot, (), PLACEMENT)
    x = np.arange(12, dtype=np.float32)
    batch = DeviceBatch(x, np.array([0, 7, 12], np.int32), stream=41)
    batch.rows = 2
    batch.run(made.enqueue)
    assert engine.context.shapes == {"x": (12,), "bounds": (3,)}
    assert set(engine.context.addresses) == {"x", "bounds", "y"}
    runtime.cudaStreamSynchronize(41)
    np.testing.assert_array_equal(batch.collect()["y"], 2 * x)
    wide = DeviceBatch(np.zeros(600, np.float32), np.array([0, 600], np.int32), stream=41)
    wide.rows = 1
    with pytest.raises(InvalidArgument, match=r"input 'x': shape \[600\] is outside the engine's profiles"):
        wide.run(made.enqueue)
    made.close()


def test_whether_shapes_are_known_before_a_run_is_asked_of_the_engine() -> None:
    for tells in (True, False):
        engine = simulated.Engine(simulated.Runtime(), tells=tells)
        profiles = [rows(1, 8, 8, 4), rows(2, 4, 8, 4)]
        assert shapes_follow_inputs(simulated.TENSORRT, engine, "m", profiles, (1,), 41) == tells
        assert (engine.context.profiles, engine.context.shape) == ([1], (4, 4))


def test_sizes_with_a_graph_are_replayed_and_others_run() -> None:
    runtime = simulated.Runtime()
    engine = simulated.Engine(runtime, tells=True)
    made = instance(engine, [rows(1, 8, 8, 4)], GraphSpec(rows=2), GraphSpec(rows=4))
    assert made.allowed_rows == (2, 4) and runtime.graphs == 2 and not runtime.pending
    given = [numbers(count, seed) for seed, count in enumerate((2, 4, 2, 5, 2, 4))]
    batches = [DeviceBatch(x).run(made.enqueue) for x in given]
    assert runtime.launches == 5
    runtime.cudaStreamSynchronize(41)
    for batch, x in zip(batches, given, strict=True):
        np.testing.assert_array_equal(batch.collect()["y"], 2 * x)
    made.close()
    assert runtime.graphs == 0 and not runtime.memory


def test_a_capture_that_fails_leaves_no_stream_in_capture_and_no_memory() -> None:
    runtime = simulated.Runtime()

    class Fails(simulated.Engine):
        def create_execution_context(self) -> simulated.Context:
            made = super().create_execution_context()
            made.fails = len(self.contexts) > 2
            return made

    with pytest.raises(Internal, match=r"TensorRT could not run or capture a CUDA graph; its log says why; remove"):
        instance(Fails(runtime, tells=True), [rows(1, 8, 8, 4)], GraphSpec(rows=2), GraphSpec(rows=4))
    assert runtime.capturing is None and runtime.graphs == 0 and not runtime.memory


def test_a_graphs_shapes_come_from_the_configuration_and_its_spec() -> None:
    tensors = [tensor("x", 4), {**tensor("ids", -1), "reshape": None}]
    spec = GraphSpec(rows=2, shapes={"ids": (128,)})
    assert input_shapes("m", spec, tensors) == {"x": (2, 4), "ids": (2, 128)}
    assert input_shapes("m", GraphSpec(rows=0), tensors[:1]) == {"x": (4,)}
    with pytest.raises(InvalidArgument, match=r"input 'ids' has the dimensions \[-1\]; say them in optimization\.cuda"):
        input_shapes("m", GraphSpec(rows=2), tensors)
    with pytest.raises(InvalidArgument, match=r"graph_spec\.input: no input 'y'"):
        input_shapes("m", GraphSpec(rows=2, shapes={"y": (1,)}), tensors[:1])
