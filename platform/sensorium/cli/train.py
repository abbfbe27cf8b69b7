"""Training, and the metrics of what was trained."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Annotated, Any

import typer

from sensorium.cli.options import Address, Allowed, Json, ModelName, Overrides, TaskOrFile, print_json, told_apart, warn


def train(
    task: TaskOrFile = None,
    overrides: Overrides = None,
    workers: Annotated[
        int | None, typer.Option(metavar="N", help="Number of workers; two and more run on Ray.")
    ] = None,
    local: Annotated[bool, typer.Option("--local", help="One worker in this process, for debugging.")] = False,
    address: Address = None,
    resume: Annotated[str | None, typer.Option(metavar="RUN", help="Resume a run, by name or folder.")] = None,
    plugins: Allowed = None,
    as_json: Json = False,
) -> None:
    """Train a task, or the experiment in a file, and record the run.

    Example:
        sensorium train clip training.epochs=5 tracking.register=digits
    """
    from sensorium.cli.report import ending
    from sensorium.modules import advice
    from sensorium.training.interrupts import terminable
    from sensorium.training.session import resumed, started

    task, extra = told_apart(task, overrides, resume)
    if (task is None) == (resume is None):
        raise typer.BadParameter("give a TASK or FILE, or --resume RUN")
    if local:
        extra.append("run.workers=1")
    elif workers is not None:
        extra.append(f"run.workers={workers}")
    with terminable():
        session = started(task, extra) if task is not None else resumed(str(resume), extra)
        _warn_skipped(session.assembly)
        with_plugins = advice(session.assembly.loaded.plugins.modules)
        stopped = cache(lambda: warn(f"Stopped. Resume with `sensorium train --resume {session.name}{with_plugins}`."))
        try:
            size = session.assembly.loaded.experiment.run.workers
            result = session.train(_executor(size, local, address, stopped))
        except KeyboardInterrupt:
            stopped()  # once, as soon as possible
            raise
    if as_json:
        print_json(result)
        return
    print(*ending(result, session.assembly.task, with_plugins), sep="\n")


def evaluate(
    model: ModelName,
    split: Annotated[
        str | None, typer.Option(metavar="SPLIT", help="train, validation or test; as after training if not given.")
    ] = None,
    overrides: Overrides = None,
    plugins: Allowed = None,
    as_json: Json = False,
) -> None:
    """Measure a trained model on a split of its dataset.

    Example:
        sensorium evaluate models:/digits/1 --split validation
    """
    from sensorium.cli.report import sentences, table
    from sensorium.inference.predictor import evaluate as measure
    from sensorium.tracking.models import fetch

    evaluation = measure(fetch(model), split, overrides or ())
    if as_json:
        print_json({"model": model, "split": evaluation.split, "metrics": dict(evaluation.metrics)})
        return
    print(*table(evaluation.metrics), *sentences(evaluation.examples), sep="\n")


def _executor(
    workers: int | tuple[int, int], local: bool, address: str | None, interrupted: Callable[[], None]
) -> Callable[..., Any]:
    """Returns what trains: this process where one worker is enough, else Ray, on this machine or at an address."""
    if address is None and (local or workers == 1):
        from sensorium.training.execution import execute

        return execute
    from sensorium.runtime.train import train

    return partial(train, address=address, interrupted=interrupted)


def _warn_skipped(assembly: Any, shown: int = 5) -> None:
    for split, left_out in assembly.skipped.items():
        if left_out:
            total = len(assembly.splits[split]) + len(left_out)
            warn(f"{split}: {len(left_out)} of {total} samples are left out, as broken:")
            for _, why in left_out[:shown]:
                warn(f"  {why}")
            if len(left_out) > shown:
                warn(f"  and {len(left_out) - shown} more; all are listed in the run's run.json")
