"""Model directories for the tests of Python models, and models that wait for their test."""

from __future__ import annotations

from pathlib import Path

IO = """
input [ { name: "X" data_type: TYPE_FP32 dims: [ -1 ] } ]
output [ { name: "Y" data_type: TYPE_FP32 dims: [ -1 ] } ]
"""
HEAD = """
import os
import time
import numpy as np
import triton_python_backend_utils as pb_utils


def tensor(request):
    return pb_utils.get_input_tensor_by_name(request, "X").as_numpy()


def response(array):
    return pb_utils.InferenceResponse([pb_utils.Tensor("Y", np.asarray(array, np.float32))])


"""
DECOUPLED = "model_transaction_policy { decoupled: true }\n"
FINAL = "pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL"


def write_model(root: Path, name: str, methods: str, config: str = "", io: str = IO) -> Path:
    """A model whose class has these methods (unindented source); returns its directory."""
    version = root / name / "1"
    version.mkdir(parents=True)
    (root / name / "config.pbtxt").write_text(f'name: "{name}"\nbackend: "python"\n{io}{config}', encoding="utf-8")
    body = "".join(f"    {line}\n" if line.strip() else "\n" for line in methods.splitlines())
    (version / "model.py").write_text(f"{HEAD}class TritonPythonModel:\n{body}", encoding="utf-8")
    return root / name


def answering(expression: str) -> str:
    """execute() that answers each request with this of `x`."""
    return f"""
def execute(self, requests):
    return [response(self.run(request, tensor(request))) for request in requests]

def run(self, request, x):
    return {expression}
"""


def gated(gate: Path, source: str = "X", target: str = "Y") -> str:
    """execute() that gives its input back once the file `gate` is there: a test decides how long the model runs."""
    return f"""
def execute(self, requests):
    while not os.path.exists({str(gate)!r}):
        time.sleep(0.002)
    given = [pb_utils.get_input_tensor_by_name(request, {source!r}).as_numpy() for request in requests]
    return [pb_utils.InferenceResponse([pb_utils.Tensor({target!r}, one)]) for one in given]
"""
