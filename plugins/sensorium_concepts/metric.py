"""Which units answer to a concept in several modalities, and whether modalities find the same concepts alike.

Shapes: N samples, C concepts, D units.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from statistics import mean

import torch
from torch import Tensor
from torch.nn import functional as F

from sensorium import Metric, Rows, UserError
from sensorium.builtin.metrics.absent import absent
from sensorium.ops.ranking import ranks, spearman
from sensorium_concepts.plot import drawn


class Concepts(Metric):
    """Concept cells and representational similarity, of any task whose rows have embeddings of several inputs.

    A unit answers to a concept in a modality where the area under the curve, of its values for samples of that concept
    above those for all others, is at least `area`; it is a concept cell where it does so in two modalities or more
    (R. Quiroga et al., Invariant visual representation by single neurons in the human brain, Nature 2005; G. Goh et
    al., Multimodal Neurons in Artificial Neural Networks, Distill 2021). Representational similarity is Spearman's
    correlation of the distances between the concepts' means in one modality with those in the other (N. Kriegeskorte
    et al., Representational similarity analysis, Frontiers in Systems Neuroscience 2008).

    Rows: `embedding.<input>` (N, D) for two inputs or more; `group` (N,), the concept of each sample.
    """

    needs = ("embedding", "group")

    class Config(Metric.Config):
        """What counts as an answer."""

        area: float = 0.9
        """Least area under the curve, from above 0.5."""
        permutations: int = 20
        """How often concepts are dealt out anew, to tell what chance gives."""
        seed: int = 0
        """Seed of these permutations."""

        def __post_init__(self) -> None:
            if self.permutations < 1:
                raise ValueError("permutations is at least 1.")
            if not 0.5 < self.area <= 1:
                raise ValueError("area lies above 0.5, and is at most 1.")

    config: Config

    def __call__(self, rows: Rows) -> dict[str, float]:
        """Returns `cells`, and `similarity_<one>_<other>` for each pair of inputs, each also with concepts permuted.

        `cells` is the share of concepts that have a concept cell. `permuted_…` is what is left of each where concepts
        of each modality are dealt out anew, the mean over `permutations`: what chance gives.

        Raises:
            UserError: Fewer than two inputs are embedded, or there are fewer than three concepts.
        """
        inputs, member = told(rows)
        concepts = member.shape[1]
        answers = {name: areas(value, member) >= self.config.area for name, value in inputs.items()}
        far = {name: distances(value, member) for name, value in inputs.items()}
        found = _shared(answers, far, dict.fromkeys(inputs, torch.arange(concepts)))
        random = torch.Generator().manual_seed(self.config.seed)
        chance = []
        for _ in range(self.config.permutations):
            orders = {name: torch.randperm(concepts, generator=random) for name in inputs}
            chance.append(_shared(answers, far, orders))
        return found | {f"permuted_{name}": mean(each[name] for each in chance) for name in found}

    def plots(self, rows: Rows) -> dict[str, bytes]:
        """Returns `concepts.png`: how far concepts lie apart in each input, and how well their best units tell them."""
        inputs, member = told(rows)
        return {
            "concepts.png": drawn(
                {name: (areas(value, member), distances(value, member)) for name, value in inputs.items()}
            )
        }


def told(rows: Rows) -> tuple[dict[str, Tensor], Tensor]:
    """Returns input -> embeddings (N, D), and which sample is of which concept (N, C).

    Raises:
        UserError: Fewer than two inputs are embedded, or there are fewer than three concepts.
    """
    inputs = {name.partition(".")[2]: value for name, value in rows.items() if name.startswith("embedding.")}
    if len(inputs) < 2:
        raise absent("concepts", "embedding.<input> for two inputs", rows)
    concepts, concept = rows["group"].unique(return_inverse=True)
    if len(concepts) < 3:
        raise UserError(
            f"The split has {len(concepts)} concepts.",
            "Three at least were expected: samples of one concept share a `group`.",
            "Name the group of each sample in the data, or leave out `concepts`.",
        )
    return inputs, F.one_hot(concept, len(concepts)).double()


def _shared(answers: Mapping[str, Tensor], far: Mapping[str, Tensor], orders: Mapping[str, Tensor]) -> dict[str, float]:
    """Returns the share of concepts with a cell, and the similarity of each pair of inputs.

    Args:
        answers: Input -> which units answer to which concepts, (C, D).
        far: Input -> distances between its concepts, (C, C).
        orders: Input -> which of its concepts stands for each concept, (C,).
    """
    count = torch.stack([answers[name][order] for name, order in orders.items()]).sum(0)  # (C, D)
    found = {"cells": float((count >= 2).any(1).double().mean())}
    turned = {name: far[name][order][:, order] for name, order in orders.items()}
    for one, other in combinations(turned, 2):
        upper = torch.triu_indices(len(turned[one]), len(turned[one]), 1)
        found[f"similarity_{one}_{other}"] = spearman(turned[one][*upper], turned[other][*upper])
    return found


def areas(values: Tensor, member: Tensor) -> Tensor:
    """Returns for each concept and unit how often a sample of the concept lies above another one, (C, D).

    Args:
        values: (N, D).
        member: (N, C), 1 where a sample is of a concept; each concept has some samples, and lacks some.
    """
    places = torch.stack([ranks(unit) for unit in values.T], 1)  # (N, D)
    inside = member.sum(0)[:, None]
    wins = member.T @ places - inside * (inside + 1) / 2
    return wins / (inside * (len(member) - inside))


def distances(values: Tensor, member: Tensor) -> Tensor:
    """Returns one minus the cosine between the concepts' means, (C, C), for values (N, D) and members (N, C)."""
    means = F.normalize(member.T @ values.double(), dim=1)
    return 1 - means @ means.T
