"""Boxes around lines of text: from the detector's map, in reading order, and the pictures inside them.

A box is four corners (x, y), clockwise from the upper left.
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray
from pictures import Picture

TEXT = 0.3  # a pixel of the map above this belongs to text
SURE = 0.5  # mean of a box below this: not text after all
GROWTH = 1.6  # the map marks the core of a line; its box grows by GROWTH * area / outline on each side
MOST_BOXES = 1000
SAME_ROW = 10  # pixels between upper edges of boxes that stand beside each other

Box = NDArray[np.float32]  # [4, 2]


def found_in(probabilities: NDArray[np.float32], picture: Picture) -> list[Box]:
    """The boxes of a map [height, width], in the picture's pixels and in reading order."""
    sides = np.array(picture.shape[1::-1], np.float32)
    scale = sides / np.array(probabilities.shape[::-1], np.float32)
    boxes = []
    for corners in _rectangles(probabilities):
        box = np.clip(np.round(corners * scale), 0, sides - 1).astype(np.float32)
        if min(np.linalg.norm(box[1] - box[0]), np.linalg.norm(box[3] - box[0])) >= 4:
            boxes.append(box)
    return _in_reading_order(boxes)


def cut_out(picture: Picture, box: Box) -> Picture:
    """The line in a box, level; one that stands upright is laid on its side."""
    width = int(max(np.linalg.norm(box[1] - box[0]), np.linalg.norm(box[2] - box[3])))
    height = int(max(np.linalg.norm(box[3] - box[0]), np.linalg.norm(box[2] - box[1])))
    target = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    turn = cv2.getPerspectiveTransform(box, target)
    line = cv2.warpPerspective(picture, turn, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.rot90(line) if height >= 1.5 * width else line


def _rectangles(probabilities: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    marked = cv2.dilate((probabilities > TEXT).astype(np.uint8), np.ones((2, 2), np.uint8))
    contours, _ = cv2.findContours(marked, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    for contour in contours[:MOST_BOXES]:
        middle, (width, height), angle = cv2.minAreaRect(contour)
        if min(width, height) < 3 or _mean_inside(probabilities, (middle, (width, height), angle)) < SURE:
            continue
        # The same distance on every side; whole pixels, because the recogniser expects lines cut like that.
        more = GROWTH * width * height / (width + height)
        yield _clockwise(np.round(cv2.boxPoints((middle, (width + more, height + more), angle))))


def _mean_inside(
    values: NDArray[np.float32], rectangle: tuple[tuple[float, float], tuple[float, float], float]
) -> float:
    corners = cv2.boxPoints(rectangle)
    height, width = values.shape
    left, top = np.clip(np.floor(corners.min(axis=0)).astype(int), 0, (width - 1, height - 1))
    right, bottom = np.clip(np.ceil(corners.max(axis=0)).astype(int), 0, (width - 1, height - 1))
    inside = np.zeros((bottom - top + 1, right - left + 1), np.uint8)
    cv2.fillConvexPoly(inside, (corners - (left, top)).astype(np.int32), 1)
    return float(cv2.mean(values[top : bottom + 1, left : right + 1], inside)[0])


def _clockwise(corners: NDArray[np.float32]) -> NDArray[np.float32]:
    by_x = corners[np.argsort(corners[:, 0])]
    left, right = by_x[:2], by_x[2:]
    upper_left, lower_left = left[np.argsort(left[:, 1])]
    upper_right, lower_right = right[np.argsort(right[:, 1])]
    return np.stack([upper_left, upper_right, lower_right, lower_left])


def _in_reading_order(boxes: list[Box]) -> list[Box]:
    ordered: list[Box] = []
    for box in sorted(boxes, key=lambda one: (one[0, 1], one[0, 0])):
        at = len(ordered)
        while at and box[0, 1] - ordered[at - 1][0, 1] < SAME_ROW and box[0, 0] < ordered[at - 1][0, 0]:
            at -= 1
        ordered.insert(at, box)
    return ordered
