"""Training, and the metrics of what was trained."""

from __future__ import annotations

from typing import Annotated

import typer

from sensorium.cli.options import Address, Allowed, Json, ModelName, Overrides, TaskOrFile, print_json, told_apart


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
    from sensorium.api.report import ending
    from sensorium.api.training import run
    from sensorium.modules import advice

    task, changes = told_apart(task, overrides, resume)
    if (task is None) == (resume is None):
        raise typer.BadParameter("give a TASK or FILE, or --resume RUN")
    if local or workers is not None:
        changes.append(f"run.workers={1 if local else workers}")
    session, result = run(task, resume, changes, address)
    if as_json:
        print_json(result)
        return
    print(*ending(result, session.assembly.task, advice(session.assembly.loaded.plugins.modules)), sep="\n")


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
    from sensorium.api.report import sentences, table
    from sensorium.inference.predictor import evaluate as measure
    from sensorium.tracking.models import fetch

    evaluation = measure(fetch(model), split, overrides or ())
    if as_json:
        print_json({"model": model, "split": evaluation.split, "metrics": dict(evaluation.metrics)})
        return
    print(*table(evaluation.metrics), *sentences(evaluation.examples), sep="\n")
