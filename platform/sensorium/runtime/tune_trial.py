"""One trial of a search, in the process that Ray Tune gives it: a run of its own, of one worker or of several."""

from __future__ import annotations

import json
import os
import queue
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sensorium.assembly.build import Assembly, assemble
from sensorium.contracts.run import Evaluation, Outcome, Run
from sensorium.engine.checkpoint import Store
from sensorium.errors import SensoriumError, UserError
from sensorium.experiment.overrides import override
from sensorium.experiment.reading import check
from sensorium.hookspecs import hookimpl
from sensorium.plugins import Plugins
from sensorium.runtime import internals
from sensorium.runtime.tune_reports import Judge, Report
from sensorium.training import runs
from sensorium.training.execution import execute
from sensorium.tuning.plan import Plan, epochs

DONOR = "trial.json"
ATTEMPTS = 5
"""Tries to copy a checkpoint of a trial that removes its old ones meanwhile."""


def work(config: dict[str, Any], plan: Plan, credentials: Mapping[str, str]) -> None:
    """Does a trial, from its last whole checkpoint if there is one. Runs in the trial's process.

    A mistake in the experiment is written down and not raised: Tune would only try it again.
    """
    from ray import tune

    _move_in(plan, credentials)
    number = int(tune.get_context().get_trial_name())
    name = f"{plan.name}-{number:03d}"
    folder = runs.place(plan.folder, name)
    runs.forget_failure(folder)
    try:
        told = _Reports(plan, number, folder)
        assembly = _assemble(plan, config["parameters"])
        run = runs.create(assembly, plan.tracking, name)
        (split,) = assembly.loaded.experiment.evaluation.finally_on
        judge = Judge(plan.metric, epochs(assembly), plan.population, split)
        alone = assembly.loaded.experiment.run.workers == 1
        outcome = _alone(assembly, run, judge, told) if alone else _together(assembly, run, judge, told)
        report = judge.report(judge.epochs, outcome.metrics)
    except SensoriumError as error:
        runs.remember_failure(folder, error)
        return
    tune.report({**report, **told.extra, "model": outcome.model, "done": True})


def _move_in(plan: Plan, credentials: Mapping[str, str]) -> None:
    """Makes this process like the one that the search was started in."""
    os.environ.update({**plan.variables, **credentials})
    internals.begin()
    if Path(plan.place).is_dir():
        os.chdir(plan.place)
        if plan.place not in sys.path:
            sys.path.insert(0, plan.place)


def _assemble(plan: Plan, parameters: Mapping[str, Any]) -> Assembly:
    changes = [f"{key}={json.dumps(value)}" for key, value in parameters.items()]
    data = override(plan.experiment, changes)
    return assemble(check(data, Plugins(tuple(data["plugins"]))), plan.learnt)


class _Reports:
    """Hands reports to Tune, which may end the trial in this very call by SystemExit."""

    def __init__(self, plan: Plan, number: int, folder: str) -> None:
        self.plan, self.number = plan, number
        self.extra: dict[str, Any] = {"copied": self._copied(folder)}

    def __call__(self, report: Report | None) -> None:
        from ray import tune

        if report is None:
            return
        if not self.plan.population:
            tune.report({**report, **self.extra})
            return
        with tempfile.TemporaryDirectory() as place:  # Tune hands it to the trial that is to copy this one
            (Path(place) / DONOR).write_text(json.dumps({"trial": self.number, "epoch": report["epoch"]}))
            tune.report({**report, **self.extra}, checkpoint=tune.Checkpoint.from_directory(place))

    def _copied(self, folder: str) -> list[int]:
        """Takes over the checkpoint of the trial that this one is to go on from; returns its epoch and number."""
        from ray import tune

        given = tune.get_checkpoint()
        if given is None:
            return []
        with given.as_directory() as place:
            donor = json.loads((Path(place) / DONOR).read_text())
        if donor["trial"] == self.number:
            return []
        theirs = runs.place(self.plan.folder, f"{self.plan.name}-{donor['trial']:03d}")
        for attempt in range(ATTEMPTS):
            found = Store(f"{theirs}/checkpoints").latest()
            try:
                if found is not None:
                    Store(f"{folder}/checkpoints").adopt(found)
                    return [donor["epoch"], donor["trial"]]
            except (UserError, OSError):  # removed while it was read: there is a later one
                if attempt == ATTEMPTS - 1:
                    raise
        return []


def _alone(assembly: Assembly, run: Run, judge: Judge, told: _Reports) -> Outcome:
    """Trains in this process."""

    class Listener:
        @hookimpl
        def sensorium_evaluated(self, run: Run, evaluation: Evaluation) -> None:
            told(judge.evaluated(evaluation.split, evaluation.step, run.steps, evaluation.metrics))

        @hookimpl
        def sensorium_checkpoint_saved(self, step: int) -> None:
            told(judge.saved(step))

    plugins = assembly.loaded.plugins
    plugins.manager.register(Listener())
    try:
        return execute(assembly, run)
    except SystemExit:
        plugins.hook.sensorium_run_finished(run=run, outcome=Outcome("stopped"))
        raise


def _together(assembly: Assembly, run: Run, judge: Judge, told: _Reports) -> Outcome:
    """Trains on Ray workers, by a thread, so that this one can end with the trial."""
    from ray.util.queue import Empty, Queue

    from sensorium.runtime.train import train

    heard = Queue(actor_options={"num_cpus": 0})
    ended: queue.SimpleQueue[Outcome | BaseException] = queue.SimpleQueue()

    def fit() -> None:
        try:
            ended.put(train(assembly, run, listener=heard.put))
        except BaseException as error:  # noqa: BLE001 (raised below)
            ended.put(error)

    thread = threading.Thread(target=fit, name="train", daemon=True)
    thread.start()
    while thread.is_alive() or not heard.empty():
        try:
            message = heard.get(timeout=0.5)
        except Empty:
            continue
        evaluation = message.get("evaluation")
        told(judge.evaluated(**evaluation) if evaluation else judge.saved(message["step"]))
    heard.shutdown()
    result = ended.get()
    if isinstance(result, BaseException):
        raise result
    return result
