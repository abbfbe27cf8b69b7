"""A search by Ray Tune: as many trials at a time as there is room for, each a run of its own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from sensorium.experiment.search import Distribution, Search, seconds
from sensorium.experiment.settings import Loaded
from sensorium.runtime import working_dir
from sensorium.runtime.connection import joined
from sensorium.runtime.train import _resources
from sensorium.runtime.tune_resources import concurrency
from sensorium.runtime.tune_trial import work
from sensorium.training import runs
from sensorium.tuning.plan import Plan
from sensorium.tuning.trials import Trial, Trials

REDUCTION = 3
"""Of so many trials, ASHA lets one go on (Li et al. 2020, eta)."""
FOLDER = "ray"
"""Folder of Ray's own notes, below the search's; a search goes on without them."""


def search(
    plan: Plan,
    loaded: Loaded,
    trials: Trials,
    epochs: int,
    tell: Callable[[Trial], None],
    address: str | None = None,
) -> None:
    """Does what is left of a search.

    Args:
        plan: What trials need to know.
        loaded: The experiment of the trials, without their parameters.
        trials: What is known of them; noted down here as they go.
        epochs: Epochs of a trial.
        tell: Called when a trial is over.
        address: Cluster to join; None starts one on this machine for the time of the search.

    Raises:
        UserError: The cluster has no room for one trial; said at once.
    """
    for variable in (
        "TUNE_DISABLE_SIGINT_HANDLER",  # ours ends the search at once, and it can go on from what is noted
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS",
        "TUNE_DISABLE_STRICT_METRIC_CHECKING",  # a trial that failed reports none
    ):
        os.environ.setdefault(variable, "1")
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # the new one prints tables even when it is to be silent
    with joined(address, loaded.plugins):
        _search(replace(plan, variables=working_dir.variables()), loaded, trials, epochs, tell)


def _search(plan: Plan, loaded: Loaded, trials: Trials, epochs: int, tell: Callable[[Trial], None]) -> None:
    import ray
    from ray import tune

    settings, chosen = loaded.experiment.run, trials.search
    workers = (settings.workers,) * 2 if isinstance(settings.workers, int) else settings.workers
    per_worker = _resources(settings.resources)
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    most = concurrency(nodes, per_worker, workers, chosen.concurrent)
    alone = settings.workers == 1
    if not alone:  # the trial's own process sees no GPU, and would ask for none
        plan = replace(plan, experiment={**plan.experiment, "run": {**plan.experiment["run"], "resources": per_worker}})
    # The process that watches over a trial's workers takes nothing from them.
    asked = per_worker if alone else {"memory": 1}
    trainable = tune.with_resources(
        tune.with_parameters(work, plan=plan, credentials=working_dir.credentials()), dict(asked)
    )
    left = trials.left()
    space: dict[str, Any] = {}
    searcher = None
    if chosen.method == "optuna":
        from sensorium.runtime.tune_optuna import Parzen

        searcher = Parzen(trials)
    else:
        table = {number: trials.draw(number) for number in left}
        drawn = {key: _looked_up(table, key) for key in chosen.space}
        space = {"trial": tune.grid_search(left), "parameters": drawn}
    local = "://" not in plan.folder
    if local:
        shutil.rmtree(Path(plan.folder) / FOLDER, ignore_errors=True)
    tuner = tune.Tuner(
        trainable,
        param_space=space,
        tune_config=tune.TuneConfig(
            metric="objective",
            mode=chosen.mode,
            search_alg=searcher,
            scheduler=_scheduler(chosen, epochs),
            num_samples=len(left) if searcher else 1,
            max_concurrent_trials=most,
            time_budget_s=seconds(chosen.time_budget) if chosen.time_budget else None,
            reuse_actors=alone,
            # The number is the name: a population copies whole configurations, numbers too.
            trial_name_creator=lambda trial: str(trial.config["trial"]),
        ),
        run_config=tune.RunConfig(
            name=FOLDER,
            storage_path=plan.folder,
            failure_config=tune.FailureConfig(max_failures=settings.max_failures),
            callbacks=[_listener(trials, tell)],
            stop=_giving_up(trials),
            verbose=0,
        ),
    )
    if left:
        tuner.fit()
    trials.stop_rest()
    if local:
        shutil.rmtree(Path(plan.folder) / FOLDER, ignore_errors=True)


def _looked_up(table: dict[int, dict[str, Any]], key: str) -> Any:
    from ray import tune

    return tune.sample_from(lambda spec: table[spec.config["trial"]][key])


def _scheduler(search: Search, epochs: int) -> Any:
    from ray.tune import schedulers

    if search.method == "asha":
        return schedulers.AsyncHyperBandScheduler(
            time_attr="epoch", max_t=max(epochs, 2), grace_period=search.interval, reduction_factor=REDUCTION
        )
    if search.method == "pbt":
        distributions = search.distributions()

        def explore(config: dict[str, Any]) -> dict[str, Any]:
            within = {key: distributions[key].within(value) for key, value in config["parameters"].items()}
            return {**config, "parameters": within}

        return schedulers.PopulationBasedTraining(
            time_attr="epoch",
            perturbation_interval=search.interval,
            hyperparam_mutations={"parameters": {key: _mutation(value) for key, value in distributions.items()}},
            custom_explore_fn=explore,
            require_attrs=False,
        )
    return None


def _mutation(distribution: Distribution) -> Any:
    from ray import tune

    if distribution.kind == "choice":
        return list(distribution.values)
    low, high = distribution.values
    if distribution.kind == "integer":
        return tune.randint(low, high + 1)
    return tune.loguniform(low, high) if distribution.kind == "log_uniform" else tune.uniform(low, high)


def _listener(trials: Trials, tell: Callable[[Trial], None]) -> Any:
    from ray import tune

    class Listener(tune.Callback):  # type: ignore[misc]
        """Notes down how trials go."""

        def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
            known.start(int(str(trial)), trial.config["parameters"])

        def on_trial_result(
            self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
        ) -> None:
            number = int(str(trial))
            if copied := result.get("copied"):
                known.copy(number, *copied)
            known.report(number, result["epoch"], result["objective"], result["metrics"])

        def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
            number = int(str(trial))
            failure = runs.failure(runs.place(known.folder, known.run_name(number)))
            if failure is not None:
                tell(known.end(number, "failed", error=" ".join(part for part in failure["sentences"] if part)))
            else:
                model = trial.last_result.get("model", "")
                tell(known.end(number, "finished" if model else "stopped", model))

        def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
            cause = str(trial.get_error() or "its process died").strip().splitlines()[-1]
            tell(known.end(int(str(trial)), "failed", error=cause))

    known = trials
    return Listener()


def _giving_up(trials: Trials) -> Any:
    from ray import tune

    class GivingUp(tune.Stopper):  # type: ignore[misc]
        """Ends a search whose trials all fail."""

        def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
            return False

        def stop_all(self) -> bool:
            return trials.hopeless

    return GivingUp()
