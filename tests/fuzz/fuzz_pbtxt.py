"""Mutates configuration files and feeds them to the configuration's whole way in.

    python tests/fuzz/fuzz_pbtxt.py [--seconds 60] [--seed 1] [FILE...]

Whatever the text, the answer is a configuration, ConfigError or InvalidArgument. Anything else, and a
text that takes longer than SLOW_S, is printed with its seed and ends the run with 1.
Without FILE the corpus beside this script and the valid configurations of the tests
are mutated. It has no coverage feedback: the parser below is protobuf's own.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from argosy.config import Capabilities, model_from, not_served, read_file, to_json
from argosy.config.autofill import fill_backend, normalise
from argosy.config.instances import fill_instances
from argosy.errors import ConfigError, InvalidArgument

HERE = Path(__file__).resolve().parent
SLOW_S = 5.0
WORDS = (
    b"{", b"}", b"[", b"]", b":", b",", b'"', b"'", b"#", b"\n", b"\x00", b"\xff", b"-1", b"0", b"9223372036854775808",
    b"1e999", b"nan", b"inf", b"true", b"input", b"output", b"dims", b"dynamic_batching", b"sequence_batching",
    b"instance_group", b"max_batch_size", b"parameters", b"version_policy", b"TYPE_FP32", b"KIND_GPU", b"\\x", b"<",
    b"model_warmup", b"ensemble_scheduling", b"optimization", b"reshape", b"shape", b"name", b"data_type",
)  # fmt: skip


def corpus() -> list[bytes]:
    """The texts that mutation starts from."""
    valid = sorted((HERE.parent / "python" / "config" / "files").glob("*.pbtxt"))
    return [path.read_bytes() for path in (*sorted((HERE / "corpus" / "pbtxt").iterdir()), *valid)]


def mutated(texts: Sequence[bytes], dice: random.Random) -> bytes:
    """One text with a few pieces cut, doubled, replaced, or crossed with another text's."""
    text = bytearray(dice.choice(texts))
    for _ in range(dice.randint(1, 6)):
        at = dice.randint(0, len(text))
        end = min(len(text), at + dice.choice((1, 1, 2, 8, 40)))
        match dice.randint(0, 4):
            case 0:
                del text[at:end]
            case 1:
                text[at:at] = text[at:end]
            case 2:
                text[at:end] = dice.choice(WORDS)
            case 3:
                text[at:at] = b" " + dice.choice(WORDS) + b" "
            case _:
                other = dice.choice(texts)
                start = dice.randint(0, len(other))
                text[at:end] = other[start : start + dice.randint(0, 80)]
    return bytes(text)


def swallow(text: bytes) -> bool:
    """Whether the text is a configuration; raises what is neither ConfigError nor InvalidArgument."""
    try:
        with tempfile.NamedTemporaryFile() as file:
            file.write(text)
            file.flush()
            message = read_file(Path(file.name)).message
        fill_backend(message, ())
        normalise(message)
        fill_instances(message, Capabilities())
        not_served(model_from(message, Capabilities()), Capabilities())
        to_json(message)
    except (ConfigError, InvalidArgument):
        return False
    return True


def rounds(texts: Sequence[bytes], seed: int) -> Iterator[tuple[int, bytes]]:
    """Endless (seed, text) pairs; one seed always gives the same text."""
    while True:
        yield seed, mutated(texts, random.Random(seed))
        seed += 1


def main() -> int:
    """0: nothing found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="*", type=Path)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    texts = [path.read_bytes() for path in given.file] or corpus()
    started, count, accepted = time.monotonic(), 0, 0
    for seed, text in rounds(texts, given.seed):
        begun = time.monotonic()
        if begun - started > given.seconds:
            break
        try:
            accepted += swallow(text)
        except Exception as error:
            sys.stdout.write(f"seed {seed}: {type(error).__name__}: {error}\n{text!r}\n")
            return 1
        if time.monotonic() - begun > SLOW_S:
            sys.stdout.write(f"seed {seed}: took {time.monotonic() - begun:.1f} s\n{text!r}\n")
            return 1
        count += 1
    sys.stdout.write(f"{count} texts, {accepted} of them accepted, nothing found\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
