"""What a configuration leaves open, filled in: name, backend, policy, tensors.

Works on the message, so that the config endpoint shows the result. Fills only;
whether the result is right is checked by config.model. Instances are filled by
config.instances.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from argosy.config.signature import ArtifactSignature, TensorSignature
from argosy.config.tensors import CONFIG_NAMES, config_number
from argosy.errors import ConfigError, InvalidArgument, Unsupported
from argosy.protos import Message

DEFAULT_IDLE_US = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    backend: str
    platform: str  # "" when the backend has no platform name
    artifact: str


# In the order in which artifacts are looked for.
_KNOWN = (
    _Known(backend="tensorrt", platform="tensorrt_plan", artifact="model.plan"),
    _Known(backend="onnxruntime", platform="onnxruntime_onnx", artifact="model.onnx"),
    _Known(backend="openvino", platform="", artifact="model.xml"),
    _Known(backend="pytorch", platform="pytorch_libtorch", artifact="model.pt"),
    _Known(backend="pytorch", platform="torch_aoti", artifact="model.pt2"),
    _Known(backend="python", platform="", artifact="model.py"),
)
_INSPECTED = ("onnxruntime", "pytorch", "tensorrt")  # their artifacts can say what the tensors are
_ALIASES = {"torch": "pytorch"}
_LEGACY_PLATFORMS = {"tensorflow_savedmodel": "tensorflow", "tensorflow_graphdef": "tensorflow"}
_PLATFORMS = {**{known.platform: known.backend for known in _KNOWN if known.platform}, **_LEGACY_PLATFORMS}


def fill_name(config: Message, directory: str) -> None:
    """The name, from the directory. Raises ConfigError("name", ...) when the two differ."""
    if not config.name:
        config.name = directory
    elif config.name != directory:
        raise ConfigError(
            "name",
            f"unexpected directory name '{directory}' for model '{config.name}', directory name must equal model name",
            fix=f'name: "{directory}"',
        )


def fill_backend(config: Message, artifacts: Collection[str]) -> None:
    """Backend, platform and artifact name.

    `artifacts` are the entries of the first version directory. Raises InvalidArgument when nothing
    tells the backend.
    """
    if config.platform == "ensemble" or config.HasField("ensemble_scheduling"):
        if not config.platform and not config.backend:
            config.platform = "ensemble"
        return
    config.backend = _ALIASES.get(config.backend, config.backend)
    if not config.backend:
        config.backend = _PLATFORMS.get(config.platform, "")
    if not config.backend and config.default_model_filename:
        by_name = [known for known in _KNOWN if known.artifact == config.default_model_filename]
        config.backend = by_name[0].backend if by_name else _backend_of_suffix(config.default_model_filename)
    if not config.backend and not config.platform and not config.default_model_filename:
        found = [known for known in _KNOWN if known.artifact in artifacts]
        if found:
            config.backend, config.platform = found[0].backend, found[0].platform
    if not config.backend and not config.platform:
        _backend_of_model_name(config)
    candidates = [known for known in _KNOWN if known.backend == config.backend]
    # A backend with several formats: the file that is named, or lies there, tells which.
    candidates.sort(key=lambda known: not _is_of(known, config.default_model_filename, artifacts))
    for known in candidates:
        if not config.platform:
            config.platform = known.platform
        if known.platform == config.platform and not config.default_model_filename:
            config.default_model_filename = known.artifact


def _is_of(known: _Known, file_name: str, artifacts: Collection[str]) -> bool:
    if file_name:
        return file_name.rpartition(".")[2] == known.artifact.rpartition(".")[2]
    return known.artifact in artifacts


def _backend_of_suffix(file_name: str) -> str:
    suffix = file_name.rpartition(".")[2]
    return next((known.backend for known in _KNOWN if known.artifact.rpartition(".")[2] == suffix), "")


def _backend_of_model_name(config: Message) -> None:
    stem, dot, backend = config.name.partition(".")
    if not (stem and dot and backend):
        raise InvalidArgument(
            f"Invalid model name: Could not determine backend for model '{config.name}' with no backend in model "
            "configuration. Expected model name of the form 'model.<backend_name>'."
        )
    config.backend = backend
    if not config.default_model_filename:
        config.default_model_filename = f"model.{backend}"


def platform_backend(platform: str) -> str:
    """The backend that a platform name stands for, "" when it is not known."""
    return _PLATFORMS.get(platform, "")


def needs_signature(config: Message) -> bool:
    """Whether auto-complete has anything to fill from a model's artifact."""
    return config.backend in _INSPECTED and not (len(config.input) and len(config.output))


def complete_tensors(config: Message, signature: ArtifactSignature, default_max_batch_rows: int) -> None:
    """Tensors, batch size and batching from the artifact, where the configuration has none.

    Does nothing when both inputs and outputs are configured. Raises InvalidArgument when
    max_batch_size > 0 and the artifact has no batch dimension, Unsupported for an element type that
    the protocol does not have.
    """
    if not needs_signature(config):
        return
    # Of a ragged batch the first dimensions are different ones, and which is the rows only the configuration knows.
    ragged = len(config.batch_input) or any(tensor.allow_ragged_batch for tensor in config.input)
    if not signature.batches and config.max_batch_size > 0 and not ragged:
        tensors = signature.inputs + signature.outputs
        fixed = next((tensor for tensor in tensors if not tensor.dims or tensor.dims[0] != -1), None)
        reason = (
            f"tensor '{fixed.name}' has shape {list(fixed.dims)}, whose first dimension is not dynamic"
            if fixed
            else "the first dimensions of its tensors are different ones"
        )
        raise InvalidArgument(
            f"autofill failed for model '{config.name}': model does not support batching while non-zero "
            f"max_batch_size is specified ({reason}); write max_batch_size: 0"
        )
    if signature.batches or ragged:
        if config.max_batch_size == 0 and not ragged:
            config.max_batch_size = signature.max_rows or default_max_batch_rows
        if config.max_batch_size > 1 and config.WhichOneof("scheduling_choice") is None:
            config.dynamic_batching.SetInParent()
    batched = config.max_batch_size > 0
    # What the server makes is no input of requests; an output that is cut like an input is not told by its own shape.
    ours = {name for tensor in config.batch_input for name in tensor.target_name}
    cut = {name for tensor in config.batch_output for name in tensor.target_name}
    for tensors, found, left_out in (
        (config.input, signature.inputs, ours),
        (config.output, signature.outputs, cut),
    ):
        if not len(tensors):
            for tensor in found:
                if tensor.name not in left_out:
                    _add(tensors, tensor, batched=batched)


def _add(tensors: Message, found: TensorSignature, *, batched: bool) -> None:
    if found.dtype not in CONFIG_NAMES:
        raise Unsupported(f"tensor '{found.name}' has element type '{found.dtype}', which clients cannot name")
    added = tensors.add(name=found.name, data_type=config_number(found.dtype))
    dims = found.dims[1:] if batched else found.dims
    added.dims.extend(dims or (1,))
    if batched and not dims:
        added.reshape.SetInParent()


def normalise(config: Message) -> None:
    """Defaults that do not depend on the artifact; clients see them."""
    if config.version_policy.WhichOneof("policy_choice") is None:
        config.version_policy.latest.num_versions = 1
    rows = config.max_batch_size
    choice = config.WhichOneof("scheduling_choice")
    if choice == "dynamic_batching" and rows > 0 and not len(config.dynamic_batching.preferred_batch_size):
        config.dynamic_batching.preferred_batch_size.append(rows)
    if choice == "sequence_batching":
        sequence = config.sequence_batching
        if sequence.max_sequence_idle_microseconds == 0:
            sequence.max_sequence_idle_microseconds = DEFAULT_IDLE_US
        if sequence.HasField("oldest") and rows > 0 and not len(sequence.oldest.preferred_batch_size):
            sequence.oldest.preferred_batch_size.append(rows)
    if config.platform != "ensemble":
        for name in ("input_pinned_memory", "output_pinned_memory"):
            if not config.optimization.HasField(name):
                getattr(config.optimization, name).enable = True
