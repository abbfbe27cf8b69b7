"""A training from Python: options as data, a result that shows itself, mistakes told as at the command line."""

from pathlib import Path

import pytest

import sensorium
from sensorium import UserError
from sensorium.api.options import overrides
from sensorium.api.tuning import Searched
from sensorium.experiment.overrides import override
from sensorium.modules import ALLOW
from sensorium.tracking.records import connect
from sensorium.training.session import started

SHORT = {
    "training.epochs": 1,
    "dataset.limit": {"train": 128, "test": 32},
    "training.checkpoints.steps": 1,
    "tracking.register": "digits",
    "tracking.experiment": 'of "Ada", ünì',
}


def test_options_are_put_over_an_experiment_as_they_are():
    options = {"a.b": 1e-3, "a.c": None, "a.d": "1", "a.e": {"x": [True, "ü'\""]}, "f": Path("data/x")}
    assert override({"a": {"b": 1}}, overrides(options)) == {
        "a": {"b": 1e-3, "c": None, "d": "1", "e": {"x": [True, "ü'\""]}},
        "f": "data/x",
    }


@pytest.mark.parametrize("options", [["training.epochs=3"], "training.epochs=3"])
def test_options_are_a_mapping(options):
    with pytest.raises(UserError, match="A mapping was expected"):
        overrides(options)


def test_what_is_not_plain_data_is_refused():
    with pytest.raises(UserError, match=r"The option run\.seed is object"):
        overrides({"run.seed": object()})


@pytest.mark.parametrize("call", [sensorium.train, sensorium.tune])
def test_what_is_asked_for_is_a_name_or_a_path(call, tmp_path):
    for wrong in ({"task": 5}, {"task": {"task": "clip"}}, {"resume": 5}, {"task": "clip", "address": 6379}):
        with pytest.raises(UserError, match=rf"^{list(wrong)[-1]} is .* A name or a path was expected"):
            call(**wrong)
    with pytest.raises(UserError, match=r"plugins is 'mine'\. A list of modules"):
        call("clip", plugins="mine")
    with pytest.raises(UserError, match=r"mine\.yaml"):
        call(tmp_path / "mine.yaml")


def test_a_run_is_trained_shown_and_resumed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    run = sensorium.train("clip", SHORT)
    assert run.uri == "models:/digits/1"
    assert run.metrics == run.result["metrics"]
    assert set(run.plots) == {"loss", "test/retrieval", "test/similarity"}
    assert all(png.startswith(b"\x89PNG") for png in run.plots.values())
    assert run._repr_html_().count("<img") == 3
    assert repr(run).splitlines()[0].split() == ["run", run.name]
    assert run.model.predict(text="one") == sensorium.load(run.result["model"]).predict(text="one")
    other = sensorium.train(f"runs:/{run.result['run_id']}", {"tracking.register": None})
    assert other.name != run.name
    assert other.metrics == run.metrics, "what a record says trains to the same"
    assert "The data differ" not in capsys.readouterr().err
    started(f"runs:/{run.result['run_id']}", ["dataset.limit.test=30", "tracking.register=null"]).claim.release()
    assert "The data differ from those that the record was trained on: test.\n" in capsys.readouterr().err
    again = sensorium.train(resume=run.name)
    assert again.name == run.name
    assert again.metrics == run.metrics


def test_a_record_says_what_it_was_trained_with(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    monkeypatch.delenv(ALLOW, raising=False)
    client = connect(store)
    run_id = client.create_run("0").info.run_id
    with pytest.raises(UserError, match=f"no run '{run_id}' with an experiment"):
        sensorium.train(f"runs:/{run_id}")
    client.log_text(run_id, "task: clip\nplugins: [evil]\n", "experiment.yaml")
    with pytest.raises(UserError, match="wants to load the module 'evil'"):
        sensorium.train(f"runs:/{run_id}")
    with pytest.raises(UserError, match="no run 'nope' with an experiment"):
        sensorium.train("runs:/nope")


@pytest.mark.parametrize("call", [sensorium.train, sensorium.tune])
@pytest.mark.parametrize("given", [{}, {"task": "clip", "resume": "clip-1"}])
def test_a_task_or_a_run_is_expected(call, given):
    with pytest.raises(UserError, match="Either a task or a"):
        call(**given)


def test_a_notebook_shows_the_sentence_alone():
    with pytest.raises(UserError) as told:
        sensorium.train("clpi")
    assert told.value._render_traceback_() == [f"Error: {told.value}"]


def test_a_search_is_a_table_with_the_best_first():
    rows = [
        {"trial": 0, "status": "pruned", "metric": None, "epoch": 1, "seconds": 2.0, "parameters": {"lr": 0.1}},
        {
            "trial": 1,
            "status": "finished",
            "metric": 0.75,
            "epoch": 12,
            "seconds": 10.25,
            "parameters": {"training.optimizer.lr": 0.001, "model.encoders.image.name": "vit", "training.epochs": 3},
        },
    ]
    best = {"trial": 1, "metric": 0.75, "experiment": "runs/s/best.yaml", "model_uri": ""}
    found = Searched(
        {"best": best, "trials": rows, "metric": "acc", "folder": "runs/s", "tracking_uri": "", "run_id": ""}
    )
    assert found.best["metric"] == 0.75
    assert found.lines() == [
        "trial  status    acc     epochs  seconds  parameters",
        "1      finished  0.7500  12      10.2     training.optimizer.lr=0.001",
        "                                          model.encoders.image.name=vit",
        "                                          training.epochs=3",
        "0      pruned            1       2.0      lr=0.1",
        "best     trial 1: acc 0.7500",
        "folder   runs/s",
        "go on    sensorium train runs/s/best.yaml",
    ]
