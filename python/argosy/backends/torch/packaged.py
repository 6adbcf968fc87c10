"""AOTInductor packages: what torch._inductor.aoti_compile_and_package wrote.

Compiled machine code with its weights. The package keeps the structure of arguments
and results (keyword and dictionary names), not their types and shapes. Its runners
share one copy of the weights; there is one per instance.

PyTorch's binding keeps the interpreter lock while a package runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch.utils import _pytree as pytree

from argosy.backends.torch.program import Argument, read_failed
from argosy.config import ArtifactSignature, NoSignature
from argosy.errors import InvalidArgument


class PackagedProgram:
    """A loaded package with as many runners as there are instances."""

    stateful = False
    dictionary_written = False

    def __init__(self, artifact: Path, device: str, runners: int) -> None:
        self._artifact, self._device, self._runners = artifact, device, runners
        kind, _, index = device.partition(":")
        try:
            from torch._inductor.package import load_package

            self._loader = load_package(
                str(artifact), "model", num_runners=runners, device_index=int(index) if index else -1
            ).loader
        except Exception as error:  # a wrong machine, a wrong version, a broken archive: PyTorch tells in the text
            raise read_failed(artifact, error) from None
        made_for = self._loader.get_metadata().get("AOTI_DEVICE_KEY", kind)
        if made_for != kind:
            raise InvalidArgument(
                f"'{artifact}' was compiled for {made_for}, the instance is on {kind}; set the instance_group's kind, "
                f"or compile it for {kind}"
            )
        call_spec = self._loader.get_call_spec()
        self.arguments: Sequence[Argument] | None = tuple(Argument(name=name) for name in _argument_names(call_spec[0]))
        self.result_names = _result_names(call_spec[1])

    def call(self, values: Sequence[Any], names: Sequence[str]) -> Any:
        return self._loader.boxed_run(list(values))

    def copy(self) -> PackagedProgram:
        return PackagedProgram(self._artifact, self._device, 1)

    def signature(self) -> ArtifactSignature:
        raise NoSignature(
            f"'{self._artifact}' is an AOTInductor package, which does not say the types and shapes of tensors; "
            f"write a config.pbtxt with its {len(self.arguments or ())} inputs and {len(self.result_names)} outputs"
        )


def _tree(text: str) -> Any:
    spec = pytree.treespec_loads(text)
    return pytree.tree_unflatten(list(range(spec.num_leaves)), spec)


def _argument_names(text: str) -> list[str]:
    """By position: keyword names, the keys of a single dictionary, "" for positional arguments."""
    args, kwargs = _tree(text)
    if len(args) == 1 and not kwargs and isinstance(args[0], dict):
        named = args[0]
    else:
        named = {key: value for key, value in kwargs.items() if isinstance(value, int)}
    by_position = {at: str(name) for name, at in named.items()}
    return [by_position.get(at, "") for at in range(len(pytree.tree_leaves((args, kwargs))))]


def _result_names(text: str) -> list[str]:
    tree = _tree(text)
    by_position = {at: str(name) for name, at in tree.items()} if isinstance(tree, dict) else {}
    return [by_position.get(at, "") for at in range(len(pytree.tree_leaves(tree)))]
