"""Threads that read beside threads that compute: the default against both ways to set it by hand.

Run `python tests/benchmarks/shared_cores.py`. One small network learns from photographs (640 x 480 pixels, made here,
as JPEG) in two cases: where the step is what takes time (the photographs become pictures of 32 x 32, the network is
deep), and where reading is (pictures of 224 x 224, one convolution). In turns: by default, where torch takes all cores
and each reading thread computes on one; with readers whose computations take torch's threads too; and the same with
torch on all cores but one. The speed of a turn is that from its 6th to its last step. Losses are compared besides: for
a number of torch's threads they are the same, to the digit, whatever the readers do.
"""

from __future__ import annotations

import argparse
import io
import os
import statistics
import tempfile
from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any, ClassVar
from unittest import mock

import numpy as np
import torch
import workload
from PIL import Image as Pillow
from timing import rate, show, take_turns, verdict
from torch import Tensor, nn

from sensorium import Batch, Dataset, Modality, Rows, Sample, Task, hookimpl
from sensorium.assembly.build import assemble
from sensorium.contracts.run import Run
from sensorium.engine import loader
from sensorium.engine.checkpoint import Store
from sensorium.engine.loop import Loop
from sensorium.experiment.reading import check
from sensorium.plugins import Plugins

BATCH = 16
CASES = {"the step takes longer": {"size": 32, "depth": 12}, "reading takes longer": {"size": 224, "depth": 0}}
TARGET = 0.97
"""Share of the better of both that the default is to reach."""


@cache
def photographs() -> list[bytes]:
    """Returns a few JPEGs of 640 x 480, smooth and noisy as photographs are."""
    random = np.random.default_rng(0)
    made = []
    for _ in range(16):
        coarse = Pillow.fromarray(random.integers(0, 256, (15, 20, 3), np.uint8)).resize((640, 480), Pillow.BICUBIC)
        pixels = np.asarray(coarse, np.int16) + random.normal(0, 8, (480, 640, 3)).astype(np.int16)
        file = io.BytesIO()
        Pillow.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=90)
        made.append(file.getvalue())
    return made


class Photographs:
    """A split of as many samples as wanted."""

    def __init__(self, samples: int) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return self.samples

    def __getitem__(self, index: int) -> Sample:
        return {"id": str(index), "image": photographs()[index % 16]}


class BenchPhotographs(Dataset):
    """JPEGs that repeat."""

    fields: ClassVar[dict[str, str]] = {"image": "image"}

    class Config(Dataset.Config):
        """How many."""

        samples: int
        """Samples of the training split."""

    config: Config

    def open(self, split: str) -> Photographs:
        """Returns a split."""
        return Photographs(self.config.samples)


class BenchPictures(Task):
    """Convolutions that learn to answer 0."""

    class Config(Task.Config):
        """How deep."""

        depth: int
        """Convolutions of 64 channels after the first one."""

    def __init__(self, config: Config, modalities: Mapping[str, Modality]) -> None:
        super().__init__(config, modalities)
        more = [part for _ in range(config.depth) for part in (nn.Conv2d(64, 64, 3, padding=1), nn.ReLU())]
        self.network = nn.Sequential(
            nn.Conv2d(3, 64, 16 if not config.depth else 1, 16 if not config.depth else 1), *more
        )
        self.inputs = self.outputs = {"image": modalities["image"]}

    def forward(self, batch: Batch) -> Tensor:
        """Returns (B, 64)."""
        found: Tensor = self.network(batch["image"]).mean((2, 3))
        return found

    def losses(self, outputs: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Returns squares."""
        return {"square": outputs.square().mean(1)}

    def rows(self, outputs: Tensor, batch: Batch) -> Rows:
        """Returns the outputs."""
        return {"outputs": outputs}


@hookimpl
def sensorium_datasets() -> dict[str, type[Dataset]]:
    """The photographs."""
    return {"bench_photographs": BenchPhotographs}


@hookimpl
def sensorium_tasks() -> dict[str, type[Task]]:
    """The network."""
    return {"bench_pictures": BenchPictures}


class Losses:
    """Keeps the loss of each step."""

    def __init__(self) -> None:
        self.values: list[Tensor] = []

    @hookimpl
    def sensorium_step_finished(self, step: Any) -> None:
        """Keeps it."""
        self.values += step.losses.values()


def trained(size: int, depth: int, steps: int, cores: int, alone: bool) -> tuple[float, list[float]]:
    """Trains; returns samples a second, and the losses.

    Args:
        size: Rows and columns of a picture.
        depth: Convolutions.
        steps: Optimizer steps.
        cores: Threads of torch.
        alone: Whether each reader computes on one core.
    """
    torch.set_num_threads(cores)
    experiment = {
        "task": "bench_pictures",
        "plugins": ["shared_cores", "workload"],
        "dataset": {"name": "bench_photographs", "samples": steps * BATCH},
        "modalities": {"image": {"name": "image", "size": size}},
        "model": {"depth": depth},
        "training": {"epochs": 1, "global_batch": BATCH, "clip_norm": None},
    }
    loaded = check(experiment, Plugins(("shared_cores", "workload")))
    assembly = assemble(loaded, {"modalities": {"image": {}}, "skipped": {}})
    losses = Losses()
    loaded.plugins.manager.register(losses)
    workload.moments.clear()
    kept = loader.compute_alone if alone else lambda: None
    with tempfile.TemporaryDirectory() as folder, mock.patch.object(loader, "compute_alone", kept):
        run = Run(name=Path(folder).name, folder=folder, experiment={}, seed=0, steps=steps, tracking={})
        Loop(assembly.work(), run, Store(folder), torch.device("cpu"), loaded.plugins.hook).train()
    return rate(workload.moments, BATCH), [float(value) for value in losses.values]


def compared(sizes: Mapping[str, int], seconds: float, repeat: int) -> tuple[dict[str, list[float]], bool]:
    """Returns samples a second of each way, and whether losses are the same for a number of threads."""
    cores = os.cpu_count() or 1
    ways = {"default": (cores, True), "all cores": (cores, False), "a core left": (max(1, cores - 1), False)}
    speed, _ = trained(**sizes, steps=12, cores=cores, alone=True)
    steps = max(12, int(seconds * speed / BATCH))
    losses: dict[str, list[float]] = {}

    def turn(name: str) -> float:
        found, losses[name] = trained(**sizes, steps=steps, cores=ways[name][0], alone=ways[name][1])
        return found

    results = take_turns({name: partial(turn, name) for name in ways}, repeat)
    return results, losses["default"] == losses["all cores"]


def main() -> None:
    """Measures, and prints the ratios at the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=5, help="turns of each")
    parser.add_argument("--seconds", type=float, default=3.0, help="seconds of a turn, about")
    options = parser.parse_args()
    lines = []
    for what, sizes in CASES.items():
        results, same = compared(sizes, options.seconds, options.repeat)
        show(what, results, "samples/s")
        # Turn by turn: what slows the machine down for a while slows the neighbours in a turn down too.
        turns = zip(results["default"], results["all cores"], results["a core left"], strict=True)
        share = statistics.median(mine / max(others) for mine, *others in turns)
        lines.append(f"{what}: losses of as many threads are {'equal' if same else 'DIFFERENT'}")
        lines.append(verdict(f"default / the better of both, {what}", share, least=TARGET))
    print(*lines, sep="\n")


if __name__ == "__main__":
    main()
