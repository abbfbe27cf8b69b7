"""What modalities that never met have to do with one another, and what sums of their embeddings find.

Shapes: N samples of a split, S channels of the space, H and W rows and columns of a map.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from sensorium import Batch, Rows
from sensorium.builtin.judging import shares
from sensorium.ops.boxes import highest

FINE = 64
"""Cells along each side in which a map is compared with boxes."""


def across(rows: Rows, seen: str, first: str, *others: str) -> dict[str, float]:
    """Returns what modalities find of one another, what sums find, what is located, and what is drawn.

    Args:
        rows: What was evaluated; what it lacks is not measured.
        seen: Field of the pictures.
        first: What is searched, located and drawn by.
        others: Other modalities that are bound.
    """
    there = [name for name in others if f"embedding.{name}" in rows]
    found = emergent(rows, first, there) if "target" in rows and f"embedding.{first}" in rows else {}
    if "sum" in rows and f"embedding.{seen}" in rows:
        found |= arithmetic(rows, seen, first)
    if "located_first" in rows:
        found["located"] = float(rows["located_first"].double().mean())
    return found | shares(rows, "drawn")


def emergent(rows: Rows, first: str, others: Sequence[str]) -> dict[str, float]:
    """Returns `{first}_to_{other}_p1`: how often what lies nearest in another modality shows the same class.

    The partner of the query itself is left out of the search, so that what counts is the class. Queries of a class that
    the training lacked are not asked.
    """
    target = rows["target"]
    known = target >= 0
    found = {}
    for other in others:
        scores = rows[f"embedding.{first}"] @ rows[f"embedding.{other}"].T
        nearest = scores.fill_diagonal_(-torch.inf).argmax(1)
        found[f"{first}_to_{other}_p1"] = float((target[nearest] == target)[known].double().mean())
    return found


def arithmetic(rows: Rows, seen: str, first: str) -> dict[str, float]:
    """Returns how often a sum finds a picture with the class of one addend and the property of the other.

    `arithmetic` adds the words for a property to what is heard, `arithmetic_without` searches by what is heard alone,
    and `arithmetic_words` by the words alone; `arithmetic_times` is how often the first is as good as the better of
    the others. Samples of a class or property that the training lacked are not asked about.
    """
    target, owned, asked = rows["target"], rows["property"], rows["asked"]
    gallery, known = rows[f"embedding.{seen}"], (target >= 0) & (owned >= 0)

    def exact(query: Tensor) -> float:
        nearest = (query @ gallery.T).argmax(1)
        return float(((target[nearest] == target) & (owned[nearest] == asked))[known].double().mean())

    both, alone, words = exact(rows["sum"]), exact(rows[f"embedding.{first}"]), exact(rows["added"])
    return {
        "arithmetic": both,
        "arithmetic_without": alone,
        "arithmetic_words": words,
        "arithmetic_times": both / max(alone, words, 1 / max(int(known.sum()), 1)),
    }


def located(heat: Tensor, boxes: Sequence[Sequence[float]]) -> int:
    """Returns which of several boxes holds the highest value of a map.

    Args:
        heat: (H, W).
        boxes: Left, top, right and bottom of each, as shares of the sides.
    """
    grown = F.interpolate(heat[None, None].float(), (FINE, FINE), mode="bilinear")[0, 0]
    return highest(grown, [[FINE * edge for edge in box] for box in boxes])


def joined(embeddings: Mapping[str, Tensor]) -> Tensor:
    """Returns the direction of a sum of embeddings, (N, S)."""
    return F.normalize(torch.stack(list(embeddings.values())).sum(0), dim=-1)


def keys(batch: Batch, name: str) -> list[str]:
    """Returns what tells values of a field apart, for `retrieval`: a text itself, or the sample's id."""
    return [str(sample[name] if isinstance(sample[name], str) else sample["id"]) for sample in batch.samples]
