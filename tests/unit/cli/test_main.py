"""The command line: what it prints, with which status it ends, and that it blames whom it should."""

import json

import numpy as np
import pytest
import yaml
from PIL import Image
from sklearn.datasets import load_digits

from sensorium import __version__
from sensorium.cli.options import print_json
from sensorium.plugins import Plugins


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Works in an empty folder, with a store that nothing should touch."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    return tmp_path


@pytest.fixture
def png(tmp_path_factory):
    path = tmp_path_factory.mktemp("digit") / "digit.png"
    Image.fromarray(np.rint(load_digits().images[1500] * (255 / 16)).astype(np.uint8)).save(path)
    return path


def is_a_paragraph(answer):
    """One paragraph, on standard error alone."""
    return answer.out == "" and answer.err.startswith("Error: ") and answer.err.count("\n") == 1


# ----------------------------------------------------------------------------------- what there is


def test_help_lists_the_commands(sensorium):
    answer = sensorium("--help")
    assert answer.status == 0
    for command in ("tasks", "plugins", "show", "schema", "train", "evaluate", "predict", "doctor"):
        assert f"\n  {command} " in answer.out


def test_tasks_and_plugins(sensorium):
    assert sensorium("tasks").out.startswith("clip                 Two modalities in one space")
    assert sensorium("tasks", "--json").json["clip"]["plugin"] == "clip"
    found = sensorium("plugins", "--json").json
    assert found["plugins"]["clip"]["task"] == ["clip"]
    assert "infonce" in found["plugins"]["builtin"]["loss"]
    assert found["failed"] == {}
    lines = sensorium("plugins").out.splitlines()
    assert any(line.startswith(f"builtin {__version__}") for line in lines)
    assert any(line.startswith("  encoder    convnet, ") for line in lines)


def test_a_plugin_that_fails_is_told_by_both(sensorium, folder, monkeypatch):
    (folder / "sour.py").write_text("raise ImportError('libsour.so is missing')")
    info = folder / "sour-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: sour\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[sensorium]\nsour = sour\n")
    monkeypatch.syspath_prepend(folder)
    for command in ("tasks", "plugins"):
        answer = sensorium(command)
        assert answer.status == 0
        assert answer.err == "The plugin 'sour' could not be loaded: ImportError: libsour.so is missing\n"
        assert "clip" in answer.out
    assert sensorium("plugins", "--json").json["failed"] == {"sour": "ImportError: libsour.so is missing"}


def test_show_prints_a_whole_experiment_that_can_be_trained(sensorium, folder):
    (folder / "mine.yaml").write_text(sensorium("show", "clip", "training.epochs=3").out)
    shown = sensorium("show", "mine.yaml", "--json").json
    assert shown["training"]["epochs"] == 3
    assert shown["model"]["loss"] == {"name": "infonce", "temperature": 0.07, "learnable": True}
    assert yaml.safe_load((folder / "mine.yaml").read_text()) == shown


def test_schema_is_json(sensorium):
    assert json.loads(sensorium("schema").out)["properties"]["task"]["enum"] == Plugins().names("task")


# ---------------------------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["train", "clop"], "Did you mean 'clip'?"),
        (["train", "clip", "trainnig.epochs=3"], "Did you mean 'training'?"),
        (["train", "clip", "training.epochs=three"], "training.epochs is 'three'. Expected: a whole number."),
        (["train", "clip", "model.encoders.image=vitt"], "There is no encoder 'vitt' at model.encoders.image."),
        (["train", "clip", "model.encoders.image=rnn"], "The encoder RNN does not take 'image'."),
        (["train", "clip", "dataset.name=coco_captions", "dataset.root=nowhere"], "There is no"),
        (["train", "clip", "training.global_batch=5000"], "Set training.global_batch to 1347 at most."),
        (["train", "clip", "tracking.uri=file:///tmp/mlruns"], "MLflow cannot record at 'file:///tmp/mlruns'."),
        (["train", "clip", "tracking.uri=./mlruns"], "MLflow cannot record at './mlruns'."),
        (["train", "nowhere.yaml"], "The experiment file 'nowhere.yaml' does not exist."),
        (["train", "clip", "plugins=[nowhere]"], "The plugin module 'nowhere' cannot be imported"),
        (["train", "--resume", "clip-1999"], "There is no run 'clip-1999'. Runs in runs: none."),
        (["show", "clip", "training.epochs"], "'training.epochs' is not an override."),
        (
            ["evaluate", "nowhere"],
            "nowhere is not a folder. A model is a checkpoint folder, runs:/… or models:/NAME@ALIAS.",
        ),
        (["predict", "nowhere", "image=x.png"], "nowhere is not a folder."),
        (["predict", "nowhere"], "nowhere is not a folder."),
        (["predict", "gs3://bucket/model", "image=x.png"], "gs3://bucket/model cannot be reached: Protocol not known"),
    ],
)
def test_a_mistake_is_one_paragraph_and_nothing_is_begun(sensorium, folder, arguments, text):
    answer = sensorium(*arguments)
    assert answer.status == 2
    assert text in answer.err
    assert is_a_paragraph(answer), answer
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["trian", "clip"], "No such command 'trian'"),
        (["train", "clip", "--worker", "2"], "No such option"),
        (["train"], "give a TASK or FILE, or --resume RUN"),
        (["train", "clip", "--resume", "x"], "give a TASK or FILE, or --resume RUN"),
        (["train", "clip", "--workers", "two"], "valid integer"),
        ([], "Usage"),
    ],
)
def test_a_wrong_command_shows_its_usage(sensorium, arguments, text):
    answer = sensorium(*arguments)
    assert answer.status == 2
    assert text in answer.err + answer.out
    assert "Traceback" not in answer.err


def test_debug_shows_where(sensorium):
    answer = sensorium("--debug", "train", "clop")
    assert answer.status == 2
    assert answer.err.startswith("Traceback")
    assert answer.err.splitlines()[-1].startswith("Error: There is no task 'clop'.")
    assert "Traceback" not in sensorium("train", "clop").err


def test_a_failure_while_running_is_not_the_users(sensorium, trained):
    assert trained.broken.status == 1
    assert trained.broken.out == ""
    last = trained.broken.err.splitlines()[-1]
    assert last == "Error: ConnectionError: the plugin was told to fail (`sensorium --debug …` shows where)"
    assert "Traceback" not in trained.broken.err


def test_an_interruption_ends_with_130(sensorium, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("sensorium.plugins.Plugins.__init__", interrupted)
    assert sensorium("tasks").status == 130


# ------------------------------------------------------------------------------------------- train


def test_train_prints_one_object_that_says_all(trained):
    assert trained.answer.status == 0
    assert len(trained.answer.out.splitlines()) == 1
    result = trained.result
    assert {"run_id", "model", "checkpoint", "metrics", "samples_per_second"} < set(result)
    assert result["model"] == f"{trained.folder}/runs/{result['run']}/model"
    assert result["checkpoint"] == f"{trained.folder}/runs/{result['run']}/checkpoints/step-00000012"
    assert result["samples_per_second"] > 0
    assert result["tracking_uri"] == trained.uri
    assert result["model_uri"] == "models:/tiny/1"
    assert result["skipped"] == {}
    assert 0 <= result["metrics"]["zero_shot_accuracy"] <= 1
    assert any(sentence.startswith("Zero-shot: image test/0 is recognised as ") for sentence in result["examples"])
    assert any(sentence.startswith("Retrieval: ") for sentence in result["examples"])


def test_progress_is_plain_lines_where_there_is_no_terminal(trained):
    lines = trained.broken.err.splitlines()
    assert lines[0] == f"{trained.result['run']}: 12 steps on 1 worker"
    resumed = trained.answer.err.splitlines()
    assert resumed[0] == f"{trained.result['run']}: 12 steps on 1 worker, resumed from step 4"
    told = " ".join(resumed)
    assert "zero_shot_accuracy" in told[told.index("test at step 12: ") :]


@pytest.fixture
def untrained(monkeypatch):
    """Trains nothing: tells what would be."""
    sessions = []

    def train(self, execute):
        sessions.append((self, execute))
        return {
            "run": "r",
            "run_id": "i",
            "model": "m",
            "samples_per_second": 12.3,
            "metrics": {"accuracy": 0.5},
            "examples": ["An example."],
            "tracking_uri": "sqlite:///x.db",
            "model_uri": "models:/digits/3",
        }

    monkeypatch.setattr("sensorium.training.session.Session.train", train)
    return sessions


def test_workers_and_local(sensorium, untrained):
    sensorium("train", "clip", "--workers", "3")
    sensorium("train", "clip", "run.workers=3", "--local")
    sensorium("train", "clip", "--workers", "2", "--address", "auto")
    ours, on_ray = "sensorium.training.execution", "sensorium.runtime.train"
    found = [(session.run.workers, getattr(execute, "func", execute).__module__) for session, execute in untrained]
    assert found == [(3, on_ray), (1, ours), (2, on_ray)]
    assert [execute.keywords["address"] for _, execute in (untrained[0], untrained[2])] == [None, "auto"]


def test_train_says_what_to_do_next(sensorium, untrained):
    lines = sensorium("train", "clip").out.splitlines()
    assert lines == [
        "run      r",
        "model    m",
        "speed    12 samples/s",
        "  metric     value",
        "  accuracy  0.5000",
        "An example.",
        "record   MLflow run i",
        "look at  mlflow ui --backend-store-uri sqlite:///x.db",
        "predict  sensorium predict models:/digits/3 image=FILE",
        "serve    sensorium serve models:/digits/3",
    ]


def test_the_end_of_a_training_fits_a_screen(sensorium, trained, monkeypatch):
    """What `make demo` ends with, as 24 lines of 80 columns: the prompt's and the last of the training among them."""
    deep = trained.folder / "a folder whose name is long" / "and another one in it of more than eighty columns"
    deep.mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(deep)
    result = {**trained.result, "tracking_uri": f"sqlite:///{deep}/mlflow.db", "model": f"{deep}/runs/clip/model"}
    monkeypatch.setattr("sensorium.training.session.Session.train", lambda *_, **__: result)
    for uri in ("models:/digits/1", f"runs:/{result['run_id']}/model"):
        result["model_uri"] = uri
        lines = sensorium("train", "clip").out.splitlines()
        assert len(lines) <= 22
        assert max(map(len, lines)) <= 80


def test_what_is_skipped_is_told_before_training(sensorium, untrained, folder, data):
    files = sorted((data / "tiny_coco" / "train2017").iterdir())[:3]
    rows = [{"id": f.name, "image": str(f), "text": "a photograph"} for f in files]
    rows += [{"id": f"b{n}", "image": str(folder / f"b{n}.jpg"), "text": "nothing"} for n in range(7)]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    answer = sensorium(
        "train",
        "clip",
        "dataset={name: manifest, fields: {image: image, text: text}, train: rows.jsonl, broken: skip}",
        "modalities={image: {name: image, size: 8}, text: {name: text, tokenizer: words}}",
        "evaluation.split=train",
        "training.global_batch=3",
    )
    assert answer.status == 0, answer
    lines = answer.err.splitlines()
    assert lines[0] == "train: 7 of 10 samples are left out, as broken:"
    assert lines[1].startswith(f"  Sample b0, field 'image': {folder}/b0.jpg cannot be opened")
    assert len(lines) == 7
    assert lines[-1] == "  and 2 more; all are listed in the run's run.json"
    (session, *_) = untrained[0]
    assert session.run.tracking["skipped"] == {"train": 7}
    written = json.loads((folder / "runs" / session.run.name / "run.json").read_text())
    assert [index for index, _ in written["learnt"]["skipped"]["train"]] == list(range(3, 10))


# ---------------------------------------------------------------------------- evaluate and predict


def test_evaluate_gives_the_figures_of_training(sensorium, trained):
    answer = sensorium("evaluate", trained.result["model"], "--json")
    assert answer.json["metrics"] == trained.result["metrics"]
    assert answer.json["split"] == "test"
    lines = sensorium("evaluate", trained.result["model"], "--split", "train", "dataset.limit.train=40").out
    assert lines.splitlines()[1].startswith("  image_to_text_r1")
    assert "Retrieval: " in lines
    wrong = sensorium("evaluate", trained.result["model"], "--split", "tset")
    assert wrong.status == 2
    assert "Did you mean 'test'?" in wrong.err
    assert is_a_paragraph(wrong)


@pytest.fixture
def asked(sensorium, trained, png):
    return sensorium("predict", trained.result["model"], f"image={png}", "--json").json


def test_predict_answers_about_a_picture(sensorium, trained, png, asked):
    assert set(asked) == {"image_embedding", "label", "tags"}
    assert sum(asked["label"].values()) == pytest.approx(1)
    lines = sensorium("predict", trained.result["model"], f"image={png}").out.splitlines()
    assert [line.split()[0] for line in lines] == ["image_embedding", "label", "tags"]
    assert lines[2].split(maxsplit=1)[1] == json.dumps(asked["tags"])


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        (["picture=x.png"], "There is no input 'picture'."),
        (["image"], "'image' is not an input."),
        (["image=nowhere.png"], "Input 'image': nowhere.png cannot be opened"),
    ],
)
def test_predict_refuses_what_it_cannot_read(sensorium, trained, fields, text):
    answer = sensorium("predict", trained.result["model"], *fields)
    assert answer.status == 2
    assert text in answer.err
    assert is_a_paragraph(answer)


def test_a_model_is_the_same_wherever_it_comes_from(sensorium, trained, png, asked, monkeypatch):
    from mlflow import MlflowClient

    trained.at(monkeypatch)
    MlflowClient(trained.uri).set_registered_model_alias("tiny", "best", "1")
    run = trained.result["run_id"]
    places = [f"runs:/{run}/model", "models:/tiny/1", "models:/tiny@best", trained.result["checkpoint"]]
    for model in [*places, f"file://{trained.result['model']}"]:
        answer = sensorium("predict", model, f"image={png}", "--json")
        assert answer.json == asked, model


def test_a_model_that_mlflow_does_not_have_is_refused(sensorium, trained, png, monkeypatch):
    trained.at(monkeypatch)
    for model in ("runs:/0123456789abcdef/model", "models:/tiny@worst", "models:/nothing/3", "models:/tiny/99"):
        answer = sensorium("predict", model, f"image={png}")
        assert answer.status == 2, answer
        assert f"has no model {model!r}" in answer.err
        assert is_a_paragraph(answer)


def test_media_of_an_answer_become_files(sensorium, folder, monkeypatch):
    class Painter:
        load = classmethod(lambda cls, folder: cls())

        def ask(self, fields):
            return {"picture": b"\x89PNG...", "sound": b"RIFF...", "text": "words"}

    monkeypatch.setattr("sensorium.inference.predictor.Predictor", Painter)
    answer = sensorium("predict", "model", "text=x", "--output", folder / "deep" / "out", "--json")
    assert answer.json == {
        "picture": f"{folder}/deep/out/picture.png",
        "sound": f"{folder}/deep/out/sound.wav",
        "text": "words",
    }
    assert (folder / "deep" / "out" / "picture.png").read_bytes() == b"\x89PNG..."


def test_what_is_no_number_is_null_in_json(capsys):
    print_json({"metrics": {"stoi": float("nan"), "far": [float("inf"), 1.5]}})
    assert json.loads(capsys.readouterr().out, parse_constant=pytest.fail) == {
        "metrics": {"stoi": None, "far": [None, 1.5]}
    }


def test_a_model_says_what_it_takes(sensorium, trained):
    answer = sensorium("predict", trained.result["model"])
    assert answer.status == 2
    assert "takes image (image file, optional), text (text, optional), plus" in answer.err
    assert "Such as: sensorium predict" in answer.err


def test_what_is_registered_is_listed(sensorium, trained, monkeypatch):
    from mlflow import MlflowClient

    trained.at(monkeypatch)
    client = MlflowClient(trained.uri)
    client.set_registered_model_alias("tiny", "listed", "1")
    try:
        listed = sensorium("models").out.splitlines()
        (line,) = [line for line in listed if line.startswith("models:/tiny/1 ")]
        assert f"  clip  {trained.result['run']}  @" in line
        assert "@listed" in line.split()
        found = sensorium("models", "--json").json
    finally:
        client.delete_registered_model_alias("tiny", "listed")
    (first,) = [each for each in found if (each["name"], each["version"]) == ("tiny", "1")]
    assert (first["task"], first["run"]) == ("clip", trained.result["run"])
    assert "listed" in first["aliases"]


def test_the_version_is_told(sensorium):
    assert sensorium("--version").out == f"sensorium {__version__}\n"


def test_summaries_fit_a_line(sensorium, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    for command in ((), ("cluster",), ("plugin",)):
        assert "..." not in sensorium(*command, "--help").out.partition("Commands:")[2]
    assert max(map(len, sensorium("tasks").out.splitlines())) <= 80
