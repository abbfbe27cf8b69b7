"""Whose handwriting a world's splits draw from."""

from __future__ import annotations

from sensorium import Dataset, Split, UserError
from sensorium_worlds.scene import DIGITS

HELD = 0.1
"""Share of the source's training handwriting that only the validation split draws from."""


def check_source(source: Dataset.Config) -> None:
    """Checks the option `source` of a world.

    Raises:
        ValueError: It has an option that only the world's own splits know.
    """
    plain = Dataset.Config()
    for name in ("limit", "holdout", "broken"):
        if getattr(source, name) != getattr(plain, name):
            raise ValueError(f"source.{name} has no effect: set dataset.{name}.")


def handwriting(source: Dataset.Config, split: str) -> Split:
    """Returns the split of single digits that a world's split draws from.

    Raises:
        UserError: The source holds something else.
    """
    dataset: Dataset = source.build()
    missing = [name for name in ("image", "label") if name not in dataset.fields]
    if missing:
        raise UserError(
            f"dataset.source has no field {missing[0]!r}.",
            f"Its fields are {', '.join(dataset.fields)}; single digits were expected.",
            "Set dataset.source to digits or mnist.",
        )
    return dataset.open("test" if split == "test" else "train")


def pool_of(source: Split, split: str) -> dict[str, list[int]]:
    """Returns digit -> the handwriting that a split draws from; no two splits share any.

    Raises:
        UserError: A label is not a digit, or the split has none of some digit.
    """
    count = len(source)
    first_held = count - round(HELD * count)
    held = {"validation": range(first_held, count), "test": range(count)}
    places = held.get(split, range(first_held))
    pool: dict[str, list[int]] = {}
    for place in places:
        label = str(source[place]["label"])
        name = DIGITS[int(label)] if label.isdecimal() and int(label) < len(DIGITS) else label
        if name not in DIGITS:
            raise UserError(
                f"Sample {place} of dataset.source has the label {label!r}.", f"Single digits: {', '.join(DIGITS)}."
            )
        pool.setdefault(name, []).append(place)
    if missing := [digit for digit in DIGITS if digit not in pool]:
        raise UserError(
            f"The split {split!r} draws from {len(places)} samples of dataset.source, of which none is {missing[0]!r}.",
            f"Each digit was expected; there are {', '.join(pool) or 'none'}.",
            "Choose a source with more handwriting.",
        )
    return pool
