"""Two Ray workers against DistributedDataParallel by hand under torchrun.

Run `python tests/benchmarks/workers_scaling.py`. Both train the same perceptron from the same `Loader`
with AdamW on two processes of one thread each (OMP_NUM_THREADS=1), with gloo, in turns. The speed of a
turn is that of its median step, so that starting, which both pay for, does not count. Nothing is
recorded in MLflow; `logging_cost.py` says what that takes.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import torch
import workload
from timing import WARM, ratio, show, take_turns, verdict
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from sensorium.assembly.build import assemble
from sensorium.engine.loader import Loader
from sensorium.training import runs

HERE = Path(__file__).parent
THREADS = 4


def engine(width: int, steps: int, storage: str) -> None:
    """Trains on two Ray workers; the listener in `workload` writes the moments of the steps."""
    from sensorium.runtime.train import train

    data = {**workload.experiment(width, steps), "run": {"workers": 2, "storage": storage, "threads": THREADS}}
    assembly = assemble(workload.checked(data))
    train(assembly, runs.create(assembly, {}))


def by_hand(width: int, steps: int) -> None:
    """Trains as one of the processes of torchrun; writes the moments of the steps."""
    torch.distributed.init_process_group("gloo")
    rank, size = torch.distributed.get_rank(), torch.distributed.get_world_size()
    assembly = assemble(workload.checked(workload.experiment(width, steps)))
    torch.manual_seed(0)
    model = DistributedDataParallel(workload.network(width), gradient_as_bucket_view=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.0)
    order = torch.randperm(steps * workload.BATCH, generator=torch.Generator().manual_seed(0)).tolist()
    share = workload.BATCH // size
    starts = range(rank * share, len(order), workload.BATCH)
    times = []
    with Loader(assembly.splits["train"], assembly.modalities, THREADS) as loader:
        for batch in loader.stream((0, order[start : start + share]) for start in starts):
            F.cross_entropy(model(batch["x"]), batch["label"]).backward()
            optimizer.step()
            optimizer.zero_grad()
            times.append(time.perf_counter())
    if rank == 0:
        Path(os.environ["SENSORIUM_BENCH_STEPS"]).write_text(json.dumps(times), encoding="utf-8")
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def speed(command: list[str], part: str, width: int, steps: int) -> float:
    """Returns the samples a second of the median step of one of the two, in processes of its own."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "steps.json"
        variables = {"SENSORIUM_BENCH_STEPS": str(file), "PYTHONPATH": str(HERE), "OMP_NUM_THREADS": "1"}
        options = ["--part", part, "--width", str(width), "--steps", str(steps), "--storage", folder]
        done = subprocess.run(
            [*command, __file__, *options], env={**os.environ, **variables}, capture_output=True, text=True
        )
        if done.returncode:
            raise SystemExit(f"{part} failed:\n{done.stderr[-3000:]}")
        moments: list[float] = json.loads(file.read_text(encoding="utf-8"))[WARM:]
    return workload.BATCH / statistics.median(b - a for a, b in pairwise(moments))


def main() -> None:
    """Measures, and prints the ratio at the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=3, help="turns of each; one of Ray takes about 40 s")
    parser.add_argument("--width", type=int, default=1024, help="channels of the hidden layers")
    parser.add_argument("--steps", type=int, default=300, help="optimizer steps of a turn")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    parser.add_argument("--storage", help=argparse.SUPPRESS)
    options = parser.parse_args()
    size = (options.width, options.steps)
    if options.part == "engine":
        return engine(*size, options.storage)
    if options.part == "by hand":
        return by_hand(*size)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    parts = {
        "engine": lambda: speed([sys.executable], "engine", *size),
        "by hand": lambda: speed(torchrun, "by hand", *size),
    }
    results = take_turns(parts, options.repeat)
    taken = 1000 * workload.BATCH / statistics.median(results["by hand"])
    show(f"two workers, a step of {taken:.1f} ms", results, "samples/s")
    print(verdict("two Ray workers / torchrun", ratio(results, "engine", "by hand"), least=0.95))
    return None


if __name__ == "__main__":
    main()
