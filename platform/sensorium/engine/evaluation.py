"""A pass over a split, cut among the workers, every sample counted once."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from sensorium.contracts import workers
from sensorium.contracts.data import Batch, Rows, check_rows, map_tensors, stable_hash
from sensorium.contracts.run import Evaluation
from sensorium.contracts.task import Task
from sensorium.engine import packing
from sensorium.engine.loader import Loader
from sensorium.engine.order import share
from sensorium.engine.permutation import Permutation
from sensorium.errors import SensoriumError


@torch.no_grad()
def evaluate(
    task: Task,
    loader: Loader,
    split: str,
    device: torch.device,
    batch: int,
    step: int = 0,
    contributions: bool = False,
    plots: bool = True,
) -> Evaluation:
    """Returns the metrics of a split.

    Args:
        task: The model; put into evaluation mode for the pass.
        loader: Reads the split.
        split: Its name.
        device: Where the model lies.
        batch: Samples of a forward pass, over all workers.
        step: Optimizer steps done so far.
        contributions: Whether to tell, for each of several inputs, by how much the metrics fall
            when that field's values are dealt out to other samples: `contribution.<field>.<metric>`.
        plots: Whether to draw any.
    """
    modes = {name: module.training for name, module in task.named_modules()}
    task.eval()
    rows = gather(task, loader, device, batch)
    metrics = _measured(task, rows)
    if contributions and len(task.inputs) > 1:
        for field in [name for name in task.inputs if name in loader.sources[0][1]]:
            without = _measured(task, gather(task, loader, device, batch, field))
            metrics |= {f"contribution.{field}.{name}": metrics[name] - value for name, value in without.items()}
    for name, module in task.named_modules():
        module.training = modes[name]
    result: list[Any] = [None]
    if workers.rank() == 0:
        drawn = task.plots(rows, loader.split) if plots else {}
        result = [Evaluation(step, split, metrics, drawn, task.examples(rows, loader.split))]
    if workers.size() > 1:
        torch.distributed.broadcast_object_list(result, src=0, group=workers.patient())
    evaluation: Evaluation = result[0]
    return evaluation


def _measured(task: Task, rows: Rows) -> dict[str, float]:
    """Returns the metrics of rows on the first worker; the others wait, for as long as it takes, and get none."""
    metrics = task.metrics(rows) if workers.rank() == 0 else {}
    if workers.size() > 1:
        torch.distributed.barrier(workers.patient())
    return metrics


def merged(evaluations: Sequence[Evaluation]) -> Evaluation:
    """Returns the evaluations of several splits as one, whose metrics and plots carry the split's name."""
    if len(evaluations) == 1:
        return evaluations[0]
    return Evaluation(
        evaluations[0].step,
        ", ".join(each.split for each in evaluations),
        {f"{each.split}/{name}": value for each in evaluations for name, value in each.metrics.items()},
        {f"{each.split}/{name}": png for each in evaluations for name, png in each.plots.items()},
        [sentence for each in evaluations for sentence in each.examples],
    )


def gather(task: Task, loader: Loader, device: torch.device, batch: int, shuffled: str | None = None) -> Rows:
    """Returns the rows of all samples of a split, in its order, on the first worker; none on the others.

    Args:
        task: The model.
        loader: Reads the split.
        device: Where the model lies.
        batch: Samples of a forward pass, over all workers.
        shuffled: Field whose values come from other samples, the same ones for any number of workers.
    """
    mine = share(range(len(loader.split)), workers.rank(), workers.size())
    size = max(1, batch // workers.size()) if task.batches else 1
    most = math.ceil(math.ceil(len(loader.split) / workers.size()) / size)
    cuts = [mine[turn * size : (turn + 1) * size] for turn in range(most)]
    # All workers go forward equally often, which a model in shards needs; a turn too many counts nothing.
    batches: Iterable[Batch] = loader.stream((None, cut or range(1)) for cut in cuts)
    if shuffled is not None:
        batches = _dealt(batches, loader, cuts, shuffled)
    parts: list[Rows] = []
    for cut, ready in zip(cuts, batches, strict=True):
        moved = ready.to(device)
        rows = rows_of(task, moved)
        if cut:
            parts.append({"id": ready.ids, "group": ready.groups, **_to_cpu(rows)})
    return _concatenate(packing.to_first(parts) if workers.size() > 1 else parts)


def rows_of(task: Task, batch: Batch) -> Rows:
    """Returns what a task keeps of each sample of a batch.

    Raises:
        SensoriumError: It is neither a tensor with B first nor a list of B; names the row.
    """
    rows = task.rows(task(batch), batch)
    for name, value in rows.items():
        if isinstance(value, Tensor):
            check_rows(f"The row {name!r}", value, len(batch))
        elif not isinstance(value, (list, tuple)) or len(value) != len(batch):
            raise SensoriumError(
                f"The row {name!r} is {type(value).__name__} for {len(batch)} samples"
                f"{f', of {len(value)}' if isinstance(value, (list, tuple)) else ''}.",
                "A tensor with B first, or a list of B, was expected.",
                "Mend the task's `rows`; what samples have different numbers of is a list.",
            )
    return rows


def _dealt(batches: Iterable[Batch], loader: Loader, cuts: Sequence[Sequence[int]], field: str) -> Iterator[Batch]:
    """Yields batches in which a field comes from another sample of the split: its neighbour on a circle of all."""
    count = len(loader.split)
    circle = Permutation(count, stable_hash(field))
    others = ((None, circle.at((circle.places(cut or range(1)) - 1) % count).tolist()) for cut in cuts)
    leader = loader.modalities[field].follows  # the picture that it lies over there
    read = {name: loader.modalities[name] for name in (field, leader) if name is not None}
    with Loader(loader.split, read, loader.threads) as other:
        for batch, dealt in zip(batches, other.stream(others), strict=True):
            yield replace(batch, fields={**batch.fields, field: dealt[field]})


def _to_cpu(rows: Rows) -> Rows:
    def moved(tensor: Tensor) -> Tensor:
        return tensor.float().cpu() if tensor.is_floating_point() else tensor.cpu()

    return {name: map_tensors(value, moved) for name, value in rows.items()}


def _concatenate(parts: list[Rows]) -> Rows:
    """Returns parts joined, which are emptied on the way: a split's rows may fill half of the memory."""
    rows: Rows = {}
    for name in list(parts[0]) if parts else ():
        values = [part.pop(name) for part in parts]
        if not isinstance(values[0], Tensor):
            rows[name] = [item for value in values for item in value]
            continue
        shapes = {tuple(value.shape[1:]) for value in values}
        if len(shapes) > 1:
            told = " and ".join(str(("B", *shape)).replace("'", "") for shape in sorted(shapes)[:2])
            raise SensoriumError(
                f"The row {name!r} has the shape {told} in two batches.",
                "A row has one shape for all samples of a split.",
                "Mend the task's `rows`: what samples have different numbers of is a list, with one item for each.",
            )
        rows[name] = torch.cat(values)
    return rows
