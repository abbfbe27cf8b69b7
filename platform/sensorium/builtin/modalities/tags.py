"""Tags: any number of names, as a vector of ones and zeros.

Shapes: B samples, C tags.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Generator, Tensor

from sensorium import MediaError, Modality, UserError
from sensorium.builtin.values import clean, shown

MOST = 100_000
"""Tags of one sample above which it is refused."""


class Tags(Modality):
    """Those of the tags that the training split names which are true of a sample.

    Attributes:
        names: The tags in the order of their columns, by letter.
    """

    form = "tags"
    learns = True

    def __init__(self, config: Tags.Config) -> None:
        super().__init__(config)
        self.restore({"names": []})

    def decode(self, raw: Any) -> list[str]:
        """Returns the names, in NFC and without white space around them.

        Raises:
            MediaError: It is not a list of strings, or too long a one.
        """
        if not isinstance(raw, (list, tuple)) or not all(isinstance(name, str) for name in raw):
            raise MediaError(f"The tags {shown(raw)} are a {type(raw).__name__}.", "A list of strings was expected.")
        if len(raw) > MOST:
            raise MediaError(f"There are {len(raw)} tags.", f"At most {MOST} were expected.")
        return [clean(name) for name in raw]

    def transform(self, value: Sequence[str], random: Generator | None) -> Tensor:
        """Returns (C,) float32, 1 where a tag is true; tags that the training split did not have are left out."""
        self._check_learnt()
        columns = [self._columns[name] for name in value if name in self._columns]
        return torch.zeros(self.vocabulary).index_fill_(0, torch.tensor(columns, dtype=torch.int64), 1.0)

    def collate(self, values: Sequence[Tensor]) -> Tensor:
        """Returns (B, C)."""
        return torch.stack(list(values))

    def encode(self, value: Tensor) -> dict[str, float]:
        """Returns name -> probability from the highest, of what is at least 0.01, for probabilities (C,)."""
        self._check_learnt()
        order = torch.argsort(value, descending=True, stable=True).tolist()
        return {self.names[column]: float(value[column]) for column in order if value[column] >= 0.01}

    def preprocessing(self) -> list[dict[str, Any]]:
        """Returns the tags."""
        return [{"step": "mark", "tags": self.names, "about": "1.0 where a tag is true, else 0.0, in this order."}]

    def postprocessing(self) -> list[dict[str, Any]]:
        """Returns the tags."""
        return [{"step": "name", "tags": self.names, "about": "How far each tag is true, in this order."}]

    def example(self, random: Generator) -> list[str]:
        """Returns about half of the names, one at least."""
        self._check_learnt()
        chosen = torch.rand(self.vocabulary, generator=random) < 0.5
        return [name for name, take in zip(self.names, chosen.tolist(), strict=True) if take] or self.names[:1]

    def json_schema(self) -> dict[str, Any]:
        """Returns that they are some of the names."""
        return {"type": "array", "items": {"type": "string", "enum": self.names}}

    def encoded_schema(self) -> dict[str, Any]:
        """Returns that it is a probability for some of the names."""
        return {"type": "object", "additionalProperties": {"type": "number"}}

    def fit(self, values: Iterable[Any]) -> None:
        """Learns the names."""
        names = {name for value in values for name in self.decode(value)}
        if not names:
            raise UserError("There are no tags to learn names from.", "The training split names none.")
        self.restore({"names": sorted(names)})

    def state(self) -> dict[str, Any]:
        """Returns the names."""
        return {"names": self.names}

    def restore(self, state: dict[str, Any]) -> None:
        """Takes back what `state` returned."""
        self.names: list[str] = list(state["names"])
        self._columns = {name: column for column, name in enumerate(self.names)}
        self.vocabulary, self.shape = len(self.names), (len(self.names),)

    def _check_learnt(self) -> None:
        if not self.names:
            raise UserError(
                "The tags modality knows no names yet.",
                "They are learnt from the training split, or restored with a checkpoint.",
                "Call fit or restore first.",
            )
