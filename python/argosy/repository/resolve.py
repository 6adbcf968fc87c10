"""One model's directory -> a checked configuration and the specifications of its versions.

The way of a configuration: read, name, backend, tensors from the artifact, defaults,
check, refuse what is not served, choose versions, lower. Errors of the configuration
are ConfigErrors with a place; errors of the artifact are LoadFailed.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from argosy.config.autofill import complete_tensors, fill_backend, fill_name, needs_signature, normalise
from argosy.config.capabilities import Capabilities
from argosy.config.instances import fill_instances
from argosy.config.json_text import parse_json
from argosy.config.locations import Locations
from argosy.config.lower import lower
from argosy.config.model import ModelConfig, model_from
from argosy.config.not_served import not_served
from argosy.config.pbtxt import ParsedConfig, read_file
from argosy.config.render import to_json
from argosy.config.signature import Inspector
from argosy.config.version_policy import version_policy_from
from argosy.errors import ArgosyError, ConfigError
from argosy.protos import Message
from argosy.protos import ModelConfig as ModelConfigMessage
from argosy.repository.layout import ModelDirectory
from argosy.repository.loader import LoadFailed
from argosy.repository.versions import Selection, select
from argosy.worker.auto_complete import completed, worth_asking
from argosy.worker.children import Children
from argosy.worker.environment import interpreter_of
from argosy.worker.host import ModelPlace

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedModel:
    """A model that can be handed to the loader. `specs` has one entry per chosen version, ascending."""

    config: ModelConfig
    specs: tuple[dict[str, Any], ...]
    selection: Selection
    locations: Locations


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolver:
    """The rules of this server for turning directories into specifications.

    `inspectors`: backend name -> how its artifacts are looked into. `children`: ends the wait for those that
    are asked in a process of their own.
    """

    capabilities: Capabilities = field(default_factory=Capabilities)
    inspectors: Mapping[str, Inspector] = field(default_factory=dict)
    auto_complete: bool = True
    default_max_batch_rows: int = 4
    children: Children = field(default_factory=Children)

    def resolve(self, model: ModelDirectory, config_json: str | None = None) -> ResolvedModel:
        """Reads, completes, checks and lowers. `config_json` replaces the file.

        Raises ConfigError for a configuration that cannot be served, LoadFailed for an artifact
        that cannot, InvalidArgument when neither backend nor version can be chosen.
        """
        parsed = self._read(model, config_json)
        try:
            return self._resolve(model, parsed.message, parsed.locations)
        except ConfigError as error:
            raise parsed.locations.located(error) from None

    def _read(self, model: ModelDirectory, config_json: str | None) -> ParsedConfig:
        if config_json is not None:
            return ParsedConfig(message=parse_json(config_json), locations=Locations(file=f"{model.name} (override)"))
        if model.config_path is not None:
            return read_file(model.config_path)
        if not self.auto_complete:
            raise ConfigError(
                str(model.path / "config.pbtxt"), "does not exist, and auto-complete of configurations is disabled"
            )
        return ParsedConfig(message=ModelConfigMessage(), locations=Locations(file=f"{model.path} (no config.pbtxt)"))

    def _resolve(self, model: ModelDirectory, message: Message, locations: Locations) -> ResolvedModel:
        fill_name(message, model.name)
        if model.backend and not message.backend and not message.platform:
            message.backend, message.default_model_filename = model.backend, model.artifact
        fill_backend(message, model.artifacts())
        if self.auto_complete and needs_signature(message):
            self._complete(model, message)
        if self.auto_complete and message.backend == "python":
            self._complete_python(model, message)
        normalise(message)
        fill_instances(message, self.capabilities)
        config = model_from(message, self.capabilities)
        refused = not_served(config, self.capabilities)
        if refused:
            raise refused[0]
        selection = select(config.version_policy, model.versions, model.name)
        for version in selection.missing:
            _log.error("model '%s': version %d of the version policy does not exist", model.name, version)
        specs = tuple(
            lower(config, version=version, version_path=model.versions[version], model_path=model.path)
            for version in selection.chosen
        )
        return ResolvedModel(config=config, specs=specs, selection=selection, locations=locations)

    def _complete(self, model: ModelDirectory, message: Message) -> None:
        inspect = self.inspectors.get(message.backend)
        if inspect is None:
            return
        version = select(version_policy_from(message.version_policy), model.versions, model.name).chosen[-1]
        artifact = model.versions[version] / message.default_model_filename
        parameters = {key: message.parameters[key].string_value for key in message.parameters}
        try:
            complete_tensors(message, inspect(artifact, parameters), self.default_max_batch_rows)
        except ConfigError:
            raise
        except ArgosyError as error:
            raise LoadFailed(model.name, {version: error}) from None

    def _complete_python(self, model: ModelDirectory, message: Message) -> None:
        version = select(version_policy_from(message.version_policy), model.versions, model.name).chosen[-1]
        directory = model.versions[version]
        model_file = directory / message.default_model_filename
        if not worth_asking(model_file, complete=bool(len(message.input) and len(message.output))):
            return
        place = ModelPlace(
            model_file=str(model_file),
            directory=str(model.path),
            version_directory=str(directory),
            name=model.name,
            version=version,
            config="",
        )
        parameters = {key: message.parameters[key].string_value for key in message.parameters}
        try:
            # The one that will run the model: it has its libraries.
            python = interpreter_of(model.name, Path(model.path), directory, parameters, self.children)
            found = completed(place, to_json(message), python, self.children)
        except ArgosyError as error:
            raise LoadFailed(model.name, {version: error}) from None
        message.CopyFrom(parse_json(json.dumps(found)))


def artifact_of(spec: Mapping[str, Any]) -> Path:
    """Where a lowered specification's model file is."""
    return Path(spec["path"]) / str(spec["artifact"])
