"""What a stage learns without gradients, before its first step."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from sensorium.contracts import workers
from sensorium.contracts.data import Batch
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
