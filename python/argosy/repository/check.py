"""Judges whole repositories without loading a model: what `argosy check` reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from argosy.config.capabilities import Capabilities
from argosy.config.signature import Inspector, NoSignature, mismatch
from argosy.errors import ArgosyError, ConfigError
from argosy.repository.layout import ModelDirectory, scan
from argosy.repository.resolve import Resolver, artifact_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One problem: the model, "file:line:column" or a path, what is wrong, what to write instead (or "")."""

    model: str
    where: str
    problem: str
    fix: str = ""

    def __str__(self) -> str:
        return ConfigError(self.where, self.problem, fix=self.fix).explained()


def check(
    repositories: Sequence[str],
    inspectors: Mapping[str, Inspector],
    *,
    capabilities: Capabilities | None = None,
    config_name: str = "",
    default_max_batch_rows: int = 4,
) -> list[Finding]:
    """All problems of all models, by model. Empty: everything would load, as far as files can tell.

    A model's configuration is judged up to its first problem; a sound one is compared with each
    chosen version's artifact. Raises NotFound for a repository that does not exist.
    """
    resolver = Resolver(
        capabilities=capabilities or Capabilities(),
        inspectors=inspectors,
        default_max_batch_rows=default_max_batch_rows,
    )
    found = scan(repositories, config_name)
    findings = [
        Finding(model=name, where=name, problem="model appears in two or more repositories")
        for name in sorted(found.ambiguous)
    ]
    for model in found.models.values():
        findings.extend(_judge(model, resolver))
    return findings


def _judge(model: ModelDirectory, resolver: Resolver) -> list[Finding]:
    place = str(model.config_path or model.path)
    try:
        resolved = resolver.resolve(model)
    except ConfigError as error:
        return [Finding(model=model.name, where=error.where, problem=error.problem, fix=error.fix)]
    except ArgosyError as error:
        return [Finding(model=model.name, where=place, problem=error.message.rstrip())]
    except OSError as error:
        return [Finding(model=model.name, where=place, problem=f"cannot be read: {error}")]
    findings = [
        Finding(
            model=model.name,
            where=resolved.locations.where("version_policy"),
            problem=f"version {version} of the version policy does not exist",
        )
        for version in resolved.selection.missing
    ]
    inspect = resolver.inspectors.get(resolved.config.backend)
    for spec in resolved.specs if inspect else ():
        assert inspect is not None
        try:
            problem = mismatch(spec, inspect(artifact_of(spec), spec["parameters"]))
        except NoSignature:
            continue  # only loading tells whether such a configuration fits
        except ArgosyError as error:
            problem = error.message
        if problem:
            findings.append(Finding(model=model.name, where=str(artifact_of(spec)), problem=problem))
    return findings
