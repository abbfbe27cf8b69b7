"""How long a checkpoint of 500 MB holds the training up, against writing it before going on.

Run `python tests/benchmarks/checkpoint_stall.py`. A model of 42 million parameters with AdamW's state
(500 MB in 96 tensors) is saved in turns: by `Store.save`, which returns once the state is copied, and
by writing the same files and waiting for them. The first save makes the buffers and is left out. While
the thread of `Store.save` writes, steps of about 20 ms go on; how much longer they take than steps on
their own is printed too, because the writer shares processor, memory and Python's lock with them.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import torch
from timing import ratio, show, take_turns, verdict

from sensorium.engine.checkpoint import Store, write

LAYERS = 32
SIDE = 1145
DOCUMENTS = {"experiment": {}, "modalities": {}, "plugins": {}, "state": {"step": 0}, "optimizer": {}}


def state() -> dict[str, dict[str, torch.Tensor]]:
    """Returns file -> name -> tensor, as the loop hands them over: a third is the model."""
    names = [f"layers.{number}.weight" for number in range(LAYERS)]
    optimizer = [f"main/{name}/{key}" for name in names for key in ("exp_avg", "exp_avg_sq")]
    return {
        "model": {name: torch.randn(SIDE, SIDE) for name in names},
        "optimizer": {name: torch.randn(SIDE, SIDE) for name in optimizer},
    }


class Steps:
    """Something to train meanwhile."""

    def __init__(self) -> None:
        self.model = torch.nn.Sequential(*(torch.nn.Linear(512, 512) for _ in range(8)))
        self.optimizer = torch.optim.AdamW(self.model.parameters())
        self.batch = torch.randn(192, 512)

    def one(self) -> float:
        """Returns the seconds of one step."""
        began = time.perf_counter()
        self.model(self.batch).square().mean().backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return time.perf_counter() - began


def main() -> None:
    """Measures, and prints the ratios at the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=7, help="turns of each")
    parser.add_argument("--folder", type=Path, help="where to write; a temporary folder by default")
    options = parser.parse_args()
    torch.set_num_threads(1)
    folder = Path(tempfile.mkdtemp(dir=options.folder))
    store, tensors, steps = Store(str(folder / "checkpoints"), keep=1), state(), Steps()
    size = sum(tensor.nbytes for named in tensors.values() for tensor in named.values())
    print(f"{size / 1e6:.0f} MB in {sum(map(len, tensors.values()))} tensors", flush=True)
    number = 0
    slower: list[float] = []
    alone = [steps.one() for _ in range(20)]

    def asynchronous() -> float:
        nonlocal number
        number += 1
        began = time.perf_counter()
        store.save(number, tensors, DOCUMENTS)
        held = time.perf_counter() - began
        meanwhile = []
        while store.written() is None:
            meanwhile.append(steps.one())
        store.wait()
        alone.extend(steps.one() for _ in range(20))
        slower.append(sum(meanwhile) - len(meanwhile) * statistics.median(alone))
        return held

    def synchronous() -> float:
        began = time.perf_counter()
        write(str(folder / "synchronous"), tensors, DOCUMENTS)
        return time.perf_counter() - began

    try:
        first = asynchronous()
        slower.clear()
        results = take_turns({"save": asynchronous, "written at once": synchronous}, options.repeat)
    finally:
        shutil.rmtree(folder)
    print(f"held up by the first save, which makes the buffers: {first:.3f} s")
    show("training held up", results, "s")
    more = statistics.median(slower)
    print(f"steps of {1000 * statistics.median(alone):.1f} ms while a save is written: {more:.3f} s more")
    both = {"both": [a + b for a, b in zip(results["save"], slower, strict=True)], **results}
    print(f"held up and slower meanwhile / written at once: {ratio(both, 'both', 'written at once'):.3f}")
    print(verdict("held up / written at once", ratio(results, "save", "written at once"), most=0.1))


if __name__ == "__main__":
    main()
