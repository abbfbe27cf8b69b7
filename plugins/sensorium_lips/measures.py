"""How well lips move as they should.

Shapes: N clips, F frames of a clip, which may differ.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sensorium import Rows

LAGS = 5
"""Largest lag that is looked for, in frames."""
NAMES = ("aperture", "width")


def measured(rows: Rows) -> dict[str, float]:
    """Returns the metrics that the rows allow.

    Args:
        rows: Lists of N: `openings`, `filter_openings` and `shuffled_openings`, height and width of the mouth (F, 2),
            by the network, by the linear filter, and by the network from a sound whose moments are in another order;
            `true_openings`. Perhaps `dark` and `film_dark` (F,), how dark the mouth is in the film that was made and in
            the one that was given, and the `film_openings` of that one. Tensors (N,): `landmark_distance`,
            `rest_landmark_distance`, perhaps `untouched`.
    """
    true = rows["true_openings"]
    found: dict[str, float] = {
        name: float(rows[name].double().mean())
        for name in ("landmark_distance", "rest_landmark_distance", "untouched")
        if name in rows
    }
    for prefix in ("", "filter_", "shuffled_"):
        for part, name in enumerate(NAMES):
            made = [each[:, part] for each in rows[f"{prefix}openings"]]
            found[f"{prefix}{name}_r"] = mean_r(made, [each[:, part] for each in true])
    found["lag_error"] = float(abs(lag([each[:, 0] for each in rows["openings"]], [each[:, 0] for each in true])))
    moved, right = (torch.cat(list(each)).double().var(0) for each in (rows["openings"], true))
    found["variance_ratio"] = float((moved / right.clamp(min=1e-12)).min())
    if "dark" in rows:
        for name, seen, mouths in (
            ("dark", "dark", true),
            ("film_dark", "film_dark", true),
            ("true_dark", "film_dark", rows["film_openings"]),
        ):
            found[f"{name}_r"] = mean_r(rows[seen], [each[:, 0] for each in mouths])
    return found


def mean_r(made: Sequence[Tensor], true: Sequence[Tensor]) -> float:
    """Returns Pearson's r of each clip's track with the true one, the mean over clips; a track that rests has 0."""
    return float(torch.stack([pearson(*pair) for pair in zip(made, true, strict=True)]).mean())


def pearson(one: Tensor, other: Tensor) -> Tensor:
    """Returns the correlation of two tracks (F,); 0 where one of them rests."""
    first, second = (each.double() - each.double().mean() for each in (one, other))
    size = first.norm() * second.norm()
    return torch.where(size > 1e-9, (first @ second) / size.clamp(min=1e-9), 0.0)


def lag(made: Sequence[Tensor], true: Sequence[Tensor]) -> int:
    """Returns by how many frames the tracks come late: where their correlation, the mean over clips, is largest."""
    shifts = [each for each in range(-LAGS, LAGS + 1) if all(abs(each) < len(track) - 1 for track in true)] or [0]

    def r(shift: int) -> float:
        late = [track[max(0, shift) : len(track) + min(0, shift)] for track in made]
        right = [track[max(0, -shift) : len(track) + min(0, -shift)] for track in true]
        return mean_r(late, right)

    return max(shifts, key=r)
