"""The processes that train together. Everything works alike in a single process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import lru_cache
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from sensorium.contracts.data import Batch, stable_hash


def rank() -> int:
    """Returns the number of this worker, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def size() -> int:
    """Returns the number of workers."""
    return dist.get_world_size() if dist.is_initialized() else 1


def gather_rows(rows: Tensor) -> Tensor:
    """Returns the rows of all workers in the order of their ranks, without gradient.

    Args:
        rows: (B, ...), B may differ between workers.

    Returns:
        (sum of B, ...).
    """
    return rows.detach() if size() == 1 else joined(rows.detach(), sizes(len(rows), rows.device))


def mismatched(values: Tensor, batch: Batch) -> Tensor:
    """Returns for each sample the row of another one of the global batch, of another group.

    Who meets whom follows from the batch's seed and the samples' ids, whatever the number of
    workers. A sample whose group fills the whole batch meets one of its own group.

    Args:
        values: (B, ...), a row for each sample; B may differ between workers.
        batch: The B samples.

    Returns:
        (B, ...), without gradient.
    """
    names = [stable_hash(f"{batch.seed}/{name}") for name in batch.ids]
    marks = torch.stack([torch.tensor(names, dtype=torch.int64), batch.groups], 1)  # (B, 2), on the host
    counts = sizes(len(batch), values.device)
    if len(counts) > 1:
        marks = joined(marks.to(values.device), counts).cpu()
    keys, groups = marks.unbind(1)
    start, circle = sum(counts[: rank()]), keys.argsort()
    partner = circle.roll(-1)
    for turn in range(2, len(circle)):
        same = groups[circle] == groups[partner]
        if not same.any():
            break
        partner = torch.where(same, circle.roll(-turn), partner)
    others = torch.empty_like(circle)
    others[circle] = partner
    return joined(values, counts)[others[start : start + len(batch)].to(values.device)]


def sizes(count: int, device: torch.device) -> list[int]:
    """Returns the number of rows of each worker; several workers wait for one another to know it.

    Args:
        count: Rows of this worker.
        device: Where collective calls are made.
    """
    if size() == 1:
        return [count]
    counts = torch.zeros(size(), dtype=torch.int64, device=device)
    counts[rank()] = count
    found: list[int] = add(counts).tolist()
    return found


def joined(rows: Tensor, counts: Sequence[int]) -> Tensor:
    """Returns the rows of all workers, of which each has so many, without gradient."""
    if len(counts) == 1:
        return rows.detach()
    padded = rows.new_zeros((max(counts), *rows.shape[1:]))
    padded[: len(rows)] = rows.detach()
    gathered = [torch.empty_like(padded) for _ in counts]
    dist.all_gather(gathered, padded)
    return torch.cat([part[:count] for part, count in zip(gathered, counts, strict=True)])


def mean_over(values: Tensor, batch: Batch, counts: Tensor | None = None) -> Tensor:
    """Returns the mean of what counts inside the samples of the global batch, as a term of a loss.

    Positive anchors, spoken frames, a share of the samples: what one sample has more of than another. The term and
    its gradient are the same for any number of workers, however the values are spread; 0 where nobody has any.

    Args:
        values: (K, ...), of this worker's samples; K may be 0.
        batch: This worker's samples.
        counts: (K, ...) bool, True for the values that count; None counts all. To choose them by their mask would have
            the host wait for the device, which alone knows how many they are.

    Returns:
        A scalar, whose mean over the workers, weighted by their samples, is the mean over all values.
    """
    if counts is not None:
        values = values.where(counts, 0)
    here = values.new_tensor([values.numel(), len(batch)], dtype=torch.float64)
    if counts is not None:
        here[0] = counts.sum()
    count, samples = add(here).unbind()
    share = samples / (len(batch) * count.clamp(min=1))
    return values.sum() * share.to(values.dtype)


def add(values: Tensor) -> Tensor:
    """Returns the sum of a tensor over all workers, without gradient; may change `values` itself."""
    if size() > 1:
        dist.all_reduce(values)
    return values


def adding(values: Tensor) -> Callable[[], Tensor]:
    """Begins what `add` does, and returns what waits for the sum: work in between hides how long it takes."""
    if size() == 1:
        return lambda: values
    work = dist.all_reduce(values, async_op=True)

    def total() -> Tensor:
        work.wait()
        return values

    return total


def gather_objects(value: Any) -> list[Any]:
    """Returns the value of each worker, in the order of their ranks, on every worker.

    Values travel pickled: between steps, not within one.
    """
    if size() == 1:
        return [value]
    values: list[Any] = [None] * size()
    dist.all_gather_object(values, value)
    return values


@lru_cache(maxsize=1)
def patient() -> Any:
    """Returns the group of all workers that speaks by way of the hosts, and waits as long as the others take.

    For what one of them does while the others wait, such as measuring: a worker that dies ends the waiting, one that
    computes does not. The first call is a collective one.
    """
    return dist.new_group(backend="gloo", timeout=timedelta(days=7))


def barrier() -> None:
    """Waits until every worker is here."""
    if size() > 1:
        dist.barrier()


def is_cut(tensor: Tensor) -> bool:
    """Returns whether a tensor lies in shards: is a DTensor, a class that takes seconds to import."""
    return hasattr(tensor, "full_tensor")


def whole(tensor: Tensor) -> Tensor:
    """Returns a tensor as one piece; a collective call when it lies in shards."""
    full: Tensor = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
    return full


def cut_like(tensor: Tensor, model: Any) -> Tensor:
    """Returns a copy of a whole tensor on the device of another one, cut or laid out in memory as that one is."""
    if not is_cut(model):
        return torch.empty_like(model, dtype=tensor.dtype, requires_grad=False).copy_(tensor)
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(tensor.to(model.device), model.device_mesh, model.placements)
