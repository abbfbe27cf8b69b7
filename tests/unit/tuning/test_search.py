"""What a search draws, notes down, refuses, and tells of its trials; no Ray."""

import json
import math
import random

import pytest

from sensorium.assembly.build import assemble
from sensorium.assembly.loading import load
from sensorium.errors import UserError
from sensorium.experiment.overrides import override
from sensorium.experiment.reading import check
from sensorium.experiment.search import Distribution, Search, seconds
from sensorium.plugins import Plugins
from sensorium.runtime.tune_reports import Judge
from sensorium.runtime.tune_resources import concurrency, room
from sensorium.training import runs
from sensorium.tuning.plan import epochs
from sensorium.tuning.plots import by_parameter, over_time
from sensorium.tuning.session import adapt, check_space, resumed, started, with_parameters
from sensorium.tuning.trials import Trials

TOYS = Plugins(("toys",))
SPACE = {
    "training.optimizer.lr": {"log_uniform": [1e-4, 1e-1]},
    "training.epochs": {"integer": [1, 3]},
    "model.dropout": {"uniform": [0.0, 0.5]},
    "training.precision": {"choice": ["fp32", "bf16"]},
}


def toy(*overrides):
    return load("toy_regression", overrides, TOYS)


def space(**changes):
    return "search=" + json.dumps({"space": SPACE, "metric": "error", "mode": "min", **changes})


# ------------------------------------------------------------------------------------------- values


def test_values_lie_in_their_distribution_and_fill_it():
    source = random.Random(0)
    integers = {Distribution("integer", (1, 3)).draw(source) for _ in range(100)}
    assert integers == {1, 2, 3}
    logs = [Distribution("log_uniform", (1e-4, 1e-2)).draw(source) for _ in range(1000)]
    assert min(logs) >= 1e-4
    assert max(logs) <= 1e-2
    assert 400 < sum(value < 1e-3 for value in logs) < 600, "each decade as often"
    values = [Distribution("uniform", (2.0, 4.0)).draw(source) for _ in range(1000)]
    assert 2 <= min(values) < 2.1 < 3.9 < max(values) <= 4
    choices = (None, [1, 2], "a")
    assert all(Distribution("choice", choices).draw(source) in choices for _ in range(20))


def test_a_trial_draws_the_same_whenever_it_is_asked():
    search = Search(space=SPACE)
    assert search.draw(0, 3) == search.draw(0, 3)
    assert len({json.dumps(search.draw(0, number)) for number in range(20)}) == 20
    assert search.draw(0, 3) != search.draw(1, 3)


@pytest.mark.parametrize(
    ("kind", "values", "given", "nearest"),
    [
        ("uniform", (0.0, 1.0), 1.2, 1.0),
        ("log_uniform", (0.1, 1.0), 0.08, 0.1),
        ("integer", (1, 8), 9.6, 8),
        ("integer", (1, 8), 2.4, 2),
        ("choice", ("a", "b"), "b", "b"),
        ("uniform", (0.0, 1.0), 0.123456789, 0.123457),
    ],
)
def test_a_value_is_brought_back_into_its_distribution(kind, values, given, nearest):
    assert Distribution(kind, values).within(given) == nearest


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        ({"unifrom": [0, 1]}, "no distribution 'unifrom' at search.space.x. Known: .* Did you mean 'uniform'"),
        ({"uniform": [1, 0]}, "the space of x is uniform: .1, 0.; the lower end comes first"),
        ({"log_uniform": [0, 1]}, "both above 0"),
        ({"integer": [1, 2.5]}, "it takes two whole numbers"),
        ({"uniform": [0, 1, 2]}, "it takes two numbers"),
        ({"choice": []}, "has nothing to choose from"),
        ({"choice": [1], "uniform": [0, 1]}, "must be one of choice, integer, log_uniform, uniform, not 2 of them"),
    ],
)
def test_a_distribution_that_is_none_is_refused(written, sentence):
    with pytest.raises((UserError, ValueError), match=sentence):
        Search(space={"x": written})


@pytest.mark.parametrize(("text", "length"), [("90s", 90), ("30m", 1800), ("2h", 7200), ("1.5h", 5400), ("1d", 86400)])
def test_times(text, length):
    assert seconds(text) == length


@pytest.mark.parametrize("text", ["2", "h", "2 h", "-1h", "0s", "2y"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(UserError, match="times are written 90s, 30m, 2h or 1d"):
        toy(f"search.time_budget='{text}'")


def test_the_best_is_a_number():
    assert Search(mode="min").best({0: 3.0, 1: 2.0, 2: math.nan}) == 1
    assert Search(mode="max").best({0: 3.0, 1: 2.0, 2: math.nan}) == 0
    assert Search().best({0: math.nan}) is None


# -------------------------------------------------------------------------------------- experiments


@pytest.mark.parametrize(
    ("key", "written", "sentence"),
    [
        ("training.optimizer.lrr", {"uniform": [0, 1]}, "at training.optimizer.lrr: There is no option 'lrr'"),
        ("training.optimizer.lr", {"uniform": [0, 1]}, "at training.optimizer.lr: .*lr must be above 0"),
        ("training.precision", {"choice": ["fp32", "fp8"]}, "training.precision is 'fp8'"),
        ("training.epochs", {"uniform": [1, 3]}, "Expected: a whole number"),
        ("run.workers", {"choice": [1, 2]}, "run.workers, which may not differ between trials"),
        ("evaluation.split", {"choice": ["test"]}, "evaluation.split, which may not differ"),
        ("task", {"choice": ["toy_pairs"]}, "task, which may not differ"),
    ],
)
def test_a_space_that_the_experiment_cannot_take_is_refused(key, written, sentence):
    with pytest.raises(UserError, match=sentence):
        check_space(toy(space(space={key: written})))


def test_a_space_that_fits_is_taken():
    check_space(toy(space(space={**SPACE, "run.seed": {"integer": [0, 9]}})))


@pytest.mark.parametrize("method", ["asha", "pbt"])
def test_trials_that_are_compared_on_the_way_have_the_same_length(method):
    with pytest.raises(UserError, match=r"training\.epochs, which may not differ between trials of the method"):
        check_space(toy(space(method=method)))


def test_nothing_to_search_is_said():
    with pytest.raises(UserError, match=r"search\.space is empty"):
        check_space(toy())
    with pytest.raises(UserError, match=r"search\.metric is missing"):
        check_space(toy(space(metric=None)))


def test_every_default_space_fits():
    for task in Plugins().names("task"):
        loaded = load(task, plugins=Plugins())
        if loaded.experiment.search.space:
            check_space(adapt(loaded, "runs/x")[0])


def test_trials_are_judged_by_the_validation_split():
    adapted, notes = adapt(toy(space(method="asha")), "/folder")
    experiment = adapted.experiment
    assert (experiment.evaluation.split, experiment.evaluation.epochs) == ("validation", 1)
    assert experiment.run.storage == "/folder"
    assert not experiment.evaluation.plots
    assert experiment.dataset.holdout == 0, "it has a validation split"
    assert ["asha needs metrics on the way" in note for note in notes] == [True]
    assert adapt(toy(space()), "/folder")[1] == []


def test_joined_datasets_are_judged_by_what_is_evaluated_during_training():
    evaluation = adapt(load("imagebind", plugins=Plugins()), "/folder")[0].experiment.evaluation
    assert (evaluation.split, evaluation.during) == ("all_validation", "all_validation")


def test_without_a_validation_split_a_part_of_the_training_split_is_it():
    adapted, notes = adapt(load("clip", plugins=Plugins()), "/folder")
    assert adapted.experiment.dataset.holdout == 0.2
    assert "20% of its training samples are kept apart" in notes[0]
    assembly = assemble(adapted)
    ids = {name: {split[i]["id"] for i in range(len(split))} for name, split in assembly.splits.items()}
    assert len(ids["validation"]) == round(0.2 * 1347)
    assert len(ids["train"]) == 1347 - len(ids["validation"])
    assert not ids["train"] & ids["validation"]
    assert len(ids["test"]) == 450
    again = assemble(adapted)
    assert [s["id"] for s in again.splits["validation"]] == [s["id"] for s in assembly.splits["validation"]]


def test_the_best_experiment_is_whole():
    loaded = toy(space())
    plain = with_parameters(loaded, {"training.optimizer.lr": 1e-05, "training.precision": "bf16"})
    assert plain["training"]["optimizer"]["lr"] == 1e-5
    assert plain["training"]["precision"] == "bf16"
    assert plain["evaluation"]["split"] == "test"
    assert check(override(plain, []), TOYS).plain() == plain


def test_a_population_shares_the_shape_of_its_weights(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    method = [space(method="pbt", space={"model.encoders.image.dim": {"choice": [16, 32]}}), "search.metric=x"]
    with pytest.raises(UserError, match="changes the shapes of the weights at 16"):
        started("clip", method)
    assert not (tmp_path / "runs").exists(), "nothing was started"


# ------------------------------------------------------------------------------------------- trials


def trials(folder, **search):
    return Trials("s", str(folder), Search(space=SPACE, metric="error", mode="min", **search), 0)


def test_an_interrupted_search_knows_what_is_left(tmp_path):
    before = trials(tmp_path, trials=5)
    for number in range(4):
        before.start(number, before.draw(number))
    before.report(0, 1, 0.5, {"error": 0.5})
    before.end(0, "finished", "folder/model")
    before.report(1, 1, 0.7, {"error": 0.7})
    before.end(1, "stopped")
    before.report(2, 2, 0.1, {"error": 0.1})
    before.end(3, "failed", error="why")
    after = Trials.read("s", str(tmp_path), before.search, 0)
    assert after.left() == [2, 3, 4]
    assert after.draw(2) == before.all[2].parameters
    assert after.all[0] == before.all[0]
    assert after.all[3].error == ""
    assert after.best().number == 0, "one that has not ended is not the best"
    assert after.elapsed >= before.elapsed - 1


def test_what_was_interrupted_while_it_was_written_is_as_before(tmp_path, monkeypatch):
    known = trials(tmp_path)
    known.start(0, known.draw(0))
    content = (tmp_path / "trials.json").read_bytes()
    monkeypatch.setattr("pathlib.Path.replace", lambda *args: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        known.end(0, "finished")
    assert (tmp_path / "trials.json").read_bytes() == content


def test_the_best_finished_if_any_did(tmp_path):
    known = trials(tmp_path)
    for number, (status, value) in enumerate([("stopped", 0.1), ("finished", 0.4), ("finished", 0.3), ("failed", 0.0)]):
        known.start(number, known.draw(number))
        known.report(number, 1, value, {})
        known.end(number, status)
    assert known.best().number == 2
    for number in (1, 2):
        known.all[number].status = "failed"
    assert known.best().number == 0


def test_a_search_gives_up_when_the_first_three_trials_fail(tmp_path):
    known = trials(tmp_path)
    for number in range(3):
        assert not known.hopeless
        known.start(number, known.draw(number))
        known.end(number, "failed", error="why")
    assert known.hopeless
    known.end(1, "finished")
    assert not known.hopeless


def test_epochs_that_are_done_again_are_noted_once(tmp_path):
    known = trials(tmp_path)
    known.start(0, known.draw(0))
    for epoch, value in [(1, 0.5), (2, 0.4), (2, 0.4), (3, 0.3)]:
        known.report(0, epoch, value, {})
    assert [(epoch, value) for _, epoch, value in known.all[0].history] == [(1, 0.5), (2, 0.4), (3, 0.3)]


def test_pictures_of_all_that_can_happen(tmp_path):
    known = trials(tmp_path)
    for number, value in enumerate([0.5, math.nan, 0.2]):
        known.start(number, known.draw(number))
        known.report(number, 1, value, {})
        known.end(number, "finished" if number else "stopped")
    known.start(3, known.draw(3))
    for plot in (over_time, by_parameter):
        assert plot(known.listed(), known.search).startswith(b"\x89PNG")


def test_files_of_a_run_hold_text_and_bytes(tmp_path):
    runs.write(str(tmp_path / "deep"), "a.png", b"\x89PNG")
    assert (tmp_path / "deep" / "a.png").read_bytes() == b"\x89PNG"
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["a.png"], "nothing is left over"


# ---------------------------------------------------------------------------------------- resources


@pytest.mark.parametrize(
    ("nodes", "per_worker", "workers", "asked", "expected"),
    [
        ([{"CPU": 3}], {"CPU": 1}, (2, 2), None, 1),  # two trials would hold three CPUs and wait for a fourth
        ([{"CPU": 4}], {"CPU": 1}, (2, 2), None, 2),
        ([{"CPU": 4}], {"CPU": 1}, (1, 1), None, 4),
        ([{"CPU": 4}], {"CPU": 1}, (1, 1), 3, 3),
        ([{"CPU": 4}], {"CPU": 1}, (2, 2), 8, 2),
        ([{"CPU": 3}, {"CPU": 3}], {"CPU": 2}, (1, 1), None, 2),  # no worker lies on two nodes
        ([{"CPU": 8, "GPU": 1}, {"CPU": 8}], {"CPU": 1, "GPU": 1}, (1, 1), None, 1),
        ([{"CPU": 0.3}], {"CPU": 0.1}, (1, 1), None, 3),
        ([{"CPU": 5}], {"CPU": 1}, (2, 4), None, 1),
        ([{"CPU": 3}], {"CPU": 1}, (2, 4), None, 1),  # all of its workers find no room: its least do
    ],
)
def test_as_many_trials_as_get_all_their_workers(nodes, per_worker, workers, asked, expected):
    assert concurrency(nodes, per_worker, workers, asked) == expected


def test_a_trial_that_finds_no_room_is_refused():
    with pytest.raises(UserError, match=r"A trial of 4 workers of 1 CPU each finds no room: the cluster has 3\."):
        concurrency([{"CPU": 3}], {"CPU": 1}, (4, 4), None)
    assert room([{"CPU": 8}], {"CPU": 1, "GPU": 1}) == 0


# ------------------------------------------------------------------------------------------ reports


def test_evaluations_on_the_way_are_reported_and_the_last_one_is_not():
    judge = Judge("error", 4, after_checkpoint=False, split="validation")
    assert judge.evaluated("validation", 5, 20, {"error": 0.5, "count": 3.0}) == {
        "epoch": 1,
        "objective": 0.5,
        "metrics": {"error": 0.5, "count": 3.0},
    }
    assert judge.evaluated("validation", 20, 20, {"error": 0.5}) is None
    assert judge.evaluated("test", 5, 20, {"error": 0.5}) is None


def test_a_population_reports_what_a_checkpoint_holds():
    judge = Judge("error", 4, after_checkpoint=True, split="validation")
    assert judge.evaluated("validation", 5, 20, {"error": 0.5}) is None
    assert judge.evaluated("validation", 10, 20, {"error": 0.4}) is None
    assert judge.saved(3) is None
    assert judge.saved(5)["objective"] == 0.5
    assert judge.saved(8) is None
    assert judge.saved(10)["epoch"] == 2


def test_an_unknown_figure_comes_with_those_there_are():
    with pytest.raises(UserError, match=r"no metric 'eror' at search\.metric\. Known: count, error\. .*'error'"):
        Judge("eror", 4, False, "validation").evaluated("validation", 5, 20, {"error": 0.5, "count": 1.0})


def test_epochs_of_all_stages_count():
    assert epochs(assemble(toy("training.epochs=3"))) == 3
    stages = load("toy_distillation", ["training.epochs=3"], TOYS)
    names = [stage.name for stage in assemble(stages).task.stages()]
    longer = load("toy_distillation", ["training.epochs=3", f"training.stages.{names[0]}.epochs=5"], TOYS)
    assert epochs(assemble(longer)) == 5 + 3 * (len(names) - 1)


# ------------------------------------------------------------------------------------------ command


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["clip", "search.space={training.optimizer.lrr: {uniform: [0, 1]}}"],
            "There is no option 'lrr' at training.optimizer. Known: lr, name, options, parts, weight_decay.",
        ),
        (
            ["clip", "--method", "grid"],
            "search.method is 'grid'. Expected: one of ['random', 'asha', 'optuna', 'pbt'].",
        ),
        (["clip", "--time-budget", "2"], "times are written 90s, 30m, 2h or 1d"),
        (["clip", "--method", "pbt"], "search.space names training.global_batch"),
        (["--resume", "none"], "There is no run 'none'."),
        (["clop"], "There is no task 'clop'"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_starts(arguments, sentence, sensorium, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    answer = sensorium("tune", *arguments)
    assert answer.status == 2
    assert sentence in answer.err
    assert list(tmp_path.iterdir()) == []


def test_a_search_that_goes_on_keeps_its_space(tmp_path):
    begun = started("clip", [f"run.storage={tmp_path}", f"tracking.uri=sqlite:///{tmp_path}/mlflow.db"])
    before = [f"run.storage={tmp_path}"]
    again = resumed(begun.run.name, [*before, "search.trials=4"])
    assert again.trials.left() == [0, 1, 2, 3]
    assert again.adapted.plain()["search"]["trials"] == 4
    with pytest.raises(UserError, match="keeps its space, metric, mode and method"):
        resumed(begun.run.name, [*before, "search.mode=min"])
