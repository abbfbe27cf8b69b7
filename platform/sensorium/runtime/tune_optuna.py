"""Optuna's Tree-structured Parzen Estimator as a searcher of Ray Tune."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ray.tune.search import Searcher

from sensorium.errors import UserError
from sensorium.experiment.search import Distribution
from sensorium.tuning.trials import Trials


class Parzen(Searcher):  # type: ignore[misc]
    """Asks Optuna for the parameters of each trial, after telling it of those that ended.

    Raises:
        UserError: Optuna is not installed.
    """

    def __init__(self, trials: Trials) -> None:
        try:
            import optuna
        except ImportError as cause:
            raise UserError(
                "search.method is optuna, which is not installed.",
                "It comes with the extra `optuna`.",
                "Run `pip install 'sensorium[optuna]'`, or take random, asha or pbt.",
            ) from cause
        search = trials.search
        super().__init__("objective", search.mode)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.trials, self.left = trials, trials.left()
        self.given = search.distributions()
        self.space = {key: _translated(distribution) for key, distribution in self.given.items()}
        sampler = optuna.samplers.TPESampler(seed=trials.seed, n_startup_trials=min(10, max(2, search.trials // 3)))
        self.study = optuna.create_study(direction=f"{search.mode}imize", sampler=sampler)
        self.asked: dict[str, Any] = {}
        for trial in trials.listed():
            if trial.status in ("finished", "stopped") and trial.value is not None:
                known = optuna.trial.create_trial(
                    params=self._inner(trial.parameters), distributions=self.space, value=trial.value
                )
                self.study.add_trial(known)

    def suggest(self, trial_id: str) -> dict[str, Any] | str:
        """Returns number and parameters of the next trial, first those of trials that were interrupted."""
        if not self.left:
            return str(Searcher.FINISHED)
        number = self.left.pop(0)
        begun = self.trials.all.get(number)
        if begun is not None:
            self.study.enqueue_trial(self._inner(begun.parameters))
        self.asked[trial_id] = self.study.ask(self.space)
        return {"trial": number, "parameters": self._outer(self.asked[trial_id].params)}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Tells Optuna how a trial ended."""
        from optuna.trial import TrialState

        value = (result or {}).get("objective")
        asked = self.asked.pop(trial_id)
        if error or value is None or value != value:
            self.study.tell(asked, state=TrialState.FAIL)
        else:
            self.study.tell(asked, value)

    def set_search_properties(self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any) -> bool:
        """Says that nothing is missing: the space is the experiment's own."""
        return True

    def save(self, checkpoint_path: str) -> None:
        """Writes nothing: trials.json holds what a resumed search needs."""
        Path(checkpoint_path).touch()

    def restore(self, checkpoint_path: str) -> None:
        """Reads nothing."""

    def _inner(self, parameters: dict[str, Any]) -> dict[str, Any]:
        """Returns parameters as Optuna knows them: a choice by its place, since it may be a list."""
        return {
            key: self.given[key].values.index(value) if self.given[key].kind == "choice" else value
            for key, value in parameters.items()
        }

    def _outer(self, parameters: dict[str, Any]) -> dict[str, Any]:
        return {
            key: self.given[key].values[value] if self.given[key].kind == "choice" else self.given[key].within(value)
            for key, value in parameters.items()
        }


def _translated(distribution: Distribution) -> Any:
    from optuna import distributions

    if distribution.kind == "choice":
        return distributions.CategoricalDistribution(range(len(distribution.values)))
    low, high = distribution.values
    if distribution.kind == "integer":
        return distributions.IntDistribution(low, high)
    return distributions.FloatDistribution(low, high, log=distribution.kind == "log_uniform")
