"""Batch inference by Ray Data: parts of the questions, on all nodes of a cluster."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sensorium.inference.bulk import Asker, Folder, Plan
from sensorium.inference.predictor import Predictor
from sensorium.modules import present
from sensorium.plugins import Plugins
from sensorium.runtime import internals
from sensorium.runtime.connection import joined
from sensorium.tracking.models import fetch

CORES = 4
"""Cores of a process, where there are no GPUs."""


def run(work: Plan, folder: str, workers: int | None, batch: int, address: str | None) -> Iterator[int]:
    """Answers the parts that a folder lacks, and yields the number of each that is written.

    Args:
        work: What is asked.
        folder: Path or URI of the answers, which every node reaches.
        workers: Processes at most; None takes one for each GPU, or for every few cores where there are none.
        batch: Questions computed together at most.
        address: Cluster to join; None starts one on this machine for the time.

    Raises:
        UserError: The cluster cannot be reached.
    """
    missing = Folder(folder, work).missing(work.parts)
    if not missing:
        return
    with joined(address, Plugins(present())), internals.without_core():
        yield from _answered(missing, work, folder, workers, batch)


def _answered(missing: Sequence[int], work: Plan, folder: str, workers: int | None, batch: int) -> Iterator[int]:
    import ray
    from ray.data import ActorPoolStrategy, DataContext

    there = ray.cluster_resources()
    cpus, gpus = int(there.get("CPU", 1)), int(there.get("GPU", 0))
    room = min(workers or cpus, gpus or max(1, cpus // CORES), len(missing))
    threads = max(1, min(CORES, cpus // room))
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    DataContext.get_current().enable_progress_bars = False
    parts = ray.data.from_items([{"part": number} for number in missing], override_num_blocks=len(missing))
    answered = parts.map_batches(
        _Worker,
        batch_size=1,
        fn_constructor_kwargs={"work": asdict(work), "folder": folder, "batch": batch, "threads": threads},
        num_cpus=threads,
        num_gpus=1 if gpus else 0,
        compute=ActorPoolStrategy(min_size=1, max_size=room),
    )
    for each in answered.iter_batches(batch_size=1, prefetch_batches=0):
        yield int(each["part"][0])


class _Worker:
    """Holds the model in a process of its own."""

    def __init__(self, work: Mapping[str, Any], folder: str, batch: int, threads: int) -> None:
        import torch

        internals.begin()
        torch.set_num_threads(threads)
        plan = Plan(**work)
        self.asker = Asker(Predictor.load(fetch(plan.model)), plan, batch)
        self.folder = Folder(folder, plan)

    def __call__(self, parts: dict[str, Any]) -> dict[str, Any]:
        for number in parts["part"]:
            self.folder.write(int(number), self.asker.table(self.asker.part(int(number))))
        return parts
