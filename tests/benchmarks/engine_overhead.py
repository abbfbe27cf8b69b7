"""The engine in this process against a training loop written by hand.

Run `python tests/benchmarks/engine_overhead.py`. Both train the same perceptron from the same
`Loader` with AdamW, in turns, on one of torch's threads, so that the loader has a core too. The
engine's side calls all hooks that `Plugins()` finds, the progress display among them (its lines are
thrown away), and a listener that keeps every loss as the recorder of MLflow does; nothing is written
to a store. The speed of a turn is that from its 6th to its last step. The model is made so wide that
the loop by hand takes about 5 and about 50 ms a step.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import statistics
import tempfile
import time
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import workload
from timing import rate, ratio, show, take_turns, verdict
from torch.nn import functional as F

from sensorium import hookimpl
from sensorium.assembly.build import assemble
from sensorium.contracts.run import Outcome, Run, Step
from sensorium.engine.checkpoint import Store
from sensorium.engine.loader import Loader
from sensorium.engine.loop import Loop

THREADS = 4
TARGETS = {5: 0.90, 50: 0.97}
"""Milliseconds of a step -> least share of the speed of the loop by hand."""


class Listener:
    """Keeps the losses of every step, as the recorder of MLflow does."""

    def __init__(self) -> None:
        self.points: list[tuple[str, object, float, int]] = []

    @hookimpl
    def sensorium_step_finished(self, run: Run, step: Step) -> None:
        """Keeps them."""
        values = {**step.losses, **step.learning_rates}
        self.points += [(name, value, time.time(), step.number) for name, value in values.items()]


def by_hand(width: int, steps: int) -> list[float]:
    """Returns the moments at which the steps of a loop by hand ended."""
    assembly = assemble(workload.checked(workload.experiment(width, steps)))
    model = workload.network(width)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.0)
    order = torch.randperm(steps * workload.BATCH).tolist()
    plan = ((0, order[start : start + workload.BATCH]) for start in range(0, len(order), workload.BATCH))
    times = []
    with Loader(assembly.splits["train"], assembly.modalities, THREADS) as loader:
        for batch in loader.stream(plan):
            loss = F.cross_entropy(model(batch["x"]), batch["label"])
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            times.append(time.perf_counter())
    return times


def by_engine(width: int, steps: int, *listeners: object, tracking: Mapping[str, Any] | None = None) -> list[float]:
    """Returns the moments at which the engine's steps ended."""
    assembly = assemble(workload.checked(workload.experiment(width, steps)))
    for listener in listeners:
        assembly.loaded.plugins.manager.register(listener)
    hook = assembly.loaded.plugins.hook
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        name = Path(folder).name
        run = Run(name=name, folder=folder, experiment={}, seed=0, steps=steps, tracking=tracking or {})
        hook.sensorium_run_started(run=run)
        Loop(assembly.work(), run, Store(folder), torch.device("cpu"), hook).train()
        hook.sensorium_run_finished(run=run, outcome=Outcome("finished"))
    return list(workload.moments)


def width_for(milliseconds: float) -> int:
    """Returns the width at which a step by hand takes about so long on a machine that is left alone."""
    width, taken = 32, 0.0
    while taken < milliseconds:
        width = width * 5 // 4 // 8 * 8 + 8
        times = by_hand(width, max(40, int(1000 / milliseconds)))
        taken = 1000 * statistics.quantiles(b - a for a, b in pairwise(times))[0]
    return width


def main() -> None:
    """Measures, and prints the ratios at the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=11, help="turns of each")
    parser.add_argument("--seconds", type=float, default=2.0, help="seconds of a turn")
    options = parser.parse_args()
    torch.set_num_threads(1)
    lines = []
    for milliseconds, target in TARGETS.items():
        width, steps = width_for(milliseconds), int(1000 * options.seconds / milliseconds)
        runs = {
            "engine": lambda w=width, n=steps: rate(by_engine(w, n, Listener()), workload.BATCH),
            "by hand": lambda w=width, n=steps: rate(by_hand(w, n), workload.BATCH),
        }
        results = take_turns(runs, options.repeat)
        taken = 1000 * workload.BATCH / statistics.median(results["by hand"])
        what = f"a step of {taken:.1f} ms (width {width})"
        show(what, results, "samples/s")
        lines.append(verdict(f"engine / by hand, {what}", ratio(results, "engine", "by hand"), least=target))
    print(*lines, sep="\n")


if __name__ == "__main__":
    main()
