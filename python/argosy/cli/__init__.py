"""The command `argosy`: serve, check, bench.

Exit codes: 0 done, 1 failed, 2 usage.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from argosy.errors import ArgosyError


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command. Each command's modules are imported when it runs."""
    parser = argparse.ArgumentParser(prog="argosy", description="Serves trained models over the KServe V2 protocol.")
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, text in (
        ("serve", "serve a model repository, a model directory or one model file"),
        ("check", "judge a model repository without serving it"),
        ("bench", "measure a model of any KServe V2 server"),
    ):
        commands.add_parser(name, help=text, add_help=False)
    words = list(sys.argv[1:] if arguments is None else arguments)
    head = words[:1]
    known, _ = parser.parse_known_args(head)
    if known.version:
        from argosy.version import __version__

        sys.stdout.write(f"argosy {__version__}\n")
        return 0
    if known.command is None:
        parser.print_help(sys.stderr)
        return 2
    try:
        return _run(known.command, words[1:])
    except ArgosyError as error:
        sys.stderr.write(f"argosy {known.command}: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 130


def _run(command: str, words: list[str]) -> int:
    if command == "serve":
        from argosy.cli.serve import run

        return run(words)
    if command == "check":
        from argosy.cli.check import run as check

        return check(words)
    from argosy.bench import add_arguments
    from argosy.bench import main as bench

    parser = argparse.ArgumentParser(prog="argosy bench")
    add_arguments(parser)
    return bench(parser.parse_args(words))
