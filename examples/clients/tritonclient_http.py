"""The official http client against model_repository.

Start first: argosy serve model_repository
Needs: pip install 'tritonclient[http]'
"""

from __future__ import annotations

import sys

import numpy as np
import tritonclient.http as client


def pixels(rows: int) -> client.InferInput:
    """FP32 [rows, 64], values in 0..1."""
    tensor = client.InferInput("pixels", [rows, 64], "FP32")
    tensor.set_data_from_numpy(np.random.default_rng(0).random((rows, 64), dtype=np.float32))
    return tensor


def main(address: str) -> None:
    """Prints what the server answers."""
    server = client.InferenceServerClient(address, concurrency=8)
    print("ready:", server.is_server_ready(), server.is_model_ready("digits"))
    print("metadata:", server.get_model_metadata("digits"))
    result = server.infer("digits", [pixels(4)], request_id="four at once")
    print("probabilities:", result.as_numpy("probabilities").shape)
    best = client.InferRequestedOutput("probabilities", class_count=2)
    print("best two:", server.infer("digits", [pixels(1)], outputs=[best]).as_numpy("probabilities"))
    # Many in flight: the server runs them together.
    waiting = [server.async_infer("digits", [pixels(1)]) for _ in range(32)]
    print("answers:", len([one.get_result() for one in waiting]))


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:8000")
