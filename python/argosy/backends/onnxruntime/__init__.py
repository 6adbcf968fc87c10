"""Backend `onnxruntime`: ONNX models on the CPU, and on GPUs through the CUDA and TensorRT providers."""

from argosy.errors import InvalidArgument

try:
    import onnxruntime as _onnxruntime
except ImportError as error:
    raise InvalidArgument(
        "the onnxruntime backend needs the package 'onnxruntime': pip install 'argosy[onnx]', or 'argosy[onnx-gpu]' "
        "to run on GPUs"
    ) from error

from argosy.backends.onnxruntime.backend import OnnxRuntimeBackend

__all__ = ["OnnxRuntimeBackend"]
del _onnxruntime
