"""How many trials a cluster has room for. Pure arithmetic: it imports no Ray."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from sensorium.errors import UserError


def room(nodes: Sequence[Mapping[str, float]], per_worker: Mapping[str, float]) -> int:
    """Returns how many workers find a place at once; none lies on two nodes.

    Args:
        nodes: Resources of each node that is alive, as Ray names them.
        per_worker: Resources of a worker.
    """
    wanted = {name: amount for name, amount in per_worker.items() if amount > 0}
    return sum(
        min(math.floor(node.get(name, 0.0) / amount + 1e-9) for name, amount in wanted.items()) for node in nodes
    )


def concurrency(
    nodes: Sequence[Mapping[str, float]], per_worker: Mapping[str, float], workers: tuple[int, int], asked: int | None
) -> int:
    """Returns how many trials may run at a time, so that each gets all of its workers.

    Were there more, each might hold some workers and wait for ever for the others'.

    Args:
        nodes: Resources of each node that is alive.
        per_worker: Resources of a worker.
        workers: Least and most workers of a trial.
        asked: Trials at a time at most.

    Raises:
        UserError: There is no room for a single trial.
    """
    places, (least, most) = room(nodes, per_worker), workers
    if places < least:
        each = ", ".join(f"{amount:g} {name}" for name, amount in per_worker.items())
        raise UserError(
            f"A trial of {least} worker{'s' * (least > 1)} of {each} each finds no room: the cluster has {places}.",
            "Nothing was started.",
            "Set run.workers or run.resources, or join a larger cluster with --address.",
        )
    fit = max(1, places // most)
    return fit if asked is None else min(fit, asked)
