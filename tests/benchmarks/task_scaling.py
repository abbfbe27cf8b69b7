"""Samples a second of each task's default experiment with one worker and with two.

Run `make bench-scaling`, or `python tests/benchmarks/task_scaling.py [TASK...]`. Each number is the rate
in steady state that `sensorium train --json` tells, over all stages, each of them cut to one epoch of at
most 60 steps. Every process has one thread (OMP_NUM_THREADS=1), so that two workers have twice the
processor that one has, where there is as much. Two workers are Ray's.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from sensorium.assembly.build import assemble
from sensorium.assembly.loading import load

sys.path.insert(0, str(Path(__file__).parents[1] / "tasks"))
from shortened import tasks

STEPS = 60
"""Steps of each stage at most."""


def options(task: str) -> list[str]:
    """Returns overrides that cut each stage to one epoch of at most `STEPS` steps."""
    assembly = assemble(load(task))
    training = assembly.loaded.experiment.training
    stages = [stage.name for stage in assembly.task.stages()]
    most = STEPS * max(training.plan(name).global_batch for name in stages)
    count = min(len(assembly.splits["train"]), most)
    return [
        *(f"training.stages.{name}.epochs=1" for name in stages),
        f"dataset.limit={{train: {count}, test: 64}}",
        "evaluation.contributions=false",
        "tracking.system=false",
    ]


def speed(task: str, workers: int, overrides: list[str]) -> float:
    """Returns the samples a second of a training in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="scaling-") as folder:
        command = [str(Path(sys.executable).with_name("sensorium")), "train", task, "--json", f"--workers={workers}"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"}
        done = subprocess.run(
            [*command, *overrides], cwd=folder, env=environment, stdout=subprocess.PIPE, text=True, check=True
        )
        return float(json.loads(done.stdout)["samples_per_second"])


def main() -> None:
    """Prints the table."""
    print(f"{'task':24} {'1 worker':>12} {'2 workers':>12} {'ratio':>8}   samples a second", flush=True)
    for task in sys.argv[1:] or tasks():
        overrides = options(task)
        one, two = (speed(task, workers, overrides) for workers in (1, 2))
        print(f"{task:24} {one:12.1f} {two:12.1f} {two / one:8.2f}", flush=True)


if __name__ == "__main__":
    main()
