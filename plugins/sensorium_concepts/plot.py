"""What is seen of concepts: how far they lie apart in each input, and the unit that answers best to each.

Shapes: I inputs, C concepts, D units.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from sensorium.ops.plots import figure, png


def drawn(inputs: Mapping[str, tuple[Tensor, Tensor]]) -> bytes:
    """Returns a PNG: a matrix of distances for each input, and beside them the best units' areas under the curve.

    Args:
        inputs: Input -> areas (C, D), and distances between the concepts (C, C).
    """
    shown = figure(3.1 * (len(inputs) + 1), 3.2)
    *matrices, right = shown.subplots(1, len(inputs) + 1)
    farthest = max(float(distances.max()) for _, distances in inputs.values())
    for axes, (name, (_, distances)) in zip(matrices, inputs.items(), strict=True):
        picture = axes.imshow(distances.numpy(), cmap="viridis", vmin=0, vmax=farthest)
        axes.set_title(f"distances by {name}", fontsize=9, parse_math=False)
        axes.set_xlabel("concept")
        for axis in (axes.xaxis, axes.yaxis):
            axis.get_major_locator().set_params(integer=True)
    matrices[0].set_ylabel("concept")
    shown.colorbar(picture, ax=matrices, label="1 - cosine", location="bottom", shrink=0.4)
    best, answers = best_units(torch.stack([areas for areas, _ in inputs.values()]))
    picture = right.imshow(answers.T.numpy(), cmap="magma", vmin=0.5, vmax=1, aspect="auto")
    right.set_xticks(range(len(inputs)), list(inputs))
    right.set_yticks(range(len(best)), [f"unit {unit}" for unit in best.tolist()], fontsize=7)
    right.set_title("the best unit of each concept", fontsize=9)
    shown.colorbar(picture, ax=right, label="area under the curve")
    return png(shown)


def best_units(areas: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the unit that answers best to each concept in two inputs, (C,), and its areas in each input, (I, C).

    Args:
        areas: Under the curve, of I inputs, (I, C, D).
    """
    best = areas.sort(0).values[-2].argmax(1)
    return best, areas.gather(2, best.expand(len(areas), -1)[..., None]).squeeze(2)
