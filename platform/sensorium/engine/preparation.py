"""What a stage learns without gradients, before its first step."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from sensorium.contracts import workers
from sensorium.contracts.data import Batch
from sensorium.contracts.dataset import Source, sources_of
from sensorium.contracts.task import Stage, Task
from sensorium.engine.loader import Loader
from sensorium.engine.order import share

CHOSEN = "prepared/chosen"
"""Name, in a checkpoint, of the indices that a stage learns from."""


@torch.no_grad()
def prepared(stage: Stage, task: Task, loader: Loader, device: torch.device, batch: int) -> Tensor | None:
    """Lets a stage prepare itself, on each worker with its share of the samples.

    Args:
        stage: Whose `prepare` is called, if it has one.
        task: The model; put into evaluation mode.
        loader: Reads the stage's split.
        device: Where the model lies.
        batch: Samples of a forward pass, over all workers.

    Returns:
        The indices, of all workers and in order, that the stage is to learn from; None for all.
    """
    if stage.prepare is None:
        return None
    task.eval()
    count = len(loader.split)
    mine = share(range(count), workers.rank(), workers.size())
    size = max(1, batch // workers.size()) if task.batches else 1
    # Equally many turns on each worker, which a model in shards needs.
    turns = math.ceil(math.ceil(count / workers.size()) / size)
    cuts = [cut for turn in range(turns) if (cut := share(mine, turn, turns))]
    cuts = [part for cut in cuts for source in sources_of(loader.split) if (part := within(cut, source.indices))]
    places: dict[str, int] = {}

    def batches() -> Iterator[Batch]:
        for cut, ready in zip(cuts, loader.stream((None, cut) for cut in cuts), strict=True):
            places.update(zip(ready.ids, cut, strict=True))
            yield ready.to(device)

    ids = stage.prepare(batches())
    if ids is None:
        return None
    chosen = torch.tensor([places[name] for name in ids], dtype=torch.int64, device=device)
    return workers.gather_rows(chosen).sort().values.cpu()


def within(cut: Sequence[int], indices: range) -> range:
    """Returns what a run of indices has in common with another one."""
    return range(max(cut[0], indices.start), min(cut[-1] + 1, indices.stop))


def chosen_of(sources: Sequence[Source], chosen: Tensor) -> list[Source]:
    """Returns the sources of a split of which some indices, in order, are left; places are those among the chosen."""
    left, start = [], 0
    for source in sources:
        count = int(((chosen >= source.indices.start) & (chosen < source.indices.stop)).sum())
        if count:
            left.append(replace(source, indices=range(start, start + count)))
        start += count
    return left
