"""`argosy check REPO`: what would not load, where, and what to write instead."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from argosy.backends import BackendRegistry, Inspectors
from argosy.config import Inspector
from argosy.errors import ArgosyError
from argosy.gpus import capabilities_here
from argosy.repository import check


def run(arguments: Sequence[str]) -> int:
    """Prints the findings; 0 when there are none, 1 otherwise."""
    parser = argparse.ArgumentParser(prog="argosy check", description="Judges model repositories without serving them.")
    parser.add_argument("path", nargs="+", help="a model repository, one model's directory, or a model file")
    parser.add_argument(
        "--model-config-name", default="", metavar="NAME", help="use configs/NAME.pbtxt where it exists"
    )
    given = parser.parse_args(arguments)
    registry = BackendRegistry(lambda name, backend: None)

    def inspector(name: str) -> Inspector | None:
        try:
            return registry.inspector(name)
        except ArgosyError:
            return None  # not installed here: its artifacts cannot be looked into

    findings = check(
        given.path, Inspectors(inspector), capabilities=capabilities_here(), config_name=given.model_config_name
    )
    for finding in findings:
        sys.stdout.write(f"{finding}\n")
    count = len(findings)
    sys.stdout.write("no problems found\n" if not count else f"{count} problem{'s' if count > 1 else ''} found\n")
    return 1 if findings else 0
