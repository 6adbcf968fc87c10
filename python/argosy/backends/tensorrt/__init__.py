"""Backend `tensorrt`: serialized engines, and ONNX models built into engines while they load."""

from argosy.backends.tensorrt.backend import TensorRtBackend

__all__ = ["TensorRtBackend"]
