"""The backend `pytorch`: loads a program once per device for all its instances.

Which of the three formats a file has is read from its content. What the configuration
says is compared with what the file says before the model is served.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from argosy.backends.graph_sizes import check_not_ragged, graph_specs
from argosy.backends.placement import Placement, placement_of
from argosy.backends.torch.device import DeviceInstance, external_stream, takes_device_memory
from argosy.backends.torch.exported import ExportedProgram
from argosy.backends.torch.gpu import GpuInstance
from argosy.backends.torch.graphs import RowGraphs, check_capturable, check_specs, cuda_capture
from argosy.backends.torch.instance import CpuInstance
from argosy.backends.torch.packaged import PackagedProgram
from argosy.backends.torch.plan import Plan, plan_for
from argosy.backends.torch.program import Program, format_of
from argosy.backends.torch.scripted import ScriptedProgram
from argosy.backends.torch.settings import ProcessSettings, Settings, settings_from
from argosy.backends.torch.values import accept_read_only_memory
from argosy.config import ArtifactSignature, NoSignature, mismatch
from argosy.config.lower import CUDA_GRAPHS
from argosy.errors import InvalidArgument, Unsupported

_log = logging.getLogger(__name__)
_DEFAULTS = ("INTRA_OP_THREAD_COUNT", "INTER_OP_THREAD_COUNT")


class TorchBackend:
    """`pytorch`; `torch` is another name for it."""

    known_options = _DEFAULTS
    takes_ragged_batches = True

    def __init__(self) -> None:
        accept_read_only_memory()
        self._options: Mapping[str, str] = {}
        self._process = ProcessSettings()

    def configure(self, options: Mapping[str, str]) -> None:
        """Server-wide defaults: INTRA_OP_THREAD_COUNT, INTER_OP_THREAD_COUNT."""
        self._options = options

    def inspect(self, artifact: Path, parameters: Mapping[str, str]) -> ArtifactSignature:
        """The program's own inputs and outputs. Raises NoSignature for the formats that keep none."""
        return _open(artifact, "cpu", 1).signature()

    def load(self, spec: Mapping[str, Any], slot: Mapping[str, Any]) -> _Model:
        """Raises InvalidArgument when file, parameters and configuration do not fit each other."""
        artifact = Path(spec["path"]) / spec["artifact"]
        if not artifact.exists():
            raise InvalidArgument(f"unable to find '{artifact}' for model instance '{slot['name']}'")
        defaults = {key: self._options[key] for key in _DEFAULTS if key in self._options}
        settings = settings_from({**defaults, **spec["parameters"]})
        self._process.apply(spec["name"], settings.process_wide)
        if settings.cuda_graphs and slot["kind"] == "gpu":
            check_not_ragged(spec, CUDA_GRAPHS)
        device = device_of(spec["name"], slot, loading=True)
        program = _open(artifact, device, int(slot["instances"]))
        try:
            problem = mismatch(spec, program.signature())
        except NoSignature:
            problem = ""
        if problem:
            raise InvalidArgument(problem)
        return _Model(spec, settings, artifact, plan_for(spec, program), {device: program})


class _Model:
    """One program per device. Thread: any; loaders ask for instances at once."""

    def __init__(
        self, spec: Mapping[str, Any], settings: Settings, artifact: Path, plan: Plan, programs: dict[str, Program]
    ) -> None:
        self._spec, self._settings, self._artifact, self._plan = spec, settings, artifact, plan
        self._programs = programs
        self._lock = threading.Lock()
        self._taken: set[str] = set()  # devices whose first program has an owner

    def make_instance(self, slot: Mapping[str, Any]) -> CpuInstance | GpuInstance | DeviceInstance:
        device = device_of(self._spec["name"], slot)
        placement = placement_of(slot)
        program = self._program_on(device, int(slot["instances"]))
        if placement is not None and takes_device_memory(self._plan):
            return DeviceInstance(
                self._plan,
                program,
                self._settings,
                slot,
                placement=placement,
                device=device,
                graphs=self._graphs(program, placement, device),
            )
        if self._settings.cuda_graphs and slot["kind"] == "gpu":
            check_capturable(self._plan, stateful=program.stateful)  # says which argument is in the way
        if device == "cpu":
            return CpuInstance(self._plan, program, self._settings, slot)
        return GpuInstance(self._plan, program, self._settings, slot, device)

    def _graphs(self, program: Program, placement: Placement, device: str) -> RowGraphs | None:
        model = self._spec["name"]
        if not self._settings.cuda_graphs:
            return None
        check_capturable(self._plan, stateful=program.stateful)
        specs = graph_specs(model, self._plan.max_rows, self._spec["parameters"])
        check_specs(model, specs)
        if placement.on_host:
            _log.warning("model '%s': CUDA graphs have no effect where the host stands for a device", model)
            return None
        gpu = torch.device(device)
        mode = torch.inference_mode() if self._settings.inference_mode else torch.no_grad()
        with torch.cuda.device(gpu), mode:
            return RowGraphs(specs, cuda_capture(self._plan, program, gpu, external_stream(placement, gpu)))

    def _program_on(self, device: str, instances: int) -> Program:
        with self._lock:
            if device not in self._programs:
                self._programs[device] = _open(self._artifact, device, instances)
            shared = self._programs[device]
            first = device not in self._taken
            self._taken.add(device)
        # A program that changes itself cannot be in two threads at once.
        own = first or (self._settings.weight_sharing and not shared.stateful)
        program = shared if own else shared.copy()
        if device != "cpu":
            # Weights are copied on PyTorch's default stream, which the instances' streams do not wait for.
            torch.cuda.default_stream(torch.device(device)).synchronize()
        return program


def _open(artifact: Path, device: str, instances: int) -> Program:
    kind = format_of(artifact)
    if kind == "script":
        return ScriptedProgram.load(artifact, device)
    if kind == "export":
        return ExportedProgram.load(artifact, device)
    return PackagedProgram(artifact, device, max(instances, 1))


def device_of(model: str, slot: Mapping[str, Any], *, loading: bool = False) -> str:
    """ "cpu" or "cuda:N". Raises Unsupported when this machine or this PyTorch has no such GPU.

    `loading`: no instance has a stream yet, so only PyTorch tells whether there is a GPU.
    """
    if slot["kind"] == "cpu":
        return "cpu"
    found = torch.cuda.is_available()
    if slot["kind"] == "model":
        if not found:
            return "cpu"
        raise Unsupported(f"model '{model}': KIND_MODEL is not served on a machine with GPUs; use KIND_GPU or KIND_CPU")
    placement = placement_of(slot)
    if placement is not None and placement.on_host and not (loading and found):
        return "cpu"
    if not found:
        raise Unsupported(
            f"model '{model}': kind KIND_GPU, but PyTorch {torch.__version__} finds no GPU on this machine; "
            "use kind: KIND_CPU"
        )
    device = max(int(slot["device"]), 0)
    if device >= torch.cuda.device_count():
        raise Unsupported(f"model '{model}': GPU {device} was asked for, there are {torch.cuda.device_count()}")
    return f"cuda:{device}"
