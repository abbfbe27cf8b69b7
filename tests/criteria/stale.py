"""Lists what was measured on code that computes something else today; `make criteria-stale`.

Where the code has changed, a short training of the same experiment says whether its numbers have: if not, the result
stands for the new code.
"""

from __future__ import annotations

import sys
from dataclasses import replace

from goals import Result, Training, keep, plugins, results, trainings
from measuring import code, settings, short

from sensorium.errors import UserError


def main() -> int:
    """Prints a line for each training that has to be measured; returns how many there are."""
    stale = 0
    for plugin in plugins():
        found, now = results(plugin), code(plugin)
        for title, training in trainings(plugin).items():
            result = found.get(title)
            if (
                result is None
                or list(training.seeds) != result.seeds
                or set(result.metrics) != training.metrics(trainings(plugin))
            ):
                why = "was not measured as its criteria ask"
            elif result.code == now:
                continue
            elif not (why := _changed(training, result)):
                keep(plugin, title, replace(result, code=now))
                continue
            stale += 1
            print(f"{plugin.removeprefix('sensorium_')}: {title} {why}", flush=True)
    print(f"{stale} trainings are to be measured: make criteria TASK=..." if stale else "All results are up to date.")
    return stale


def _changed(training: Training, result: Result) -> str:
    """Returns why a result does not stand for the new code; empty where it does."""
    try:
        if settings(training) != result.settings:
            return "is told something else than what was measured"
        return "" if short(training) == result.short else "computes something else than what was measured"
    except UserError as wrong:
        return f"cannot be compared with what was measured: {wrong}"


if __name__ == "__main__":
    sys.exit(bool(main()))
