"""What a stage may have of its own: a split, a global batch, an inner task's objectives."""

import shutil

import pytest
import torch

from sensorium import UserError
from sensorium.assembly.build import assemble
from sensorium.assembly.loading import load
from sensorium.contracts.run import Run
from sensorium.tracking import models, uri
from sensorium.training import runs
from sensorium.training.execution import execute
from training import build, train


def ids(steps, stage):
    return [set(step.ids) for step in steps if step.stage == stage]


def test_a_stage_learns_from_a_split_of_its_own(tmp_path):
    own = ["training.stages.student.split=few", "training.stages.student.global_batch=2"]
    steps = train("toy_distillation", tmp_path / "run", *own, "training.epochs=3").steps
    assert all(len(step) == 8 and all(name.startswith("train/") for name in step) for step in ids(steps, "teacher"))
    student = ids(steps, "student")
    assert len(student) == 3 * 4 / 2
    assert set.union(*student) == {f"few/{i}" for i in range(4)}
    assert [step.number for step in steps] == list(range(1, len(steps) + 1))


@pytest.mark.parametrize(
    ("option", "wrong"),
    [
        ("training.stages.student.split=fev", "Did you mean 'few'"),
        ("training.stages.student.split=few", "4 samples, the global batch is 8"),
        ("training.stages.student.global_batch=0", "must be above 0"),
    ],
)
def test_a_stage_that_cannot_be_is_refused(option, wrong):
    with pytest.raises(UserError) as error:
        build("toy_distillation", option)
    assert wrong in str(error.value)


PUPIL = ["model.teacher=toy_regression", "training.optimizer.lr=0.01"]


def test_an_inner_task_learns_first(tmp_path):
    trained = train("toy_pupil", tmp_path / "run", *PUPIL)
    steps = 2 * 32 // 8
    assert [step.stage for step in trained.steps] == ["teacher"] * steps + ["student"] * steps
    assert set(trained.steps[0].losses) == {"teacher/square", "teacher/off"}
    alone = train("toy_regression", tmp_path / "alone", "training.optimizer.lr=0.01")
    assert len(alone.steps) == steps


def test_an_inner_task_may_be_trained_already(tmp_path):
    teacher = train(
        "toy_regression", tmp_path / "teacher", "training.optimizer.lr=0.01", "training.epochs=5", "model.norm=true"
    )
    given = (f"model.teacher={{weights: {tmp_path}/teacher/model}}", "training.stages.teacher.epochs=9")
    pupil = train("toy_pupil", tmp_path / "pupil", *given)  # a stage that is not needed may be configured
    assert {step.stage for step in pupil.steps} == {"student"}
    inner = {name.removeprefix("teacher."): t for name, t in pupil.weights().items() if name.startswith("teacher.")}
    for name, tensor in teacher.weights().items():
        assert torch.equal(inner[name], tensor), name
    experiment = pupil.assembly.loaded.experiment
    assert experiment.model.teacher.norm is True, "options that are left out are the trained model's"
    assert pupil.assembly.task.teacher.config.weights.endswith("teacher/model")


def test_a_training_may_start_from_a_model(tmp_path):
    first = train("toy_regression", tmp_path / "first", "training.epochs=5")
    again = train("toy_regression", tmp_path / "again", f"model.weights={tmp_path}/first/model", "training.epochs=0")
    for name, tensor in first.weights().items():
        assert torch.equal(again.weights()[name], tensor)
    assert again.outcome.metrics == first.outcome.metrics


def test_the_same_name_is_another_model_in_another_store_and_a_folder_what_it_holds_now(tmp_path, monkeypatch):
    given = ("model.weights=models:/points/1", "training.epochs=0")
    firsts = {name: train("toy_regression", tmp_path / name, f"training.epochs={name}") for name in ("1", "2")}
    monkeypatch.setattr(models, "resolve", lambda weights: weights)
    monkeypatch.setattr(models, "fetch", lambda source: f"{tmp_path}/{uri.default_uri()[-1]}/model")
    for name, first in firsts.items():
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/{name}")
        again = train("toy_regression", tmp_path / f"from {name}", *given)
        assert all(torch.equal(again.weights()[part], tensor) for part, tensor in first.weights().items())
    shutil.rmtree(tmp_path / "2/model")
    shutil.copytree(tmp_path / "1/model", tmp_path / "2/model")
    again = train("toy_regression", tmp_path / "from the other", *given)
    assert all(torch.equal(again.weights()[part], tensor) for part, tensor in firsts["1"].weights().items())


def test_weights_of_another_task_are_refused(tmp_path):
    train("toy_regression", tmp_path / "run")
    with pytest.raises(UserError, match="is a model of the task toy_regression"):
        build("toy_gan", f"model.weights={tmp_path}/run/model")


def test_weights_that_do_not_fit_are_refused(tmp_path):
    train("toy_regression", tmp_path / "run")
    with pytest.raises(UserError, match="do not fit the model"):
        train("toy_regression", tmp_path / "next", f"model.weights={tmp_path}/run/model", "model.norm=true")


def test_a_model_that_is_not_there_is_refused():
    with pytest.raises(UserError, match="nowhere"):
        build("toy_regression", "model.weights=nowhere")


def test_what_a_trained_part_learnt_of_its_data_is_taken_along(tmp_path, monkeypatch):
    """The names of the classes keep their places, though the new data lack some of them."""
    monkeypatch.chdir(tmp_path)
    old = assemble(load("recognition", DIGITS))
    model = execute(old, runs.create(old, {})).model
    changed = [*DIGITS, f"model.weights={model}", "dataset.limit={train: 4, test: 4}", "training.global_batch=4"]
    new = assemble(load("recognition", changed))
    assert new.modalities["label"].names == old.modalities["label"].names
    assert len(new.modalities["label"].names) == 10


DIGITS = [
    "dataset={name: digits, limit: {train: 64, test: 16}}",
    "modalities={image: {name: image, size: 8, channels: 1}, label: label}",
    "model={encoder: {name: convnet, widths: [4], dim: 8}, targets: [label], metrics: [accuracy]}",
    "training={epochs: 1, global_batch: 32}",
]


def test_a_model_is_trained_further_on_the_rows_of_a_table(tmp_path):
    """Which fields a manifest has, its options say: the trained modalities of these come along."""
    for name, rows in (("old", ("a cat,cat", "a dog,dog")), ("new", ("my dog,dog", "a dog,dog"))):
        (tmp_path / f"{name}.csv").write_text("\n".join(["words,kind", *rows]))

    def options(name):
        path, fields = f"{tmp_path}/{name}.csv", "{words: text, kind: label}"
        return [f"dataset={{name: manifest, train: {path}, test: {path}, fields: {fields}}}", "training.global_batch=2"]

    model = "model={input: words, targets: [kind], encoder: {name: rnn, dim: 4}}"
    modalities = "modalities={words: {name: text, tokenizer: words}, kind: label}"
    old = assemble(load("recognition", [*options("old"), model, modalities, "training.epochs=1"]))
    source = execute(old, Run("old", str(tmp_path / "run"), old.loaded.plain(), 0)).model
    further = tmp_path / "further.yaml"
    further.write_text(f"task: recognition\nmodel: {{weights: {source}}}\nmodalities: {{}}\n")
    new = assemble(load(str(further), options("new")))
    assert new.modalities["kind"].names == ["cat", "dog"]
    assert new.loaded.plain()["model"]["targets"] == ["kind"]


def test_a_task_of_a_listed_plugin_starts_with_the_options_of_its_model(tmp_path):
    train("toy_regression", tmp_path / "first", "model.norm=true", "training.epochs=0")
    file = tmp_path / "next.yaml"
    file.write_text(
        "task: toy_regression\nplugins: [toys]\ndataset: toy_points\nmodalities: {}\n"
        f"model: {{weights: {tmp_path}/first/model}}\n"
    )
    loaded = load(str(file))
    assert loaded.experiment.model.norm is True
    assert set(loaded.experiment.modalities) == {"x", "y", "z"}
