"""Whether one instance of one version is all there is of a model, by its configuration."""

from __future__ import annotations

import json
from typing import Any

import pytest
from argosy.worker.main import _alone


@pytest.mark.parametrize(
    ("config", "alone"),
    [
        ({}, True),
        ({"instance_group": [{"count": 1, "kind": "KIND_CPU"}]}, True),
        ({"instance_group": [{"count": 2, "kind": "KIND_CPU"}]}, False),
        ({"instance_group": [{"count": 1, "kind": "KIND_CPU"}, {"count": 1, "kind": "KIND_CPU"}]}, False),
        ({"instance_group": [{"count": 1, "kind": "KIND_GPU", "gpus": [0]}]}, True),
        ({"instance_group": [{"count": 1, "kind": "KIND_GPU", "gpus": [0, 1]}]}, False),
        ({"instance_group": [{"count": 1, "kind": "KIND_GPU", "gpus": []}]}, False),
        ({"instance_group": [{"count": 1, "kind": "KIND_AUTO"}]}, False),
        ({"version_policy": {"latest": {"num_versions": 1}}}, True),
        ({"version_policy": {"latest": {"num_versions": 2}}}, False),
        ({"version_policy": {"all": {}}}, False),
    ],
)
def test_a_model_is_alone_where_nothing_else_could_execute_its_call(config: dict[str, Any], alone: bool) -> None:
    assert _alone(json.dumps(config)) is alone
