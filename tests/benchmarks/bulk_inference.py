"""Batch inference by Ray Data against a loop by hand: samples a second over the same files.

Run `python tests/benchmarks/bulk_inference.py`. Both answer the same pictures with the same CLIP (a
vision transformer of 8 layers, 64 x 64 pixels) and write Parquet. The loop reads with a DataLoader of
two workers. Ours counts from the first part that is written, so that starting a process does not count.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import pyarrow as pa
import ray
import served
import torch
from pyarrow import parquet
from timing import ratio, show, take_turns, verdict
from torch.utils.data import DataLoader, Dataset

from sensorium.contracts.data import Batch
from sensorium.inference import bulk
from sensorium.inference.predictor import Predictor
from sensorium.plugins import Plugins
from sensorium.runtime import bulk as on_ray
from sensorium.runtime.connection import joined

COUNT, BATCH, TURNS = 3 * bulk.PART, 32, 3


class Pictures(Dataset):  # type: ignore[type-arg]
    """Files, read by the model's own modality."""

    def __init__(self, paths: list[str], predictor: Predictor) -> None:
        self.paths, self.image = paths, predictor.model.task.inputs["image"]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.image.transform(self.image.decode(self.paths[index]), None)


def by_hand(paths: list[str], predictor: Predictor, place: Path) -> float:
    """Returns samples a second of a plain loop."""
    begin = time.perf_counter()
    task, rows = predictor.model.task, []
    with torch.inference_mode():
        for pictures in DataLoader(Pictures(paths, predictor), batch_size=BATCH, num_workers=2):
            batch = Batch([{"id": str(n)} for n in range(len(pictures))], {"image": pictures})
            outputs = task.predict(batch)
            for row in range(len(pictures)):
                rows.append({name: task.outputs[name].encode(values[row]) for name, values in outputs.items()})
    rows = [{**row, "label": str(row["label"])} for row in rows]
    parquet.write_table(pa.Table.from_pylist(rows), place)
    return len(paths) / (time.perf_counter() - begin)


def by_ray(work: bulk.Plan, place: Path) -> float:
    """Returns samples a second between the first part and the last."""
    moments = [time.perf_counter() for _ in on_ray.run(work, str(place), None, BATCH, None)]
    return (len(moments) - 1) * bulk.PART / (moments[-1] - moments[0])


def main() -> None:
    """Prints both speeds and their ratio."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = served.train(folder)
        predictor = Predictor.load(model)
        image, random = predictor.model.task.inputs["image"], torch.Generator().manual_seed(0)
        paths = [folder / f"{number:05d}.png" for number in range(COUNT)]
        for path in paths:
            path.write_bytes(image.example(random))
        work = bulk.plan(model, predictor, f"{folder}/*.png", [])
        turn = iter(range(100))
        with joined(None, Plugins()):
            assert ray.is_initialized()
            results = take_turns(
                {
                    "sensorium": lambda: by_ray(work, folder / f"{next(turn)}.parquet"),
                    "by hand": lambda: by_hand([str(path) for path in paths], predictor, folder / "hand.parquet"),
                },
                TURNS,
            )
    show(f"{COUNT} pictures", results, "samples/s")
    print(verdict("batch inference / by hand", ratio(results, "sensorium", "by hand"), least=0.9))


if __name__ == "__main__":
    main()
