"""Measurements that take turns, so that what slows the machine for a while slows all of them."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence

WARM = 5
"""Steps left out at the start of each turn."""


def take_turns(runs: Mapping[str, Callable[[], float]], repeat: int) -> dict[str, list[float]]:
    """Returns name -> what its run returned at each turn: A B A B …, in the other order at every second turn."""
    results: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(repeat):
        for name, run in list(runs.items())[:: 1 if turn % 2 == 0 else -1]:
            results[name].append(run())
    return results


def rate(times: Sequence[float], samples: int) -> float:
    """Returns samples a second from the moments at which steps of so many samples ended."""
    return samples * (len(times) - 1 - WARM) / (times[-1] - times[WARM])


def show(what: str, results: Mapping[str, Sequence[float]], unit: str) -> None:
    """Prints the median and the range of each."""
    for name, values in results.items():
        spread = f"{min(values):.4g} to {max(values):.4g}, {len(values)} turns"
        print(f"{what}, {name}: {statistics.median(values):.4g} {unit} ({spread})", flush=True)


def ratio(results: Mapping[str, Sequence[float]], ours: str, theirs: str) -> float:
    """Returns the ratio of two medians."""
    return statistics.median(results[ours]) / statistics.median(results[theirs])


def verdict(what: str, value: float, least: float | None = None, most: float | None = None) -> str:
    """Returns a line with a ratio and its target."""
    met = (least is None or value >= least) and (most is None or value <= most)
    target = f"at least {least:g}" if least is not None else f"at most {most:g}"
    return f"{what}: {value:.3f} (target {target}: {'met' if met else 'MISSED'})"
