"""Imports of a model's own files as they are now.

Python takes bytecode from its cache when the source has the same size and, to the second, the
same time: a model that is changed and loaded again at once would answer as before. So files
in the model's directories are compiled each time, and nothing is written beside them.
Installed packages are not the model's own, wherever they lie.
"""

from __future__ import annotations

import importlib.machinery as machinery
import os
import sys
from types import CodeType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.abc import Loader


class SourceLoader(machinery.SourceFileLoader):
    """Without the cache."""

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        code: CodeType = self.source_to_code(self.get_data(path), path)
        return code


def import_fresh_from(directory: str) -> None:
    """From now on, what lies in this directory and below is read as it is. Again is nothing."""
    hook = _Hook(os.path.join(os.path.abspath(directory), ""))
    if hook in sys.path_hooks:
        return
    sys.path_hooks.insert(0, hook)
    for path in tuple(sys.path_importer_cache):
        if hook.covers(path):
            del sys.path_importer_cache[path]


class _Hook:
    """One of sys.path_hooks."""

    def __init__(self, root: str) -> None:
        self._root = root

    def covers(self, path: str) -> bool:
        whole = os.path.join(os.path.abspath(path), "")
        if not whole.startswith(self._root):
            return False
        # An environment that lies there is no work of the model's author, and large.
        inside = whole[len(self._root) :].split(os.sep)
        return not _INSTALLED.intersection(inside) and not any(
            prefix.startswith(self._root) and whole.startswith(os.path.join(prefix, ""))
            for prefix in (sys.prefix, sys.base_prefix)
        )

    def __call__(self, path: str) -> machinery.FileFinder:
        if not self.covers(path):
            raise ImportError(f"'{path}' is not of the model", path=path)
        if not os.path.isdir(path):
            raise ImportError(f"'{path}' is no directory", path=path)
        return machinery.FileFinder(path, *_LOADERS)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Hook) and other._root == self._root

    def __hash__(self) -> int:
        return hash(self._root)


_INSTALLED = {"site-packages", "dist-packages"}
_LOADERS: tuple[tuple[type[Loader], list[str]], ...] = (
    (machinery.ExtensionFileLoader, machinery.EXTENSION_SUFFIXES),
    (SourceLoader, machinery.SOURCE_SUFFIXES),
    (machinery.SourcelessFileLoader, machinery.BYTECODE_SUFFIXES),
)
