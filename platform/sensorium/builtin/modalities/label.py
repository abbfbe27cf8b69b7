"""Labels: names of classes to indices, and probabilities of classes to their names.

Shapes: B samples, C classes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from numbers import Integral
from typing import Any, Literal

import torch
from torch import Generator, Tensor

from sensorium import MediaError, Modality, UserError, unknown
from sensorium.builtin.values import clean, shown

UNKNOWN = -100
"""Index of a name that is not known; torch's cross-entropy takes no loss there."""


class Label(Modality):
    """One of the classes that the training split names.

    Attributes:
        names: The classes in the order of their indices: numbers by value, then words by letter.
    """

    form = "label"
    learns = True
    shape = ()

    class Config(Modality.Config):
        """Which names are known."""

        most: int | None = None
        """Largest number of names: the most frequent of the training split, of equally frequent the first by letter;
        None takes all."""

        unknown: Literal["refuse", "ignore"] = "refuse"
        """What a name is that is not known: a mistake, or an example without a class, from which cross-entropy
        learns nothing and which is always told wrongly."""

        def __post_init__(self) -> None:
            if self.most is not None and self.most < 1:
                raise ValueError("most is at least 1.")

    config: Config

    def __init__(self, config: Label.Config) -> None:
        super().__init__(config)
        self.restore({"names": []})

    def decode(self, raw: Any) -> str:
        """Returns the name, in NFC and without white space around it; a whole number is its own.

        Raises:
            MediaError: It is neither a string nor a whole number, or empty.
        """
        if not isinstance(raw, (str, Integral)) or isinstance(raw, bool):
            raise MediaError(f"{shown(raw)} is not a label.", "A string or a whole number was expected.")
        try:
            name = clean(str(raw))
        except ValueError as cause:  # of thousands of digits
            raise MediaError(
                f"The label is not a name ({cause}).", "A string or a whole number was expected."
            ) from cause
        if not name:
            raise MediaError("The label is empty.", "The name of a class was expected.")
        return name

    def transform(self, value: str, random: Generator | None) -> Tensor:
        """Returns the index as a scalar, int64; UNKNOWN for a name that is not known, where that is allowed.

        Raises:
            MediaError: The training split did not have this name.
        """
        if value not in self._indices:
            self._check_learnt()
            if self.config.unknown == "ignore":
                return torch.tensor(UNKNOWN)
            cause = unknown("label", value, self.names)
            raise MediaError(
                cause.wrong,
                cause.expected,
                f"{cause.hint} A name that the training split lacks is passed over with `unknown: ignore`.".strip(),
            )
        return torch.tensor(self._indices[value])

    def collate(self, values: Sequence[Tensor]) -> Tensor:
        """Returns (B,)."""
        return torch.stack(list(values))

    def encode(self, value: Tensor) -> str | dict[str, float]:
        """Returns the name of an index, empty for UNKNOWN; or name -> probability from the highest, of such (C,)."""
        self._check_learnt()
        if value.ndim == 0:
            return "" if int(value) == UNKNOWN else self.names[int(value)]
        order = torch.argsort(value, descending=True, stable=True).tolist()
        return {self.names[index]: float(value[index]) for index in order}

    def preprocessing(self) -> list[dict[str, Any]]:
        """Returns the classes."""
        return [{"step": "index", "classes": self.names, "about": f"The place of the name; {UNKNOWN} where unknown."}]

    def postprocessing(self) -> list[dict[str, Any]]:
        """Returns the classes."""
        return [{"step": "name", "classes": self.names, "about": "The probability of each class, in this order."}]

    def example(self, random: Generator) -> str:
        """Returns one of the names."""
        self._check_learnt()
        return self.names[int(torch.randint(len(self.names), (), generator=random))]

    def json_schema(self) -> dict[str, Any]:
        """Returns that it is one of the names."""
        return {"type": "string", "enum": self.names}

    def encoded_schema(self) -> dict[str, Any]:
        """Returns that it is one of the names, or a probability of each."""
        chances = {"type": "object", "additionalProperties": {"type": "number"}}
        return {"oneOf": [self.json_schema(), chances]}

    def fit(self, values: Iterable[Any]) -> None:
        """Learns the names."""
        counts = Counter(self.decode(value) for value in values)
        if not counts:
            raise UserError("There are no labels to learn names from.", "The training split is empty.")
        frequent = sorted(counts, key=lambda name: (-counts[name], _order(name)))[: self.config.most]
        self.restore({"names": sorted(frequent, key=_order)})

    def state(self) -> dict[str, Any]:
        """Returns the names."""
        return {"names": self.names}

    def restore(self, state: dict[str, Any]) -> None:
        """Takes back what `state` returned."""
        self.names: list[str] = list(state["names"])
        self._indices = {name: index for index, name in enumerate(self.names)}
        self.vocabulary = len(self.names)

    def _check_learnt(self) -> None:
        if not self.names:
            raise UserError(
                "The label modality knows no names yet.",
                "They are learnt from the training split, or restored with a checkpoint.",
                "Call fit or restore first.",
            )


def _order(name: str) -> tuple[bool, int, str]:
    number = name.isdecimal()
    return not number, int(name) if number else 0, name
