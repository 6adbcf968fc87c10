"""Writes the golden messages of this folder with the official client's own classes.

Run `python tests/wire/make_golden.py` where `tritonclient[all]` is installed; the
outputs are committed, so that the C++ tests need no Python. Each line of
`model_infer.txt` is: a name, the serialised ModelInferRequest, then the bytes each
input must decode to; of `model_infer_response.txt`: a name, the model's output bytes,
the serialised ModelInferResponse; of `http_infer.txt`: a name, the header length ("-"
for none), the body, then the bytes of each input. Bytes are hexadecimal, "-" is none.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tritonclient.grpc as grpc
import tritonclient.http as http
from tritonclient.grpc import service_pb2
from tritonclient.utils import serialize_byte_tensor

HERE = Path(__file__).parent

ARRAYS: dict[str, np.ndarray] = {
    "BOOL": np.array([[True, False, True]]),
    "INT8": np.array([[-128, 0, 127]], np.int8),
    "INT16": np.array([[-32768, 1, 32767]], np.int16),
    "INT32": np.array([[-(2**31), 5, 2**31 - 1]], np.int32),
    "INT64": np.array([[-(2**63), 6, 2**63 - 1]], np.int64),
    "UINT8": np.array([[0, 200, 255]], np.uint8),
    "UINT16": np.array([[0, 300, 65535]], np.uint16),
    "UINT32": np.array([[0, 70000, 2**32 - 1]], np.uint32),
    "UINT64": np.array([[0, 2**40, 2**64 - 1]], np.uint64),
    "FP16": np.array([[0.5, -2.0, 65504.0]], np.float16),
    "FP32": np.array([[0.1, -3.5, 3.4028235e38]], np.float32),
    "FP64": np.array([[0.1, -2.5e-300, 1.7e308]], np.float64),
    "BYTES": np.array([[b"abc", b"", "gr\u00fcn".encode()]], np.object_),
}
TYPED = {
    "BOOL": "bool_contents", "INT8": "int_contents", "INT16": "int_contents", "INT32": "int_contents",
    "INT64": "int64_contents", "UINT8": "uint_contents", "UINT16": "uint_contents", "UINT32": "uint_contents",
    "UINT64": "uint64_contents", "FP32": "fp32_contents", "FP64": "fp64_contents", "BYTES": "bytes_contents",
}  # fmt: skip


def dense(array: np.ndarray) -> bytes:
    """The elements as the protocol carries them raw."""
    if array.dtype == np.object_:
        return bytes(serialize_byte_tensor(array).item())
    return array.tobytes()


def row(*columns: str | bytes) -> str:
    """One line; bytes become hexadecimal."""
    return " ".join(c if isinstance(c, str) else (c.hex() or "-") for c in columns)


def typed_request(dtype: str, array: np.ndarray) -> bytes:
    """A request whose one input carries typed contents."""
    request = service_pb2.ModelInferRequest(model_name="m", id="typed")
    tensor = request.inputs.add(name="x", datatype=dtype, shape=array.shape)
    getattr(tensor.contents, TYPED[dtype]).extend(array.flatten().tolist())
    return bytes(request.SerializeToString(deterministic=True))


def raw_request(dtype: str, array: np.ndarray) -> bytes:
    """A request as the gRPC client builds it."""
    tensor = grpc.InferInput("x", list(array.shape), dtype)
    tensor.set_data_from_numpy(array)
    request = service_pb2.ModelInferRequest(model_name="m", model_version="3", id="raw")
    request.inputs.extend([tensor._get_tensor()])
    request.outputs.extend([grpc.InferRequestedOutput("y", class_count=2)._get_tensor()])
    request.raw_input_contents.extend([tensor._get_content()])
    request.parameters["sequence_id"].int64_param = 7
    return bytes(request.SerializeToString(deterministic=True))


def response(dtype: str, array: np.ndarray) -> bytes:
    """What a server must answer with for one output `y`."""
    message = service_pb2.ModelInferResponse(model_name="m", model_version="3", id="i")
    message.outputs.add(name="y", datatype=dtype, shape=array.shape)
    message.raw_output_contents.append(dense(array))
    return bytes(message.SerializeToString(deterministic=True))


def http_request(dtype: str, array: np.ndarray, *, binary: bool) -> tuple[str, bytes]:
    """The header length and body that the HTTP client sends."""
    tensor = http.InferInput("x", list(array.shape), dtype)
    tensor.set_data_from_numpy(array, binary_data=binary)
    output = http.InferRequestedOutput("y", binary_data=True)
    body, header = http.InferenceServerClient.generate_request_body([tensor], outputs=[output], request_id="i")
    return ("-" if header is None else str(header)), bytes(body)


def main() -> None:
    """Writes the three files."""
    requests = [row(f"raw_{d}", raw_request(d, a), dense(a)) for d, a in ARRAYS.items()]
    requests += [row(f"typed_{d}", typed_request(d, ARRAYS[d]), dense(ARRAYS[d])) for d in TYPED]
    responses = [row(d, dense(a), response(d, a)) for d, a in ARRAYS.items()]
    bodies = []
    for dtype, array in ARRAYS.items():
        for binary in (True, False):
            if dtype == "FP16" and not binary:  # the client refuses it
                continue
            header, body = http_request(dtype, array, binary=binary)
            bodies.append(row(f"{'binary' if binary else 'json'}_{dtype}", header, body, dense(array)))
    for name, lines in (("model_infer", requests), ("model_infer_response", responses), ("http_infer", bodies)):
        (HERE / f"{name}.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
