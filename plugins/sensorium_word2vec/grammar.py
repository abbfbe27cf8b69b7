"""The world `grammar`: sentences of a small made-up English, in which words have a sex and a number.

Every sentence is a function of seed and index alone.
"""

from __future__ import annotations

from itertools import permutations
from typing import ClassVar

import numpy as np

from sensorium import Dataset, Sample, Source, Split

ROLES = {
    ("king", "queen"): ("rules", "crowns", "throne", "palace"),
    ("man", "woman"): ("shaves", "greets", "coat", "neighbour"),
    ("boy", "girl"): ("kicks", "draws", "ball", "kite"),
    ("father", "mother"): ("feeds", "teaches", "baby", "cradle"),
    ("uncle", "aunt"): ("visits", "spoils", "nephew", "cousin"),
    ("prince", "princess"): ("inherits", "rides", "castle", "pony"),
    ("actor", "actress"): ("plays", "rehearses", "part", "stage"),
    ("waiter", "waitress"): ("serves", "carries", "dish", "tray"),
    ("host", "hostess"): ("invites", "welcomes", "guest", "party"),
    ("duke", "duchess"): ("owns", "hunts", "estate", "forest"),
    ("monk", "nun"): ("prays", "sings", "psalm", "chapel"),
    ("wizard", "witch"): ("brews", "curses", "potion", "broom"),
    ("steward", "stewardess"): ("boards", "cleans", "plane", "cabin"),
    ("hero", "heroine"): ("saves", "fights", "village", "dragon"),
    ("heir", "heiress"): ("wastes", "counts", "fortune", "jewel"),
}
"""He and she -> two things that they do, and two that they do it to."""
PLURALS = {"man": "men", "woman": "women", "wizard": "wizards", "hero": "heroes", "witch": "witches", "boy": "boys"}
ONE, MANY = ("a", "this", "every", "one"), ("two", "these", "many", "some")
HE, SHE = ("his", "him", "himself"), ("her", "hers", "herself")


class Grammar(Dataset):
    """Sentences to learn from, and the analogies that hold in them."""

    fields: ClassVar[dict[str, str]] = {
        "text": "text",
        "word": "text",
        "minus": "text",
        "plus": "text",
        "answer": "text",
    }
    splits = ("train", "test")

    class Config(Dataset.Config):
        """How much is said."""

        train: int = 12_000
        """Sentences."""
        shuffle: bool = False
        """Whether the words of all sentences are dealt out at random (control: no word says what stands near)."""
        seed: int = 0
        """Seed of the world."""

        def __post_init__(self) -> None:
            if self.train < 1:
                raise ValueError("train is at least 1.")

    config: Config

    def open(self, split: str) -> Split:
        """Returns the sentences, or the analogies."""
        return Questions() if split == "test" else Sentences(self.config)


class Sentences:
    """Sentences of five words."""

    def __init__(self, config: Grammar.Config) -> None:
        self.sentences = [sentence(np.random.default_rng([config.seed, index])) for index in range(config.train)]
        if config.shuffle:
            words = [word for words in self.sentences for word in words]
            dealt = np.random.default_rng([config.seed, config.train, 1]).permutation(len(words))
            self.sentences = np.array(words)[dealt].reshape(len(self.sentences), -1).tolist()
        self.sources = [Source("", range(config.train), frozenset({"text"}))]

    def __len__(self) -> int:
        return len(self.sentences)

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self):
            raise IndexError(index)
        return {"id": f"train/{index}", "text": " ".join(self.sentences[index])}


class Questions:
    """What is to a word as a second one is to a third, each pair of pairs once."""

    def __init__(self) -> None:
        men, women = zip(*ROLES, strict=True)
        kinds = {
            "she": list(ROLES),
            "plural of he": [(word, plural(word)) for word in men],
            "plural of she": [(word, plural(word)) for word in women],
            "she, several": [(plural(he), plural(she)) for he, she in ROLES],
        }
        self.asked = [(kind, one, other) for kind, pairs in kinds.items() for one, other in permutations(pairs, 2)]
        self.sources = [Source("", range(len(self.asked)), frozenset(Grammar.fields) - {"text"})]

    def __len__(self) -> int:
        return len(self.asked)

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self):
            raise IndexError(index)
        kind, (minus, word), (plus, answer) = self.asked[index]
        return {
            "id": f"test/{index}",
            "word": word,
            "minus": minus,
            "plus": plus,
            "answer": answer,
            "section": kind,
        }


def sentence(random: np.random.Generator) -> list[str]:
    """Returns five words: somebody does something to something of his, or it belongs to somebody."""
    pair = list(ROLES)[random.integers(len(ROLES))]
    first, second, this, that = ROLES[pair]
    she, several = random.integers(2, size=2)
    noun = plural(pair[she]) if several else pair[she]
    some = (MANY if several else ONE)[random.integers(4)]
    own = (SHE if she else HE)[random.integers(3)]
    does, what = (first, second)[random.integers(2)], (this, that)[random.integers(2)]
    orders = ([some, noun, does, own, what], [what, own, does, some, noun], [own, some, noun, does, what])
    return orders[random.integers(3)]


def plural(noun: str) -> str:
    """Returns several of them."""
    return PLURALS.get(noun, f"{noun}es" if noun.endswith("s") else f"{noun}s")
