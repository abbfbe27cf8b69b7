"""How well a voice finds a face, and how far drawn faces agree with real ones.

Rows that are read: `feature.<kind>` (N, D) of unit length, `error.<kind>` (N,), `true.<attribute>`, `r.<attribute>` and
`real_r.<attribute>` (N,), and `group`. Kinds: `voice`, what is measured; `linear`, a linear map of the mean spectrum;
`mean`, the mean face for every voice; `face`, the feature of the face itself; `told`, by which it is found.

Shapes: N samples, D channels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sensorium import Rows
from sensorium.builtin.metrics.retrieval import Items, ranks

TOP = (1, 5, 10)
"""Places up to which a face counts as found."""


def agreement(rows: Rows, attributes: Sequence[str], gallery: int) -> dict[str, float]:
    """Returns how often the face is found, how far it is off, and how its attributes agree with the real ones.

    `r1`, `r5`, `r10` (shares) and `median_rank`: the place of the face in its gallery; `whole_r5`: of its whole
    feature, whether it is found by that or by what voices tell of it. `cosine`: to its true feature.
    `error`: of the pixels drawn, from 0 to 1. With `linear_` before them they are those of the linear map in place of
    the voice encoder, with `mean_` of the mean face; `decoder_error` is that of what is drawn of the true feature.
    `r_<attribute>`: correlation of what is read of the drawn face with the truth; `real_r_<attribute>`: of what is
    read of the real picture.

    Args:
        rows: Of a split.
        attributes: Their names.
        gallery: Faces among which one is found: each such number of samples in a row is a gallery.
    """
    found: dict[str, float] = {}
    for kind, prefix in (("voice", ""), ("linear", "linear_"), ("mean", "mean_")):
        if kind != "mean":  # which finds nobody: all voices look for the same face
            place = places(rows, kind, gallery).double()
            found |= {f"{prefix}r{top}": float((place <= top).double().mean()) for top in TOP}
            found[f"{prefix}median_rank"] = float(place.quantile(0.5))
        cosine = (rows[f"feature.{kind}"] * rows["feature.face"]).sum(1)
        found |= {f"{prefix}cosine": _mean(cosine), f"{prefix}error": _mean(rows[f"error.{kind}"])}
    found["whole_r5"] = _mean(places(rows, "voice", gallery, "face") <= 5)
    found["decoder_error"] = _mean(rows["error.face"])
    for name in attributes:
        found |= {
            f"{what}_{name}": correlation(rows[f"{what}.{name}"], rows[f"true.{name}"]) for what in ("r", "real_r")
        }
    return found


def places(rows: Rows, kind: str, gallery: int, face: str = "told") -> Tensor:
    """Returns at which place each voice finds its face, (N,) from 1; the last gallery may be smaller."""
    found = []
    for start in range(0, len(rows["group"]), gallery):
        part = slice(start, start + gallery)
        members = [{group} for group in rows["group"][part].tolist()]
        found.append(
            ranks(Items(rows[f"feature.{kind}"][part], members), Items(rows[f"feature.{face}"][part], members))
        )
    return torch.cat(found)


def correlation(one: Tensor, other: Tensor) -> float:
    """Returns Pearson's correlation of two lists (N,); 0 where all values of one are equal."""
    one, other = (each.double() - each.double().mean() for each in (one, other))
    norm = one.norm() * other.norm()
    return float((one * other).sum() / norm) if norm > 0 else 0.0


def _mean(values: Tensor) -> float:
    return float(values.double().mean())
