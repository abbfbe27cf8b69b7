"""Which moments of a video are learnt from: those in which what is seen is what is heard.

Sung-Bin et al. 2023, section 3.3: moments are ranked by how much picture and sound have to do with one another.

Shapes: B samples.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from sensorium import Batch, Task, UserError, workers
from sensorium.contracts.data import stable_hash


def chosen(correlation: Callable[[Batch], Tensor], moments: int, batches: Iterable[Batch]) -> list[str]:
    """Returns the ids, of this worker's samples, of the moments of each video that correlate best.

    Args:
        correlation: How much the sounds of a batch have to do with its pictures, (B,).
        moments: How many are kept of each video.
        batches: This worker's samples, perhaps a part of a video's; the raw value `video` tells which belong together,
            and a sample without it is a video of its own.
    """
    ids, marks, scores = [], [], []
    for batch in batches:
        marks += [(stable_hash(str(each.get("video", each["id"]))), stable_hash(each["id"])) for each in batch.samples]
        scores.append(correlation(batch))
        ids += batch.ids
    device = scores[0].device
    every = zip(
        workers.gather_rows(torch.tensor(marks, dtype=torch.int64, device=device)).tolist(),
        workers.gather_rows(torch.cat(scores)).tolist(),
        strict=True,
    )
    kept = best((((video, moment), score) for (video, moment), score in every), moments)
    return [name for name in ids if stable_hash(name) in kept]


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


def best(scored: Iterable[tuple[tuple[int, int], float]], moments: int) -> set[int]:
    """Returns the moments with the highest scores of each video, so many of each; of equal ones, the lower number.

    Args:
        scored: ((video, moment), score).
        moments: How many of each video.
    """
    videos: defaultdict[int, list[tuple[float, int]]] = defaultdict(list)
    for (video, moment), score in scored:
        videos[video].append((-score, moment))
    return {moment for ranked in videos.values() for _, moment in sorted(ranked)[:moments]}
