"""What an evaluation of CLIP shows: a matrix, a grid of what was found, and two sentences.

Shapes: N samples of a split, D channels of the space.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from sensorium import Modality, Rows, Split
from sensorium.builtin.modalities.image import Image
from sensorium.ops.plots import Tile, figure, in_rows, png, sheet

SHOWN = 8


def plots(
    rows: Rows, split: Split, modalities: Mapping[str, Modality], fields: tuple[str, str | None]
) -> dict[str, bytes]:
    """Returns `similarity.png`, and `retrieval.png` where pictures are searched by words.

    Args:
        rows: Rows of the whole split.
        split: Where the samples come from.
        modalities: Field -> modality.
        fields: The field that is seen or heard, and the one of words.
    """
    first, second = [name for name in rows if name.startswith("embedding.")]
    some = _spread(len(rows[first]), 40)
    made = {"similarity.png": _matrix(rows[first][some] @ rows[second][some].T, first, second)}
    seen, words = fields
    image = modalities[seen]
    if words is not None and isinstance(image, Image):
        made["retrieval.png"] = _grid(rows, split, image, seen, words)
    return made


def examples(rows: Rows, split: Split, label: tuple[str, Sequence[str]], fields: tuple[str, str | None]) -> list[str]:
    """Returns one recognition without training on labels, and one search by words.

    Args:
        rows: Rows of the whole split.
        split: Where the samples come from.
        label: The field of the class, and the names of the classes.
        fields: The field that is seen or heard, and the one of words.
    """
    seen, words = fields
    sentences = []
    if "logits.zero_shot" in rows:
        field, names = label
        chosen = names[int(rows["logits.zero_shot"][0].argmax())]
        truth = str(split[0][field])
        sentences.append(f"Zero-shot: {seen} {rows['id'][0]} is recognised as {chosen!r}; it is {truth!r}.")
    if words is not None:
        query = str(split[0][words])
        found = _search(rows, 0, words, seen)
        right = [rows["group"][i] == rows["group"][0] for i in found]
        listing = ", ".join(
            f"{rows['id'][i]} ({'right' if ok else 'wrong'})" for i, ok in zip(found, right, strict=True)
        )
        sentences.append(f"Retrieval: {query!r} finds {listing}.")
    return sentences


def _search(rows: Rows, query: int, of: str, among: str, count: int = 3) -> list[int]:
    similarity: Tensor = rows[f"embedding.{among}"] @ rows[f"embedding.{of}"][query]
    return similarity.topk(min(count, len(similarity))).indices.tolist()


def _spread(total: int, count: int) -> Tensor:
    return torch.linspace(0, total - 1, min(total, count)).long()


def _matrix(similarity: Tensor, first: str, second: str) -> bytes:
    drawing = figure(5, 4.4)
    axes = drawing.add_subplot()
    drawn = axes.imshow(similarity.numpy(), cmap="magma")
    axes.set_ylabel(first.partition(".")[2], parse_math=False)
    axes.set_xlabel(second.partition(".")[2], parse_math=False)
    drawing.colorbar(drawn, label="cosine similarity")
    return png(drawing)


def _grid(rows: Rows, split: Split, image: Image, seen: str, words: str) -> bytes:
    tiles = []
    for query in _spread(len(rows["id"]), SHOWN).tolist():
        best = _search(rows, query, seen, words, 1)[0]
        right = rows["group"][best] == rows["group"][query]
        told = str(split[best][words])[:40]
        tiles.append(Tile(image.seen(split[query][seen]), told, "green" if right else "red"))
    return sheet(in_rows(tiles, 4), (2.2, 2.6))
