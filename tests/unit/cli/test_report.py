"""The table at the end of a training, by hand."""

from sensorium.cli.report import next_steps, table


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


def test_of_two_metrics_the_longer_name_is_meant():
    lines = table({"a": 1.0, "b.a": 0.5, "contribution.x.b.a": 0.25})
    assert lines[1:] == ["  a       1.0000", "  b.a     0.5000     0.2500"]


def test_next_steps_name_the_registered_model_else_its_folder():
    assert next_steps("runs/a b/model", ["image", "text"], frozenset(), "", " --plugins mine") == [
        "predict  sensorium predict 'runs/a b/model' image=… text=… --plugins mine",
        "serve    sensorium serve 'runs/a b/model' --plugins mine",
    ]
    assert "models:/x/1 seen=…" in next_steps("m", ["seen", "other"], frozenset({"other"}), "models:/x/1", "")[0]
