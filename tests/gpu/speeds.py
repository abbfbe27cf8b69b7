"""CLIP at a published size against open_clip's way to train it, and how fast one process reads.

Shapes: B samples, D channels.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import towers
from torch.utils.flop_counter import FlopCounterMode

from sensorium import hookimpl
from sensorium.assembly.build import Assembly, assemble
from sensorium.builtin.modalities.image import Image
from sensorium.contracts.run import Run
from sensorium.engine.checkpoint import Store
from sensorium.engine.loader import Loader
from sensorium.engine.loop import Loop
from sensorium.experiment.reading import check
from sensorium.plugins import Plugins

WARM = 5
"""Steps before the speed counts."""
PEAKS = {
    "B200": 2250.0,
    "H200": 989.0,
    "H100 PCIe": 756.0,
    "H100": 989.0,
    "A100": 312.0,
    "L40S": 362.0,
    "L4": 121.0,
    "A10": 125.0,
    "4090": 165.0,
}
"""Part of a card's name -> its makers' 10^12 operations a second in bf16, dense; the first that fits counts."""


def peak() -> float | None:
    """Returns operations a second of the card, as its makers say; None where it is not known."""
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    return next((1e12 * found for part, found in PEAKS.items() if part in name), None)


def assembly(size: str, batch: int, steps: int) -> Assembly:
    """Returns CLIP with open_clip's towers, and pairs for so many steps."""
    experiment = {
        "task": "clip",
        "plugins": ["towers"],
        "dataset": {"name": "held_pairs", "size": size, "samples": steps * batch},
        "modalities": {"image": {"name": "ready"}, "ids": {"name": "ready"}},
        "model": {
            "encoders": {
                "image": {"name": "open_clip_tower", "size": size, "sees": True},
                "ids": {"name": "open_clip_tower", "size": size, "sees": False},
            },
            "fusion": {"name": "projection", "dim": towers.SIZES[size]["embed_dim"]},
            "loss": {"name": "infonce"},
        },
        "training": {"epochs": 1, "global_batch": batch, "precision": "bf16", "clip_norm": None},
    }
    loaded = check(experiment, Plugins(("towers",)))
    return assemble(loaded, {"modalities": {"image": {}, "ids": {}}, "skipped": {}})


def ours(size: str, batch: int, steps: int, device: torch.device) -> float:
    """Returns samples a second of Sensorium's loop."""
    moments: list[float] = []

    class Clock:
        @hookimpl
        def sensorium_step_finished(self) -> None:
            moments.append(time.perf_counter())

    made = assembly(size, batch, steps)
    made.task.to(device)
    made.loaded.plugins.manager.register(Clock())
    with tempfile.TemporaryDirectory() as folder:
        run = Run(name="ours", folder=folder, experiment={}, seed=0, steps=steps)
        store = Store(folder)
        loop = Loop(made.work(), run, store, device, made.loaded.plugins.hook)
        loop._save = lambda steppers: _wait(device, moments)  # type: ignore[method-assign]
        loop.train()
    return batch * (steps - WARM) / (moments[-1] - moments[WARM - 1])


def _wait(device: torch.device, moments: list[float]) -> None:
    """Waits for the device, so that the last moment is that of the last step's end; nothing is saved."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    moments[-1] = time.perf_counter()


def theirs(size: str, batch: int, steps: int, device: torch.device) -> float:
    """Returns samples a second of a loop as open_clip's: autocast, ClipLoss, AdamW, the scale clamped."""
    from open_clip import ClipLoss

    model, loss = towers.clip(size).to(device).train(), ClipLoss()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.2)
    fields = {"image": towers.Ready(towers.Ready.Config()), "ids": towers.Ready(towers.Ready.Config())}
    plan = [(0, list(range(start, start + batch))) for start in range(0, steps * batch, batch)]
    moments = []
    with Loader(towers.Held(size, steps * batch), fields, 4, pinned=device.type == "cuda") as loader:
        for read in loader.stream(plan):
            image, ids = (read[name].to(device, non_blocking=True) for name in ("image", "ids"))
            optimizer.zero_grad()
            with torch.autocast(device.type, dtype=torch.bfloat16):
                value = loss(*model(image, ids))
            value.backward()
            optimizer.step()
            with torch.no_grad():
                model.logit_scale.clamp_(0, 4.6052)
            moments.append(time.perf_counter())
    _wait(device, moments)
    return batch * (steps - WARM) / (moments[-1] - moments[WARM - 1])


def operations(size: str) -> float:
    """Returns floating-point operations of a training step for each sample, forward and backward, of the towers."""
    model, sample = towers.clip(size), towers.held(size)[0]
    with FlopCounterMode(display=False) as counter:
        image, text, _ = model(sample["image"][None], sample["ids"][None])
        (image.sum() + text.sum()).backward()
    return float(counter.get_total_flops())


def compared(size: str, batch: int, steps: int, repeat: int, device: torch.device) -> list[str]:
    """Returns lines that say how fast both are, in turns, what memory they take, and the share of the card's peak."""
    speeds: dict[str, list[float]] = {"ours": [], "open_clip": []}
    memory: dict[str, float] = {}
    ways: dict[str, Callable[..., float]] = {"ours": ours, "open_clip": theirs}
    for _ in range(repeat):
        for name, run in ways.items():
            if device.type == "cuda":
                torch.cuda.empty_cache()
                torch.cuda.reset_peak_memory_stats()
            speeds[name].append(run(size, batch, steps, device))
            memory[name] = torch.cuda.max_memory_allocated() / 2**30 if device.type == "cuda" else 0.0
    needed, most = operations(size), peak()
    lines = []
    for name, found in speeds.items():
        speed = statistics.median(found)
        share = f", {speed * needed / most:.0%} of the card's peak" if most else ""
        lines.append(f"{size}, batches of {batch}, {name}: {speed:.1f} samples/s, {memory[name]:.1f} GiB{share}")
    ratio = statistics.median(speeds["ours"]) / statistics.median(speeds["open_clip"])
    return [*lines, f"{size}: ours / open_clip {ratio:.3f} ({needed / 1e9:.2f} x 10^9 operations a sample)"]


def reading(photographs: list[bytes], threads: int, seconds: float) -> float:
    """Returns photographs (640 x 480, JPEG) that one process reads, crops to 224 x 224 and collates in a second."""
    split: Any = [{"id": str(number), "image": photographs[number % len(photographs)]} for number in range(64)]
    image = Image(Image.Config(size=224, crop_scale=0.9, flip=0.5))
    moments = []
    ends = time.perf_counter() + seconds

    def plan() -> Any:
        epoch = 0
        while time.perf_counter() < ends or epoch < 3:
            yield epoch, list(range(64))
            epoch += 1

    with Loader(split, {"image": image}, threads) as loader:
        moments = [time.perf_counter() for _ in loader.stream(plan())]
    return 64 * (len(moments) - 1) / (moments[-1] - moments[0])


def folder() -> Path:
    """Returns where the benchmarks lie, whose photographs are read."""
    return Path(__file__).parents[1] / "benchmarks"
