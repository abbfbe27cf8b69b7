"""A training from the command line's point of view: checked, recorded, trained here or on Ray, stored."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sensorium.assembly.build import Assembly, assemble
from sensorium.assembly.digest import digests
from sensorium.assembly.loading import load
from sensorium.contracts.run import Outcome, Run
from sensorium.engine import storage
from sensorium.experiment.overrides import override
from sensorium.experiment.reading import check
from sensorium.modules import permitted
from sensorium.plugins import Plugins
from sensorium.tracking import models
from sensorium.tracking.uri import check_uri, default_uri
from sensorium.training import runs
from sensorium.training.claim import Claim
from sensorium.training.execution import execute
from sensorium.training.resuming import check_changes


@dataclass
class Session:
    """A run that is about to be executed.

    Attributes:
        assembly: What it works on.
        run: The run, with its record on storage.
        claim: Keeps other processes from it.
    """

    assembly: Assembly
    run: Run
    claim: Claim

    @property
    def name(self) -> str:
        """What `--resume` finds the run by: its name, or its folder where that lies elsewhere than runs usually do."""
        return self.run.name if self.run.folder == runs.place(runs.RUNS, self.run.name) else self.run.folder

    def train(self, execute: Callable[[Assembly, Run], Outcome] = execute) -> dict[str, Any]:
        """Trains, stores the model, and returns what `train --json` prints.

        Args:
            execute: What trains: one worker in this process, if not given.

        Raises:
            SensoriumError: The training failed.
            KeyboardInterrupt: It was interrupted, and its record says so.
        """
        try:
            return self._train(execute)
        finally:
            self.claim.release()

    def _train(self, execute: Callable[[Assembly, Run], Outcome]) -> dict[str, Any]:
        outcome = execute(self.assembly, self.run)
        record = models.store(self.run, outcome.model, self.assembly.task)
        return {
            "run": self.run.name,
            "run_id": record.run_id,
            "model": outcome.model,
            "checkpoint": outcome.checkpoint,
            "metrics": dict(outcome.metrics),
            "samples_per_second": outcome.samples_per_second,
            "skipped": self.run.tracking["skipped"],
            "examples": list(outcome.examples),
            "tracking_uri": self.run.tracking["uri"],
            "model_uri": record.model_uri,
        }


def started(source: str, overrides: Sequence[str]) -> Session:
    """Returns a session for a task's default experiment or a file.

    Raises:
        UserError: Something in the experiment does not fit; nothing has been started.
    """
    loaded = load(source, overrides)
    storage.check(loaded.experiment.run.storage, "run.storage")
    uri = check_uri(loaded.experiment.tracking.uri or default_uri())
    assembly = assemble(loaded)
    data = digests(assembly)
    if source.startswith("runs:/"):
        _compare(models.data(source), data, "the record was trained on")
    run = runs.create(assembly, {**tracking(assembly, uri), "data": data})
    return Session(assembly, run, Claim(run.folder))


def _compare(recorded: Mapping[str, str], data: Mapping[str, str], what: str) -> None:
    """Says on standard error which splits are others than those of a record, or of a run."""
    others = [name for name, digest in data.items() if recorded.get(name, digest) != digest]
    if others:
        print(f"The data differ from those that {what}: {', '.join(others)}.", file=sys.stderr)


def resumed(name: str, overrides: Sequence[str]) -> Session:
    """Returns a session that goes on with a run from its last whole checkpoint.

    Raises:
        UserError: There is no such run, it lists a module that is neither installed nor allowed, an override would
            change what it computes, another process trains it, or its storage cannot be written; nothing has been
            started.
    """
    record = runs.reopen(name, runs.named(overrides))
    experiment = override(record["experiment"], overrides)
    loaded = check(experiment, Plugins(permitted(experiment, overrides)))
    before = check({**record["experiment"], "plugins": loaded.experiment.plugins}, loaded.plugins)
    check_changes(before, loaded)
    uri = check_uri(loaded.experiment.tracking.uri or record["tracking"]["uri"])
    claim = Claim(record["folder"])
    try:
        assembly = assemble(loaded, record["learnt"])
        known = record["tracking"].get("data", {})
        _compare(known, digests(assembly) if known else {}, "the run was begun with")
        runs.forget_failure(record["folder"])
    except BaseException:
        claim.release()
        raise
    workers = loaded.experiment.run.workers
    run = Run(
        name=record["name"],
        folder=record["folder"],
        experiment=loaded.plain(),
        seed=loaded.experiment.run.seed,
        workers=workers if isinstance(workers, int) else workers[1],
        tracking={**tracking(assembly, uri), "data": known},
    )
    return Session(assembly, run, claim)


def tracking(assembly: Assembly, uri: str) -> dict[str, Any]:
    """Returns what the tracking plugin needs to know."""
    settings = assembly.loaded.experiment.tracking
    return {
        "uri": uri,
        "experiment": settings.experiment,
        "every": settings.every,
        "system": settings.system,
        "register": settings.register,
        "plugins": assembly.loaded.plugins.versions,
        "skipped": {split: len(left_out) for split, left_out in assembly.skipped.items()},
    }
