"""What MLflow holds of a run that was interrupted and went on: one record, each step once."""

import io
import multiprocessing
import time
from importlib.metadata import version

import pytest
import requests
import yaml
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from PIL import Image

from sensorium import Run, __version__
from sensorium.tracking import records


@pytest.fixture(scope="module")
def client(trained):
    return MlflowClient(trained.uri)


@pytest.fixture(scope="module")
def record(trained, client):
    return client.get_run(trained.result["run_id"])


def test_an_interrupted_run_has_one_record_that_is_finished(trained, client, record):
    experiment = client.get_experiment_by_name("digits")
    assert len(client.search_runs([experiment.experiment_id])) == 1
    assert record.info.status == "FINISHED"
    assert record.data.tags["mlflow.runName"] == record.data.tags["sensorium.run"] == trained.result["run"]
    assert "sensorium.error" not in record.data.tags


def test_parameters_are_the_whole_experiment(record):
    parameters = record.data.params
    assert parameters["training.global_batch"] == "32"
    assert parameters["training.epochs"] == "2"
    assert parameters["model.encoders.image.name"] == "convnet"
    assert parameters["model.encoders.image.widths"] == "[8, 16]"
    assert parameters["dataset.limit.train"] == "192"
    assert parameters["run.seed"] == "0"
    assert parameters["tracking.register"] == "tiny"
    assert parameters["plugins"] == '["every_hook"]'


def test_the_experiment_file_can_be_trained_again(trained, client, record):
    from sensorium.experiment.reading import check
    from sensorium.plugins import Plugins

    path = client.download_artifacts(record.info.run_id, "experiment.yaml")
    with open(path) as file:  # noqa: PTH123
        plain = yaml.safe_load(file)
    assert check(plain, Plugins()).plain() == plain
    assert plain["tracking"]["experiment"] == "digits"


def test_the_installed_packages_are_listed(client, record):
    path = client.download_artifacts(record.info.run_id, "environment.txt")
    with open(path) as file:  # noqa: PTH123
        lines = file.read().splitlines()
    assert f"torch=={version('torch')}" in lines
    assert len(lines) == len({line.partition("==")[0].lower() for line in lines}) > 50


def test_versions_seed_and_commit_are_told(trained, record):
    tags = record.data.tags
    assert tags["sensorium.version"] == __version__
    assert tags["plugin.clip"] == tags["plugin.builtin"] == __version__
    assert tags["plugin.every_hook"] == "local"
    assert tags["sensorium.seed"] == "0"
    assert tags["mlflow.source.git.commit"] == trained.commit


@pytest.mark.parametrize("name", ["train/main/pairs", "learning_rate/main"])
def test_every_step_is_there_once_after_a_restart(trained, client, record, name):
    points = client.get_metric_history(record.info.run_id, name)
    assert sorted(point.step for point in points) == list(range(1, 13))
    steps = [arguments["step"] for event, arguments in trained.calls if event == "sensorium_step_finished"]
    assert [step.number for step in steps] == [1, 2, 3, 4, 5, 6, 7, 5, 6, 7, 8, 9, 10, 11, 12]
    figures = {step.number: (float(step.losses["main/pairs"]), step.learning_rates["main"]) for step in steps}
    column = 0 if name.startswith("train") else 1
    assert {point.step: point.value for point in points} == {n: values[column] for n, values in figures.items()}


def test_evaluations_are_there_once(trained, client, record):
    figures = {name: value for name, value in record.data.metrics.items() if name.startswith("test/")}
    assert figures == {f"test/{name}": value for name, value in trained.result["metrics"].items()}
    points = client.get_metric_history(record.info.run_id, "test/zero_shot_accuracy")
    assert [point.step for point in points] == [12]


def test_what_the_machine_did_is_there(client, record):
    names = {name for name in record.data.metrics if name.startswith("system/")}
    assert {"system/cpu_utilization_percentage", "system/system_memory_usage_megabytes"} <= names
    points = client.get_metric_history(record.info.run_id, "system/cpu_utilization_percentage")
    steps = sorted(point.step for point in points)
    assert steps == list(range(len(points)))  # the second execution counts on
    assert len(points) >= 2


def test_pictures_are_there(client, record):
    folder = "plots/test/step-00000012"
    listed = {item.path for item in client.list_artifacts(record.info.run_id, folder)}
    assert listed == {f"{folder}/retrieval.png", f"{folder}/similarity.png"}
    for name in [*listed, "plots/loss.png"]:
        with Image.open(client.download_artifacts(record.info.run_id, name)) as picture:
            assert picture.format == "PNG"
            low, high = picture.convert("L").getextrema()
            assert high - low > 100, f"{name} is empty"


def test_mlflow_does_not_speak_of_what_it_registers(trained):
    for word in ("egistered model", "Created version", "\x1b"):
        assert word not in trained.answer.err


def test_the_model_is_registered_with_its_signature(trained, client):
    import mlflow

    version = client.get_model_version("tiny", "1")
    assert version.run_id == trained.result["run_id"]
    mlflow.set_tracking_uri(trained.uri)
    signature = mlflow.models.get_model_info("models:/tiny/1").signature
    inputs = {column.name: (column.type.name, column.required) for column in signature.inputs}
    assert inputs == {
        "image": ("binary", False),
        "text": ("string", False),
        "plus": ("string", False),
        "minus": ("string", False),
    }
    assert {column.name for column in signature.outputs} == {"image_embedding", "text_embedding", "label", "tags"}


# ------------------------------------------------------------------------------- a record by itself


def run(trained, name, **tracking):
    whole = {"uri": trained.uri, "experiment": "records", **tracking}
    return Run(name=name, folder="x", experiment={"a": {"b": 1, "c": [1, 2], "d": {}}}, seed=7, tracking=whole)


def test_a_record_that_failed_says_why_until_it_goes_on(trained, client):
    record = records.open_record(run(trained, "one", skipped={"train": 3, "test": 0}))
    records.end(record, "FAILED", "The disk is full.")
    found = client.get_run(record.run_id)
    assert (found.info.status, found.data.tags["sensorium.error"]) == ("FAILED", "The disk is full.")
    assert (found.data.tags["skipped.train"], found.data.tags["skipped.test"]) == ("3", "0")
    assert found.data.params == {"a.b": "1", "a.c": "[1, 2]", "a.d": "{}"}
    again = records.open_record(run(trained, "one"))
    assert again.run_id == record.run_id == records.find(trained.uri, "one").run_id
    found = client.get_run(record.run_id)
    assert found.info.status == "RUNNING"
    assert "sensorium.error" not in found.data.tags


def test_a_record_that_was_begun_and_torn_is_completed(trained, client, monkeypatch):
    log_text = MlflowClient.log_text

    def torn(*_):
        raise MlflowException("away")

    monkeypatch.setattr(MlflowClient, "log_text", torn)
    with pytest.raises(MlflowException):
        records.open_record(run(trained, "torn", plugins={"clip": "1"}))
    monkeypatch.setattr(MlflowClient, "log_text", log_text)
    record = records.open_record(run(trained, "torn", plugins={"clip": "1"}))
    found = client.get_run(record.run_id)
    assert found.data.params["a.b"] == "1"
    assert found.data.tags["plugin.clip"] == "1"
    assert client.download_artifacts(record.run_id, "experiment.yaml")
    experiment = client.get_experiment_by_name("records").experiment_id
    assert len(client.search_runs([experiment], "tags.`sensorium.run` = 'torn'")) == 1


def test_histories_are_in_order_of_steps(trained):
    record = records.open_record(run(trained, "history"))
    now = time.time()
    for step in (3, 1, 2):
        records.add_metrics(record, [("train/a", step / 2, now - step, step), ("test/b", 1.0, now, 3)])
    assert records.histories(record) == {"train/a": [(1, 0.5), (2, 1.0), (3, 1.5)], "test/b": [(3, 1.0)]}


def test_pictures_keep_their_place(trained, client):
    record = records.open_record(run(trained, "picture"))
    buffer = io.BytesIO()
    Image.new("L", (3, 2), 99).save(buffer, "PNG")
    records.add_plot(record, "plots/test/a.png", buffer.getvalue())
    records.add_plot(record, "top.png", buffer.getvalue())
    for name in ("plots/test/a.png", "top.png"):
        with Image.open(client.download_artifacts(record.run_id, name)) as picture:
            assert (picture.size, picture.getpixel((0, 0))) == ((3, 2), 99)


def test_an_unknown_run_has_no_record(trained):
    assert records.find(trained.uri, "nobody") is None


def test_figures_of_the_machine(trained):
    sample = records.system_metrics(records.open_record(run(trained, "machine")))
    for _ in range(2):
        figures = sample()
        assert 0 <= figures["system/cpu_utilization_percentage"] <= 100
        assert figures["system/system_memory_usage_megabytes"] > 0


def test_nested_options_are_flat():
    tree = {"a": 1, "b": {"c": {"d": None, "e": []}, "f": {}}, "g": [{"h": 1}]}
    assert records.flat(tree) == {"a": 1, "b.c.d": None, "b.c.e": "[]", "b.f": "{}", "g": '[{"h": 1}]'}


def test_outside_a_repository_there_is_no_commit(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert records._commit() == {}
    monkeypatch.setenv("PATH", "")
    assert records._commit() == {}


# ------------------------------------------------------------------------------ a store that is away


@pytest.fixture
def server(request):
    """An HTTP server that answers everything in one way; returns its address."""
    import threading
    from http.server import BaseHTTPRequestHandler, HTTPServer

    status, body = request.param

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST  # noqa: N815

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as made:
        threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{made.server_port}"
        made.shutdown()


@pytest.mark.parametrize("server", [(500, b"oops"), (502, b"<html>bad gateway</html>"), (503, b"")], indirect=True)
def test_a_server_in_trouble_is_waited_for(server):
    record = records.Record(MlflowClient(server), "0")
    with pytest.raises(records.FAULTS) as caught:
        records.add_metrics(record, [("a", 1.0, 0.0, 1)])
    assert not records.lasting(caught.value)


def test_a_server_that_is_gone_is_waited_for():
    with pytest.raises(records.FAULTS) as caught:
        records.add_metrics(records.Record(MlflowClient("http://127.0.0.1:9"), "0"), [("a", 1.0, 0.0, 1)])
    assert not records.lasting(caught.value)


@pytest.mark.parametrize(
    "server",
    [
        (400, b'{"error_code": "INVALID_PARAMETER_VALUE", "message": "too long"}'),
        (404, b'{"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no such run"}'),
        (403, b'{"error_code": "PERMISSION_DENIED", "message": "not yours"}'),
    ],
    indirect=True,
)
def test_a_server_that_refuses_is_not_waited_for(server):
    with pytest.raises(records.FAULTS) as caught:
        records.add_metrics(records.Record(MlflowClient(server), "0"), [("a", 1.0, 0.0, 1)])
    assert records.lasting(caught.value)


def test_only_refusals_last():
    assert not records.lasting(OSError("cable"))
    assert not records.lasting(requests.ConnectionError("cable"))
    assert not records.lasting(MlflowException("internal"))


def opened(uri, start, faults):
    """Opens a store when the others do."""
    start.wait()
    try:
        records.connect(uri)
    except Exception as fault:  # noqa: BLE001 (told to the test)
        faults.put(str(fault)[:200])


def test_processes_that_open_a_new_database_at_once_find_it_whole(tmp_path):
    fork = multiprocessing.get_context("fork")
    start, faults = fork.Event(), fork.SimpleQueue()
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    openers = [fork.Process(target=opened, args=(uri, start, faults)) for _ in range(4)]
    for each in openers:
        each.start()
    start.set()
    for each in openers:
        each.join()
    assert faults.empty(), faults.get()
    assert records.count_experiments(uri) == 1
