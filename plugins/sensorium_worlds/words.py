"""What is said of a scene: captions, tags, and questions with answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sensorium_worlds.scene import COLOURS, DIGITS, MIDDLE, PLACES, Item

TEMPLATES = (
    ("{}", "a {colour} {digit} at the {place}", " and "),
    ("there is {}", "a {colour} {digit} at the {place}", " and "),
    ("{}", "at the {place} a {colour} {digit}", ", "),
    ("{} can be seen", "a {colour} {digit} in the {place} corner", " and "),
    ("a picture of {}", "a {digit} in {colour} at the {place}", " and "),
)
"""Frame, words for one item, and what joins several."""
ALONE = ("a {} {}", "there is a {} {}", "one {} {}", "a {} {} can be seen", "a picture of a {} {}")
"""Words for the colour and digit of the one item that has no place to be named."""
TYPES = ("colour", "digit", "exists", "count")
"""What a question asks for."""
COUNTS = ("one", "two", "three", "four")


def captions(items: Sequence[Item]) -> list[str]:
    """Returns one caption for each template; items are named row by row."""
    if items[0].place == MIDDLE:
        return [words.format(items[0].colour, items[0].digit) for words in ALONE]
    ordered = sorted(items, key=lambda item: PLACES.index(item.place))
    return [
        frame.format(joint.join(words.format(colour=i.colour, digit=i.digit, place=i.place) for i in ordered))
        for frame, words, joint in TEMPLATES
    ]


def triples(caption: str) -> set[tuple[str, str, str]]:
    """Returns what a caption says: (colour, digit, place), by any of the templates."""
    found = set()
    for part in caption.replace(",", " and ").split(" and "):
        words = part.split()
        colours = [word for word in words if word in COLOURS]
        digits = [word for word in words if word in DIGITS]
        places = [place for place in PLACES if place in part]
        if len(colours) == len(digits) == len(places) == 1:
            found.add((colours[0], digits[0], places[0]))
    return found


def tags(items: Sequence[Item]) -> list[str]:
    """Returns what is in the scene, each property with its place: `top left three`, `top left red`; or alone: `red`."""
    if items[0].place == MIDDLE:
        return sorted((items[0].colour, items[0].digit))
    return sorted({f"{item.place} {word}" for item in items for word in (item.colour, item.digit)})


def things(items: Sequence[Item]) -> list[str]:
    """Returns what is in the scene, wherever it lies: `red three`."""
    return sorted({f"{item.colour} {item.digit}" for item in items})


def properties(items: Sequence[Item]) -> list[str]:
    """Returns which colours and digits are in the scene, each by itself and wherever it lies: `red`, `three`."""
    return sorted({word for item in items for word in (item.colour, item.digit)})


def attributes(items: Sequence[Item]) -> list[str]:
    """Returns what is in the scene, each word by itself: `red`, `three`, `red three`, `top left`."""
    return sorted({word for i in items for word in (i.colour, i.digit, f"{i.colour} {i.digit}", i.place)})


@dataclass(frozen=True)
class Question:
    """A question about a scene.

    Attributes:
        kind: One of `TYPES`.
        text: Its words.
        answer: A word.
        wanted: The item that it is about; None for a count.
        absent: Whether the item is not in the scene.
    """

    kind: str
    text: str
    answer: str
    wanted: Item | None = None
    absent: bool = False


def pair(kind: str, random: np.random.Generator, most: int = 3) -> tuple[Question, Question]:
    """Returns one question twice, with two answers, each answer of its type equally likely; counts are 1 to `most`.

    A world asks the first of one scene and the second of another, so that the question alone tells
    nothing (Goyal et al. 2017, section 3).
    """
    colour, other_colour = _two(tuple(COLOURS), random)
    digit, other_digit = _two(DIGITS, random)
    place = str(random.choice(PLACES))
    if kind == "colour":
        text = f"what colour is the {digit}"
        return tuple(Question(kind, text, each, Item(digit, each, place, -1)) for each in (colour, other_colour))  # type: ignore[return-value]
    if kind == "digit":
        text = f"which digit is {colour}"
        return tuple(Question(kind, text, each, Item(each, colour, place, -1)) for each in (digit, other_digit))  # type: ignore[return-value]
    if kind == "exists":
        text, item = f"is there a {colour} {digit}", Item(digit, colour, place, -1)
        return Question(kind, text, "yes", item), Question(kind, text, "no", item, absent=True)
    first, second = _two(COUNTS[:most], random)
    text = "how many digits are there"
    return Question(kind, text, first), Question(kind, text, second)


def answers(kind: str) -> tuple[str, ...]:
    """Returns the answers that a type of question may have."""
    return {"colour": tuple(COLOURS), "digit": DIGITS, "exists": ("yes", "no"), "count": COUNTS}[kind]


def _two(words: Sequence[str], random: np.random.Generator) -> tuple[str, str]:
    first, second = random.choice(len(words), 2, replace=False)
    return words[first], words[second]
