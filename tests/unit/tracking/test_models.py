"""Models in MLflow: stored without a pickle, fetched, and asked as MLflow asks."""

import io
import json
from pathlib import Path

import fsspec
import numpy as np
import pytest
from PIL import Image

from sensorium.errors import UserError
from sensorium.inference.predictor import Predictor
from sensorium.tracking import models
from sensorium.tracking.uri import check_uri, default_uri


@pytest.fixture(autouse=True)
def there(trained, monkeypatch):
    trained.at(monkeypatch)


@pytest.fixture(scope="module")
def png():
    buffer = io.BytesIO()
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8) * 4).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def loaded(trained):
    import mlflow

    mlflow.set_tracking_uri(trained.uri)
    return mlflow.pyfunc.load_model(f"runs:/{trained.result['run_id']}/model")


def test_mlflow_asks_the_same_model(trained, loaded, png):
    import pandas

    table = loaded.predict(pandas.DataFrame({"image": [png, png]}))
    answer = Predictor.load(trained.result["model"])([{"image": png}])[0]
    assert list(table.columns) == list(answer)
    for row in range(2):
        assert {name: json.loads(table[name][row]) for name in table} == answer


def test_cells_may_be_empty(trained, loaded, png):
    import pandas

    predictor = Predictor.load(trained.result["model"])
    table = loaded.predict(pandas.DataFrame({"image": [png, None], "text": [None, "a handwritten three"]}))
    assert json.loads(table["label"][0]) == predictor([{"image": png}])[0]["label"]
    assert json.loads(table["text_embedding"][1]) == predictor([{"text": "a handwritten three"}])[0]["text_embedding"]
    assert pandas.isna(table["text_embedding"][0])


def test_a_column_that_the_signature_does_not_know_is_refused(loaded):
    import pandas

    with pytest.raises(Exception, match="text"):
        loaded.predict(pandas.DataFrame({"text": [3]}))


def test_a_text_names_no_file_of_the_machine_that_answers(trained, png, tmp_path):
    import pandas

    from sensorium.inference.pyfunc import Answers

    (tmp_path / "a.png").write_bytes(png)
    answers = Answers(trained.result["model"])
    with pytest.raises(UserError, match="The input 'image' is a text"):
        answers.predict(pandas.DataFrame({"image": [str(tmp_path / "a.png")]}))


def test_nothing_that_is_stored_is_a_pickle(trained):
    folder = Path(models.fetch(f"runs:/{trained.result['run_id']}/model")).parents[1]
    names = {path.name for path in folder.rglob("*") if path.is_file()}
    assert {"MLmodel", "model.safetensors", "manifest.json"} <= names
    assert not [name for name in names if name.endswith((".pkl", ".pt", ".pth", ".bin", ".pickle"))]
    assert "sensorium" in (folder / "requirements.txt").read_text().split()


def test_fetched_files_are_the_same_bytes(trained):
    folder = Path(models.fetch("models:/tiny/1"))
    own = Path(trained.result["model"])
    assert {path.name for path in folder.iterdir()} == {path.name for path in own.iterdir()}
    assert all((folder / path.name).read_bytes() == path.read_bytes() for path in own.iterdir())


def test_a_folder_is_itself_and_a_uri_is_fetched(trained):
    assert models.fetch(trained.result["model"]) == trained.result["model"]
    assert models.fetch("anything") == "anything"
    memory = fsspec.filesystem("memory")
    memory.put(trained.result["model"], "/bucket/model", recursive=True)
    fetched = Path(models.fetch("memory://bucket/model"))
    assert (fetched / "manifest.json").read_bytes() == (Path(trained.result["model"]) / "manifest.json").read_bytes()
    with pytest.raises(UserError, match="'memory://bucket/nothing' cannot be read"):
        models.fetch("memory://bucket/nothing")


def test_outputs_are_text_unless_they_are_media():
    assert models.as_text({"a": 1.5}) == '{"a": 1.5}'
    assert models.as_text("words") == "words"
    assert models.as_text(b"\0") == b"\0"


def test_a_run_without_a_record_fails_quietly(trained, capsys):
    from sensorium import Run

    models.end(Run(name="nobody", folder="x", experiment={}, seed=0, tracking={"uri": trained.uri}), "FAILED", "lost")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "uri", ["file:///tmp/mlruns", "./mlruns", "/tmp/mlruns", "ftp://host/x", "", "sqlite3:///x.db"]
)
def test_stores_that_mlflow_does_not_take_are_refused(uri):
    with pytest.raises(UserError, match="MLflow cannot record at") as caught:
        check_uri(uri)
    assert "tracking.uri" in caught.value.hint


@pytest.mark.parametrize("uri", ["sqlite:///x.db", "postgresql://u@h/d", "http://h:5000", "https://h", "databricks"])
def test_stores_that_mlflow_takes(uri):
    check_uri(uri)


def test_the_store_is_a_file_here_unless_told_otherwise(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://h:5000")
    assert default_uri() == "http://h:5000"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    assert default_uri() == f"sqlite:///{tmp_path}/mlflow.db"


def test_an_alias_is_the_version_that_it_stands_for_now(trained):
    from mlflow import MlflowClient

    client = MlflowClient(trained.uri)
    client.set_registered_model_alias("tiny", "champion", "1")
    try:
        assert models.resolve("models:/tiny@champion") == "models:/tiny/1"
        folder, right = (Path(models.fetch(f"models:/tiny{which}")) for which in ("@champion", "/1"))
        assert (folder / "manifest.json").read_bytes() == (right / "manifest.json").read_bytes()
    finally:
        client.delete_registered_model_alias("tiny", "champion")
    with pytest.raises(UserError, match="has no model 'models:/tiny@champion'"):
        models.resolve("models:/tiny@champion")
    assert models.resolve("models:/tiny/1") == "models:/tiny/1"
    assert models.resolve("a/folder@home") == "a/folder@home"


@pytest.mark.parametrize(
    ("asked", "near"),
    [
        ("tinny/1", "'tiny'"),
        ("tiny/7", "'models:/tiny/1'"),
        ("tiny@champoin", "'models:/tiny@champion'"),
        ("xy/1", None),
    ],
)
def test_a_model_that_is_not_registered_is_told_with_the_nearest(trained, asked, near):
    from mlflow import MlflowClient

    client = MlflowClient(trained.uri)
    client.set_registered_model_alias("tiny", "champion", "1")
    try:
        with pytest.raises(UserError, match=f"has no model 'models:/{asked}'") as caught:
            models.fetch(f"models:/{asked}")
    finally:
        client.delete_registered_model_alias("tiny", "champion")
    means = f"Did you mean {near}? " if near else ""
    assert caught.value.hint == f"{means}`sensorium models` lists all."
    assert "tiny" in caught.value.expected


def test_a_run_that_was_deleted_is_told(trained):
    from mlflow import MlflowClient

    client, run = MlflowClient(trained.uri), trained.result["run_id"]
    client.delete_run(run)
    try:
        for read in (models.experiment, models.data):
            with pytest.raises(UserError, match=f"The run {run} of .* was deleted"):
                read(f"runs:/{run}")
    finally:
        client.restore_run(run)
    assert models.experiment(f"runs:/{run}")["task"]


def test_a_model_that_mlflow_refuses_is_named(monkeypatch):
    from mlflow.exceptions import MlflowException

    from sensorium import Run, SensoriumError

    def refuse(*_):
        raise MlflowException("Registered model is locked.\nDetails")

    monkeypatch.setattr(models, "_store", refuse)
    run = Run(name="run", folder="runs/run", experiment={}, seed=0, tracking={"uri": "sqlite:///x.db"})
    with pytest.raises(SensoriumError) as caught:
        models.store(run, "runs/run/model", None)
    assert "sqlite:///x.db does not take the model: Registered model is locked." in str(caught.value)
    assert "The trained model lies in runs/run/model." in str(caught.value)
    assert "Details" not in str(caught.value)


def test_a_registered_version_is_described_by_its_card(trained):
    import mlflow

    mlflow.set_tracking_uri(trained.uri)
    found = mlflow.MlflowClient().search_model_versions(f"run_id='{trained.result['run_id']}'")
    card = (Path(trained.result["model"]) / "README.md").read_text()
    assert [version.description for version in found] == [card[: models.LONGEST]]
    assert "## Metrics" in card
