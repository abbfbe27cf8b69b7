"""Reading photographs from files: our `Loader` against a DataLoader with two workers.

Run `python tests/benchmarks/image_loading.py`. The photographs of tiny_coco (about 640 x 480 pixels, in
the folder SENSORIUM_TEST_DATA) become normalised pictures of 224 x 224 in batches of 64, in turns: by
`Loader` with its default threads and the modality `image`; by torch's DataLoader with two workers and
what a user writes with Pillow and torchvision; and, to tell the modality's part from the loader's, by
that DataLoader with our modality in its workers, and by our `Loader` with torchvision's transforms. All
run on one of torch's threads (a DataLoader's workers do by themselves). The speed of a turn counts from
its third batch, when the workers have long started. `--train` crops and mirrors at random.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from PIL import Image as Pillow
from timing import ratio, show, take_turns, verdict
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from sensorium import Sample
from sensorium.builtin.modalities.image import Image
from sensorium.contracts.modality import Modality
from sensorium.engine.loader import Loader
from sensorium.experiment.settings import Run

BATCH = 64
SKIPPED = 2
"""Batches before the speed counts."""
ROOT = Path(__file__).parents[2]


class Files:
    """Photographs over and over, as a split: the paths alone."""

    def __init__(self, paths: list[Path], samples: int) -> None:
        self.paths, self.samples = paths, samples

    def __len__(self) -> int:
        return self.samples

    def __getitem__(self, index: int) -> Sample:
        return {"id": str(index), "image": self.paths[index % len(self.paths)]}


class Pictures(Dataset[Tensor]):
    """The same as a dataset of torch."""

    def __init__(self, files: Files, read: Callable[[Path], Tensor]) -> None:
        self.files, self.read = files, read

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Tensor:
        return self.read(self.files[index]["image"])


class UserTransform:
    """What a user writes with Pillow and torchvision."""

    def __init__(self, train: bool) -> None:
        cut: list[Any] = [v2.Resize(224), v2.CenterCrop(224)]
        if train:
            cut = [v2.RandomResizedCrop(224), v2.RandomHorizontalFlip()]
        tail = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.5] * 3, [0.5] * 3)]
        self.transform = v2.Compose([*cut, *tail])

    def __call__(self, path: Path) -> Tensor:
        with Pillow.open(path) as picture:
            pixels: Tensor = self.transform(picture.convert("RGB"))
        return pixels


class UserModality(Modality):
    """The same in the place of our modality."""

    def __init__(self, read: UserTransform) -> None:
        self.read = read

    def transform(self, value: Path, random: torch.Generator | None) -> Tensor:
        """Returns the pixels (C, H, W)."""
        return self.read(value)

    def collate(self, values: Any) -> Tensor:
        """Returns (B, C, H, W)."""
        return torch.stack(list(values))


class OurTransform:
    """Our modality in the place of the user's transform."""

    def __init__(self, image: Image, train: bool) -> None:
        self.image, self.train = image, train

    def __call__(self, path: Path) -> Tensor:
        return self.image.transform(self.image.decode(path), torch.default_generator if self.train else None)


def speed(batches: Iterable[Any]) -> float:
    """Returns images a second from the third batch on."""
    count, began = 0, 0.0
    for number, _ in enumerate(batches):
        if number == SKIPPED:
            began = time.perf_counter()
        count = number
    return BATCH * (count - SKIPPED) / (time.perf_counter() - began)


def main() -> None:
    """Measures, and prints the ratio at the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=5, help="turns of each")
    parser.add_argument("--batches", type=int, default=20, help="batches of a turn")
    parser.add_argument("--train", action="store_true", help="crop and mirror at random, as for training")
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = Path(os.environ.get("SENSORIUM_TEST_DATA", "")) / "tiny_coco" / "train2017"
    paths = sorted(data.glob("*.jpg"))
    if not paths:
        parser.error(f"no pictures in {data}: set SENSORIUM_TEST_DATA to the folder of real data")
    files = Files(paths, BATCH * options.batches)
    threads = Run().threads
    augmented = Image.Config(size=224, crop_scale=0.08, flip=0.5)
    image, read = Image(augmented if options.train else Image.Config(size=224)), UserTransform(options.train)

    def ours(modality: Modality) -> float:
        epoch = 0 if options.train else None
        plan = ((epoch, list(range(start, start + BATCH))) for start in range(0, len(files), BATCH))
        with Loader(files, {"image": modality}, threads) as loader:
            return speed(loader.stream(plan))

    def theirs(transform: Callable[[Path], Tensor]) -> float:
        return speed(DataLoader(Pictures(files, transform), BATCH, num_workers=2))

    runs = {
        "Loader": lambda: ours(image),
        "DataLoader": lambda: theirs(read),
        "DataLoader with our modality": lambda: theirs(OurTransform(image, options.train)),
        "Loader with torchvision": lambda: ours(UserModality(read)),
    }
    results = take_turns(runs, options.repeat)
    show(f"{len(paths)} photographs to 224 x 224, {threads} threads", results, "images/s")
    print(f"Loader / DataLoader with our modality: {ratio(results, 'Loader', 'DataLoader with our modality'):.3f}")
    print(f"Loader with torchvision / DataLoader: {ratio(results, 'Loader with torchvision', 'DataLoader'):.3f}")
    print(verdict("Loader / DataLoader", ratio(results, "Loader", "DataLoader"), least=1.3))


if __name__ == "__main__":
    main()
