"""What the three formats of PyTorch programs have in common for those who run them."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from argosy.config import ArtifactSignature
from argosy.errors import InvalidArgument


@dataclass(frozen=True, slots=True, kw_only=True)
class Argument:
    """One input of a program. `name` "" when the format does not keep it.

    `kind`: "tensor", "texts" (List[str]), or "int", "float", "bool" for one number. `written`: the program
    writes to it, so it must not be memory that somebody else reads.
    """

    name: str
    kind: str = "tensor"
    optional: bool = False
    written: bool = False


class Program(Protocol):
    """A program on one device.

    Thread: call() may run on several threads at once unless `stateful`.
    """

    @property
    def arguments(self) -> Sequence[Argument] | None:
        """In the order of call()'s values; None when the program takes one dictionary of tensors."""

    @property
    def result_names(self) -> Sequence[str] | None:
        """Names of the results by position, "" where one has none; None when only a run tells how many there are."""

    @property
    def stateful(self) -> bool:
        """Whether a call changes what the next call returns."""

    @property
    def dictionary_written(self) -> bool:
        """Whether the program writes to tensors of its one dictionary."""

    def call(self, values: Sequence[Any], names: Sequence[str]) -> Any:
        """Runs it: one value per argument, None for an absent one; of a dictionary, `names` are the keys.

        Returns one value, or a list, tuple or dictionary of values.
        """

    def copy(self) -> Program:
        """One with weights and state of its own."""

    def signature(self) -> ArtifactSignature:
        """Raises NoSignature when the format has none."""


def format_of(artifact: Path) -> str:
    """ "script", "export" or "package", by content: suffixes lie. Nothing is unpickled.

    Raises InvalidArgument for a file that is no program.
    """
    try:
        with zipfile.ZipFile(artifact) as archive:
            parts = [name.partition("/")[2] for name in archive.namelist()]
    except (zipfile.BadZipFile, OSError) as error:
        raise InvalidArgument(f"'{artifact}' is no PyTorch program: {error}") from None
    if any(part.startswith("data/aotinductor/") for part in parts):
        return "package"
    if any(part.startswith("models/") or part == "serialized_exported_program.json" for part in parts):
        return "export"
    if any(part.startswith("code/") for part in parts) and "constants.pkl" in parts:
        return "script"
    what = "a checkpoint of torch.save, which holds no program" if "data.pkl" in parts else "no PyTorch program"
    raise InvalidArgument(
        f"'{artifact}' is {what}; write it with torch.jit.save, torch.export.save or "
        "torch._inductor.aoti_compile_and_package"
    )


def problem_of(error: Exception) -> str:
    """The reason in an exception of PyTorch, without the addresses of its own stack."""
    return str(error).partition("\nException raised from ")[0].strip() or repr(error)


def read_failed(artifact: Path, error: Exception) -> InvalidArgument:
    return InvalidArgument(f"PyTorch {torch.__version__} cannot load '{artifact}': {problem_of(error)}")
