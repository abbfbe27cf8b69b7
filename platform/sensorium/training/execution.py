"""One run in one process: train, evaluate, write the model. A Ray worker does the same."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from sensorium.assembly import base
from sensorium.assembly.build import Assembly
from sensorium.contracts import workers
from sensorium.contracts.run import Evaluation, Outcome, Run
from sensorium.engine import state
from sensorium.engine.checkpoint import CARD, Checkpoint, Store, write
from sensorium.engine.evaluation import merged
from sensorium.engine.loop import Loop
from sensorium.engine.parallel import device
from sensorium.errors import SensoriumError
from sensorium.redaction import redacted
from sensorium.training.card import card

PATIENCE = 2.0
"""Seconds for which an interrupted training waits for the checkpoint that is being written."""


def execute(
    assembly: Assembly,
    run: Run,
    saved: Callable[[int], None] = lambda step: None,
    leaving: Callable[[], bool] = lambda: False,
) -> Outcome:
    """Trains, from the run's last whole checkpoint if there is one, and measures the result.

    Args:
        assembly: What to work on.
        run: The run; its folder says where checkpoints lie.
        saved: Called on every worker with the step of each complete checkpoint.
        leaving: Says whether this worker was told that some worker's machine is about to go.

    Raises:
        SensoriumError: The training failed; the plugins have been told.
        KeyboardInterrupt: It was interrupted; the plugins have been told that it stopped.
    """
    loaded, hook = assembly.loaded, assembly.loaded.plugins.hook
    store = Store(f"{run.folder}/checkpoints", loaded.experiment.training.checkpoints.keep)
    resume = _last(store)
    given = base.begin(assembly.task, run.seed, resume)
    assembly.task.to(device())
    loop = Loop(replace(assembly.work(), base=given), run, store, device(), hook, saved, leaving)
    loop.run = run = replace(run, steps=loop.steps, resumed_from=resume.step if resume else 0)
    try:
        hook.sensorium_run_started(run=run)
        checkpoint = loop.train(resume)
        base.merge(assembly.task)
        model = f"{run.folder}/model"
        evaluation = _measured(loop, model, lambda metrics: card(assembly, loop.run, metrics))
    except Exception as error:
        with contextlib.suppress(SensoriumError):  # the error that is told is the first one
            store.wait()
        hook.sensorium_run_finished(run=run, outcome=Outcome("failed", error=redacted(str(error))))
        raise
    except KeyboardInterrupt:
        with contextlib.suppress(SensoriumError):  # the checkpoint before it is whole
            store.wait(PATIENCE)
        hook.sensorium_run_finished(run=run, outcome=Outcome("stopped"))
        raise
    outcome = Outcome(
        "finished",
        metrics=evaluation.metrics,
        model=model,
        checkpoint=checkpoint,
        samples_per_second=loop.clock.rate,
        examples=evaluation.examples,
    )
    hook.sensorium_run_finished(run=run, outcome=outcome)
    return outcome


def _measured(loop: Loop, model: str, card: Callable[[Mapping[str, float]], str]) -> Evaluation:
    """Returns the final metrics, and writes the model; first without them, so that it outlives a fault in them.

    Args:
        loop: The training, done.
        model: Folder or URI of the model.
        card: Returns its card with these metrics.

    Raises:
        SensoriumError: It cannot be measured; names the model.
    """
    weights = state.weights(loop.work.task)

    def keep(metrics: Mapping[str, float]) -> None:
        if workers.rank() == 0:
            documents = {**loop.work.documents, "metrics": dict(metrics), CARD: card(metrics)}
            write(model, {"model": weights}, documents)

    settings = loop.work.evaluation
    keep({})
    try:
        evaluation = merged([loop.evaluate(name, settings.contributions) for name in settings.finally_on])
    except Exception as cause:
        kind = type(cause) if isinstance(cause, SensoriumError) else SensoriumError
        wrong = cause.wrong if isinstance(cause, SensoriumError) else f"{type(cause).__name__}: {cause}."
        raise kind(
            f"The training is done, but its result cannot be measured on {', '.join(settings.finally_on)}: {wrong}",
            f"The trained model lies in {model}.",
            f"Mend the cause, then measure it with `sensorium evaluate {model}`.",
        ) from cause
    keep(evaluation.metrics)
    return evaluation


def _last(store: Store) -> Checkpoint | None:
    """Returns the last whole checkpoint that the first worker sees, so that all go on from the same one."""
    found = store.latest() if workers.rank() == 0 else None
    step: int | None = workers.gather_objects(found.step if found else None)[0]
    return found if workers.rank() == 0 or step is None else store.get(step)


def plain(outcome: Outcome) -> dict[str, Any]:
    """Returns an outcome as what JSON can hold."""
    return {
        "status": outcome.status,
        "metrics": dict(outcome.metrics),
        "model": outcome.model,
        "checkpoint": outcome.checkpoint,
        "samples_per_second": outcome.samples_per_second,
        "examples": list(outcome.examples),
    }
