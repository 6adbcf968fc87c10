"""Trains model_repository/digits: handwritten digits, 8x8 pixels, a two-layer network.

The data are the 1,797 images of the UCI digits set that ship inside scikit-learn. A
quarter is kept for testing; the accuracy on it is printed. Training takes seconds.

Needs: pip install onnx numpy scikit-learn
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits

HIDDEN, EPOCHS, BATCH, RATE, SEED = 64, 200, 64, 0.1, 7


def train() -> tuple[list[np.ndarray], float]:
    """Weights [w1 (64, HIDDEN), b1, w2 (HIDDEN, 10), b2] as float32, and the test accuracy in 0..1."""
    random = np.random.default_rng(SEED)
    images, labels = load_digits(return_X_y=True)
    images = (images / 16.0).astype(np.float32)
    order = random.permutation(len(images))
    test, fit = order[: len(order) // 4], order[len(order) // 4 :]
    w1 = random.normal(0, np.sqrt(2 / 64), (64, HIDDEN)).astype(np.float32)
    w2 = random.normal(0, np.sqrt(2 / HIDDEN), (HIDDEN, 10)).astype(np.float32)
    b1, b2 = np.zeros(HIDDEN, np.float32), np.zeros(10, np.float32)
    for _ in range(EPOCHS):
        random.shuffle(fit)
        for start in range(0, len(fit), BATCH):
            chosen = fit[start : start + BATCH]
            x = images[chosen]
            hidden = np.maximum(x @ w1 + b1, 0)
            error = softmax(hidden @ w2 + b2)
            error[np.arange(len(chosen)), labels[chosen]] -= 1
            error /= len(chosen)
            back = (error @ w2.T) * (hidden > 0)
            w2 -= RATE * (hidden.T @ error)
            b2 -= RATE * error.sum(0)
            w1 -= RATE * (x.T @ back)
            b1 -= RATE * back.sum(0)
    guesses = (np.maximum(images[test] @ w1 + b1, 0) @ w2 + b2).argmax(1)
    return [w1, b1, w2, b2], float((guesses == labels[test]).mean())


def softmax(logits: np.ndarray) -> np.ndarray:
    """Row-wise, shape kept."""
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def export(weights: list[np.ndarray]) -> onnx.ModelProto:
    """pixels FP32 [rows, 64] in 0..1 -> probabilities FP32 [rows, 10]."""
    names = ("w1", "b1", "w2", "b2")
    graph = helper.make_graph(
        [
            helper.make_node("Gemm", ["pixels", "w1", "b1"], ["sums"]),
            helper.make_node("Relu", ["sums"], ["hidden"]),
            helper.make_node("Gemm", ["hidden", "w2", "b2"], ["logits"]),
            helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
        ],
        "digits",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["rows", 64])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["rows", 10])],
        [numpy_helper.from_array(value, name) for name, value in zip(names, weights, strict=True)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model


if __name__ == "__main__":
    weights, accuracy = train()
    target = Path(__file__).resolve().parents[2] / "model_repository" / "digits" / "1" / "model.onnx"
    onnx.save(export(weights), target)
    print(f"accuracy on the test quarter {accuracy:.3f}, wrote {target}")
