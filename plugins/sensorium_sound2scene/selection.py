"""Which moments of a video are learnt from: those in which what is seen is what is heard.

Sung-Bin et al. 2023, section 3.3: moments are ranked by how much picture and sound have to do with one another.

Shapes: B samples.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from sensorium import Batch, Task, UserError, workers


def chosen(correlation: Callable[[Batch], Tensor], moments: int, batches: Iterable[Batch]) -> list[str]:
    """Returns the ids, of this worker's samples, of the moments of each video that correlate best.

    Args:
        correlation: How much the sounds of a batch have to do with its pictures, (B,).
        moments: How many are kept of each video.
        batches: This worker's samples, perhaps a part of a video's. What shares a group is of one video.
    """
    ids: list[str] = []
    videos, scores = [], []
    for batch in batches:
        ids += batch.ids
        scores.append(correlation(batch).double())
        videos.append(batch.groups.to(scores[-1].device))
    own = torch.full_like(torch.cat(videos), workers.rank())
    places = torch.stack([torch.cat(videos), own, torch.arange(len(ids), device=own.device)], 1)
    every = zip(workers.gather_rows(places).tolist(), workers.gather_rows(torch.cat(scores)).tolist(), strict=True)
    kept = best((((video, (rank, index)), score) for (video, rank, index), score in every), moments)
    return [ids[index] for rank, index in sorted(kept) if rank == workers.rank()]


def localized(localizer: Task, batch: Batch) -> Tensor:
    """Returns how strongly each sound answers to some place of its picture, (B,): the row `best` of a localizer.

    Raises:
        UserError: The task does not say so.
    """
    rows = localizer.rows(localizer(batch), batch)
    if "best" not in rows:
        raise UserError(
            "model.selection does not say how much a sound has to do with a picture.",
            f"A row `best` was expected beside {', '.join(rows)}.",
            "Take `localization`.",
        )
    found: Tensor = rows["best"]
    return found


def best(scored: Iterable[tuple[tuple[int, Any], float]], moments: int) -> set[Any]:
    """Returns the moments with the highest scores of each video, so many of each; of equal ones, the first.

    Args:
        scored: ((video, moment), score).
        moments: How many of each video.
    """
    videos: defaultdict[int, list[tuple[float, Any]]] = defaultdict(list)
    for (video, moment), score in scored:
        videos[video].append((-score, moment))
    return {moment for ranked in videos.values() for _, moment in sorted(ranked)[:moments]}
