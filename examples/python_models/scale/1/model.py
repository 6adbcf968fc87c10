"""The smallest model of several rows: multiplies vectors, many requests in one call."""

from __future__ import annotations

import argosy
import numpy as np
from numpy.typing import NDArray


class Scale(argosy.Model):
    max_batch_size = 64
    max_queue_delay_us = 200
    factor: float = 2.0

    def predict(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        return x * np.float32(self.factor)


if __name__ == "__main__":
    Scale.serve()
