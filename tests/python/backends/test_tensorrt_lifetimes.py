"""Memory that TensorRT's instances hold for work under way: nothing of it goes before that work is over."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from argosy.backends.placement import Placement
from argosy.backends.tensorrt.device import DeviceInstance
from argosy.backends.tensorrt.instance import TensorRtInstance
from argosy.backends.tensorrt.profiles import Profile, Range
from argosy.errors import ResourceExhausted

sys.path.insert(0, str(Path(__file__).parent))
import simulated_tensorrt as simulated
from device_batch import DeviceBatch

sys.path.pop(0)
PROFILE: Profile = {"x": Range(minimum=(1, 4), optimum=(8, 4), maximum=(64, 4))}
TENSORS = [{"name": name, "dtype": "FP32", "dims": [4], "reshape": None} for name in "xy"]


def test_memory_for_unwanted_outputs_that_is_outgrown_stays_until_the_instance_ends() -> None:
    runtime = simulated.Runtime()
    spec = {"name": "double", "max_batch_size": 64, "inputs": TENSORS[:1], "outputs": TENSORS[1:]}
    slot = {"name": "double_0", "kind": "gpu", "device": 0, "stream": 41}
    engine = simulated.Engine(runtime, tells=True)
    made = DeviceInstance(
        simulated.TENSORRT, runtime, engine, [PROFILE], spec, slot, (), Placement(ordinal=0, stream=41)
    )
    batches, used = [], []
    for rows in (1, 17, 64, 2, 40):  # all under way at once
        batches.append(DeviceBatch(np.ones((rows, 4), np.float32), wanted=(False,)).run(made.enqueue))
        used.append(engine.context.addresses["y"])
    assert set(used) <= set(runtime.memory)
    assert len(set(used)) == 3, "two sizes were outgrown, and the last batches fit into the largest"
    runtime.cudaStreamSynchronize(41)
    made.close()
    assert not runtime.memory


class ShortOfMemory(simulated.Batch):
    """There is room for one output."""

    def allocate_output(self, name: str, dtype: str, shape: tuple[int, ...]) -> int:
        if self.outputs:
            raise ResourceExhausted("no room")
        return super().allocate_output(name, dtype, shape)


def test_results_on_their_way_have_come_before_a_lack_of_memory_is_told() -> None:
    runtime = simulated.Runtime()
    twice = {"name": "double", "max_batch_size": 64, "inputs": TENSORS[:1], "outputs": TENSORS[1:] * 2}
    engine = simulated.Engine(runtime)
    made = TensorRtInstance(
        simulated.TENSORRT, runtime, engine, [PROFILE], twice, {"name": "double_0", "device": 0}, ()
    )
    batch = ShortOfMemory(np.ones((2, 4), np.float32))
    batch.wanted = [True, True]
    with pytest.raises(ResourceExhausted, match="no room"):
        made.execute(batch)  # type: ignore[arg-type]
    assert not runtime.pending, "a copy into memory that the batch gives back"
