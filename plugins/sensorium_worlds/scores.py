"""How well sentences tell a scene: whole, by its colours, digits and places, and by where was looked.

Rows that are read: `generated` and `references`, and for where was looked `peaks`, `sample.scene`, `sample.boxes`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from sensorium import Metric, Rows, UserError
from sensorium_worlds.scene import DIGITS, PLACES
from sensorium_worlds.words import triples


class SceneWords(Metric):
    """Shares of sentences that are right as a whole, of things that are told, and of looks at the right thing."""

    needs = ("generated", "references")

    def __call__(self, rows: Rows) -> dict[str, float]:
        """Returns `exact` and, where places are named, `triples` and `pointing` (fractions of 1).

        `exact` counts sentences that are one of the references, `triples` the (colour, digit, place) of the
        scenes that are told, `pointing` the digit words said with the look's peak in the box of the digit that
        lies in the place that is named with it.

        Raises:
            UserError: The task gives no sentences.
        """
        if any(name not in rows for name in self.needs):
            raise UserError(
                "The metric 'scene_words' does not find its rows.",
                f"It reads {' and '.join(self.needs)}; the task gives {', '.join(sorted(rows)) or 'nothing'}.",
                "Choose another metric, or another task.",
            )
        exact = found = there = 0
        for said, right in zip(rows["generated"], rows["references"], strict=True):
            exact += _words(said) in [_words(each) for each in right]
            truth = triples(right[0])
            found, there = found + len(truth & triples(said)), there + len(truth)
        metrics = {"exact": exact / len(rows["generated"])}
        if not there:  # scenes of one cell name no places
            return metrics
        metrics["triples"] = found / there
        if all(name in rows for name in ("peaks", "sample.scene", "sample.boxes")):
            columns = zip(rows["peaks"], rows["sample.scene"], rows["sample.boxes"], strict=True)
            looks = [hit for row in columns for hit in pointed(*row)]
            metrics["pointing"] = sum(looks) / max(1, len(looks))
        return metrics


def pointed(
    peaks: Sequence[tuple[str, float, float]],
    scene: Sequence[Mapping[str, Any]],
    boxes: Sequence[tuple[float, float, float, float]],
) -> list[bool]:
    """Returns for each digit word of a sentence whether its peak lies in the right digit's box, its border included.

    Args:
        peaks: Each word said, with the row and column of its peak, as shares of the picture's sides.
        scene: What is in the scene, each with its `place`.
        boxes: Left, top, right, bottom of each, as shares of the picture's sides.
    """
    at = {item["place"]: box for item, box in zip(scene, boxes, strict=True)}
    parts: list[list[tuple[str, float, float]]] = [[]]
    for peak in peaks:
        if peak[0] in (",", "and"):
            parts.append([])
        else:
            parts[-1].append(peak)
    hits = []
    for part in parts:
        named = " ".join(word for word, _, _ in part)
        place = next((each for each in PLACES if each in named), None)
        for word, row, column in part:
            if word in DIGITS:
                left, top, right, bottom = at.get(place, (1.0, 1.0, 0.0, 0.0))  # nothing lies there
                hits.append(left <= column <= right and top <= row <= bottom)
    return hits


def _words(sentence: str) -> list[str]:
    return re.findall(r"\w+", sentence)
