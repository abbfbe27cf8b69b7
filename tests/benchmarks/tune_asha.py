"""A search of 8 trials with ASHA, against the same 8 run to the end one after another.

Run `python tests/benchmarks/tune_asha.py`. Both search the default space of CLIP on handwritten
digits, draw the same parameters, record in MLflow, and run on one Ray of this machine: ASHA with as
many trials at a time as there are cores, the other with one. Starting Ray counts for neither.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from typing import Any

from timing import ratio, show, take_turns, verdict

from sensorium.runtime import tune
from sensorium.tuning.session import started


def search(method: str, concurrent: int | None, trials: int, epochs: int, folder: str) -> dict[str, Any]:
    """Returns what a search found, with the seconds that it took."""
    given = {"method": method, "concurrent": concurrent, "trials": trials}
    tuning = started(
        "clip",
        [
            *(f"search.{key}={json.dumps(value)}" for key, value in given.items()),
            f"training.epochs={epochs}",
            "run.resources={CPU: 1}",
            f"run.storage={folder}",
            f"tracking.uri=sqlite:///{folder}/mlflow.db",
            "tracking.system=false",
        ],
    )
    begin = time.monotonic()
    result = tuning.search(tune.search)
    return {**result, "took": time.monotonic() - begin}


def main() -> None:
    """Measures, and prints the ratio at the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=1, help="turns of each")
    parser.add_argument("--trials", type=int, default=8, help="trials of a search")
    parser.add_argument("--epochs", type=int, default=27, help="epochs of a trial that is not stopped")
    options = parser.parse_args()
    import ray

    ray.init(address="local", logging_level="ERROR", log_to_driver=False)
    seen: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:

        def turn(name: str, method: str, concurrent: int | None) -> float:
            seen[name] = search(method, concurrent, options.trials, options.epochs, folder)
            return float(seen[name]["took"])

        parts = {
            "asha": lambda: turn("asha", "asha", None),
            "one after another": lambda: turn("one after another", "random", 1),
        }
        results = take_turns(parts, options.repeat)
    show(f"{options.trials} trials of {options.epochs} epochs", results, "s")
    for name, result in seen.items():
        epochs = sum(trial["epoch"] for trial in result["trials"])
        best = f"best trial {result['best']['trial']}, {result['metric']} {result['best']['metric']:.4f}"
        print(f"{name}: {epochs} epochs, {best}; median trial {_median(result):.1f} s")
    print(verdict("ASHA / one after another, time", ratio(results, "asha", "one after another"), most=0.6))
    ray.shutdown()


def _median(result: dict[str, Any]) -> float:
    return statistics.median(trial["seconds"] for trial in result["trials"])


if __name__ == "__main__":
    main()
