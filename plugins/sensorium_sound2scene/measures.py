"""What drawn pictures show, how like real ones they are, and whether what is louder is drawn larger.

Shapes: B samples, N samples of a split, K classes or tags, D channels of the judge, C channels, H rows, W columns.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from sensorium import Batch, Rows, Task, UserError


def looked_at(judge: Task, batch: Batch, field: str, made: Tensor, kind: str) -> Rows:
    """Returns what a judge sees in pictures, where what is true of the samples is known.

    Args:
        judge: A task whose rows hold scores of classes (`logits.*` with `target.*`) or of tags (`scores.*`, `truth.*`).
        batch: The samples.
        field: The field that the judge looks at.
        made: What takes its place, (B, C, H, W).
        kind: What the rows are called after.

    Returns:
        `{kind}.scores` (B, K), `{kind}.truth` (B, K) and `{kind}.features` (B, D).

    Raises:
        UserError: It tells neither classes nor tags.
    """
    seen = replace(batch, fields={**batch.fields, field: made})
    rows = judge.rows(judge(seen), seen)
    for scores, truth in (("scores.", "truth."), ("logits.", "target.")):
        for name in (each.removeprefix(scores) for each in rows if each.startswith(scores)):
            told, right = rows[scores + name], rows[truth + name]
            right = right if right.ndim == 2 else F.one_hot(right.clamp(min=0), told.shape[1]) * (right >= 0)[:, None]
            features = judge.encoder_of(field)(made).pooled
            return {f"{kind}.scores": told, f"{kind}.truth": right > 0, f"{kind}.features": features}
    raise UserError("model.judge tells nothing.", "Classes or tags were expected.", "Take `recognition`.")


def measured(rows: Rows) -> dict[str, float]:
    """Returns what the rows allow.

    `judge`: the share of pictures drawn of sounds in which the judge finds what is true, before all else;
    `judge_some`: the same of the strongest alone, where several things are true; `variation` and `ceiling`: as
    `judge`, of pictures drawn of what is seen, and of real ones. `fid`, `variation_fid`: the Fréchet distance to real
    pictures; `inception_score`; both by the judge's features and scores. `louder_larger`: see `larger`.
    """
    found: dict[str, float] = {}
    for kind, name in (("drawn", "judge"), ("variation", "variation"), ("real", "ceiling")):
        if f"{kind}.scores" not in rows:
            continue
        scores, truth = rows[f"{kind}.scores"], rows[f"{kind}.truth"]
        found[name] = float(first(scores, truth).double().mean())
        if kind == "drawn" and (truth.sum(1) > 1).any():
            strongest = truth.gather(1, scores.argmax(1, keepdim=True))
            found["judge_some"] = float(strongest.double().mean())
        if kind != "real" and len(scores) > 1:
            prefix = "" if kind == "drawn" else f"{kind}_"
            found[f"{prefix}fid"] = frechet(rows[f"{kind}.features"], rows["real.features"])
    if "drawn.scores" in rows:
        found["inception_score"] = inception_score(rows["drawn.scores"].softmax(1))
    if "louder" in rows:
        found["louder_larger"] = float((ink(rows["louder"]) > ink(rows["quieter"])).double().mean())
    return found


def first(scores: Tensor, truth: Tensor) -> Tensor:
    """Returns whether all that is true scores above all else, (N,); ties count against it.

    Args:
        scores: (N, K).
        truth: (N, K) bool; a row without any is never right.
    """
    least = scores.masked_fill(~truth, torch.inf).amin(1)
    most = scores.masked_fill(truth, -torch.inf).amax(1)
    return (least > most) & truth.any(1)


def ink(pictures: Tensor) -> Tensor:
    """Returns the mean brightness, from 0 to 1, of pictures (N, C, H, W) from -1 to 1, (N,)."""
    return (pictures.amax(1).double() / 2 + 0.5).mean((1, 2))


def frechet(one: Tensor, other: Tensor) -> float:
    """Returns the Fréchet distance of two sets of features (N, D), taken to be normal (M. Heusel et al. 2017)."""
    (first_mean, first_cov), (second_mean, second_cov) = (
        (each.double().mean(0), each.double().T.cov(correction=0)) for each in (one, other)
    )
    values, vectors = torch.linalg.eigh(first_cov)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    shared = torch.linalg.eigvalsh(root @ second_cov @ root).clamp(min=0).sqrt().sum()
    between = (first_mean - second_mean).square().sum()
    return float(between + first_cov.trace() + second_cov.trace() - 2 * shared)


def inception_score(chances: Tensor) -> float:
    """Returns the exponential of what a picture tells of its class, from chances (N, K) (T. Salimans et al. 2016)."""
    chances = chances.double()
    mean = chances.mean(0)
    told = torch.special.xlogy(chances, chances) - torch.special.xlogy(chances, mean)
    return float(told.sum(1).mean().exp())
