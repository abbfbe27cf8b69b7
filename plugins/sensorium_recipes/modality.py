"""Recipes: a list of ingredients and a list of instructions, as words with one vocabulary.

Shapes: B samples, S items of a list, T tokens of an item.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Generator, Tensor

from sensorium import MediaError, Modality, Padded
from sensorium.builtin.modalities.text import PAD, Text
from sensorium.builtin.values import shown

LISTS = ("ingredients", "instructions")


class Recipe(Modality):
    """A recipe: `ingredients` and `instructions`, a list of texts each, of one at least."""

    form = "recipe"
    learns = True
    limits = ("max_characters",)

    class Config(Modality.Config):
        """How much of a recipe is read, and how its texts are cut into words."""

        max_items: int = 20
        """Ingredients, and instructions, that are read at most; the rest is cut off."""
        max_length: int = 32
        """Tokens of an ingredient or instruction at most, <bos> and <eos> included; the rest is cut off."""
        vocabulary_size: int = 8192
        """Largest number of words that are known, the most frequent ones."""
        lowercase: bool = True
        """Takes capital letters for small ones."""
        max_characters: int = 100_000
        """Characters above which a text is refused."""

        def __post_init__(self) -> None:
            if self.max_items < 1:
                raise ValueError("max_items is at least 1.")

    config: Config

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.text = Text(
            Text.Config(
                vocabulary_size=config.vocabulary_size,
                max_length=config.max_length,
                max_characters=config.max_characters,
                lowercase=config.lowercase,
            )
        )
        self.shape = (None,)

    def decode(self, raw: Any) -> dict[str, list[str]]:
        """Returns both lists.

        Raises:
            MediaError: It is something else, or a list is empty.
        """
        if not isinstance(raw, Mapping) or set(raw) != set(LISTS):
            raise MediaError(f"{shown(raw)} is not a recipe.", f"{' and '.join(LISTS)} were expected, a list each.")
        found = {}
        for name in LISTS:
            items = raw[name]
            if not isinstance(items, (list, tuple)) or not items:
                raise MediaError(f"The {name} of a recipe are {shown(items)}.", "A list of texts was expected.")
            found[name] = [self.text.decode(item) for item in items[: self.config.max_items]]
        return found

    def cost(self, raw: Any) -> int:
        """Returns the bytes that cutting it into tokens takes."""
        lists = raw.values() if isinstance(raw, Mapping) else ()
        return sum(self.text.cost(item) for each in lists if isinstance(each, (list, tuple)) for item in each)

    def transform(self, value: Mapping[str, Sequence[str]], random: Generator | None) -> dict[str, list[Tensor]]:
        """Returns for each list the ids of its items, (T,) int64 each."""
        return {name: [self.text.transform(item, None) for item in value[name]] for name in LISTS}

    def collate(self, values: Sequence[Mapping[str, Sequence[Tensor]]]) -> dict[str, Padded]:
        """Returns for each list the ids (B, S, T), padded with <pad>, and which items are real (B, S)."""
        return {name: _padded([value[name] for value in values]) for name in LISTS}

    def encode(self, value: Mapping[str, Sequence[Tensor]]) -> dict[str, list[str]]:
        """Returns the texts that ids stand for."""
        return {name: [self.text.encode(ids) for ids in value[name]] for name in LISTS}

    def example(self, random: Generator) -> dict[str, list[str]]:
        """Returns one to three of each, of words of the vocabulary."""
        counts = torch.randint(1, 4, (len(LISTS),), generator=random).tolist()
        return {name: [self.text.example(random) for _ in range(n)] for name, n in zip(LISTS, counts, strict=True)}

    def json_schema(self) -> dict[str, Any]:
        """Returns that it is two lists of strings."""
        texts = {"type": "array", "items": {"type": "string"}, "minItems": 1}
        return {"type": "object", "properties": dict.fromkeys(LISTS, texts), "required": list(LISTS)}

    def fit(self, values: Iterable[Any]) -> None:
        """Learns the words of both lists."""
        self.text.fit([item for value in values for items in self.decode(value).values() for item in items])
        self.vocabulary = self.text.vocabulary

    def state(self) -> dict[str, Any]:
        """Returns the words."""
        return self.text.state()

    def restore(self, state: dict[str, Any]) -> None:
        """Takes back what `state` returned."""
        self.text.restore(state)
        self.vocabulary = self.text.vocabulary


@dataclass(frozen=True)
class Lists(Padded):
    """Lists of texts: `data` (B, S, T) holds ids, `mask` (B, S) says which items are real.

    Attributes:
        words: (B, S) int64, tokens of each item, 0 for one that is not real; on the host.
    """

    on_host: ClassVar[tuple[str, ...]] = ("counted", "words")
    words: Tensor = field(default=None, kw_only=True)  # type: ignore[assignment]

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.words is None:  # which are made of `data`
            object.__setattr__(self, "words", (self.data != PAD).sum(-1).cpu())


def _padded(lists: Sequence[Sequence[Tensor]]) -> Lists:
    most = max(len(items) for items in lists)
    words = torch.tensor([[len(item) for item in items] + [0] * (most - len(items)) for items in lists])
    data = torch.zeros(len(lists), most, int(words.max()), dtype=torch.int64)
    for row, items in enumerate(lists):
        for place, item in enumerate(items):
            data[row, place, : len(item)] = item
    return Lists(data, words > 0, words=words)
