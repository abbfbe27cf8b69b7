"""Training, and the figures of what was trained."""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any

import typer

from sensorium.commands.options import (
    Address,
    Allowed,
    Json,
    ModelName,
    Overrides,
    TaskOrFile,
    print_json,
    told_apart,
    warn,
)


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
    from sensorium.commands.report import ending
    from sensorium.interrupts import terminable
    from sensorium.modules import advice
    from sensorium.session import resumed, started

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
            result = session.train(local=local, address=address, interrupted=stopped)
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
    from sensorium.commands.report import sentences, table
    from sensorium.prediction import evaluate as measure
    from sensorium.tracking.models import fetch

    evaluation = measure(fetch(model), split, overrides or ())
    if as_json:
        print_json({"model": model, "split": evaluation.split, "metrics": dict(evaluation.metrics)})
        return
    print(*table(evaluation.metrics), *sentences(evaluation.examples), sep="\n")


def _warn_skipped(assembly: Any, shown: int = 5) -> None:
    for split, left_out in assembly.skipped.items():
        if left_out:
            total = len(assembly.splits[split]) + len(left_out)
            warn(f"{split}: {len(left_out)} of {total} samples are left out, as broken:")
            for _, why in left_out[:shown]:
                warn(f"  {why}")
            if len(left_out) > shown:
                warn(f"  and {len(left_out) - shown} more; all are listed in the run's run.json")
