"""Seconds from the command to the end of the first optimizer step, against scripts without a platform.

Run `python tests/benchmarks/first_step.py`. `sensorium train clip` with one worker takes turns with
`scripts/clip_bare.py`, which trains a like model on the same digits with PyTorch alone, and with two
workers with `scripts/clip_torch_trainer.py`, the same by Ray Train's TorchTrainer. Each command runs
once before, so that files are in memory and MLflow's store is there. The clock starts when the
command is started, and stops at what it writes down after its first step.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from timing import ratio, show, take_turns, verdict

HERE = Path(__file__).parent
SENSORIUM = [str(Path(sys.executable).with_name("sensorium")), "train", "clip"]
OPTIONS = ["plugins=[workload]", "training.epochs=1"]
SCRIPTS = HERE / "scripts"


def first_step(command: list[str], folder: Path) -> float:
    """Returns the seconds until a command wrote down its first step; waits for the command to end."""
    first = folder / "first"
    first.unlink(missing_ok=True)
    paths = os.pathsep.join([str(HERE), str(SCRIPTS)])
    store = f"sqlite:///{folder / 'mlflow.db'}"
    variables = {"SENSORIUM_BENCH_FIRST": str(first), "MLFLOW_TRACKING_URI": store, "PYTHONPATH": paths}
    began = time.time()
    done = subprocess.run(
        [word.replace("FIRST", str(first)) for word in command],
        cwd=folder,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return float(first.read_text(encoding="utf-8")) - began


def main() -> None:
    """Measures, and prints the ratios at the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=5, help="turns with one worker")
    parser.add_argument("--repeat-ray", type=int, default=3, help="turns with two workers; 0 leaves them out")
    options = parser.parse_args()
    one = {"sensorium": [*SENSORIUM, *OPTIONS], "PyTorch": [sys.executable, str(SCRIPTS / "clip_bare.py"), "FIRST"]}
    two = {
        "sensorium": [*SENSORIUM, "--workers", "2", *OPTIONS],
        "TorchTrainer": [sys.executable, str(SCRIPTS / "clip_torch_trainer.py"), "FIRST"],
    }
    lines = []
    cases = [("one worker", one, options.repeat, 1.5), ("two workers", two, options.repeat_ray, 1.1)]
    with tempfile.TemporaryDirectory() as folder:
        for what, commands, repeat, target in cases:
            if not repeat:
                continue
            runs = {name: lambda c=command: first_step(c, Path(folder)) for name, command in commands.items()}
            take_turns(runs, 1)  # warms up
            results = take_turns(runs, repeat)
            show(f"first step, {what}", results, "s")
            ours, theirs = commands
            lines.append(verdict(f"{ours} / {theirs}, {what}", ratio(results, ours, theirs), most=target))
    print(*lines, sep="\n")


if __name__ == "__main__":
    main()
