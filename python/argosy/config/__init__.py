"""Model configurations: text -> checked values -> specifications for the core."""

from argosy.config.capabilities import Capabilities
from argosy.config.json_text import parse_json
from argosy.config.lower import lower
from argosy.config.model import ModelConfig, model_from
from argosy.config.not_served import not_served
from argosy.config.pbtxt import ParsedConfig, parse_text, read_file
from argosy.config.render import to_bytes, to_json
from argosy.config.signature import (
    ArtifactSignature,
    Inspector,
    ModelInput,
    NoSignature,
    TensorSignature,
    is_ragged,
    mismatch,
    model_inputs,
)

__all__ = [
    "ArtifactSignature",
    "Capabilities",
    "Inspector",
    "ModelConfig",
    "ModelInput",
    "NoSignature",
    "ParsedConfig",
    "TensorSignature",
    "is_ragged",
    "lower",
    "mismatch",
    "model_from",
    "model_inputs",
    "not_served",
    "parse_json",
    "parse_text",
    "read_file",
    "to_bytes",
    "to_json",
]
