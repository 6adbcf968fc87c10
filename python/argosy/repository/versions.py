"""Which of the versions on disk are served: a pure function of policy and scan."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from argosy.config.version_policy import VersionPolicy
from argosy.errors import InvalidArgument


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """`chosen` ascending and never empty; `missing` were asked for and do not exist."""

    chosen: tuple[int, ...]
    missing: tuple[int, ...] = ()


def select(policy: VersionPolicy, available: Collection[int], model: str) -> Selection:
    """The versions that the policy picks. Raises InvalidArgument when it picks none."""
    present = sorted(available)
    missing: tuple[int, ...] = ()
    if policy.specific is not None:
        wanted = sorted(set(policy.specific))
        chosen = [version for version in wanted if version in available]
        missing = tuple(version for version in wanted if version not in available)
    elif policy.latest is not None:
        chosen = present[-policy.latest :]
    else:
        chosen = present
    if not chosen:
        raise InvalidArgument(f"at least one version must be available under the version policy of model '{model}'")
    return Selection(chosen=tuple(chosen), missing=missing)
