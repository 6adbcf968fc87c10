"""Pictures of single lines on their way into the classifier and the recogniser, and text on its way out."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from pictures import Picture, normalised

HEIGHT = 48  # of every line, pixels
TURN_WIDTH, SPELL_WIDTH = 192, 320  # what the classifier wants, and the least that the recogniser gets
UPSIDE_DOWN, CERTAIN = 1, 0.9
TOGETHER = 6  # lines of about one length that are recognised in one request
BLANK = 0  # the class that separates characters


def groups(lines: Sequence[Picture]) -> Iterator[list[int]]:
    """The places of lines of similar length, to be worked on together."""
    order = np.argsort(np.array([_length(line) for line in lines])).tolist()
    return (order[start : start + TOGETHER] for start in range(0, len(order), TOGETHER))


def for_classifier(lines: Sequence[Picture]) -> NDArray[np.float32]:
    """[n, 3, 48, 192]"""
    return np.stack([_padded(line, TURN_WIDTH) for line in lines])


def upright(line: Picture, probabilities: NDArray[np.float32]) -> Picture:
    """The line, turned by 180 degrees when the classifier is certain that it is upside down."""
    return cv2.rotate(line, cv2.ROTATE_180) if probabilities[UPSIDE_DOWN] > CERTAIN else line


def for_recogniser(lines: Sequence[Picture]) -> NDArray[np.float32]:
    """[n, 3, 48, width], as wide as the longest line needs."""
    width = int(HEIGHT * max(SPELL_WIDTH / HEIGHT, *(_length(line) for line in lines)))
    return np.stack([_padded(line, width) for line in lines])


def spelled(probabilities: NDArray[np.float32], characters: Sequence[str]) -> tuple[str, float]:
    """The text of one line and the mean probability of its characters, from [places, characters].

    A character may fill several places; a blank between two equal ones tells them apart.
    """
    best = probabilities.argmax(axis=1)
    starts = np.ones(len(best), bool)
    starts[1:] = best[1:] != best[:-1]
    kept = starts & (best != BLANK)
    if not kept.any():
        return "", 0.0
    text = "".join(characters[index] for index in best[kept])
    return text, float(probabilities[kept, best[kept]].mean())


def _length(line: Picture) -> float:
    return float(line.shape[1] / line.shape[0])


def _padded(line: Picture, width: int) -> NDArray[np.float32]:
    own = min(width, math.ceil(HEIGHT * _length(line)))
    out = np.zeros((3, HEIGHT, width), np.float32)
    out[:, :, :own] = normalised(cv2.resize(line, (own, HEIGHT)))
    return out
