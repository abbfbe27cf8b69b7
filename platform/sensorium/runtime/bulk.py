"""Batch inference by Ray Data: parts of the questions, on all nodes of a cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sensorium.bulk import Asker, Folder, Plan
from sensorium.plugins import Plugins
from sensorium.prediction import Predictor
from sensorium.runtime.connection import joined
from sensorium.tracking.models import fetch


def run(work: Plan, folder: str, workers: int | None, batch: int, address: str | None) -> None:
    """Answers the parts that a folder lacks.

    Args:
        work: What is asked.
        folder: Path or URI of the answers, which every node reaches.
        workers: Processes at most; None takes one for each GPU, or for each core where there are none.
        batch: Questions computed together at most.
        address: Cluster to join; None starts one on this machine for the time.

    Raises:
        UserError: The cluster cannot be reached.
    """
    missing = Folder(folder, work).missing(work.parts)
    if not missing:
        return
    with joined(address, Plugins()):
        _answer(missing, work, folder, workers, batch)


def _answer(missing: Sequence[int], work: Plan, folder: str, workers: int | None, batch: int) -> None:
    import ray
    from ray.data import DataContext

    there = ray.cluster_resources()
    gpus = int(there.get("GPU", 0))
    room = max(1, gpus or int(there.get("CPU", 1)) - 1)  # one core for Ray Data itself
    DataContext.get_current().enable_progress_bars = False
    parts = ray.data.from_items([{"part": number} for number in missing], override_num_blocks=len(missing))
    answered = parts.map_batches(
        _Worker,
        batch_size=1,
        fn_constructor_kwargs={"work": asdict(work), "folder": folder, "batch": batch},
        num_gpus=1 if gpus else 0,
        concurrency=(1, min(workers or room, room, len(missing))),
    )
    for _ in answered.iter_batches(batch_size=1):
        pass


class _Worker:
    """Holds the model in a process of its own."""

    def __init__(self, work: Mapping[str, Any], folder: str, batch: int) -> None:
        plan = Plan(**work)
        self.asker = Asker(Predictor.load(fetch(plan.model)), plan, batch)
        self.folder = Folder(folder, plan)

    def __call__(self, parts: dict[str, Any]) -> dict[str, Any]:
        for number in parts["part"]:
            self.folder.write(int(number), self.asker.table(self.asker.part(int(number))))
        return parts
