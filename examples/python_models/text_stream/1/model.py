"""A small language model that streams: word pairs of a text, walked one word at a time.

Runs as `python model.py`, as `argosy serve model.py`, and in a repository, without a
configuration. The same prompt and seed give the same text.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import argosy

TEXT = """
the ship left the harbour at dawn and the wind was fair . the crew set the sails and the ship ran before the wind .
at noon the wind fell and the sea was calm . the crew sang and the captain read the chart . at dusk the wind rose
and the ship left the calm sea behind . the captain saw the light of the harbour and the crew saw the shore .
"""


class TextStream(argosy.Model):
    longest: int = 200  # words; a parameter of config.pbtxt may change it

    def setup(self) -> None:
        words = TEXT.split()
        self.followers: dict[str, list[str]] = {}
        for word, follower in zip(words, words[1:] + words[:1], strict=True):
            self.followers.setdefault(word, []).append(follower)

    def predict(self, prompt: str, words: int = 20, seed: int = 0) -> Iterator[str]:
        if not 0 <= words <= self.longest:
            raise argosy.InvalidArgument(f"input 'words': expected 0 to {self.longest}, got {words}")
        choice = random.Random(f"{prompt} {seed}")
        word = next((one for one in reversed(prompt.lower().split()) if one in self.followers), ".")
        for _ in range(words):
            word = choice.choice(self.followers[word])
            yield word


if __name__ == "__main__":
    TextStream.serve()
