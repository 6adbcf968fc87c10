"""Reads the text in a picture: finds lines, turns those that are upside down, spells them.

The three networks are models of the same server. While one waits for them the next
pictures are worked on, and lines of different pictures run in one batch.

Needs: numpy, opencv-python-headless (or opencv-python)
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, TypedDict

import argosy
import boxes
import lines
import numpy as np
import pictures
from numpy.typing import NDArray


class Text(TypedDict):
    """One entry per line, in reading order."""

    text: list[str]
    score: NDArray[np.float32]  # 0 to 1
    box: Annotated[NDArray[np.float32], (-1, 4, 2)]  # corners (x, y), clockwise from the upper left, in pixels


class ReadText(argosy.Model):
    least_score: float = 0.5  # lines below are left out

    def setup(self) -> None:
        names = Path(__file__).with_name("characters.txt").read_text(encoding="utf-8").split("\n")
        self.characters = ["", *names, " "]

    async def predict(
        self,
        file: bytes | None = None,
        pixels: Annotated[NDArray[np.uint8], (-1, -1, 3)] | None = None,
    ) -> Text:
        """`file`: a PNG or JPEG; or `pixels`: [height, width, 3], red first."""
        if (file is None) == (pixels is None):
            raise argosy.InvalidArgument("expected one of the inputs 'file' and 'pixels'")
        if pixels is not None and not pixels.size:
            raise argosy.InvalidArgument(f"input 'pixels': expected a picture, got shape {list(pixels.shape)}")
        fitted = pictures.Fitted(np.ascontiguousarray(pixels[..., ::-1]) if file is None else pictures.decoded(file))

        found = await argosy.bls.infer_async("find_text", {"x": pictures.for_detector(fitted.picture)})
        areas = boxes.found_in(_only(found)[0, 0], fitted.picture)
        if not areas:
            return _text([])
        cuts = [boxes.cut_out(fitted.picture, area) for area in areas]
        read: dict[int, tuple[str, float]] = {}
        for group in await asyncio.gather(*(self.spell(cuts, places) for places in lines.groups(cuts))):
            read.update(group)
        corners = [fitted.to_original(area) for area in areas]
        return _text([(*read[at], corner) for at, corner in enumerate(corners) if read[at][1] >= self.least_score])

    async def spell(self, cuts: list[pictures.Picture], places: list[int]) -> dict[int, tuple[str, float]]:
        """Text and score of some of the lines, by place."""
        group = [cuts[place] for place in places]
        turned = await argosy.bls.infer_async("turn_text", {"x": lines.for_classifier(group)})
        group = [lines.upright(line, one) for line, one in zip(group, _only(turned), strict=True)]
        if self.request.cancelled:  # nobody reads the answer
            raise argosy.Cancelled("the caller left")
        said = await argosy.bls.infer_async("spell_text", {"x": lines.for_recogniser(group)})
        return {place: lines.spelled(one, self.characters) for place, one in zip(places, _only(said), strict=True)}


def _only(outputs: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
    (array,) = outputs.values()
    return array


def _text(found: list[tuple[str, float, NDArray[np.float32]]]) -> Text:
    return Text(
        text=[text for text, _, _ in found],
        score=np.array([score for _, score, _ in found], np.float32),
        box=np.array([box for _, _, box in found], np.float32).reshape(-1, 4, 2),
    )
