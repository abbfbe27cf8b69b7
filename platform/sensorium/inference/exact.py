"""Examples computed together, where that gives each the digits it would have had alone."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

from torch import Tensor

from sensorium.contracts.data import map_tensors
from sensorium.errors import UserError
from sensorium.inference.predictor import Predictor, Prepared

TRIALS = 2
"""Batches of one shape and size that must give the digits of single answers before they are trusted."""

Answered = dict[str, Any] | UserError


class Exact:
    """Answers several examples, those of one shape in batches only where these change no digit.

    How a processor adds up a matrix product may depend on the number of rows. So the first batches of
    each shape and size are computed both ways and compared. A size that differs is never used again
    for that shape.
    """

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor
        self._trials: dict[tuple[Hashable, int], int] = {}

    def __call__(self, prepared: Sequence[Prepared], largest: int) -> tuple[list[Answered], list[int]]:
        """Returns what is said to each, and the size of the batch in which each was computed."""
        said: list[Answered] = []
        sizes: list[int] = []
        while len(said) < len(prepared):
            left = prepared[len(said) :]
            size = self._size(left, largest)
            answers, used = self._part(left[:size])
            said += answers
            sizes += [used] * size
        return said, sizes

    def of_any_shape(self, prepared: Sequence[Prepared], largest: int) -> list[Answered]:
        """Returns what is said to each of several examples, in their order."""
        alike: dict[Hashable, list[int]] = {}
        for place, each in enumerate(prepared):
            alike.setdefault(shape(each), []).append(place)
        said: dict[int, Answered] = {}
        for places in alike.values():
            said.update(zip(places, self([prepared[place] for place in places], largest)[0], strict=True))
        return [said[place] for place in range(len(prepared))]

    def _size(self, left: Sequence[Prepared], largest: int) -> int:
        size = 1
        while 2 * size <= min(len(left), largest):
            size *= 2
        while size > 1 and self._trials.get((shape(left[0]), size), 0) < 0:
            size //= 2
        return size

    def _part(self, part: Sequence[Prepared]) -> tuple[list[Answered], int]:
        size, key = len(part), (shape(part[0]), len(part))
        if size > 1 and self._trials.get(key, 0) >= TRIALS:
            try:
                return list(self.predictor.answer(part)), size
            except UserError:
                return [self._one(each) for each in part], 1
        alone = [self._one(each) for each in part]
        if size > 1 and not any(isinstance(each, UserError) for each in alone):
            same = list(self.predictor.answer(part)) == alone
            self._trials[key] = self._trials.get(key, 0) + 1 if same else -1
        return alone, 1

    def _one(self, each: Prepared) -> Answered:
        try:
            return self.predictor.answer([each])[0]
        except UserError as error:
            return error


def shape(prepared: Prepared) -> Hashable:
    """Returns what examples share that may be computed together: fields, and the shapes of their values."""

    def sizes(value: Any) -> Hashable:
        found: list[tuple[int, ...]] = []

        def note(tensor: Tensor) -> Tensor:
            found.append(tuple(tensor.shape))
            return tensor

        map_tensors(value, note)
        return tuple(found)

    return tuple((name, sizes(value)) for name, value in prepared.values.items())
