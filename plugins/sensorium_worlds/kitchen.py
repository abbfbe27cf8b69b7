"""The world `kitchen`: three ingredients lie on one another, and a recipe says in which order.

Every record is a function of seed, split and index alone, so that workers make their own.

Shapes: S rows and columns of a picture.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from sensorium import Sample, Split
from sensorium.builtin.datasets.drawn import Drawn, DrawnSplit

INGREDIENTS = {
    "tomato": ("disc", (220, 50, 40)),
    "cheese": ("square", (245, 205, 70)),
    "lettuce": ("triangle", (90, 190, 70)),
    "ham": ("disc", (240, 150, 160)),
    "egg": ("disc", (250, 245, 225)),
    "aubergine": ("square", (110, 50, 130)),
    "carrot": ("triangle", (245, 130, 40)),
    "anchovy": ("square", (90, 130, 190)),
}
"""Name -> shape and colour."""
BASES = {
    "bun": (190, 140, 80),
    "tortilla": (225, 205, 160),
    "plate": (200, 200, 205),
    "bowl": (60, 80, 100),
    "board": (120, 85, 60),
    "leaf": (50, 95, 55),
}
"""What it all lies on -> colour."""
NAMED = {"bun": "burger", "tortilla": "wrap", "plate": "platter", "bowl": "salad"}
"""Bases whose dishes have a name; those of the others are `background`."""
AMOUNTS = ("some {}", "a little {}", "two slices of {}", "fresh {}")
LAYERS = ("add the {}", "lay {} on it", "then comes the {}", "put the {} there", "take some {} next")
"""How a layer is told; none says which one it is."""
BEFORE = ("wash your hands", "read all of it first", "clear the table")
AFTER = ("serve at once", "season with salt", "let it rest for a minute")
NOISE = 6.0
"""Deviation of the noise on each pixel, of 255."""


class Kitchen(Drawn):
    """Pictures of three ingredients on a base, and their recipes; what lies on top was added last.

    The samples of an even index of the validation and the test split, and the next, are twins: they differ in the order
    of two layers alone.
    """

    fields: ClassVar[dict[str, str]] = {"image": "image", "recipe": "recipe", "class": "label"}

    class Config(Drawn.Config):
        """How much is cooked."""

        train: int = 4000
        """Dishes of the training split."""
        held_out: int = 600
        """Dishes of the validation and of the test split."""
        side: int = 32
        """S, in pixels."""

        def __post_init__(self) -> None:
            if min(self.train, self.held_out // 2, self.side - 15) < 1:
                raise ValueError("train is at least 1, held_out at least 2, side at least 16.")

    config: Config

    def draw(self, split: str) -> Split:
        """Returns one of the splits."""
        return Dishes(split, self.config)


class Dishes(DrawnSplit):
    """One split of the world."""

    config: Kitchen.Config

    def __init__(self, split: str, config: Kitchen.Config) -> None:
        super().__init__(split, config)
        self._told: dict[int, Sample] = {}
        self._drawn: dict[int, NDArray[np.uint8]] = {}

    def narrow(self, fields: Collection[str]) -> Split:
        """Returns the same dishes, not drawn where nobody reads `image`."""
        return self if "image" in fields else Undrawn(self)

    def __getitem__(self, index: int) -> Sample:
        sample = self.told(index)
        if index not in self._drawn:  # to draw it again in each epoch would hold up small models
            random = self.random(self._home(index), 1)
            self._drawn[index] = dish(sample["base"], sample["layers"], sample["places"], self.config.side, random)
        return {**sample, "image": self._drawn[index]}

    def told(self, index: int) -> Sample:
        """Returns a dish without its picture."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        if index not in self._told:
            self._told[index] = self._cooked(index)
        return dict(self._told[index])

    def _home(self, index: int) -> int:
        """Returns what a dish and its twin follow from."""
        return index if self.split == "train" else index - index % 2

    def _cooked(self, index: int) -> Sample:
        random = self.random(self._home(index))
        base = str(random.choice(list(BASES)))
        layers = [str(name) for name in random.choice(list(INGREDIENTS), 3, replace=False)]
        places = dict(zip(layers, random.permutation(3).tolist(), strict=True))
        said = {name: LAYERS[random.integers(len(LAYERS))].format(name) for name in layers}
        listed = [AMOUNTS[random.integers(len(AMOUNTS))].format(name) for name in sorted(layers)]
        one, other = random.choice(3, 2, replace=False)
        if index != self._home(index):
            layers[one], layers[other] = layers[other], layers[one]
        before = [BEFORE[random.integers(len(BEFORE))]] * int(random.integers(2))
        after = [str(each) for each in random.choice(AFTER, random.integers(3), replace=False)]
        steps = [*before, f"take the {base}", *(said[name] for name in layers), *after]
        return {
            "id": f"{self.split}/{index}",
            "group": f"{base}: {', '.join(layers)}",
            "twin": f"{self.split}/{index ^ 1}" if self.split != "train" else "",
            "recipe": {"ingredients": [f"one {base}", *listed], "instructions": steps},
            "class": NAMED.get(base, "background"),
            "base": base,
            "layers": layers,
            "places": places,
        }


class Undrawn:
    """The dishes of a split, without their pictures."""

    def __init__(self, dishes: Dishes) -> None:
        self.dishes = dishes

    def __len__(self) -> int:
        return len(self.dishes)

    def __getitem__(self, index: int) -> Sample:
        return self.dishes.told(index)


def dish(
    base: str, layers: list[str], places: dict[str, int], side: int, random: np.random.Generator
) -> NDArray[np.uint8]:
    """Returns the picture of a dish, (S, S, 3).

    Args:
        base: What it lies on.
        layers: The ingredients, the lowest first.
        places: Ingredient -> which corner of a triangle about the middle it lies at; each two of them overlap.
        side: S.
        random: How the triangle is turned, how large the shapes are, and the noise.
    """
    rows, columns = np.mgrid[:side, :side] + 0.5
    canvas = np.full((side, side, 3), BASES[base], dtype=np.float64)
    turned = random.uniform(0, 2 * np.pi)
    sizes, turns = random.uniform(0.24, 0.28, 3) * side, random.uniform(0, 2 * np.pi, 3)
    for name in layers:
        place = places[name]
        angle = turned + place * 2 * np.pi / 3
        row, column = side * (0.5 + 0.17 * np.sin(angle)), side * (0.5 + 0.17 * np.cos(angle))
        shape, colour = INGREDIENTS[name]
        canvas[_inside(shape, rows - row, columns - column, sizes[place], turns[place])] = colour
    canvas += random.normal(0, NOISE, canvas.shape)
    drawn: NDArray[np.uint8] = canvas.clip(0, 255).astype(np.uint8)
    return drawn


def _inside(shape: str, down: NDArray[Any], across: NDArray[Any], size: float, turn: float) -> NDArray[np.bool_]:
    """Returns which pixels lie within a shape, turned by an angle."""
    along, beside = (
        np.cos(turn) * across + np.sin(turn) * down,
        np.cos(turn) * down - np.sin(turn) * across,
    )
    if shape == "disc":
        within = along**2 + beside**2 < size**2
    elif shape == "square":
        within = np.maximum(abs(along), abs(beside)) < 0.9 * size
    else:
        within = np.maximum(-beside, abs(along) * np.sqrt(3) / 2 + beside / 2) < 0.65 * size
    result: NDArray[np.bool_] = within
    return result
