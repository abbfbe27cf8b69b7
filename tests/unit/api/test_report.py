"""The table at the end of a training, by hand."""

from types import SimpleNamespace

import pytest

from sensorium.api.report import ending, question, record, sentences, table


def test_each_input_has_a_column_with_what_is_reached_without_it():
    metrics = {
        "accuracy": 0.9,
        "a.b_median_rank": 2.0,
        "contribution.image.accuracy": 0.6,
        "contribution.image.a.b_median_rank": -3.0,
        "contribution.label.v2.accuracy": 0.1,
    }
    assert table(metrics) == [
        "  metric            value  without image  without label.v2",
        "  accuracy         0.9000         0.3000            0.8000",
        "↓ a.b_median_rank  2.0000         5.0000",
        "↓ lower is better",
    ]


def test_columns_that_a_screen_does_not_hold_stand_below():
    fields = ("image", "audio", "depth", "thermal")
    lines = table({"a_recall_at_1": 0.5, "b": 1.0, **{f"contribution.{field}.a_recall_at_1": 0.25 for field in fields}})
    assert lines == [
        "  metric          value  without image  without audio  without depth",
        "  a_recall_at_1  0.5000         0.2500         0.2500         0.2500",
        "  b              1.0000",
        "  metric         without thermal",
        "  a_recall_at_1           0.2500",
    ]


def test_of_two_metrics_the_longer_name_is_meant():
    lines = table({"a": 1.0, "b.a": 0.5, "contribution.x.b.a": 0.25})
    assert lines[1:] == ["  a       1.0000", "  b.a     0.5000     0.2500"]


def task(optional=(), **accepts):
    inputs = {name: SimpleNamespace(accepts=types) for name, types in accepts.items()}
    return SimpleNamespace(inputs=inputs, optional=frozenset(optional))


def result(**changed):
    told = {"run": "r", "run_id": "i", "model": "runs/a b/model", "samples_per_second": 12.3, "metrics": {"x": 0.5}}
    return {**told, "examples": [], "tracking_uri": "", "model_uri": None, **changed}


def test_next_steps_name_the_registered_model_else_its_folder():
    of = task(image=("image/png",), text=())
    assert ending(result(), of, " --plugins mine")[-2:] == [
        "predict  sensorium predict 'runs/a b/model' image=FILE text=VALUE --plugins mine",
        "serve    sensorium serve 'runs/a b/model' --plugins mine",
    ]
    assert ending(result(model_uri="models:/x/1"), of, "")[-1] == "serve    sensorium serve models:/x/1"
    assert ending(result(model_uri="runs:/i/model"), of, "")[-1] == "serve    sensorium serve 'runs/a b/model'"


def test_asked_is_what_a_model_needs_else_its_first_input():
    assert question(task(["other"], seen=(), other=())) == "seen=VALUE"
    assert question(task(["seen", "other"], seen=(), other=())) == "seen=VALUE"


@pytest.mark.parametrize(
    ("rate", "lines"),
    [(1234.5, ["speed    1234 samples/s"]), (0.123, ["speed    0.12 samples/s"]), (0.0, [])],
)
def test_a_speed_that_was_not_measured_is_not_told(rate, lines):
    told = ending(result(samples_per_second=rate), task(image=("image/png",)), "")
    assert [line for line in told if line.startswith("speed")] == lines


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("sqlite:///{here}/mlflow.db", "mlflow ui --backend-store-uri sqlite:///mlflow.db"),
        ("sqlite:///{here}/my runs/x.db", "mlflow ui --backend-store-uri 'sqlite:///my runs/x.db'"),
        ("sqlite:////elsewhere/x.db", "mlflow ui --backend-store-uri sqlite:////elsewhere/x.db"),
        ("postgresql://host/x", "mlflow ui --backend-store-uri postgresql://host/x"),
        ("https://mlflow.example", "https://mlflow.example"),
    ],
)
def test_a_record_is_looked_at_where_it_is(tmp_path, monkeypatch, uri, shown):
    monkeypatch.chdir(tmp_path)
    assert record(uri.format(here=tmp_path), "i") == ["record   MLflow run i", f"look at  {shown}"]


def test_long_sentences_are_wrapped():
    assert sentences(["Short.", "word " * 20]) == ["Short.", "word " * 15 + "word", "word word word word"]
