"""A search from the command line's point of view: checked, recorded, done on Ray, its best trial written out."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sensorium.assembly.build import Assembly, assemble, build_modalities, build_task, restore
from sensorium.assembly.loading import load
from sensorium.contracts.run import Run
from sensorium.engine import storage
from sensorium.errors import SensoriumError, UserError
from sensorium.experiment.overrides import override
from sensorium.experiment.reading import check
from sensorium.experiment.settings import Loaded
from sensorium.modules import permitted
from sensorium.plugins import Plugins
from sensorium.tracking.uri import check_uri, default_uri
from sensorium.training import runs
from sensorium.training.session import tracking
from sensorium.tuning import plots as search_plots
from sensorium.tuning.plan import Plan, epochs
from sensorium.tuning.trials import Trial, Trials

RECORD = "search.json"
BEST = "best.yaml"
HOLDOUT = 0.2
"""Share of the training samples that a search judges by where the dataset has no validation split."""
_FIXED = ("task", "plugins", "run", "tracking", "search", "evaluation", "dataset.holdout")
_SAME_STEPS = ("training.global_batch", "dataset")


@dataclass
class Tuning:
    """A search that is about to be done.

    Attributes:
        loaded: The experiment as it was given.
        adapted: The same as trials do it, without their parameters.
        assembly: What trials work on, but for their parameters.
        run: The search's own record.
        trials: What is known of its trials.
        notes: Sentences that say what trials do otherwise than the experiment.
    """

    loaded: Loaded
    adapted: Loaded
    assembly: Assembly
    run: Run
    trials: Trials
    notes: list[str]

    def search(self, run: Callable[..., None], tell: Callable[[Trial], None] = lambda trial: None) -> dict[str, Any]:
        """Does what is left of the search, and returns what `tune --json` prints.

        Args:
            run: What runs the trials, as `runtime.tune.search` does.
            tell: Called when a trial is over.

        Raises:
            SensoriumError: No trial reached an evaluation.
        """
        from sensorium.tuning import record as searches

        parent = searches.begin(self.run)
        status = "KILLED"
        try:
            self._do(parent, run, tell)
            status = "FAILED" if self.trials.best() is None else "FINISHED"
        except SensoriumError:
            status = "FAILED"
            raise
        finally:
            ids = searches.settle(self.run.tracking["uri"], self.trials)
            if status != "FINISHED":
                searches.end(self.run, status)
        best = self.trials.best()
        if best is None:
            raise self._nothing()
        return self._told(best, parent, ids)

    def _do(self, parent: str, run: Callable[..., None], tell: Callable[[Trial], None]) -> None:
        touched = any(key.startswith(("dataset", "modalities")) for key in self.trials.search.space)
        plan = Plan(
            name=self.run.name,
            folder=self.run.folder,
            experiment=self.adapted.plain(),
            learnt=None if touched else self.assembly.learnt(),
            tracking={**self.run.tracking, "parent": parent, "register": None},
            metric=str(self.trials.search.metric),
            population=self.trials.search.method == "pbt",
            place=str(Path.cwd()),
        )
        run(plan, self.adapted, self.trials, epochs(self.assembly), tell)

    def _told(self, best: Trial, parent: str, ids: Mapping[int, str]) -> dict[str, Any]:
        """Writes the best experiment, tables and pictures, and returns what there is to say."""
        from sensorium.tuning import record as searches

        chosen, listed = self.trials.search, self.trials.listed()
        experiment = with_parameters(self.loaded, best.parameters)
        runs.write(self.run.folder, BEST, yaml.safe_dump(experiment, sort_keys=False, allow_unicode=True))
        pictures = {
            "trials.png": search_plots.over_time(listed, chosen),
            "parameters.png": search_plots.by_parameter(listed, chosen),
        }
        for name, png in pictures.items():
            runs.write(self.run.folder, name, png)
        texts = {name: runs.read(self.run.folder, name).encode() for name in (BEST, "trials.json")}
        assert best.value is not None
        found = (str(chosen.metric), best.value)
        searches.end(self.run, "FINISHED", found, {**pictures, **texts})
        return {
            "name": self.run.name,
            "folder": self.run.folder,
            "run_id": parent,
            "metric": chosen.metric,
            "mode": chosen.mode,
            "best": {
                "trial": best.number,
                "run_id": ids.get(best.number),
                "metric": best.value,
                "experiment": f"{self.run.folder}/{BEST}",
                "parameters": best.parameters,
                "model": best.model,
                "model_uri": self._stored(best),
            },
            "trials": [self._row(trial, ids) for trial in listed],
            "tracking_uri": self.run.tracking["uri"],
        }

    def _stored(self, best: Trial) -> str | None:
        """Stores the best trial's model in its record, and registers it if the experiment says so."""
        if not best.model:
            return None
        from sensorium.assembly.build import load_model
        from sensorium.tracking import models

        run = Run(best.run, runs.place(self.run.folder, best.run), {}, self.run.seed, tracking=self.run.tracking)
        return models.store(run, best.model, load_model(models.fetch(best.model)).task).model_uri

    def _row(self, trial: Trial, ids: Mapping[int, str]) -> dict[str, Any]:
        return {
            "trial": trial.number,
            "run": trial.run,
            "run_id": ids.get(trial.number),
            "status": trial.status,
            "metric": trial.value,
            "epoch": trial.epoch,
            "seconds": trial.seconds,
            "parameters": trial.parameters,
            "model": trial.model,
            "copies": trial.copies,
            "error": trial.error,
        }

    def _nothing(self) -> SensoriumError:
        failed = next((trial for trial in self.trials.listed() if trial.status == "failed"), None)
        why = f"trial {failed.number}: {failed.error}" if failed else "the time ran out before the first evaluation."
        return SensoriumError(
            f"No trial reached an evaluation; {why}",
            "Their runs lie in the search's folder.",
            f"Mend it, and resume with `sensorium tune --resume {self.run.name}`.",
        )


def started(source: str, overrides: Sequence[str]) -> Tuning:
    """Returns a new search for a task's default experiment or a file.

    Raises:
        UserError: Something in the experiment or its space does not fit; nothing has been started.
    """
    loaded = load(source, overrides)
    storage.check(loaded.experiment.run.storage, "run.storage")
    uri = check_uri(loaded.experiment.tracking.uri or default_uri())
    name = runs.new_name(f"{loaded.experiment.task}-search")
    folder = runs.place(loaded.experiment.run.storage, name)
    settings = loaded.experiment
    tuning = _prepared(loaded, uri, name, folder, Trials(name, folder, settings.search, settings.run.seed))
    runs.write(folder, RECORD, json.dumps({"name": name, "experiment": loaded.plain(), "uri": uri}, indent=1))
    return tuning


def resumed(name: str, overrides: Sequence[str]) -> Tuning:
    """Returns a search that goes on where it was interrupted; trials that finished are not done again.

    Raises:
        UserError: There is no such search, or its space is to change.
    """
    storage = runs.named(overrides)
    record = runs.reopen(name, storage, RECORD)
    experiment = override(record["experiment"], overrides)
    loaded = check(experiment, Plugins(permitted(experiment, overrides)))
    before = check({**record["experiment"], "plugins": experiment["plugins"]}, loaded.plugins)
    uri = check_uri(loaded.experiment.tracking.uri or record["uri"])
    old, new = before.experiment.search, loaded.experiment.search
    if (old.space, old.metric, old.mode, old.method) != (new.space, new.metric, new.mode, new.method):
        raise UserError(
            "A search that goes on keeps its space, metric, mode and method.",
            "Trials could not be compared otherwise.",
            "Start a new search, or leave these options out.",
        )
    trials = Trials.read(record["name"], record["folder"], new, loaded.experiment.run.seed)
    return _prepared(loaded, uri, record["name"], record["folder"], trials)


def with_parameters(loaded: Loaded, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Returns an experiment with a trial's parameters put in, whole."""
    changes = [f"{key}={json.dumps(value)}" for key, value in parameters.items()]
    return check(override(loaded.plain(), changes), loaded.plugins).plain()


def _prepared(loaded: Loaded, uri: str, name: str, folder: str, trials: Trials) -> Tuning:
    adapted, notes = adapt(loaded, folder)
    check_space(adapted)
    assembly = assemble(adapted)
    if trials.search.method == "pbt":
        _check_shapes(adapted, assembly)
    run = Run(name, folder, loaded.plain(), loaded.experiment.run.seed, tracking=tracking(assembly, uri))
    return Tuning(loaded, adapted, assembly, run, trials, notes)


def adapt(loaded: Loaded, folder: str) -> tuple[Loaded, list[str]]:
    """Returns the experiment as trials do it, and sentences on what that changes.

    They are judged by the validation split, of joined datasets by the first of evaluation.during, so that
    the test split stays unseen, and their runs lie below the search's folder.
    """
    settings, search = loaded.experiment, loaded.experiment.search
    splits = settings.dataset.build().splits
    judging = next((name for name in ("validation", *settings.evaluation.meanwhile_on) if name in splits), "validation")
    changes, notes = [f"run.storage={json.dumps(folder)}"], []
    changes += [f"evaluation.split={judging}", f"evaluation.during={judging}"]
    changes.append("evaluation.plots=false")  # drawing them takes longer than an epoch of a small model
    if judging not in splits and not settings.dataset.holdout:
        changes.append(f"dataset.holdout={HOLDOUT}")
        notes.append(
            f"The dataset has no validation split: {HOLDOUT:.0%} of its training samples are kept apart to judge by."
        )
    if search.method in ("asha", "pbt") and not settings.evaluation.epochs:
        changes.append("evaluation.epochs=1")
        notes.append(f"{search.method} needs metrics on the way: each epoch is evaluated (evaluation.epochs=1).")
    if search.method == "pbt" and settings.training.checkpoints.epochs != 1:
        changes.append("training.checkpoints.epochs=1")
        notes.append("pbt copies checkpoints: there is one each epoch (training.checkpoints.epochs=1).")
    return check(override(loaded.plain(), changes), loaded.plugins), notes


def check_space(loaded: Loaded) -> None:
    """Refuses a space that an experiment cannot take.

    Raises:
        UserError: There is no space or no metric; an option does not exist, may not differ between
            trials, or does not take a bound or choice.
    """
    search, plain = loaded.experiment.search, loaded.plain()
    if not search.space or search.metric is None:
        what = "search.space is empty" if not search.space else "search.metric is missing"
        raise UserError(
            f"There is nothing to search: {what}.",
            "search.space maps options to distributions; search.metric names a metric of the validation split.",
            "Example: search.space={training.optimizer.lr: {log_uniform: [1e-4, 1e-2]}} search.metric=accuracy.",
        )
    for key, distribution in search.distributions().items():
        if not _may_differ(key, search.method):
            raise UserError(
                f"search.space names {key}, which may not differ between trials of the method {search.method}.",
                "Trials are compared at the same work.",
                "Take it out, or another method.",
            )
        for value in distribution.values:
            try:
                check(override(plain, [f"{key}={json.dumps(value)}"]), loaded.plugins)
            except UserError as cause:
                raise UserError(
                    f"search.space does not fit at {key}: {cause.wrong}", cause.expected, cause.hint
                ) from cause


def _may_differ(key: str, method: str) -> bool:
    """Says whether an option may differ between trials."""
    if key == "run.seed":
        return method != "pbt"  # the order of samples follows from it
    if method in ("asha", "pbt") and key.startswith("training.") and key.endswith("epochs"):
        return False
    fixed = (*_FIXED, *(_SAME_STEPS if method == "pbt" else ()))
    return not any(f"{key}.".startswith(f"{prefix}.") for prefix in fixed)


def _check_shapes(loaded: Loaded, assembly: Assembly) -> None:
    """Refuses, for a population, options that change the weights' shapes: they are copied between trials."""
    own = {name: tensor.shape for name, tensor in assembly.task.state_dict().items()}
    plain, learnt = loaded.plain(), assembly.learnt()["modalities"]
    for key, distribution in loaded.experiment.search.distributions().items():
        if not key.startswith(("model", "modalities")):
            continue
        for value in distribution.values:
            changed = check(override(plain, [f"{key}={json.dumps(value)}"]), loaded.plugins)
            modalities = build_modalities(changed.experiment)
            restore(modalities, learnt)
            task = build_task(changed, modalities)
            if {name: tensor.shape for name, tensor in task.state_dict().items()} != own:
                raise UserError(
                    f"search.space names {key}, which changes the shapes of the weights at {value!r}.",
                    "Population-based training copies weights between trials.",
                    "Take it out, or another method.",
                )
