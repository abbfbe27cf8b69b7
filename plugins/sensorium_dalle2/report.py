"""What an evaluation says of the embeddings and pictures that were drawn.

Shapes: N samples of a split, C channels, H rows, W columns, S channels of CLIP's space.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from sensorium import Modality, Rows
from sensorium.builtin.judging import shares
from sensorium.builtin.metrics.diversity import apart
from sensorium.ops.plots import Tile, in_rows, sheet
from sensorium_dalle2.likeness import spread, told

SHOWN = 8
"""Columns of a sheet."""


def metrics(rows: Rows) -> dict[str, float]:
    """Returns what the judge finds right, and how like real ones embeddings and pictures are.

    Beside the prior stands the linear map, by the same code:
    `cosine_*` to the embedding of the picture;
    `spread_*` of the embeddings of one sentence, against that of its pictures' (1);
    `told_*`, how well a classifier tells drawn embeddings from real ones (0.5 for not at all, 1 for at once).
    `diversity` compares the pictures drawn of a sentence, `variation_diversity` those drawn like a picture, with real
    pictures of the same sentence. Where no two samples share a sentence, there is nothing to compare with.
    """
    found = shares(rows, "judge", "variation", "ceiling")
    real, expected, sentences = rows["embedding.real"], rows["embedding.linear"], rows["sentence"]
    found["cosine_text"] = float(cosines(rows, "text").double().mean())
    spreads, differences = spread(real, sentences), apart(rows["real"], sentences)
    for name in ("prior", "linear"):
        drawn = rows[f"embedding.{name}"]
        found[f"cosine_{name}"] = float(cosines(rows, name).double().mean())
        if (own := spread(drawn, sentences)) is not None and spreads:
            found[f"spread_{name}"] = own / spreads
        if (area := told(drawn, real, expected)) is not None:
            found[f"told_{name}"] = area
    if (own := apart(rows["drawn"], sentences)) is not None and differences:
        found["diversity"] = own / differences
        found["variation_diversity"] = float(rows["apart"].double().mean()) / differences
    return found


def cosines(rows: Rows, name: str) -> Tensor:
    """Returns the cosines (N,) of embeddings of one kind to those of the pictures."""
    return F.cosine_similarity(rows[f"embedding.{name}"], rows["embedding.real"])


def sheets(rows: Rows, image: Modality) -> dict[str, bytes]:
    """Returns `drawn.png`, sentences with pictures drawn of them, and `variations.png`, pictures with two each."""
    some = torch.linspace(0, len(rows["sentence"]) - 1, min(2 * SHOWN, len(rows["sentence"]))).long().tolist()
    drawn = [Tile(image.encode(rows["drawn"][place]), rows["sentence"][place]) for place in some]
    kinds = ("real", "variation", "second")
    varied = [[Tile(image.encode(rows[kind][place])) for place in some[:SHOWN]] for kind in kinds]
    return {
        "drawn.png": sheet(in_rows(drawn, SHOWN), (1.2, 1.3), wrap=22),
        "variations.png": sheet(varied, (1.2, 1.3)),
    }
