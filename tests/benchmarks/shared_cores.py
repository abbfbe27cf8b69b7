"""Threads that read beside threads that compute: torch on all cores, as by default, and on all but one.

Run `python tests/benchmarks/shared_cores.py`. One small network learns from photographs (640 x 480 pixels, made here,
as JPEG) in two cases: where the step is what takes time (the photographs become pictures of 32 x 32, the network is
deep), and where reading is (pictures of 224 x 224, one convolution). Both ways take turns; the speed of a turn is that
from its 6th to its last step.
"""

from __future__ import annotations

import argparse
import io
import os
import tempfile
from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
import workload
from PIL import Image as Pillow
from timing import rate, ratio, show, take_turns, verdict
from torch import Tensor, nn

from sensorium import Batch, Dataset, Modality, Rows, Sample, Task, hookimpl
from sensorium.assembly.build import assemble
from sensorium.contracts.run import Run
from sensorium.engine.checkpoint import Store
from sensorium.engine.loop import Loop
from sensorium.experiment.reading import check
from sensorium.plugins import Plugins

BATCH = 16
CASES = {"the step takes longer": {"size": 32, "depth": 12}, "reading takes longer": {"size": 224, "depth": 0}}
TARGET = 0.97
"""Share of the other way that the default is to reach."""


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


def trained(size: int, depth: int, steps: int, cores: int) -> float:
    """Trains; returns samples a second.

    Args:
        size: Rows and columns of a picture.
        depth: Convolutions.
        steps: Optimizer steps.
        cores: Threads of torch.
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
    workload.moments.clear()
    with tempfile.TemporaryDirectory() as folder:
        run = Run(name=Path(folder).name, folder=folder, experiment={}, seed=0, steps=steps, tracking={})
        Loop(assembly.work(), run, Store(folder), torch.device("cpu"), loaded.plugins.hook).train()
    return rate(workload.moments, BATCH)


def compared(sizes: Mapping[str, int], seconds: float, repeat: int) -> dict[str, list[float]]:
    """Returns samples a second of both ways."""
    cores = os.cpu_count() or 1
    steps = max(12, int(seconds * trained(**sizes, steps=12, cores=cores) / BATCH))
    ways = {"default": cores, "a core left": max(1, cores - 1)}
    return take_turns(
        {name: partial(trained, **sizes, steps=steps, cores=taken) for name, taken in ways.items()}, repeat
    )


def main() -> None:
    """Measures, and prints the ratios at the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=5, help="turns of each")
    parser.add_argument("--seconds", type=float, default=3.0, help="seconds of a turn, about")
    options = parser.parse_args()
    lines = []
    for what, sizes in CASES.items():
        results = compared(sizes, options.seconds, options.repeat)
        show(what, results, "samples/s")
        lines.append(verdict(f"default / a core left, {what}", ratio(results, "default", "a core left"), least=TARGET))
    print(*lines, sep="\n")


if __name__ == "__main__":
    main()
