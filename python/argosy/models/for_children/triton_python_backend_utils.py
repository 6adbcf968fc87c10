"""What `import triton_python_backend_utils` finds in a process that a model started, as `multiprocessing` does.

The model's file can be read there, tensors and responses be made; what needs the server says that it
is not there. This folder stands at the end of the model's own path and is inherited with it.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

if importlib.util.find_spec("argosy") is None:
    # Another interpreter than the server's: the package is where this file is.
    _package = Path(__file__).resolve().parent.parent.parent
    _spec = importlib.util.spec_from_file_location(
        "argosy", _package / "__init__.py", submodule_search_locations=[str(_package)]
    )
    assert _spec is not None and _spec.loader is not None
    _module = importlib.util.module_from_spec(_spec)
    sys.modules["argosy"] = _module
    _spec.loader.exec_module(_module)

from argosy.models.triton_compat import install

install()
