"""Training with every step recorded in MLflow, against training without a record.

Run `python tests/benchmarks/logging_cost.py`. The engine trains the same perceptron in turns, at a
step of about 20 ms: without a record, with every step in a SQLite store, and with the machine's
figures besides. The process that writes the record works for some seconds until it is ready, and
competes for the cores meanwhile: the speed is given from then on, and for the whole training too.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
import workload
from engine_overhead import by_engine, width_for
from timing import rate, ratio, show, take_turns, verdict

TARGET = 0.97


def main() -> None:
    """Measures, and prints the ratios at the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=5, help="turns of each")
    parser.add_argument("--milliseconds", type=float, default=20.0, help="about the length of a step")
    parser.add_argument("--seconds", type=float, default=20.0, help="about the length of a turn")
    parser.add_argument("--ready", type=float, default=8.0, help="seconds left out, in which the writer gets ready")
    options = parser.parse_args()
    torch.set_num_threads(1)
    width, steps = width_for(options.milliseconds), int(1000 * options.seconds / options.milliseconds)
    whole: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        record = {"uri": f"sqlite:///{Path(folder) / 'mlflow.db'}", "experiment": "bench", "every": 1, "system": False}
        modes: dict[str, Mapping[str, Any]] = {
            "no record": {},
            "every step": record,
            "and the machine": {**record, "system": True},
        }
        by_engine(width, 10, tracking=record)  # makes the store

        def turn(name: str) -> float:
            moments = by_engine(width, steps, tracking=modes[name])
            whole.setdefault(name, []).append(rate(moments, workload.BATCH))
            later = [moment for moment in moments if moment > moments[0] + options.ready]
            return rate(later, workload.BATCH)

        results = take_turns({name: partial(turn, name) for name in modes}, options.repeat)
    taken = 1000 * workload.BATCH / statistics.median(results["no record"])
    show(f"a step of {taken:.1f} ms (width {width})", results, "samples/s")
    show(f"from the first step, {options.seconds:.0f} s", whole, "samples/s")
    for name in ("every step", "and the machine"):
        print(f"{name} / no record, from the first step: {ratio(whole, name, 'no record'):.3f}")
    for name in ("every step", "and the machine"):
        print(verdict(f"{name} / no record", ratio(results, name, "no record"), least=TARGET))


if __name__ == "__main__":
    main()
