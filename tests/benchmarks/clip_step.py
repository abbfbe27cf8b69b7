"""A training of CLIP by Sensorium against open_clip's own script, from the same weights, pictures and captions.

Run `python tests/benchmarks/clip_step.py`. open_clip writes small models with random weights; both then train them in
turns on the photographs and captions of tiny_coco (in the folder SENSORIUM_TEST_DATA) in float32 with AdamW: ours by
`execute`, as `sensorium train` does, with the encoders `clip_image` and `clip_text`; theirs by `train_one_epoch` of
`open_clip_train`, with open_clip's transforms, tokenizer and loss, from a DataLoader with two workers. Each takes the
threads that it takes by default: ours leaves a core to reading, unless OMP_NUM_THREADS is set. With `small` towers the
step is the bottleneck, with `tiny` ones reading is. The speed of a turn is that from its 6th to its last step.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import json
import os
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip_train.train import train_one_epoch
from PIL import Image as Pillow
from safetensors.torch import save_file
from timing import rate, ratio, show, take_turns, verdict
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from sensorium import hookimpl
from sensorium.assembly.build import assemble
from sensorium.assembly.loading import load
from sensorium.training import runs
from sensorium.training.execution import execute

EXPERIMENT = Path(__file__).parents[2] / "plugins/sensorium_clip/experiments/finetune.yaml"
TOWERS = {"small": (256, 6), "tiny": (64, 1)}
"""Name -> channels and blocks of both towers."""
SIDE, PATCH, HEAD = 128, 16, 64
LEAST = 1.1


class Moments:
    """When each step ended, in seconds of `time.perf_counter`."""

    def __init__(self) -> None:
        self.found: list[float] = []

    @hookimpl
    def sensorium_step_finished(self) -> None:
        """Takes it down."""
        self.found.append(time.perf_counter())


class Pairs(Dataset[tuple[Tensor, Tensor]]):
    """What open_clip's script reads of a list of pairs."""

    def __init__(self, pairs: list[tuple[str, str]], transform: Any) -> None:
        self.pairs, self.transform, self.tokenize = pairs, transform, open_clip.SimpleTokenizer()

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        path, text = self.pairs[index]
        return self.transform(Pillow.open(path)), self.tokenize([text])[0]


class Read:
    """What `train_one_epoch` takes as its data; takes down when the next batch is asked for."""

    def __init__(self, pairs: Pairs, batch: int, moments: Moments) -> None:
        self.loader = DataLoader(pairs, batch, shuffle=True, num_workers=2, drop_last=True)
        self.num_batches, self.num_samples = len(self.loader), len(pairs)
        self.dataloader, self.moments = self, moments

    def set_epoch(self, epoch: int) -> None:
        """Does nothing: there is one."""

    def __iter__(self) -> Iterator[Any]:
        for batch in self.loader:
            yield batch
            self.moments.found.append(time.perf_counter())


def ours(folder: Path, batch: int) -> float:
    """Returns samples a second of a training by Sensorium."""
    moments = Moments()
    data = {"name": "manifest", "fields": {"image": "image", "text": "text"}}
    data |= {"train": str(folder / "train.csv"), "test": str(folder / "test.csv")}
    changes = [
        f"dataset={json.dumps(data)}",
        *(f"model.encoders.{field}.weights={json.dumps(str(folder))}" for field in ("image", "text")),
        f"training.global_batch={batch}",
        "training.epochs=1",
        "training.precision=fp32",
        "training.clip_norm=null",  # open_clip's default
        "evaluation={contributions: false, plots: false}",
        f"run.storage={json.dumps(str(folder / 'runs'))}",
    ]
    assembly = assemble(load(str(EXPERIMENT), changes))
    assembly.loaded.plugins.manager.register(moments)
    with contextlib.redirect_stderr(io.StringIO()):
        execute(assembly, runs.create(assembly, {}))
    return rate(moments.found, batch)


def theirs(folder: Path, batch: int, pairs: list[tuple[str, str]]) -> float:
    """Returns samples a second of a training by open_clip."""
    told = {"batch_size": batch, "device": "cpu", "precision": "fp32", "accum_freq": 1, "log_every_n_steps": 100}
    off = ("distill", "horovod", "wandb", "distributed", "log_local", "rank", "local_rank")
    args = Namespace(**told, **dict.fromkeys(off, 0), skip_scheduler=True, grad_clip_norm=None, world_size=1)
    model, transform, _ = open_clip.create_model_and_transforms(f"local-dir:{folder}", output_dict=True)
    moments = Moments()
    data = Read(Pairs(pairs, transform), batch, moments)
    decayed = [each for each in model.parameters() if each.ndim >= 2]
    spared = [each for each in model.parameters() if each.ndim < 2]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": spared, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=1e-5, betas=(0.9, 0.98), eps=1e-6)
    train_one_epoch(model, {"train": data}, open_clip.ClipLoss(), 0, optimizer, None, None, None, args)
    return rate(moments.found, batch)


def write(folder: Path, pairs: list[tuple[str, str]], width: int, depth: int) -> None:
    """Writes a model with random weights, and the pairs as both read them."""
    seen = {"image_size": SIDE, "patch_size": PATCH, "width": width, "layers": depth, "head_width": HEAD}
    words = {"context_length": 77, "vocab_size": 49408, "width": width, "layers": depth, "heads": width // HEAD}
    config = {"embed_dim": width, "vision_cfg": seen, "text_cfg": words}
    torch.manual_seed(0)
    save_file(open_clip.CLIP(**config).state_dict(), folder / "open_clip_model.safetensors")
    content = {"model_cfg": config, "preprocess_cfg": {}}
    (folder / "open_clip_config.json").write_text(json.dumps(content), encoding="utf-8")
    for name, delimiter, chosen in (
        ("train.csv", ",", pairs),
        ("test.csv", ",", pairs[:8]),
        ("train.tsv", "\t", pairs),
    ):
        with (folder / name).open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, delimiter=delimiter).writerows([("image", "text"), *chosen])


def main() -> None:
    """Measures, and prints the ratios at the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=3, help="turns of each")
    parser.add_argument("--steps", type=int, default=20, help="steps of a turn")
    parser.add_argument("--batch", type=int, default=32, help="pairs of a step")
    parser.add_argument("--towers", nargs="*", choices=list(TOWERS), default=list(TOWERS), help="sizes")
    options = parser.parse_args()
    root = Path(os.environ.get("SENSORIUM_TEST_DATA", "")) / "tiny_coco"
    if not root.is_dir():
        parser.error(f"no photographs in {root}: set SENSORIUM_TEST_DATA to the folder of real data")
    content = json.loads((root / "annotations/captions_train2017.json").read_text(encoding="utf-8"))
    files = {image["id"]: str((root / "train2017" / image["file_name"]).resolve()) for image in content["images"]}
    known = [(files[each["image_id"]], " ".join(each["caption"].split())) for each in content["annotations"]]
    samples = options.steps * options.batch
    pairs = (known * (samples // len(known) + 1))[:samples]
    lines = []
    for name in options.towers:
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            write(folder, pairs, *TOWERS[name])
            made: dict[str, Callable[[], float]] = {
                "Sensorium": lambda folder=folder: ours(folder, options.batch),
                "open_clip": lambda folder=folder: theirs(folder, options.batch, pairs),
            }
            results = take_turns(made, options.repeat)
        show(f"{name} towers, batches of {options.batch}", results, "samples/s")
        lines.append(verdict(f"Sensorium / open_clip, {name} towers", ratio(results, *made), least=LEAST))
    print(*lines, sep="\n")


if __name__ == "__main__":
    main()
