"""Pictures on their way into the models: decoding, sizes that fit, and the way back for coordinates."""

from __future__ import annotations

import argosy
import cv2
import numpy as np
from numpy.typing import NDArray

LONGEST, SHORTEST = 2000, 30  # sides of a picture that is searched, pixels
WIDEST = 8  # width to height; wider ones, a single line, get a margin above and below
DETECTOR_SHORTEST = 736

Picture = NDArray[np.uint8]  # [height, width, 3], blue first


def decoded(file: bytes) -> Picture:
    """A PNG, JPEG or what else OpenCV reads. Raises InvalidArgument for anything else."""
    picture = cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_COLOR) if file else None
    if picture is None:
        raise argosy.InvalidArgument(f"input 'file': expected a picture, got {len(file)} bytes that are none")
    return picture


class Fitted:
    """A picture resized and padded for the search, which remembers how."""

    def __init__(self, original: Picture) -> None:
        self.size = original.shape[:2]
        picture = original
        if max(self.size) > LONGEST:
            picture = _resized(picture, LONGEST / max(self.size))
        if min(picture.shape[:2]) < SHORTEST:
            picture = _resized(picture, SHORTEST / min(picture.shape[:2]))
        height, width = picture.shape[:2]
        self.scale = np.array([self.size[1] / width, self.size[0] / height], np.float32)
        self.margin = 0
        if height <= SHORTEST or width / height > WIDEST:
            self.margin = abs(2 * max(width // WIDEST, SHORTEST) - height) // 2
            picture = cv2.copyMakeBorder(picture, self.margin, self.margin, 0, 0, cv2.BORDER_CONSTANT, value=(0, 0, 0))
        self.picture: Picture = picture

    def to_original(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """Points [..., 2] of the fitted picture as (x, y) in the original one."""
        moved = (points - np.array([0, self.margin], np.float32)) * self.scale
        return np.clip(moved, 0, np.array(self.size[::-1], np.float32)).astype(np.float32)


def for_detector(picture: Picture) -> NDArray[np.float32]:
    """[1, 3, height, width], values -1 to 1, sides multiples of 32."""
    return normalised(_resized(picture, max(1.0, DETECTOR_SHORTEST / min(picture.shape[:2]))))[np.newaxis]


def normalised(picture: Picture) -> NDArray[np.float32]:
    """[3, height, width], values -1 to 1."""
    return np.ascontiguousarray(picture.transpose(2, 0, 1), np.float32) / np.float32(127.5) - np.float32(1)


def _resized(picture: Picture, factor: float) -> Picture:
    height, width = (max(32, round(int(side * factor) / 32) * 32) for side in picture.shape[:2])
    return cv2.resize(picture, (width, height))
